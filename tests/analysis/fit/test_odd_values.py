"""Whatever is given to a fit, it ends with finite numbers or with one sentence for a person."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlscale.analysis.curves.load import curves_from_frame, load_curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.search import SearchOptions
from rlscale.scaling.errors import RlscaleError

#: A short search: what is looked for is a number that breaks something, not the best minimum.
FIT = JointScalingFit(replicates=0, search=SearchOptions(num_polish=1, max_evaluations=40))

SIZE_SCALES = (1e-320, 1e-29, 1e-3, 1.0, 1e24, 1e308)
RETURN_SCALES = (-1.0, 1e-320, 1e-300, 1e-120, 1e-12, 1e6, 1e90, 1e99, 1e308)
FACTORS = (1.0, 1.0 + 1e-15, 1.001, 1.02, 10.0, 1e6)
ODD_VALUES = [
        math.nan, math.inf, -math.inf, 0, -1, -1e308, 1e308, 5e-324, 2**63, 10**400, True, None, "", " ",
        "7", "1,000", "0,5", "nan", "lots", "2020-01-01", pd.Timestamp("2020-01-01"), [1.0], {"a": 1}, b"1",
]  # fmt: skip


def frame_of(seed: int) -> pd.DataFrame:
    """Curves that are mostly sound: few runs, returns of any shape, now and then on an odd scale, with
    an odd value or with rows out of order."""
    rng = np.random.default_rng(seed)

    def seldom(choices: Any, otherwise: Any) -> Any:
        return choices[rng.integers(len(choices))] if rng.random() < 0.15 else otherwise

    sizes, seeds, rows = rng.integers(2, 7), rng.integers(1, 4), rng.integers(1, 9)
    with np.errstate(all="ignore"):
        n = np.repeat(seldom(SIZE_SCALES, 1e4) * seldom(FACTORS, 2.0) ** np.arange(sizes), seeds * rows)
        e = np.tile(seldom(SIZE_SCALES, 1e4) * np.arange(1, rows + 1), sizes * seeds)
        z = np.log(np.where(n > 0, n, 1.0)) + np.log(np.where(e > 0, e, 1.0))
        shapes = [
            z + 0.1 * rng.standard_normal(len(n)),
            -np.logaddexp(-np.log(n), -np.log(e)),
            rng.standard_normal(len(n)),
            np.floor(z),
            np.full(len(n), 0.1),
            0.1 * (1 + 1e-16 * rng.integers(0, 3, len(n))),
            (z > np.median(z)).astype(float),
        ]
        returns = shapes[rng.integers(len(shapes))] + seldom((1e3, 1e15), 0.0)
        returns = returns * seldom(RETURN_SCALES, 1.0)
    ids = np.repeat([f"r{i}" for i in range(sizes * seeds)], rows)
    columns: dict[str, Any] = {"run_id": ids, "num_params": n, "interactions": e, "return_mean": returns}
    frame = pd.DataFrame({**columns, "horizon": 8.0})
    for _ in range(seldom((1, 2), 0)):
        column = frame.columns[rng.integers(5)]
        mixed = np.array(frame[column], dtype=object)
        mixed[rng.integers(len(frame))] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
        frame[column] = pd.Series(mixed, dtype=object)
    if rng.random() < 0.3:
        frame = frame.sample(frac=0.7, random_state=int(rng.integers(100))).sort_index()
    interleaved = frame.iloc[np.argsort(np.arange(len(frame)) % rows, kind="stable")]
    return seldom((frame.iloc[::-1], interleaved), frame)


def finite(value: Any) -> bool:
    """Whether every number in a JSON value is finite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def outcome(make_curves: Any, fit: JointScalingFit = FIT) -> str:
    """``fitted`` or ``refused``; anything else, a warning too, is a failure of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = fit.fit(make_curves())
        except RlscaleError as error:
            return "refused" if str(error).strip() and "\n" not in str(error) else f"unclear: {error}"
    assert finite(result.model_dump(mode="json"))
    return "fitted"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1).map(frame_of), st.sampled_from(["return", "paper"]))
def test_any_table_is_fitted_or_refused(frame, objective):
    fit = JointScalingFit(replicates=0, objective=objective, search=FIT.search)
    outcome(lambda: curves_from_frame(frame), fit)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.parquet", "x.csv.gz"]))
def test_any_bytes_are_refused(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    assert outcome(lambda: load_curves(path)) == "refused"
