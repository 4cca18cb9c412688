"""``rlscale report`` as a user runs it: one file that needs no other, with the numbers of the fit."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from command_line import run
from PIL import Image

from rlscale.analysis.curves.load import curves_from_frame, load_curves, read_store_record
from rlscale.analysis.curves.synthetic import SyntheticSweep, curves_frame
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.reports.report import render, write_report
from rlscale.analysis.reports.text import round_computes, typeset
from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.schema import CURVE_SCHEMA

EVIL = "<script>alert('run')</script>"
NAMES = [
    "learning_curves",
    "intrinsic_performance",
    "compute_frontier",
    "optimal_size",
    "monotone_map",
    "residuals",
    "nu_uncertainty",
]
CHARTED = NAMES[:5]
VOID = {"meta", "br", "img", "input"}


class Page(HTMLParser):
    """Tags opened and closed in order, ids, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.unbalanced: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    sweep = SyntheticSweep(sizes=tuple(4e4 * 2.0 ** np.arange(6)), noise=0.02, points=60)
    return curves_frame(sweep.curves(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def source(frame, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "curves.csv"
    frame.assign(run_id=frame["run_id"].replace("run-0003", EVIL)).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def written(source) -> dict:
    """The report of the CSV by the command line: its paths, its page, and the fit in it."""
    out, fit_json = source.with_name("report.html"), source.with_name("fit.json")
    options = ["--bootstrap", 40, "--seed", 1, "--no-backtest", "--json", fit_json]
    done = run("report", source, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    page = out.read_text()
    return {
        "out": out,
        "fit_json": fit_json,
        "html": page,
        "page": Page(page),
        "fit": json.loads(fit_json.read_text()),
        "stdout": done.stdout,
    }


@pytest.fixture
def store(frame, tmp_path) -> RunStore:
    """A store with finished runs, one that failed with a hostile reason, and a hostile spec."""
    made = RunStore(tmp_path / "store", create=True)
    for seed, (run_id, rows) in enumerate(frame.groupby("run_id")):
        columns = {"task": "digits-bandit", "seed": seed, "num_params": int(rows["num_params"].iloc[0])}
        versions = {"torch": "9.9.9", "host": "secret-host"}
        config = {"seed": seed}
        done = RunRecord(
            sweep="width", run_id=run_id, status="done", config=config, columns=columns, provenance=versions
        )
        curve = {"sweep": "width", "run_id": run_id}
        curve |= {name: rows[name].to_numpy() for name in ("interactions", "return_mean")}
        table = pd.DataFrame(curve).astype({"interactions": "int64"}).reindex(columns=CURVE_SCHEMA.names)
        made.add_curve(done, pa.Table.from_pandas(table, CURVE_SCHEMA, preserve_index=False))
    claim = {"config": {}, "columns": {"num_params": 77, "seed": 9}, "provenance": {}, "host": "h", "pid": 1}
    made.claim("width", "broken", **claim)
    record = made.read_run("width", "broken")
    assert record is not None
    made.mark(record, "failed", EVIL)
    made.write_spec("width", {"name": "width", "comment": EVIL, "width": [0.25, 0.5]})
    return made


def test_the_page_is_well_formed_and_its_ids_are_unique(written):
    page = written["page"]
    assert page.unbalanced == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("figure") == len(NAMES)
    assert page.tags.count("svg") + page.tags.count("img") >= len(NAMES)


def test_the_page_needs_nothing_from_elsewhere(written):
    library = "/*! https://github.com/leeoniya/uPlot (v1.6.32) */"
    assert written["html"].count(library) == 1
    text = written["html"].replace(library, "")
    assert not re.search(r"https?:|src=\"(?!data:image/png)|@import|url\((?!#)", text)
    assert all(link.startswith("#") or link.startswith("data:image/png") for link in written["page"].links)
    assert "link" not in written["page"].tags


def test_a_browser_runs_no_script_but_those_of_the_page(written):
    """The policy names the hash of the one script; data are no script, and no name can end them."""
    scripts = re.findall(r"<script>(.*?)</script>", written["html"], re.S)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', written["html"])[1])
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "Permission is hereby granted, free of charge" in scripts[0]
    data = re.findall(r'<script type="application/json" id="([^"]*)">(.*?)</script>', written["html"], re.S)
    assert [name for name, _ in data] == ["chart-data", "calculator-data"]
    charts = json.loads(data[0][1])
    assert list(charts["charts"]) == CHARTED
    runs = [layer["run"] for layer in charts["charts"]["learning_curves"]["layers"] if "run" in layer]
    assert EVIL in runs
    assert len(runs) == written["fit"]["num_runs"]


def test_the_page_is_small(written):
    assert written["out"].stat().st_size < 1_000_000


def test_figures_keep_their_colours_by_names_that_a_dark_page_changes(written):
    used = set(re.findall(r"var\(--c([0-9a-f]{6})\)", written["html"]))
    light, dark = re.findall(r":root\{(--c[^}]*)\}", written["html"])
    for rules in (light, dark):
        assert used <= set(re.findall(r"--c([0-9a-f]{6}):#", rules))
    assert "--c1a1a1a:#1a1a1a" in light
    assert "--c1a1a1a:#1a1a1a" not in dark


def test_sentences_of_the_terminal_are_set_for_the_page():
    assert typeset("N_opt: nu = -0.1, a line of log(1 - R) in log I") == (
        "<i>N</i><sub>opt</sub>: ν = −0.1, a line of log(1 − <i>R</i>) in log <i>I</i>"
    )
    assert typeset("--cutoff-share 1e-05 of <menu>") == "--cutoff-share 1e-05 of &lt;menu&gt;"


def test_references_within_a_figure_lead_to_it(written):
    page = written["page"]
    wanted = {link[1:] for link in page.links if link.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", written["html"]))
    assert wanted <= set(page.ids)


def test_the_page_holds_the_numbers_of_the_fit(written):
    text, fit = written["page"].text, written["fit"]
    low, high = fit["intervals_total"]["nu"]
    assert f"{fit['nu']:.2f} [{low:.2f}, {high:.2f}]" in text
    for name in ("nu", "alpha_N", "alpha_E", "beta"):
        assert f"{fit[name]:.3f}" in text
        assert "{:.3f} to {:.3f}".format(*fit["intervals_total"][name]) in text
        assert "{:.3f} to {:.3f}".format(*fit["intervals"][name]) in text
    assert f"Identified: {'yes' if fit['identified'] else 'no'}" in text
    for warning in fit["warnings"]:
        assert typeset(warning).striptags() in text
    assert '"seed": 1' not in text
    assert "seed = 1" in text


def test_every_forecast_beyond_the_data_is_marked(written):
    rows = re.findall(
        r"<tr( class=\"extrapolated\")?><th scope=\"row\" class=\"n\">[^<]*10[⁰¹²³⁴⁵⁶⁷⁸⁹]+</th>.*?</tr>",
        written["html"],
        re.S,
    )
    assert rows.count(' class="extrapolated"') == 3
    assert rows.count("") >= 1
    assert written["page"].text.count("decades outside: compute ") == 3


def test_names_are_escaped(written):
    assert EVIL not in written["html"]
    assert "&lt;script&gt;alert(" in written["html"]
    assert EVIL in written["page"].text


def test_every_figure_lies_beside_the_page_fit_for_print(written):
    folder = written["out"].with_name("report_figures")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")
    )
    for name in NAMES:
        with Image.open(folder / f"{name}.png") as image:
            assert image.width >= 4 * 200
            assert min(image.info["dpi"]) >= 200
            grey = np.asarray(image.convert("L"))
        assert 0.005 < np.mean(grey < 200) < 0.6
        assert (folder / f"{name}.svg").read_text().lstrip().startswith("<?xml")


def test_the_command_says_what_it_found_and_wrote(written):
    assert "N_opt grows as C^" in written["stdout"]
    assert str(written["out"]) in written["stdout"]


def test_the_same_input_gives_the_same_bytes(source, written, tmp_path):
    out = tmp_path / "report.html"
    done = run("report", source, "--out", out, "--fit", written["fit_json"], "--no-backtest")
    assert done.returncode == 0, done.stderr
    assert out.read_text() == written["html"]
    for name in NAMES:
        for kind in ("svg", "png"):
            there = written["out"].with_name("report_figures") / f"{name}.{kind}"
            assert (tmp_path / "report_figures" / f"{name}.{kind}").read_bytes() == there.read_bytes()


def test_a_store_gives_spec_versions_and_runs_and_keeps_its_hosts_to_itself(store):
    curves = load_curves(store.location)
    fit = JointScalingFit(replicates=0).fit(curves)
    page = render(curves, fit, [], read_store_record(store.location))
    text = Page(page).text
    assert EVIL not in page
    assert EVIL in text
    assert '"width": [' in text
    assert "9.9.9" in text
    assert "broken" in text
    assert "failed" in text
    assert "secret-host" not in page
    assert "1 run was left out" in text
    assert "There are no intervals" in text


def test_a_doubtful_fit_says_so_before_its_numbers():
    sweep = SyntheticSweep(sizes=(4e4, 8e4, 1.6e5), max_interactions=1e5, noise=0.05, points=40)
    curves = sweep.curves(np.random.default_rng(0))
    fit = JointScalingFit(replicates=20).fit(curves)
    assert not fit.identified
    text = Page(render(curves, fit, [])).text
    assert text.index("do not determine") < text.index("The optimal size grows as")
    assert "Identified: no" in text


def test_a_heavy_figure_is_an_image_and_an_old_report_is_replaced_whole(frame, tmp_path):
    curves = curves_from_frame(frame)
    fit = JointScalingFit(replicates=0).fit(curves)
    (tmp_path / "r.html").write_text("old")
    page = Page(write_report(curves, fit, tmp_path / "r.html", max_inline_svg=1000).html.read_text())
    assert page.tags.count("img") == len(NAMES)
    images = [link for link in page.links if link.startswith("data:")]
    data = images[0].removeprefix("data:image/png;base64,")
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r_figures"]
    assert not list((tmp_path / "r_figures").glob(".*"))


def test_a_fit_of_other_curves_is_refused(frame, tmp_path):
    fit = JointScalingFit(replicates=0).fit(curves_from_frame(frame))
    fewer = curves_from_frame(frame[frame["run_id"] != "run-0000"])
    with pytest.raises(InputError, match="fit again"):
        write_report(fewer, fit, tmp_path / "r.html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "/nowhere/report.html"], "/nowhere/report.html cannot be written"),
        (["--out", "CSV/report.html"], "cannot be written"),
        (["--out", "FOLDER"], "is a folder"),
        (["--fit", "nowhere.json"], "nowhere.json cannot be read"),
        (["--fit", "FIT", "--seed", "2"], "--seed belongs to a new fit"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_status_2(source, written, tmp_path, arguments, message):
    named = {"CSV": str(source), "FIT": str(written["fit_json"]), "FOLDER": str(source.parent)}
    filled = [re.sub("^(CSV|FIT|FOLDER)", lambda m: named[m[0]], argument) for argument in arguments]
    out = [] if "--out" in arguments else ["--out", tmp_path / "r.html"]
    done = run("report", source, *filled, *out)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_round_computes_lie_within_the_data_and_up_to_three_decades_beyond(written):
    fit = JointScalingFit(replicates=0)
    curves = SyntheticSweep(points=40).curves(np.random.default_rng(0))
    result = fit.fit(curves)
    computes = round_computes(result)
    low, high = result.range.C
    assert computes == sorted(set(computes))
    assert sum(c > high for c in computes) == 3
    assert 1 <= sum(low <= c <= high for c in computes) <= 4
    assert max(computes) <= 1e3 * high
