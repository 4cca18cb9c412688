"""Budgets in FLOPs and GPU hours become the compute whose optimum costs them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlscale.analysis.curves.synthetic import SyntheticSweep
from rlscale.analysis.fit.findings import InteractionFlops
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult, read_fit
from rlscale.analysis.forecast.budgets import flops_budget, gpu_hours_budget
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.theory.quantities import LEAST, MOST
from rlscale.scaling.errors import InputError

DATA = Path(__file__).resolve().parents[3] / "data"
SIZES = tuple(4e4 * 2.0 ** np.arange(6))


@pytest.fixture(scope="module")
def fit() -> FitResult:
    """A fit whose sweep spends 9 N^0.7 FLOPs an interaction."""
    made = JointScalingFit(replicates=0).fit(SyntheticSweep(sizes=SIZES).curves(np.random.default_rng(0)))
    flops = [9.0 * n**0.7 for n in SIZES]
    return made.model_copy(
        update={"interaction_flops": InteractionFlops(N=np.array(SIZES), flops=np.array(flops))}
    )


def test_training_at_the_optimum_of_the_compute_costs_the_budget(fit):
    n = float(np.sqrt(SIZES[0] * SIZES[-1]))
    compute = float(n * np.exp(fit.law.log_E_opt_of(np.log(n))))
    cost = 9.0 * n**0.7 * compute / n
    found = flops_budget(fit, cost)
    assert found.compute == pytest.approx(compute, rel=1e-6)
    assert "measured by the sweep" in found.conversion


@pytest.mark.parametrize("flops", [1e8, 1e30, 1e50])
def test_beyond_the_sizes_flops_grow_with_the_parameters(fit, flops):
    found = flops_budget(fit, flops)
    n, e = float(fit.law.N_opt(found.compute)), float(fit.law.E_opt(found.compute))
    end = SIZES[0] if n < SIZES[0] else SIZES[-1]
    assert 9.0 * end**0.7 * (n / end) * e == pytest.approx(flops, rel=1e-5)
    assert "nearest size" in found.conversion


def test_a_rate_of_the_users_own_replaces_the_sweeps(fit):
    found = flops_budget(fit.model_copy(update={"interaction_flops": None}), 6e15, per_param_interaction=6.0)
    assert found.compute == pytest.approx(1e15)
    assert "as given" in found.conversion


def test_gpu_hours_are_flops_at_the_attained_rate(fit):
    found = gpu_hours_budget(fit, 10, gpu_flops=1e14, utilization=0.3)
    assert found.flops == pytest.approx(10 * 3600 * 1e14 * 0.3)
    assert found.compute == pytest.approx(flops_budget(fit, found.flops).compute)
    assert "30% of 1e+14 FLOP/s" in found.conversion


def test_a_forecast_names_the_budget_that_bought_its_compute(fit):
    budget = flops_budget(fit, 1e18)
    first, second = forecast(fit, [1e13], budgets=[budget]).forecasts
    assert first.budget is None
    assert (second.budget, second.compute) == (budget, budget.compute)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_no_budget_is_refused(fit, value):
    with pytest.raises(InputError, match="flops must be a positive, finite number"):
        flops_budget(fit, value)
    with pytest.raises(InputError, match="hours must be a positive"):
        gpu_hours_budget(fit, value, gpu_flops=1e14, utilization=0.3)
    with pytest.raises(InputError, match="utilization must be above 0 and at most 1"):
        gpu_hours_budget(fit, 1.0, gpu_flops=1e14, utilization=value)
    with pytest.raises(InputError, match="per_param_interaction must be"):
        flops_budget(fit, 1e15, per_param_interaction=value)


def test_gpu_hours_without_a_rate_and_fits_without_flops_are_refused(fit):
    with pytest.raises(InputError, match="gpu_flops=1e14, utilization"):
        gpu_hours_budget(fit, 1.0, gpu_flops=None, utilization=0.3)
    with pytest.raises(InputError, match="This fit knows no FLOPs"):
        flops_budget(fit.model_copy(update={"interaction_flops": None}), 1e15)


ANY = st.one_of(st.floats(), st.floats(-330, 308).map(lambda exponent: 10.0**exponent))


@given(kind=st.sampled_from(["compute", "flops", "hours", "rate"]), value=ANY, cost=ANY)
@example(kind="compute", value=1e-320, cost=0.0)
@example(kind="compute", value=1e12, cost=1.7e308)
@example(kind="compute", value=MOST, cost=MOST)
@example(kind="compute", value=LEAST, cost=LEAST)
@example(kind="flops", value=MOST, cost=0.0)
@example(kind="hours", value=1e300, cost=0.0)
@example(kind="rate", value=1.7e308, cost=0.0)
def test_every_number_is_refused_in_a_sentence_or_gives_finite_figures(fit, kind, value, cost):
    def budgets() -> list:
        if kind == "flops":
            return [flops_budget(fit, value)]
        if kind == "hours":
            return [gpu_hours_budget(fit, value, gpu_flops=1e14, utilization=0.3)]
        return [gpu_hours_budget(fit, 10, gpu_flops=value, utilization=0.3)] if kind == "rate" else []

    refused = None
    try:
        found = forecast(fit, [value] if kind == "compute" else [], budgets=budgets(), env_cost=cost)
        json.dumps(found.model_dump(mode="json"), allow_nan=False)
    except InputError as error:
        refused = error
    codes = ("invalid_number", "below_one_parameter")
    assert refused is None or (refused.code in codes and "\n" not in str(refused))


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("bootstrap", "nu"),
        ("monotone_map", "return"),
        ("points", "E"),
        ("frontier", "N"),
        ("profile", "loss"),
    ],
)
def test_a_stored_fit_with_lists_of_different_lengths_is_refused(tmp_path, part, name):
    stored = json.loads((DATA / "mnist_width" / "fit.json").read_text())
    stored[part][name] = stored[part][name][:-1]
    (tmp_path / "fit.json").write_text(json.dumps(stored))
    with pytest.raises(
        InputError, match=rf"fit.json is damaged: field {part}: .*different lengths"
    ) as caught:
        read_fit(tmp_path / "fit.json")
    assert caught.value.code == "damaged_file"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda fit: fit["points"]["weight"].__setitem__(3, 0.0), "points: Value error, weight has values"),
        (lambda fit: fit["points"]["N"].__setitem__(0, -5.0), "points: Value error, N has values"),
        (lambda fit: fit["warnings"].pop(), "warnings and .* codes"),
    ],
)
def test_a_stored_fit_whose_points_or_warnings_make_no_sense_is_refused(tmp_path, spoil, words):
    stored = json.loads((DATA / "mnist_width" / "fit.json").read_text())
    spoil(stored)
    (tmp_path / "fit.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=words) as refused:
        read_fit(tmp_path / "fit.json")
    assert refused.value.code == "damaged_file"
