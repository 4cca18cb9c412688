"""The study of the horizon: curves that follow the proposition give back its kappa and its shift."""

import json

import numpy as np
import pytest
from command_line import run
from horizon_sweep import KAPPA, LAST, LAW, growth, horizon_frame

from rlscale.analysis.curves.load import load_by_horizon
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.studies.horizon.crossings import SmoothCurve, pooled_sd, smooth_curves
from rlscale.analysis.studies.horizon.result import HorizonResult, read_horizon
from rlscale.analysis.studies.horizon.study import fit_horizons, study_horizons, with_predictions
from rlscale.scaling.errors import InputError

HORIZONS = (1.0, 8.0, 32.0)


def by_horizon(tmp_path, frame):
    path = tmp_path / "curves.parquet"
    frame.to_parquet(path)
    return load_by_horizon(path)


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> HorizonResult:
    """Without noise or bootstrap."""
    curves = by_horizon(tmp_path_factory.mktemp("exact"), horizon_frame(HORIZONS, points=60, last=10 * LAST))
    return study_horizons(curves, fit_horizons(curves, JointScalingFit(replicates=0)))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("noisy") / "curves.parquet"
    horizon_frame(HORIZONS, noise=0.05, points=50, last=10 * LAST).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def typed(source):
    """The study of noisy curves by the command line."""
    out = source.with_name("study.json")
    done = run("horizon", source, "--bootstrap", 20, "--predict", "1e4:8", "--json", out)
    assert done.returncode == 0, done.stderr
    return {"out": out, "stdout": done.stdout, "result": read_horizon(out)}


# -- levels -----------------------------------------------------------------------


def test_kappa_is_recovered_at_every_level_and_size(exact):
    assert len(exact.levels) == 3
    for study in exact.levels:
        assert study.common.kappa == pytest.approx(KAPPA, rel=0.01)
        assert study.common.power == pytest.approx(1.0, abs=0.01)
        for line in study.lines:
            assert line.kappa == pytest.approx(KAPPA, rel=0.05)
            assert line.r_squared > 0.999


def test_interactions_to_a_level_are_those_of_the_law(exact):
    """E at one horizon is m(h) times that at h = 1, size by size."""
    for study in exact.levels:
        at = {(cell.N, cell.horizon): cell.interactions for cell in study.crossings if cell.N}
        for (size, horizon), value in at.items():
            if value and at[size, 1.0]:
                assert value / at[size, 1.0] == pytest.approx(growth(horizon), rel=0.01)


def test_a_level_that_a_size_never_reaches_is_reported_and_not_made_up(exact):
    top = exact.levels[-1]
    missing = [cell for cell in top.crossings if cell.reason == "never reached"]
    assert missing
    assert all(cell.interactions is None for cell in missing)


def test_the_first_crossing_is_found_between_points():
    curve = SmoothCurve(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.4, 0.8, 0.5]))
    assert curve.crossing(0.6) == (pytest.approx(2.5), "")
    assert curve.crossing(0.9) == (None, "never reached")
    assert curve.crossing(-1.0) == (None, "reached before the first row")


def test_errors_are_pooled_within_groups():
    groups = [[1.0, 3.0], [10.0, 14.0, 12.0], [5.0], []]
    assert pooled_sd(groups) == pytest.approx(np.sqrt((2.0 + 8.0) / 3))
    assert pooled_sd([[1.0], [2.0]]) is None


def test_each_seed_has_a_curve_of_its_own(source):
    curves = load_by_horizon(source)[1.0]
    found = smooth_curves(curves)
    assert [one.size for one in found] == curves.sizes.tolist()
    assert all(len(one.seeds) == 2 for one in found)


# -- laws -------------------------------------------------------------------------


def test_the_optimum_moves_as_the_proposition_says_and_nu_stays(exact):
    for shift in exact.shifts:
        expected = growth(shift.horizon) ** -LAW.nu
        assert shift.ratio == pytest.approx(expected, rel=0.02)
        assert shift.predicted == pytest.approx(expected, rel=0.02)
    assert exact.nu_slope.per_decade == pytest.approx(0.0, abs=0.01)
    assert [fit.horizon for fit in exact.fits] == list(HORIZONS)


