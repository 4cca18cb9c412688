"""The report in a real browser: its calculator beside ``rlscale forecast``, its charts, its widths, its requests."""

import json
import math

import numpy as np
import pytest
from headless_browser import CHROMIUM, Browser

from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.budgets import flops_budget, gpu_hours_budget
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.reports.report import write_report
from rlscale.analysis.theory.delay import Delay

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the report with")

EQUAL = 1e-6


@pytest.fixture(scope="module")
def curves():
    """Returns that are shares, a delay of learning, and FLOPs of training: all that a forecast can depend on."""
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), noise=0.02, points=60)
    frame = curves_frame(sweep.curves(np.random.default_rng(0)))
    return curves_from_frame(frame.assign(flops_per_interaction=3e3 + 6.5 * frame["num_params"]))


@pytest.fixture(scope="module")
def fit(curves) -> FitResult:
    return JointScalingFit(replicates=40, seed=3).fit(curves)


@pytest.fixture(scope="module")
def page(curves, fit, tmp_path_factory):
    return write_report(curves, fit, tmp_path_factory.mktemp("page") / "report.html").html


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(page)
        yield opened


def differences(shown, meant, where=""):
    """Where two results differ by more than rounding, of the fields that the page computes."""
    if isinstance(shown, dict):
        return [text for name in shown for text in differences(shown[name], meant[name], f"{where}.{name}")]
    if isinstance(shown, list):
        pairs = enumerate(zip(shown, meant, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{where}[{i}]")]
    if shown is None or meant is None:
        return [] if shown is meant else [f"{where}: {shown} is not {meant}"]
    return [] if math.isclose(shown, meant, rel_tol=EQUAL, abs_tol=1e-12) else [f"{where}: {shown}, not {meant}"]


def asked(browser, call):
    return browser.evaluate(f"rlscale.{call}")


@pytest.mark.parametrize("env_cost", [None, 0.0, 2e4, 1e9])
@pytest.mark.parametrize("decades", [-4.0, -1.3, 0.0, 0.7, 2.0, 5.0])
def test_the_calculator_forecasts_what_the_command_does(browser, fit, decades, env_cost):
    compute = fit.compute_ref * 10**decades
    (meant,) = forecast(fit, [compute], env_cost=env_cost).model_dump(mode="json")["forecasts"]
    shown = asked(browser, f"forecast(rlscale.fit, {compute!r}, {json.dumps(env_cost)})")
    assert {"N_opt", "E_opt"} <= set(shown["intervals_total"])
    assert differences(shown, meant) == []


def test_budgets_in_flops_and_gpu_hours_are_converted_alike(browser, fit):
    for flops in (1e8, 1e12, 1e17):
        shown = asked(browser, f"flops_budget(rlscale.fit, {flops!r})")
        assert math.isclose(shown, flops_budget(fit, flops).compute, rel_tol=EQUAL)
        shown = asked(browser, f"flops_budget(rlscale.fit, {flops!r}, 6.5)")
        assert math.isclose(shown, flops_budget(fit, flops, per_param_interaction=6.5).compute, rel_tol=EQUAL)
    meant = gpu_hours_budget(fit, 0.5, gpu_flops=1e12, utilization=0.3).compute
    assert math.isclose(asked(browser, "gpu_hours_budget(rlscale.fit, 0.5, 1e12, 0.3)"), meant, rel_tol=EQUAL)


def test_what_a_return_takes_is_what_the_command_says(browser, fit):
    low, high = fit.monotone_map.return_[[0, -1]]
    for share in (0.0, 0.3, 0.71, 1.0):
        wanted = float(low + share * (high - low))
        (meant,) = forecast(fit, returns=[wanted]).model_dump(mode="json")["returns"]
        assert differences(asked(browser, f"at_return(rlscale.fit, {wanted!r})"), meant) == []
    assert asked(browser, f"at_return(rlscale.fit, {float(high) + 1!r})") is None
