"""The JSON of every result has the keys, the order and the types that other programs rely on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from horizon_sweep import horizon_frame

from rlscale.analysis.curves.curve_set import join_curves
from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticPair, SyntheticSweep
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import read_fit
from rlscale.analysis.forecast.budgets import flops_budget
from rlscale.analysis.forecast.scoring import score
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.forecast.suggest import suggest
from rlscale.analysis.studies.backtest.splits import default_splits
from rlscale.analysis.studies.backtest.study import backtest
from rlscale.analysis.studies.compare.study import CompareRecipes
from rlscale.analysis.studies.horizon.result import read_horizon
from rlscale.analysis.studies.horizon.study import fit_horizons, study_horizons
from rlscale.analysis.studies.sealing import RunToCome, seal
from rlscale.analysis.studies.with_studies import with_studies

CONTRACT = json.loads((Path(__file__).parent / "json_contract.json").read_text())
DATA = Path(__file__).parents[3] / "data"
DRAWN = JointScalingFit(replicates=20, check_replicates=20)


def structure(value: Any) -> Any:
    """The keys of every object in their order, and the types at the leaves; a list by its items' types."""
    if isinstance(value, dict):
        return {key: structure(item) for key, item in value.items()}
    if isinstance(value, list):
        kinds: list[Any] = []
        for kind in map(structure, value):
            if kind not in kinds:
                kinds.append(kind)
        return kinds
    return type(value).__name__


def results() -> dict[str, Any]:
    """One result of every kind, as the command line writes it."""
    rng = np.random.default_rng(0)
    curves = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(8)), points=60, noise=0.02).curves(rng)
    curves.table["flops_per_interaction"] = 6.0 * curves.run_sizes
    curves.table["flops_forward"] = 2.0 * curves.run_sizes
    fit = with_studies(curves, DRAWN.fit(curves), periods=True, size_measures=True, metric="auto")
    compute = 10 * fit.range.C[1]
    level = float(np.mean(fit.range.return_))
    by_horizon = {
        h: curves_from_frame(frame) for h, frame in horizon_frame(noise=0.1, points=40).groupby("horizon")
    }
    statement = seal(fit, curves, [RunToCome(4e4, 1e7, 3)], computes=[compute])
    unmeasured = statement.items[0].model_copy(update={"N": 1e9, "width": 1.0, "beyond": "far"})
    statement = statement.model_copy(update={"items": [*statement.items, unmeasured]})
    new = replace(curves, run_ids=tuple(f"new {name}" for name in curves.run_ids))
    started = dict.fromkeys(new.run_ids, "2026-01-01T00:00:00+00:00")
    found = {
        "fit": fit,
        "statement": statement,
        "score": score(statement, join_curves([new, curves]), started=started),
        "forecast": forecast(
            fit,
            [compute],
            env_cost=1e5,
            budgets=[flops_budget(fit, 1e15)],
            returns=[level],
            reference=(level, 1e4),
        ),
        "suggest": suggest(fit, fit.range.C[1]),
        "backtest": backtest(curves, default_splits(curves, DRAWN), DRAWN, laws=True, law_draws=2),
        "horizon": study_horizons(by_horizon, fit_horizons(by_horizon, DRAWN), predictions=[(1e5, 8.0)]),
        "compare": comparison(),
    }
    return {name: structure(result.model_dump(mode="json")) for name, result in found.items()}


def comparison() -> Any:
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(5)), points=40, noise=0.02)
    pair = SyntheticPair(sweep, factor=1.5, growth=0.3, pivot=2e13)
    a, b = (
        replace(curves, table=curves.table.assign(task="t"))
        for curves in pair.curves(np.random.default_rng(0))
    )
    return CompareRecipes(replicates=20).fit(a, b)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return results()


@pytest.mark.parametrize(
    "name", ["fit", "forecast", "suggest", "backtest", "horizon", "statement", "score", "compare"]
)
def test_the_json_of_a_result_keeps_its_keys_their_order_and_their_types(found, name):
    assert json.dumps(found[name], indent=1) == json.dumps(CONTRACT[name], indent=1)


def test_results_of_earlier_versions_are_still_read():
    assert read_fit(DATA / "mnist_width" / "fit.json").monotone_map.return_.size > 0
    assert read_horizon(DATA / "mnist_horizon" / "horizon.json").fits


if __name__ == "__main__":
    (Path(__file__).parent / "json_contract.json").write_text(json.dumps(results(), indent=1) + "\n")
