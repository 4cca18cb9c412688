"""Means over seeds of trained transformers: rows, weights and intervals."""

import numpy as np
import pytest

from rlscale.analysis.figures.solvable.in_context_td import learned_figure
from rlscale.analysis.statistics.intervals import mean_interval
from rlscale.analysis.studies.solvable.in_context_td import (
    COLUMNS,
    LearnedResult,
    learned_result,
    learned_setting,
    scaled_weights,
)


def curve(seed, interactions):
    rng = np.random.default_rng(seed)
    found = {name: rng.uniform(0.1, 1, len(interactions)) for name in COLUMNS}
    return {"interactions": np.asarray(interactions), **found}


def setting(seeds=3, rows=250, **differing):
    rng = np.random.default_rng(9)
    at = 95 * np.arange(1, rows + 1)
    curves = [curve(seed, at[seed % 2 :]) for seed in range(seeds)]
    made = learned_setting(
        differing=differing,
        num_params=162,
        curves=curves,
        P=rng.normal(size=(seeds, 1, 9, 9)),
        Q=rng.normal(size=(seeds, 1, 9, 9)),
        trained_on=30,
        length=[1, 10, 30],
        error=rng.uniform(size=(seeds, 3)),
        reference_error=rng.uniform(size=(seeds, 3)),
    )
    return made, curves


def test_means_and_intervals_are_over_seeds_at_shared_rows():
    made, curves = setting()
    assert len(made.interactions) == 100
    assert made.interactions[0] == 190  # one curve has no row at 95
    assert made.interactions[-1] == 95 * 250
    for name in COLUMNS:
        ends = [each[name][-1] for each in curves]
        assert made.final[name].value == pytest.approx(np.mean(ends))
        assert made.final[name].interval == pytest.approx(mean_interval(ends))
        line = made.curves[name]
        k = 57
        there = [each[name][each["interactions"] == made.interactions[k]].item() for each in curves]
        assert line.mean[k] == pytest.approx(np.mean(there))
        assert (line.low[k], line.high[k]) == pytest.approx(mean_interval(there))


def test_weights_are_over_their_largest_entry_and_the_sign_of_the_corner():
    P = np.array([[[1.0, 0], [0, -4]], [[8.0, 0], [0, 2]]])
    Q = np.array([[[-2.0, 1], [0, 0]], [[0.5, 0], [0, 0.25]]])
    p, q = scaled_weights(P, Q)
    assert p.tolist() == [[[-0.25, 0], [0, 1]], [[1, 0], [0, 0.25]]]
    assert q.tolist() == [[[1, -0.5], [0, 0]], [[1, 0], [0, 0.5]]]


def test_one_seed_has_no_interval_and_is_warned_of():
    made, _ = setting(seeds=1)
    result = learned_result([made, setting()[0]])
    assert result.warning_codes == ["one_seed"]
    assert made.final["return_mean"].interval is None
    assert (made.error.low == made.error.mean).all()
    assert learned_result([setting()[0]]).warning_codes == []


def test_result_survives_json():
    result = learned_result([setting(layers="2")[0], setting(layers="4")[0]])
    assert LearnedResult.model_validate_json(result.model_dump_json()) == result


def test_figures_show_one_setting_in_parts_and_several_beside_each_other():
    one = learned_figure(learned_result([setting()[0]]))
    names = [ax.get_ylabel() for ax in one.axes]
    assert "Cosine with TD's" in names
    assert "Squared value difference" in names
    assert one.axes[0].get_images()[0].get_array().shape == (9, 9)
    several = learned_figure(learned_result([setting(layers=n)[0] for n in "248"]))
    (ax,) = several.axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "4", "8"]
    assert ax.get_xlabel() == "Layers"
