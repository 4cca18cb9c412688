"""The total interval of N_opt holds other choices of the analysis; forecasts say how far out they are."""

import numpy as np
import pytest

from rlscale.analysis.fit.findings import IsoflopVertex
from rlscale.analysis.fit.result import FitResult, read_fit
from rlscale.analysis.forecast.optimum import optimum_ends
from rlscale.analysis.forecast.result import ForecastResult
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.formatting.forecasts import identified_text, outside_parts, return_cell

COMPUTES = np.array([1e8, 1e12, 1e15])


@pytest.fixture(scope="module")
def fit() -> FitResult:
    stored = read_fit("data/mnist_width/fit.json")
    laws = stored.draw_laws()[:24]  # enough for an interval, and quick
    return stored.model_copy(update={"bootstrap": stored.bootstrap.of("seeds", laws)})


@pytest.fixture(scope="module")
def forecasts(fit) -> ForecastResult:
    """Before the data, within them, a little beyond, and far beyond."""
    return forecast(fit, [1e4, 1e9, 1e12, 1e16])


def width(ends) -> np.ndarray:
    return np.log(ends[1] / ends[0])


def test_the_total_interval_holds_the_draws_and_the_refits(fit):
    ends = optimum_ends(fit, COMPUTES)
    assert (ends.total[0] <= ends.plain[0]).all()
    assert (ends.total[1] >= ends.plain[1]).all()
    for refit in fit.exclusion_fits:
        n = refit.law(fit.compute_ref, fit.delay).N_opt(COMPUTES)
        assert (ends.total[0] <= n).all() and (n <= ends.total[1]).all()  # noqa: PT018
    assert optimum_ends(fit.model_copy(update={"bootstrap": fit.bootstrap.of("none", [])}), 1e9) is None


def test_the_law_without_a_delay_is_held_where_delays_were_weighed(fit):
    def with_optimum(value: float | None):
        delays = [one.model_copy(update={"N_opt_ref": value}) for one in fit.late_start.delays]
        late = fit.late_start.model_copy(update={"delays": delays})
        return optimum_ends(fit.model_copy(update={"late_start": late}), COMPUTES).total

    with_it = with_optimum(fit.N_opt_ref)
    plain_nu = next(one.nu for one in fit.late_start.delays if one.delay == 0)
    n = fit.N_opt_ref * (COMPUTES / fit.compute_ref) ** plain_nu
    assert (with_it[0] <= n * (1 + 1e-9)).all()
    assert (n <= with_it[1] * (1 + 1e-9)).all()
    assert (width(with_it) >= width(with_optimum(None))).all()


def test_parabolas_are_held_where_they_disagree_with_the_law_and_only_there(fit):
    line = [IsoflopVertex(compute=c, N=1e-3 * c**0.9, interval=None) for c in (1e8, 1e9, 1e10)]
    apart = fit.isoflop.model_copy(update={"vertices": line, "nu": 0.9, "p_value": 0.01})
    assert apart.N_opt(1e12) == pytest.approx(1e-3 * 1e12**0.9)
    held = optimum_ends(fit.model_copy(update={"isoflop": apart}), COMPUTES)
    assert held.total[1] == pytest.approx(1e-3 * COMPUTES**0.9)
    alike = apart.model_copy(update={"p_value": 0.5})
    same = optimum_ends(fit.model_copy(update={"isoflop": alike}), COMPUTES)
    assert same.total == pytest.approx(optimum_ends(fit, COMPUTES).total)


def test_a_forecast_says_what_lies_outside_the_data_and_what_earlier_ends_missed(fit, forecasts):
    _, inside, near, far = forecasts.forecasts
    assert outside_parts(inside) == []
    assert inside.earlier_ends is None
    assert outside_parts(near) == ["compute 0.9", "steps 0.7"]
    assert outside_parts(far) == ["compute 4.9", "size 0.4", "steps 3.2"]
    assert 0 < near.earlier_ends.median_absolute < far.earlier_ends.median_absolute < 0.1
    value, interval, missed = return_cell(near, between="|").split("|")
    assert (value[-1], interval[:2], missed.split()[0]) == ("*", "0.", "missed")
    assert return_cell(inside, between="|").count("|") == 1
    # A test reaches half of the span of the data.
    assert near.earlier_ends.tested_decades == pytest.approx(
        0.5 * np.log10(fit.range.C[1] / fit.range.C[0]), abs=0.05
    )
    assert forecasts.warning_codes.count("untested_extrapolation") == 1


def test_a_verdict_knows_how_far_the_question_is(forecasts):
    below, inside, near, far = forecasts.forecasts
    assert identified_text(True, []) == identified_text(True, [inside]) == "yes"
    assert identified_text(False, [far]) == "no"
    assert identified_text(True, [inside, near]).endswith("and tests on these data reach 1.9 decades.")
    assert "1e16 is 4.9 decades outside them, farther than the 1.9" in identified_text(True, [near, far])
    assert identified_text(True, [below]).endswith("which these data cannot test.")
