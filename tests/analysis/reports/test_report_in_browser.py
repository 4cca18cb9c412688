"""The report in a real browser: the calculator beside ``rlscale forecast``, charts, widths, requests."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from headless_browser import CHROMIUM, Browser

from rlscale.analysis.curves.load import curves_from_frame
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.bootstrap import Draws
from rlscale.analysis.fit.findings import InteractionFlops
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult, read_fit
from rlscale.analysis.forecast.budgets import flops_budget, gpu_hours_budget
from rlscale.analysis.forecast.sizes import forecast
from rlscale.analysis.formatting.numbers import compact_count, scientific, typeset_number
from rlscale.analysis.reports.calculator import calculator_data
from rlscale.analysis.reports.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open a report with")

DATA = Path(__file__).resolve().parents[3] / "data"
EQUAL = 1e-6
WAIT = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def curves():
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(5)), noise=0.02, points=50)
    return curves_from_frame(curves_frame(sweep.curves(np.random.default_rng(0))))


@pytest.fixture(scope="module")
def fit(curves) -> FitResult:
    sizes = curves.sizes
    known = InteractionFlops(N=sizes, flops=3e3 + 6.5 * sizes)
    fitted = JointScalingFit(replicates=40, check_replicates=20, seed=3).fit(curves)
    return fitted.model_copy(update={"interaction_flops": known})


@pytest.fixture(scope="module")
def page(curves, fit, tmp_path_factory) -> Path:
    return write_report(curves, fit, tmp_path_factory.mktemp("page") / "report.html").html


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(page)
        yield opened


@pytest.fixture
def wide(browser, page) -> Browser:
    """The page as it opens on a desk."""
    browser.open(page)
    return browser


def differences(shown, meant, where=""):
    """Where two results differ by more than rounding, in the fields that the page computes."""
    if isinstance(shown, dict):
        return [text for name in shown for text in differences(shown[name], meant[name], f"{where}.{name}")]
    if isinstance(shown, list):
        pairs = enumerate(zip(shown, meant, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{where}[{i}]")]
    if shown is None or meant is None:
        return [] if shown is meant else [f"{where}: {shown} is not {meant}"]
    near = math.isclose(shown, meant, rel_tol=EQUAL, abs_tol=1e-12)
    return [] if near else [f"{where}: {shown}, not {meant}"]


def few_draws(fit: FitResult, count: int) -> FitResult:
    """The fit with its first draws only."""
    drawn = fit.bootstrap
    delay = drawn.delay[:count]
    few = Draws(
        scheme=drawn.scheme,
        replicates=count,
        widening=drawn.widening,
        nu=drawn.nu[:count],
        k=drawn.k[:count],
        m=drawn.m[:count],
        delay_kind=drawn.delay_kind,
        delay=delay,
    )
    return fit.model_copy(update={"bootstrap": few})


def late() -> FitResult:
    sweep = SyntheticSweep(late_start=0.02, noise=0.02, points=50)
    return JointScalingFit(replicates=20, check_replicates=20).fit(sweep.curves(np.random.default_rng(1)))


FITS = {
    "returns that are shares, a soft start": lambda: few_draws(read_fit(DATA / "mnist_width/fit.json"), 30),
    "a start at once": late,
    "no draws": lambda: few_draws(read_fit(DATA / "cartpole_width/fit.json"), 0).model_copy(
        update={"intervals": {}, "intervals_total": {}}
    ),
}


@pytest.mark.parametrize("env_cost", [None, 0.0, 2e4, 1e9])
def test_the_calculator_forecasts_what_the_command_does(browser, fit, env_cost):
    computes = [fit.compute_ref * 10**decades for decades in (-4.0, -1.3, 0.0, 0.7, 2.0, 5.0)]
    result = forecast(fit, computes, env_cost=env_cost).model_dump(mode="json")
    ask = f"{computes}.map(compute => rlscale.forecast(rlscale.fit, compute, {json.dumps(env_cost)}))"
    shown = browser.evaluate(ask)
    assert {"N_opt", "E_opt"} == set(shown[0]["intervals_total"])
    assert [one["return"] is None for one in shown] == [True, False, False, False, True, True]
    assert differences(shown, result["forecasts"]) == []


@pytest.mark.parametrize("name", FITS)
def test_it_does_so_for_other_fits(browser, name):
    other = FITS[name]()
    computes = [other.compute_ref * 10**decades for decades in (-1.0, 0.3, 4.0)]
    low, high = other.monotone_map.return_[[0, -1]]
    result = forecast(other, computes, env_cost=1e4, returns=[0.4 * low + 0.6 * high]).model_dump(mode="json")
    shown = browser.evaluate(
        f"(fit => [{computes}.map(compute => rlscale.forecast(fit, compute, 1e4)), "
        f"rlscale.at_return(fit, {0.4 * low + 0.6 * high!r})])"
        f"(rlscale.read_fit({json.dumps(calculator_data(other))}))"
    )
    assert differences(shown, [result["forecasts"], result["returns"][0]]) == []


def test_budgets_in_flops_and_gpu_hours_are_converted_alike(browser, fit):
    for flops in (1e8, 1e12, 1e17):
        shown = browser.evaluate(f"rlscale.flops_budget(rlscale.fit, {flops!r})")
        assert math.isclose(shown, flops_budget(fit, flops).compute, rel_tol=EQUAL)
    shown = browser.evaluate("rlscale.flops_budget(rlscale.fit, 1e12, 6.5)")
    assert math.isclose(shown, flops_budget(fit, 1e12, per_param_interaction=6.5).compute, rel_tol=EQUAL)
    shown = browser.evaluate("rlscale.gpu_hours_budget(rlscale.fit, 0.5, 1e12, 0.3)")
    meant = gpu_hours_budget(fit, 0.5, gpu_flops=1e12, utilization=0.3).compute
    assert math.isclose(shown, meant, rel_tol=EQUAL)


def test_what_a_return_takes_is_what_the_command_says(browser, fit):
    low, high = fit.monotone_map.return_[[0, -1]]
    wanted = [float(low + share * (high - low)) for share in (0.0, 0.3, 0.71, 1.0)]
    result = forecast(fit, returns=wanted).model_dump(mode="json")
    shown = browser.evaluate(f"{wanted}.map(value => rlscale.at_return(rlscale.fit, value))")
    assert differences(shown, result["returns"]) == []
    assert browser.evaluate(f"rlscale.at_return(rlscale.fit, {float(high) + 1!r})") is None


def test_numbers_are_written_as_python_writes_them(browser):
    values = [0.5, 950, 8192, 999_500, 1_234_567, 4e9, 1e12, 6.4e12, 0.002, 1e4, 3.14159]
    for write in (compact_count, scientific, typeset_number):
        shown = browser.evaluate(f"{values}.map(value => rlscale.{write.__name__}(value))")
        assert shown == [write(value) for value in values]
    typed = ["1e9", " 2.5e-3", "10^9", "3 × 10^9", "", "-1", "1e99", "many"]
    assert browser.evaluate(f"{typed}.map(text => rlscale.typed_number(text))") == [
        1e9,
        2.5e-3,
        1e9,
        3e9,
        None,
        None,
        None,
        None,
    ]


def ask_form(browser, **fields) -> str:
    """What the form shows once it is filled in."""
    return browser.evaluate(
        f"""(() => {{
          const form = document.getElementById("calculator-form");
          for (const [name, value] of Object.entries({json.dumps(fields)})) form.elements[name].value = value;
          form.requestSubmit();
          return form.querySelector("output").innerText;
        }})()"""
    )


def test_the_form_answers_and_says_what_is_wrong(wide, fit):
    shown = ask_form(
        wide, budget="gpu-hours", value="10", gpu_flops="1e12", utilization="0.3", env_cost="1e6"
    )
    meant = gpu_hours_budget(fit, 10, gpu_flops=1e12, utilization=0.3)
    assert (
        "rlscale forecast FIT.json --gpu-hours 10 --gpu-flops 1e12 --utilization 0.3 --env-cost 1e6" in shown
    )
    assert f"At C = {wide.evaluate(f'rlscale.scientific({meant.compute!r}, 3)')}" in shown
    assert "of seeds alone" in shown
    assert "overspend" in shown
    assert "an extrapolation. Decades outside the data: compute" in ask_form(
        wide, budget="compute", value="10^18"
    )
    assert "lies outside the fitted map" in ask_form(wide, budget="return", value="1e6")
    assert "The budget must be a positive number" in ask_form(wide, budget="flops", value="ten")
    assert "at most 1" in ask_form(wide, budget="gpu-hours", value="10", utilization="30")
    assert wide.complaints() == []


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_nothing_overflows_and_every_figure_is_as_wide_as_the_text(browser, page, width, scheme):
    browser.open(page, width, prefers_color_scheme=scheme)
    browser.evaluate(WAIT)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    widths = browser.evaluate(
        """(() => {
          const text = document.querySelector("figcaption").getBoundingClientRect().width;
          const of = (one) => one.getBoundingClientRect().width / text;
          return [...document.querySelectorAll("figure")].map((figure) =>
            of(figure.querySelector(".uplot") ?? figure.querySelector(".panels")));
        })()"""
    )
    assert len(widths) == 7
    assert widths == pytest.approx([1] * 7, abs=0.01)
    dark, light = browser.evaluate(
        """(() => {
          const shown = getComputedStyle(document.body);
          const green = (colour) => Number(colour.match(/[0-9.]+/g)[1]);
          return [green(shown.backgroundColor), green(shown.color)];
        })()"""
    )
    assert (dark < light) == (scheme == "dark")
    assert browser.complaints() == []


def test_no_request_leaves_the_page(wide, page):
    asked = {address for address in wide.requests() if not address.startswith("data:")}
    assert asked == {page.as_uri(), "about:blank"} or asked == {page.as_uri()}
    # The page's own policy forbids it, whatever a name in it may try.
    refused = wide.evaluate(
        "new Promise(done => { const image = new Image(); image.onerror = () => done(true); "
        "image.onload = () => done(false); image.src = 'http://127.0.0.1:9/x.png'; })"
    )
    assert refused
    assert any("Content Security Policy" in text for text in wide.complaints())
    wide.events.clear()


def test_sizes_and_runs_are_switched_in_all_charts(wide):
    on = "rlscale.charts.map(chart => chart.layers.filter(layer => chart.is_on(layer)).length)"
    press = "document.querySelectorAll('.chip')[0].click()"
    before = wide.evaluate(on)
    wide.evaluate(press)
    without = wide.evaluate(on)
    # Learning curves, intrinsic performance, frontier and map show a size; the optimum is of all of them.
    assert [b - a > 0 for b, a in zip(before, without, strict=True)] == [True, True, True, False, True]
    assert wide.evaluate("document.querySelectorAll('.chip')[0].getAttribute('aria-pressed')") == "false"
    wide.evaluate(press)
    wide.evaluate("document.querySelector('.runs-shown').open = true")
    wide.evaluate(WAIT)
    shown = "(one => one.layers.filter(layer => layer.run && one.is_on(layer)).length)(rlscale.charts[0])"
    runs = wide.evaluate(shown)
    wide.evaluate("document.querySelector('.run-list input').click()")
    assert wide.evaluate(shown) == runs - 1 > 0


def test_a_pointer_reads_run_size_interactions_and_return_and_a_drag_enlarges(wide, curves):
    wide.evaluate("document.querySelector('.runs-shown').open = true")
    wide.evaluate("document.querySelector('#chart-learning_curves').scrollIntoView()")
    wide.evaluate(WAIT)
    place = wide.evaluate(
        """(() => {
          const chart = rlscale.charts[0];
          const layer = chart.layers.find((one) => one.run !== undefined);
          const i = layer.px.length - 1;
          const box = chart.plot.over.getBoundingClientRect();
          const [x, y] = [chart.plot.valToPos(layer.px[i], "x"), chart.plot.valToPos(layer.py[i], "y")];
          return { x: box.x + x, y: box.y + y, left: box.x, top: box.y };
        })()"""
    )
    point(wide, "mouseMoved", place["x"], place["y"])
    said = wide.evaluate("document.querySelector('#chart-learning_curves .tip').innerText")
    assert "run run-" in said
    assert "40k parameters" in said
    assert "E = " in said
    assert "return = " in said
    span = "(({ min, max }) => max - min)(rlscale.charts[0].plot.scales.x)"
    whole = wide.evaluate(span)
    left, top = place["left"] + 60, place["top"] + 40
    point(wide, "mousePressed", left, top)
    point(wide, "mouseMoved", left + 200, top + 120)
    point(wide, "mouseReleased", left + 200, top + 120)
    wide.evaluate(WAIT)
    assert wide.evaluate(span) < 0.6 * whole
    wide.evaluate("document.querySelector('#chart-learning_curves [aria-label=\"show all\"]').click()")
    assert wide.evaluate(span) == pytest.approx(whole)


def point(browser, kind, x, y):
    browser.send(
        "Input.dispatchMouseEvent",
        type=kind,
        x=x,
        y=y,
        button="left" if kind != "mouseMoved" else "none",
        buttons=0 if kind == "mouseReleased" else 1,
        clickCount=1,
    )


def test_headings_are_reached_from_the_contents_and_tables_name_their_cells(wide):
    missing = wide.evaluate(
        "[...document.querySelectorAll('.contents a')].filter(a => !document.querySelector(a.hash)).length"
    )
    assert missing == 0
    assert wide.evaluate("document.querySelectorAll('.contents a').length") >= 6
    unnamed = wide.evaluate(
        """[...document.querySelectorAll("table")].filter((table) => !table.caption ||
          [...table.querySelectorAll("th")].some((cell) => !cell.scope) ||
          [...table.tBodies[0].rows].some((row) => !row.querySelector("th[scope=row]"))).length"""
    )
    assert unnamed == 0
    described = wide.evaluate("[...document.querySelectorAll('figure [role=img]')].map(one => one.ariaLabel)")
    assert len(described) >= 7
    assert all(any(letter.isdigit() for letter in text) for text in described)


def test_the_page_prints_by_daylight_with_figures_in_place_of_charts(browser, page):
    browser.open(page, prefers_color_scheme="dark")
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('.chart')).display") == "none"
    assert browser.evaluate("getComputedStyle(document.querySelector('.panels.print')).display") == "flex"
    assert browser.pdf().startswith(b"%PDF")