def test_predictions_are_the_interactions_of_the_true_optimum(exact):
    wanted = [(1e4, 1.0), (1e5, 32.0)]
    for item in with_predictions(exact, wanted).predictions:
        compute = item.N * np.exp(LAW.log_E_opt_of(np.log(item.N)))
        expected = compute / item.N * growth(item.horizon)
        assert item.interactions == pytest.approx(expected, rel=0.05)
        assert item.outside == []
    (far,) = with_predictions(exact, [(1e9, 512.0)]).predictions
    assert far.outside == ["size", "horizon"]


def test_with_seeds_everything_has_an_interval(typed):
    result = typed["result"]
    middle = result.levels[1]
    low, high = middle.common.intervals["kappa"]
    assert low < KAPPA < high
    assert all({"a", "b", "kappa"} <= set(line.intervals) for line in middle.lines)
    for shift in result.shifts:
        assert set(shift.intervals) == {"ratio", "predicted"}
    assert result.nu_slope.interval[0] < result.nu_slope.per_decade < result.nu_slope.interval[1]
    assert set(result.sample_law.intervals) == {"inherent", "kappa", "nu"}
    (prediction,) = result.predictions
    assert prediction.interval[0] < prediction.interactions < prediction.interval[1]


# -- the command ------------------------------------------------------------------


def test_the_command_prints_laws_levels_shift_and_prediction(typed):
    text = typed["stdout"]
    for word in (
        "Laws by horizon",
        "kappa = ",
        "m^-nu",
        "affine: p = ",
        "compute-optimal agent",
        "nu changes by",
    ):
        assert word in text
    assert max(map(len, text.splitlines()[:12])) <= 80


def test_a_stored_study_predicts_without_fitting_again(typed, tmp_path):
    out = tmp_path / "again.json"
    done = run("horizon", typed["out"], "--predict", "1e4:8", "--predict", "2e4:16", "--json", out)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(out.read_text())["predictions"]
    assert first == json.loads(typed["out"].read_text())["predictions"][0]
    assert second["horizon"] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["horizon", "STUDY", "--predict", "1e4"], "is not of the form N:h"),
        (["horizon", "STUDY", "--level", "0.5"], "--level belongs to a new study"),
        (["horizon", "CURVES", "--level", "7", "--bootstrap", "0"], "No size reaches a return of 7"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_status_2(typed, source, arguments, message):
    named = {"STUDY": str(typed["out"]), "CURVES": str(source)}
    done = run(*(named.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((0.0, 4.0), "A size must be positive"),
        ((float("inf"), 4.0), "A size must be positive"),
        ((1e4, 0.5), "A horizon must be 1 or more"),
        ((1e4, float("nan")), "A horizon must be 1 or more"),
    ],
)
def test_what_cannot_be_predicted_is_refused(exact, pair, message):
    with pytest.raises(InputError, match=message):
        with_predictions(exact, [pair])


def test_one_horizon_and_impossible_ones_are_refused(tmp_path, source):
    curves = load_by_horizon(source)
    with pytest.raises(InputError, match=r"has one horizon \(1\); a study of the horizon needs two or more"):
        fit_horizons({1.0: curves[1.0]}, JointScalingFit(replicates=0))
    with pytest.raises(InputError, match="horizons are 1 or more steps"):
        fit_horizons({0.5: curves[1.0], 2.0: curves[8.0]}, JointScalingFit(replicates=0))
    few = horizon_frame((1.0, 8.0), points=20)
    few = few[(few["horizon"] == 1.0) | (few["num_params"] < 5e3)]
    with pytest.raises(InputError, match=r"Horizon 8: .* has 2 sizes"):
        fit_horizons(by_horizon(tmp_path, few), JointScalingFit(replicates=0))


def test_a_study_of_another_version_is_refused(typed, tmp_path):
    value = {**json.loads(typed["out"].read_text()), "schema_version": 99}
    path = tmp_path / "other.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match="has schema_version 99, this version reads 1"):
        read_horizon(path)
