"""The page and the sentences of a comparison: what they say in each case, and that names are escaped."""

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticPair, SyntheticSweep
from rlscale.analysis.figures.compare import comparison_figure
from rlscale.analysis.formatting.compare import sentences
from rlscale.analysis.reports.compare import render_comparison, write_comparison
from rlscale.analysis.studies.compare.result import Comparison
from rlscale.analysis.studies.compare.study import CompareRecipes
from rlscale.scaling.errors import InputError


@pytest.fixture(scope="module")
def found() -> Comparison:
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(5)), points=30, noise=0.02)
    curves = SyntheticPair(sweep, factor=1.5).curves(np.random.default_rng(0))
    return CompareRecipes(replicates=20).fit(*curves, names=("<script>old", "new & $x^2$"))


def changed(found: Comparison, **parts: dict) -> Comparison:
    """The result with some fields of its parts, or of itself, replaced."""
    updates = {
        name: getattr(found, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return found.model_copy(update=updates)


def test_names_are_escaped_and_the_page_needs_nothing_else(found, tmp_path):
    paths = write_comparison(found, tmp_path / "page.html")
    page = paths.html.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;old" in page
    assert "new &amp; $x^2$" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert paths.png["comparison"].exists()
    with pytest.raises(InputError):
        write_comparison(found, tmp_path)


def test_the_page_holds_the_verdict_the_warnings_and_the_options(found):
    page = render_comparison(changed(found, warnings=["Odd."]), [])
    assert sentences(found)[0].partition(":")[0].replace("&", "&amp;") in page
    assert "<li>Odd.</li>" in page
    assert "replicates = 20" in page


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"interval": None}, "there is no verdict"),
        ({"verdict": "undecided"}, "No difference between"),
        ({"verdict": "depends"}, "It depends on the compute"),
        ({"crossing": {"where": "none"}}, "does not change within three decades"),
        (
            {"crossing": {"where": "above", "compute": 1e12}},
            "would change above the common returns, where new",
        ),
        (
            {"crossing": {"where": "within", "compute": 1e12, "return_": 0.5}},
            "changes within the data: at a return of 0.5",
        ),
        ({"power": {"more_seeds": 4}}, "it needs 4 more seeds of each size"),
        ({"power": {"more_seeds": 0}}, "seeds suffice"),
        ({"power": {"more_seeds": None}}, "no number of seeds shows"),
        ({"model": "ceiling", "ceiling": {"strength": -1.0, "return_": 0.7}}, "new & $x^2$ bends towards"),
        ({"growth": {"p_value": 0.5}}, "no change is seen"),
    ],
)
def test_each_case_has_its_sentence(found, parts, sentence):
    assert any(sentence in one for one in sentences(changed(found, **parts)))


def test_figures_draw_strange_names_and_no_measured_frontier(found):
    bare = changed(
        found, replicates=0, measured={name: np.array([]) for name in ("return_", "compute_b", "multiplier")}
    )
    for result in (found, bare):
        left, right = comparison_figure(result).axes
        assert left.get_xscale() == right.get_yscale() == "log"
        assert right.get_ylim()[0] < 1 < right.get_ylim()[1]
