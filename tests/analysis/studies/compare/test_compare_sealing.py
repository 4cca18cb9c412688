"""A compute multiplier on record: what its statement says, how it is scored, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.curves.synthetic import SyntheticPair, SyntheticSweep
from rlscale.analysis.forecast.record import read_statement
from rlscale.analysis.forecast.scoring import score
from rlscale.analysis.studies.compare.sealing import score_comparison, seal_comparison
from rlscale.analysis.studies.compare.study import CompareRecipes
from rlscale.scaling.errors import InputError

FACTOR = 1.5
PAIR = SyntheticPair(
    SyntheticSweep(
        sizes=tuple(4e4 * 2.0 ** np.arange(6)), seeds=5, points=40, first_interactions=1e6, noise=0.02
    ),
    factor=FACTOR,
)
ESTIMATOR = CompareRecipes(replicates=100)


def first_seeds(curves: Curves, count: int) -> Curves:
    return curves.with_rows(np.isin(curves.run_index, np.flatnonzero(curves.table["seed"] < count)))


def named(curves: Curves, name: str) -> Curves:
    ids = tuple(f"{name}-{run_id}" for run_id in curves.run_ids)
    return replace(curves, run_ids=ids, table=curves.table.set_axis(list(ids)))


@pytest.fixture(scope="module")
def everything():
    a, b = PAIR.curves(np.random.default_rng(0))
    return named(a, "a"), named(b, "b")


@pytest.fixture(scope="module")
def solution(everything):
    return ESTIMATOR.solve(*(first_seeds(curves, 3) for curves in everything), names=("old", "new"))


@pytest.fixture(scope="module")
def comparison(solution):
    return ESTIMATOR.result(solution)


@pytest.fixture(scope="module")
def statement(solution, comparison):
    return seal_comparison(solution, comparison, [comparison.b.compute, 1e3 * comparison.b.compute])


def test_the_statement_holds_the_multiplier_and_its_interval_and_says_what_is_beyond(statement, comparison):
    within, beyond = statement.items
    assert within.quantity == "multiplier"
    assert within.interval == pytest.approx(comparison.interval, rel=0.02)
    assert within.beyond is None
    assert "decades outside the returns that both reach" in beyond.beyond
    assert statement.warning_codes[-1] == "extrapolation"
    assert statement.recipes.names == ("old", "new")


def test_it_survives_its_file(statement, tmp_path):
    path = tmp_path / "sealed.json"
    path.write_text(json.dumps(statement.model_dump(mode="json")))
    assert read_statement(path) == statement


def test_new_seeds_measure_it_by_a_comparison_of_all(statement, everything):
    found = score_comparison(statement, *everything)
    (outcome,), nothing = (item.outcomes for item in found.items)
    fresh = ESTIMATOR.solve(*everything)
    assert outcome.measured == pytest.approx(np.exp(fresh.log_multiplier_at(statement.items[0].compute)[0]))
    assert outcome.measured == pytest.approx(FACTOR, rel=0.15)
    assert outcome.hit
    assert outcome.baselines["no_difference"] == pytest.approx(np.log10(outcome.measured))
    assert outcome.crps < outcome.baselines["no_difference"]
    assert nothing == []
    assert "both recipes must reach" in found.items[1].missing
    assert found.warning_codes == ["run_times_unknown", "not_measured_yet"]


def test_without_the_old_runs_nothing_is_measured(statement, everything):
    a, b = everything
    late = a.with_rows(np.isin(a.run_index, np.flatnonzero(a.table["seed"] >= 3)))
    found = score_comparison(statement, late, b)
    assert [item.outcomes for item in found.items] == [[], []]
    assert "of the sealed runs are not among the curves" in found.items[0].missing


def test_what_cannot_be_sealed_or_scored_is_refused(solution, comparison, statement, everything):
    for computes, code in (([0.0], "invalid_number"), ([float("inf")], "invalid_number")):
        with pytest.raises(InputError) as refused:
            seal_comparison(solution, comparison, computes)
        assert refused.value.code == code
    bare = replace(solution, spreads={})
    for call, code in (
        (lambda: seal_comparison(bare, comparison), "no_bootstrap"),
        (lambda: score(statement, everything[0]), "statement_of_two_recipes"),
        (lambda: score_comparison(statement, solution.a, solution.b), "no_new_runs"),
        (
            lambda: score_comparison(statement.model_copy(update={"recipes": None}), *everything),
            "statement_of_one_recipe",
        ),
        (
            lambda: score_comparison(statement, replace(everything[0], size="flops"), everything[1]),
            "other_size",
        ),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert refused.value.code == code
