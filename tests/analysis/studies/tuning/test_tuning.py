"""Tuning of learning rates: the best rate and what is claimed of it, from scores and from a store."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.anova import AnovaRM

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.tuning import tuning_figure
from rlscale.analysis.formatting.tuning import heading
from rlscale.analysis.studies.tuning.final_spec import final_values
from rlscale.analysis.studies.tuning.rates import (
    best_for_all,
    best_rate,
    drift_of,
    is_flat,
    loss_at,
    next_rate,
    response_of,
    score_of,
    trend,
)
from rlscale.analysis.studies.tuning.study import read_study, study_json
from rlscale.scaling.costs.measure import Measured
from rlscale.scaling.costs.memory import MemoryNeed
from rlscale.scaling.errors import InputError, RlscaleError
from rlscale.sweeps.specs.plan import plan_sizes
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.specs.tuning_sweep import sizes_of, tuned_config, tuning_cost, tuning_sweep
from rlscale.sweeps.store.run_store import RunStore
from rlscale.terminal.tuning import study_lines, study_table

RATES = [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]
BASE = {"task": "digits-bandit", "interactions": 8000, "agent": {"minibatches": 4, "learning_rate": 1e-3}}


def rng(seed=0):
    return np.random.default_rng(seed)


def parabola(rates, optimum, *, top=0.9, bend=0.05):
    """Scores that fall by ``bend`` at a factor e from the optimum."""
    return top - bend * np.log(np.asarray(rates) / optimum) ** 2


def noisy(optimum, noise, generator, *, rates=RATES, seeds=3, bend=0.05):
    """Scores (rates, seeds) with noise, and with luck of each seed that all its rates share."""
    luck = 0.3 * generator.standard_normal(seeds)
    error = noise * generator.standard_normal((len(rates), seeds))
    return parabola(rates, optimum, bend=bend)[:, None] + luck + error


def spec_of(axes, tuning=None, base=BASE, **others):
    values = {"name": "s", "base": base, "axes": axes, **others}
    return parse_spec(values if tuning is None else {**values, "tuning": tuning}, source="s.yaml")


# -- the score of a run ----------------------------------------------------------------------


def test_the_score_is_the_mean_over_episodes_of_the_last_tenth():
    steps = np.arange(1, 101)
    episodes = rng().integers(0, 9, 100)
    returns = np.where(episodes > 0, rng(1).normal(size=100), np.nan)
    late = [(n, r) for e, n, r in zip(steps, episodes, returns, strict=True) if e > 90 and n]
    assert score_of(steps, episodes, returns) == pytest.approx(
        sum(n * r for n, r in late) / sum(n for n, _ in late)
    )


def test_the_score_of_a_part_is_that_of_the_shorter_run():
    steps = np.arange(1, 101)
    returns = rng().normal(size=100)
    ones = np.ones(100)
    assert score_of(steps, ones, returns, share=0.5) == score_of(steps[:50], ones[:50], returns[:50])


@pytest.mark.parametrize("returns", [[], [math.nan], [0.5, math.nan]])
def test_without_an_episode_at_the_end_there_is_no_score(returns):
    steps = 100 * np.arange(1, len(returns) + 1)
    assert math.isnan(score_of(steps, [0 if math.isnan(r) else 5 for r in returns], returns))


# -- the best rate ---------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.3, 1.5), min_size=2, max_size=7),
    st.integers(0, 5),
    st.floats(-0.39, 0.39),
    st.floats(0.01, 10.0),
)
def test_without_noise_the_vertex_of_a_parabola_is_found(steps, which, shift, bend):
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    at = 1 + which % (len(logs) - 2)
    optimum = logs[at] + shift * (logs[at + 1] - logs[at] if shift > 0 else logs[at] - logs[at - 1])
    rates, scores = 1e-4 * np.exp(logs), 0.9 - bend * (logs - optimum) ** 2
    response = response_of(rates, scores[:, None], rng())
    found = best_rate(response)
    assert found.refined
    assert found.edge is None
    assert found.rate == pytest.approx(1e-4 * math.exp(optimum), rel=1e-4)
    assert found.score == pytest.approx(0.9, abs=1e-4 * bend)


def test_a_neighbour_that_collapsed_moves_the_best_rate_less_than_half_a_step():
    scores = parabola(RATES, 2e-3)
    scores[3:] = 0.1
    found = best_rate(response_of(RATES, np.stack([scores, scores], axis=1), rng()))
    assert found.rate == pytest.approx(2e-3 * 2**-0.4, rel=1e-4)
    assert scores[2] < found.score < 2 * scores[2] - scores[1]
    assert found.interval == pytest.approx((2e-3 * 2**-0.5, found.rate), rel=1e-4)


@pytest.mark.parametrize(("seeds", "noise"), [(2, 0.01), (3, 0.01), (3, 0.05), (5, 0.03)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, noise):
    generator = rng(3)
    held, held_loss, trials = 0, 0, 250
    for _ in range(trials):
        optimum = float(np.exp(generator.uniform(np.log(RATES[1]), np.log(RATES[3]))))
        response = response_of(RATES, noisy(optimum, noise, generator, seeds=seeds), generator)
        found = best_rate(response)
        held += found.interval[0] <= optimum <= found.interval[1]
        loss = loss_at(response, found, RATES[2])
        held_loss += loss.interval[0] <= 0.05 * math.log(RATES[2] / optimum) ** 2 <= loss.interval[1]
    assert 0.83 <= held / trials <= 0.97
    assert 0.82 <= held_loss / trials <= 0.97


def test_the_interval_of_a_loss_is_students_over_paired_seeds():
    scores = noisy(2e-3, 0.02, rng(1), rates=RATES[:2], seeds=4)
    response = response_of(RATES[:2], scores, rng())
    loss = loss_at(response, best_rate(response), RATES[0])
    differences = scores[1] - scores[0]
    expected = scipy.stats.t.interval(0.9, 3, differences.mean(), scipy.stats.sem(differences))
    assert loss.loss == pytest.approx(differences.mean())
    assert loss.interval == pytest.approx(expected, abs=0.05 * (expected[1] - expected[0]))


def test_what_makes_a_seed_good_at_every_rate_is_not_noise():
    scores = noisy(2e-3, 0.02, rng(1))
    shifted = scores + np.array([5.0, -3.0, 100.0])
    one, other = (best_rate(response_of(RATES, each, rng())) for each in (scores, shifted))
    assert one.rate == pytest.approx(other.rate, rel=1e-4)
    assert one.interval == pytest.approx(other.interval, rel=1e-4)


def test_the_unit_of_the_score_does_not_matter():
    scores = noisy(2e-3, 0.02, rng(1))
    one, other = (best_rate(response_of(RATES, each, rng())) for each in (scores, 40 * scores - 7))
    assert one.rate == pytest.approx(other.rate, rel=1e-4)
    assert one.interval == pytest.approx(other.interval, rel=1e-4)


def test_more_noise_makes_wider_intervals_and_never_leaves_the_grid():
    found = [best_rate(response_of(RATES, noisy(2e-3, noise, rng(1)), rng())) for noise in (0.001, 0.01, 1.0)]
    widths = [math.log(each.interval[1] / each.interval[0]) for each in found]
    assert widths == sorted(widths)
    assert all(RATES[0] <= each.interval[0] <= each.interval[1] <= RATES[-1] for each in found)


@pytest.mark.parametrize(("optimum", "edge", "rate"), [(1e-5, "low", RATES[0]), (1.0, "high", RATES[-1])])
def test_a_best_rate_at_an_end_of_the_grid_is_marked(optimum, edge, rate):
    found = best_rate(response_of(RATES, noisy(optimum, 0.001, rng()), rng()))
    assert (found.edge, found.refined, found.rate) == (edge, False, rate)
    assert rate in found.interval


def test_the_next_rate_continues_the_grid():
    assert next_rate(RATES, "high") == 0.016
    assert next_rate(RATES, "low") == 2.5e-4
    assert next_rate([1e-4, 3e-4, 1e-3], "high") == 3.33e-3


def test_a_rate_at_which_one_seed_diverged_is_worse_than_all():
    scores = noisy(4e-3, 0.001, rng())
    scores[3, 1] = -np.inf  # the best rate, of one seed
    scores[4] = -np.inf
    found = best_rate(response := response_of(RATES, scores, rng()))
    assert (found.rate, found.edge, found.refined) == (2e-3, None, False)
    # Only that the next rate diverged bounds it: the interval reaches half of the way, in logarithms.
    assert found.interval[1] == pytest.approx(math.sqrt(2e-3 * 4e-3), rel=1e-4)
    loss = loss_at(response, found, 4e-3)
    assert (loss.score, loss.loss, loss.interval) == (-np.inf, np.inf, None)


def test_a_seed_that_collapsed_makes_its_rate_no_likelier_to_be_the_best():
    scores = noisy(1.5e-3, 0.002, rng())
    usual = best_rate(response_of(RATES, scores, rng()))
    for seeds in ([1], [0, 2]):
        collapsed = scores.copy()
        collapsed[4, seeds] = -1.0  # finite scores, but nothing was learned
        response = response_of(RATES, collapsed, rng())
        assert best_rate(response).interval == pytest.approx(usual.interval, rel=1e-3)
        assert not is_flat(response)
        # What the rate costs counts all its seeds.
        loss = loss_at(response, usual, RATES[4])
        assert loss.score == pytest.approx(collapsed[4].mean())
        assert loss.interval[1] - loss.interval[0] > 1


def test_where_every_rate_diverged_or_none_is_measured_there_is_no_best_rate():
    assert best_rate(response_of(RATES, np.full((5, 2), -np.inf), rng())) is None
    assert best_rate(response_of(RATES, np.full((5, 2), np.nan), rng())) is None


def test_one_seed_gives_an_estimate_but_no_interval():
    response = response_of(RATES, parabola(RATES, 2e-3)[:, None], rng())
    assert best_rate(response).interval is None
    assert loss_at(response, best_rate(response), 1e-3).interval is None


@pytest.mark.parametrize(("noise", "flat"), [(1e-3, False), (1.0, True)])
def test_rates_are_told_apart_as_an_analysis_of_variance_has_it(noise, flat):
    scores = noisy(2e-3, noise, rng(2))
    rate, seed = np.indices(scores.shape)
    frame = pd.DataFrame({"score": scores.ravel(), "rate": rate.ravel(), "seed": seed.ravel()})
    table = AnovaRM(frame, "score", "seed", within=["rate"]).fit().anova_table
    assert is_flat(response_of(RATES, scores, rng())) == flat == (table["Pr > F"].iloc[0] > 0.1)


def test_rates_are_called_apart_by_noise_alone_in_one_case_of_ten():
    generator = rng(5)
    flat = [is_flat(response_of(RATES, generator.normal(size=(5, 3)), generator)) for _ in range(300)]
    assert 0.84 <= np.mean(flat) <= 0.96
    assert is_flat(response_of(RATES, np.ones((5, 3)), generator))


def test_of_one_measured_rate_no_more_than_its_score_is_known():
    scores = np.full((5, 2), np.nan)
    scores[1] = 0.5, 0.7
    response = response_of(RATES, scores, rng())
    found = best_rate(response)
    assert (found.rate, found.score, found.refined) == (RATES[1], pytest.approx(0.6), False)
    assert loss_at(response, found, RATES[1]).loss == 0
    assert loss_at(response, found, RATES[2]) is None


@pytest.mark.parametrize("edge", [0, -1])
def test_rates_of_many_digits_are_themselves_again(edge):
    rates = [1.23456789e-3, 2.345678912e-3, 3.45678912e-3]
    found = best_rate(response := response_of(rates, noisy(rates[edge], 1e-4, rng(), rates=rates), rng()))
    assert found.rate == pytest.approx(rates[edge], rel=1e-9)
    assert loss_at(response, found, rates[edge]).loss == pytest.approx(0.0, abs=1e-9)


def test_missing_runs_leave_out_a_rate_or_a_seed():
    scores = noisy(2e-3, 0.001, rng(), seeds=3)
    scores[4] = np.nan
    scores[0, 2] = np.nan
    response = response_of(RATES, scores, rng())
    assert len(response.log_rates) == 4
    assert response.draws is not None  # two seeds have the four rates
    scores[1, 1] = np.nan
    assert response_of(RATES, scores, rng()).draws is None


def test_a_loss_is_read_off_between_the_rates_but_not_beyond_them():
    response = response_of(RATES, noisy(2e-3, 0.001, rng()), rng())
    found = best_rate(response)
    for rate in (*RATES, 1.3e-3, 7e-3):
        loss = loss_at(response, found, rate)
        assert loss.score == pytest.approx(np.interp(math.log(rate), response.log_rates, response.means))
        assert loss.loss == pytest.approx(found.score - loss.score)
    assert loss_at(response, found, 4e-4) is None
    assert loss_at(response, found, 9e-3) is None


# -- several sizes ---------------------------------------------------------------------------


def test_one_rate_for_all_sizes_is_the_one_with_the_least_mean_loss():
    optima = [1e-3, 1.3e-3, 5e-3]
    responses = [response_of(RATES, noisy(optimum, 1e-6, rng(i)), rng()) for i, optimum in enumerate(optima)]
    one = best_for_all(responses, [best_rate(each) for each in responses], RATES)
    losses = {rate: [0.05 * math.log(rate / optimum) ** 2 for optimum in optima] for rate in RATES}
    expected = min(losses, key=lambda rate: sum(losses[rate]))
    assert one.rate == expected
    assert one.loss == pytest.approx(np.mean(losses[expected]), abs=1e-4)
    assert (one.worst, one.worst_at) == (pytest.approx(max(losses[expected]), abs=1e-4), 2)
    assert one.interval[0] <= one.loss <= one.interval[1]


def test_a_rate_that_diverged_at_one_size_can_not_serve_all():
    scores = noisy(2e-3, 0.001, rng())
    worse = scores.copy()
    worse[2:] = -np.inf
    responses = [response_of(RATES, each, rng()) for each in (scores, worse)]
    assert best_for_all(responses, [best_rate(each) for each in responses], RATES).rate == RATES[1]
    worse[:] = -np.inf
    worse[4] = 1.0
    broken = [responses[0], response_of(RATES[:4], worse[:4], rng())]
    assert best_for_all(broken, [best_rate(responses[0])] * 2, RATES) is None


def bests_at(rates):
    """Best rates of one seed each, of which no draws are known."""
    found = best_rate(response_of(RATES, parabola(RATES, 2e-3)[:, None], rng()))
    return [replace(found, rate=float(rate)) for rate in rates]


def test_the_trend_is_that_of_least_squares():
    widths = np.array([0.1, 0.2, 0.5, 1.0, 3.0])
    rates = 1e-3 * widths**0.3 * np.exp(0.1 * rng().standard_normal(5))
    found = trend(widths, bests_at(rates), ["one"] * 5)
    line = scipy.stats.linregress(np.log(widths), np.log(rates))
    half = scipy.stats.t.ppf(0.95, 3) * line.stderr
    assert found.exponent == pytest.approx(line.slope)
    assert found.interval == pytest.approx((line.slope - half, line.slope + half))


def test_the_trend_gives_each_group_a_factor_of_its_own():
    widths = [0.1, 0.2, 0.4] * 2
    rates = [0.01 * w**-0.5 for w in widths[:3]] + [7.0 * w**-0.5 for w in widths[3:]]
    found = trend(widths, bests_at(rates), [1, 1, 1, 64, 64, 64])
    assert found.exponent == pytest.approx(-0.5)
    assert found.interval == pytest.approx((-0.5, -0.5))


@pytest.mark.parametrize("groups", [[1, 1], [1, 2], [1, 2, 3, 4]])
def test_there_is_no_trend_without_a_degree_of_freedom(groups):
    assert trend(np.arange(1, len(groups) + 1), bests_at(np.ones(len(groups))), groups) is None


def test_the_trend_is_no_surer_than_the_rates_that_it_is_drawn_through():
    widths = [0.1, 0.2, 0.4, 0.8]
    draws = np.log(1e-3) + 0.5 * rng().standard_normal((4, 4000))
    bests = [replace(best, draws=drawn) for best, drawn in zip(bests_at([1e-3] * 4), draws, strict=True)]
    found = trend(widths, bests, ["one"] * 4)
    half = 1.645 * 0.5 / math.sqrt(np.sum((np.log(widths) - np.log(widths).mean()) ** 2))
    assert found.exponent == pytest.approx(0.0, abs=1e-12)
    assert found.interval == pytest.approx((-half, half), rel=0.1)


def test_the_drift_is_the_mean_change_with_students_interval():
    early, late = np.array([1e-3, 2e-3, 4e-3]), np.array([0.8e-3, 1.9e-3, 3.1e-3])
    found = drift_of(early, late)
    change = np.log(late / early)
    expected = np.exp(scipy.stats.t.interval(0.9, 2, change.mean(), scipy.stats.sem(change)))
    assert found.factor == pytest.approx(math.exp(change.mean()))
    assert found.interval == pytest.approx(tuple(expected))
    assert drift_of([1e-3], [1e-3]) is None


# -- the spec --------------------------------------------------------------------------------


def test_a_range_is_spaced_in_logarithms_and_a_finer_one_keeps_its_rates():
    ranges = [{"low": 1e-4, "high": 1e-2, "points": points} for points in (5, 9)]
    few, many = (spec_of({"width": [0.1]}, {"learning_rate": each}).tuning.learning_rate for each in ranges)
    assert few == (1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2)
    assert set(few) < set(many)


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ({"rates": [1e-3]}, "unknown key 'tuning.rates'; known here: learning_rate, interactions, seeds"),
        ({"learning_rate": 1e-3}, "give a list of rates, or a range"),
        ({"learning_rate": [1e-3]}, "at least two rates"),
        ({"learning_rate": [1e-3, 1e-3]}, "a rate is given twice"),
        ({"learning_rate": [0, 1e-3]}, "greater than 0"),
        ({"learning_rate": {"low": 1e-3}}, "'high' is missing"),
        ({"learning_rate": {"low": 1e-2, "high": 1e-3}}, "'high' of the range must be above its 'low'"),
        ({"learning_rate": {"low": 1e-3, "high": 1, "steps": 3}}, "unknown key 'steps'"),
        ({"interactions": 50_000}, "'tuning.interactions'"),
        ({"seeds": []}, "'tuning.seeds'"),
        ({"seeds": [1, 1]}, "a seed is given twice"),
    ],
)
def test_a_wrong_block_is_refused_in_one_sentence(tuning, words):
    with pytest.raises(InputError) as caught:
        spec_of({"width": [0.1]}, tuning)
    assert str(caught.value).startswith("s.yaml: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("axis", ["learning_rate", "agent.learning_rate"])
def test_the_learning_rate_is_an_axis_or_tuned_not_both(axis):
    with pytest.raises(InputError, match="is an axis and is tuned"):
        spec_of({axis: [1e-3]}, {"learning_rate": RATES})
    with pytest.raises(InputError, match="the axis 'agent' holds the learning rate"):
        spec_of({"agent": [{"clip": 0.1}]}, {"learning_rate": RATES})


def test_the_stored_form_of_a_spec_keeps_its_tuning():
    spec = spec_of({"width": [0.1]}, {"learning_rate": {"low": 1e-4, "high": 1e-2}, "seeds": [4]})
    assert parse_spec(json.loads(json.dumps(spec.model_dump(mode="json"))), source="stored") == spec


WIDTHS = st.lists(st.sampled_from([0.05, 0.1, 0.2, 1, 2]), min_size=1, max_size=3, unique=True)
HORIZONS = st.lists(st.sampled_from([1, 4, 16]), min_size=1, max_size=2, unique=True)
SEEDS = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)


@st.composite
def specs(draw):
    """Specs whose sizes vary in width, horizon and length: alone, together, or together with the seed."""
    widths, horizons, seeds = draw(WIDTHS), draw(HORIZONS), draw(SEEDS)
    lengths = [1000 * (i + 1) for i in range(len(widths))]
    sized = {"width": widths, "interactions": lengths} if draw(st.booleans()) else {"width": widths}
    groups = [sized]
    if draw(st.booleans()):
        groups.append({"horizon": horizons})
    seeding = draw(st.sampled_from(["alone", "with the sizes", "not at all"]))
    if seeding == "alone":
        groups.insert(draw(st.integers(0, len(groups))), {"seed": seeds})
    elif seeding == "with the sizes":
        repeated = {name: [v for v in values for _ in seeds] for name, values in sized.items()}
        groups[0] = {**repeated, "seed": seeds * len(widths)}
    tuning = {"learning_rate": RATES[:3], "seeds": draw(SEEDS), "interactions": draw(st.floats(0.01, 1))}
    return spec_of(groups, tuning)


@settings(deadline=None, max_examples=60)
@given(specs())
def test_the_tuning_sweep_has_each_size_at_each_rate_and_seed(spec):
    sizes = sizes_of(spec)
    wanted = {
        tuned_config(size, spec.tuning, rate, seed).run_id
        for size in sizes
        for rate in spec.tuning.learning_rate
        for seed in spec.tuning.seeds
    }
    sweep = tuning_sweep(spec)
    assert sweep.name == "s-tuning"
    assert {config.run_id for config in expand(sweep)} == wanted
    assert len(wanted) == len(sizes) * 3 * len(spec.tuning.seeds)
    shortest = {round(spec.tuning.interactions * config.interactions) for config in expand(spec)}
    assert {config.interactions for config in expand(sweep)} == {max(1, length) for length in shortest}


@settings(deadline=None, max_examples=60)
@given(specs(), st.integers(0, 1000))
def test_the_final_spec_has_the_runs_of_the_first_but_for_the_rates(empty_store, spec, seed):
    study = made_up_study(spec, empty_store, rng(seed))
    values = yaml.safe_load(yaml.safe_dump(final_values(spec, study)))
    final = parse_spec(values, source="final.yaml")
    assert (final.name, final.tuning, final.resources) == (spec.name, None, spec.resources)
    rates = {result.size.config.run_id: float(f"{result.best.rate:.3g}") for result in study.sizes}
    wanted = set()
    for config in expand(spec):
        rate = rates[config.model_copy(update={"seed": 0}).run_id]
        agent = config.agent.model_copy(update={"learning_rate": rate})
        wanted.add(config.model_copy(update={"agent": agent}).run_id)
    assert {config.run_id for config in expand(final)} == wanted


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    return RunStore(tmp_path_factory.mktemp("empty"))


def made_up_study(spec, store, generator):
    """The study of an empty store, with a best rate put in its place for each size."""
    study = read_study(spec, store)
    found = best_rate(response_of(RATES, noisy(2e-3, 0.001, generator), generator))
    drawn = [replace(found, rate=float(rate)) for rate in 10 ** generator.uniform(-5, -1, len(study.sizes))]
    sizes = [replace(size, best=best) for size, best in zip(study.sizes, drawn, strict=True)]
    return replace(study, sizes=tuple(sizes))


def test_without_rates_the_final_spec_is_the_spec():
    spec = spec_of({"width": [0.1, 0.2], "seed": [0, 1]}, {"seeds": [7]}, resources={"num_gpus": 0.5})
    final = parse_spec(final_values(spec, None), source="final.yaml")
    assert expand(final) == expand(spec)
    assert (final.tuning, final.resources) == (None, spec.resources)


def test_the_cost_is_that_of_the_tuning_sweep():
    spec = spec_of({"width": [0.1, 0.2], "seed": [0, 1, 2]}, {"learning_rate": RATES, "seeds": [0, 1]})
    measured = Measured({"num_params": 1, "flops_per_interaction": 10.0}, MemoryNeed(*[1] * 7))
    cost = tuning_cost(spec, plan_sizes(expand(spec), lambda config: measured))
    runs = expand(tuning_sweep(spec))
    assert cost.runs == len(runs) == 20
    assert cost.interactions == sum(config.interactions for config in runs)
    assert cost.flops == pytest.approx(10.0 * cost.interactions)
    assert tuning_cost(spec_of({"width": [0.1]}, {}), []) is None


# -- from a store ----------------------------------------------------------------------------


@pytest.fixture
def fill(store, claim):
    """Store a run for each rate, seed and size: ``score_of_run(size, rate, seed)`` is its constant return.

    None leaves the run out, a text makes it fail with this code.
    """

    def write(spec, score_of_run):
        for size in sizes_of(spec):
            for rate in spec.tuning.learning_rate:
                for seed in spec.tuning.seeds:
                    config = tuned_config(size, spec.tuning, rate, seed)
                    score = score_of_run(size, rate, seed)
                    if score is not None:
                        put(config, score)
        return read_study(spec, store)

    def put(config, score):
        writer = claim(
            store, config.run_id, sweep="s-tuning", config=config.model_dump(mode="json"), columns={}
        )
        if isinstance(score, str):
            writer.fail("why", code=score)
            return
        length = config.interactions
        rows = [row(round(length * part / 4), score if part == 4 else 0.0) for part in (1, 2, 3, 4)]
        writer.write_segment(0, rows, b"", interactions=length, wall_seconds=1.0)
        writer.finish()

    def row(interactions, mean):
        return {
            "interactions": interactions,
            "episodes": 10,
            "return_mean": mean,
            "return_std": 0.0,
            "episode_length_mean": 1.0,
            "wall_seconds": 1.0,
            "train_flops": 1.0,
        }

    return write


def clean(optimum):
    """The score of a run by a parabola about ``optimum(config)``, the seeds almost alike."""

    def score(size, rate, seed):
        noise = 1e-3 * rng([seed, round(1e6 * rate)]).standard_normal()
        return float(parabola(rate, optimum(size.config))) + noise

    return score


def test_several_axes_get_a_rate_for_each_combination(fill):
    axes = {"width": [0.05, 0.1, 0.2], "horizon": [1, 16], "seed": [0, 1, 2, 3]}
    spec = spec_of(axes, {"learning_rate": RATES, "seeds": [0, 1, 2]})
    best = {1: 1.2e-3, 16: 3e-3}
    study = fill(spec, clean(lambda config: best[config.agent.horizon] * (config.model.width / 0.1) ** 0.2))
    assert study.num_missing == 0
    for result in study.sizes:
        config = result.size.config
        assert result.best.rate == pytest.approx(
            best[config.agent.horizon] * (config.model.width / 0.1) ** 0.2, rel=0.05
        )
        assert result.best.interval[0] <= result.best.rate <= result.best.interval[1]
        assert result.rule.score == pytest.approx(result.best.score - result.rule.loss)
        assert result.num_params == 100
    low, high = study.trends["width"].interval
    assert low <= 0.2 <= high
    assert study.trends["horizon"].exponent == pytest.approx(math.log(3 / 1.2) / math.log(16), abs=0.05)
    values = final_values(spec, study)
    table = list(
        zip(*(values["axes"][0][name] for name in ("width", "horizon", "learning_rate")), strict=True)
    )
    assert [(width, horizon) for width, horizon, _ in table] == [
        (w, h) for w in axes["width"] for h in axes["horizon"]
    ]
    assert values["axes"][1] == {"seed": [0, 1, 2, 3]}
    for result, (_, _, rate) in zip(study.sizes, table, strict=True):
        assert rate == float(f"{result.best.rate:.3g}")
    assert "width 0.05, horizon 16: " in heading(study)


def test_a_diverged_run_counts_as_worst_and_one_that_failed_otherwise_as_missing(fill):
    spec = spec_of({"width": [0.1]}, {"learning_rate": RATES, "seeds": [0, 1]})
    codes = {8e-3: "non_finite_loss", 5e-4: "worker_died"}
    score = clean(lambda config: 2e-3)
    study = fill(spec, lambda size, rate, seed: codes.get(rate) or score(size, rate, seed))
    (result,) = study.sizes
    assert np.isneginf(result.scores[4]).all()
    assert np.isnan(result.scores[0]).all()
    assert study.num_missing == 2
    assert result.best.rate == pytest.approx(2e-3, rel=0.05)
    assert any("at learning_rate 0.008 a loss was not finite" in text for text in study.warnings)
    assert any("2 of 10 runs are not done" in text for text in study.warnings)


@pytest.mark.parametrize(
    ("optimum", "tuning", "words"),
    [
        (1.0, {}, "Every size: the best rate is the largest of the grid; extend the grid to 0.016."),
        (1e-6, {}, "Every size: the best rate is the smallest of the grid; extend the grid to 0.00025."),
        (2e-3, {"seeds": [3]}, "With one seed there are no intervals"),
        (4e-3, {"learning_rate": RATES[2:]}, "the base rate 0.001 is outside the measured rates"),
    ],
)
def test_what_the_grid_can_not_tell_is_warned_of(fill, optimum, tuning, words):
    spec = spec_of({"width": [0.05, 0.1]}, {"learning_rate": RATES, "seeds": [0, 1], **tuning})
    study = fill(spec, clean(lambda config: optimum))
    assert len([text for text in study.warnings if words in text]) == 1
    assert len(study.warnings) == 1
    assert all((result.best.interval is None) == (spec.tuning.seeds == (3,)) for result in study.sizes)


def test_a_flat_optimum_is_warned_of(fill):
    spec = spec_of({"width": [0.1]}, {"learning_rate": RATES, "seeds": [5, 6, 7]})
    study = fill(spec, lambda size, rate, seed: 0.5 + 0.01 * rng([seed, round(1e6 * rate)]).standard_normal())
    assert any("do not distinguish the rates" in text for text in study.warnings)


def test_runs_without_an_episode_at_their_end_have_no_score(store, claim):
    spec = spec_of({"width": [0.1]}, {"learning_rate": RATES[:2], "seeds": [0]})
    (size,) = sizes_of(spec)
    config = tuned_config(size, spec.tuning, RATES[0], 0)
    writer = claim(store, config.run_id, sweep="s-tuning", config=config.model_dump(mode="json"))
    rows = [{"interactions": 2000, "episodes": 0, "wall_seconds": 1.0, "train_flops": 1.0}]
    writer.write_segment(0, rows, b"", interactions=2000, wall_seconds=1.0)
    writer.finish()
    study = read_study(spec, store)
    assert any("1 of 2 runs ended no episode in their last tenth" in text for text in study.warnings)
    assert any("1 of 2 runs are not done" in text for text in study.warnings)
    with pytest.raises(RlscaleError, match="no rate is known for width"):
        final_values(spec, study)


def test_where_every_rate_diverged_smaller_ones_are_asked_for(fill):
    spec = spec_of({"width": [0.05, 0.1]}, {"learning_rate": RATES, "seeds": [0, 1]})
    score = clean(lambda config: 2e-3)

    def diverging(size, rate, seed):
        return "non_finite_loss" if size.config.model.width == 0.1 else score(size, rate, seed)

    study = fill(spec, diverging)
    assert any(
        text == "width 0.1: every rate diverged; extend the grid to 0.00025." for text in study.warnings
    )
    assert study.num_missing == 0
    with pytest.raises(RlscaleError, match="no rate is known for width"):
        final_values(spec, study)


def test_the_study_is_told_in_tables_json_and_a_figure(fill, tmp_path):
    spec = spec_of({"width": [0.05, 0.1, 0.2], "horizon": [1, 16]}, {"learning_rate": RATES, "seeds": [0, 1]})
    score = clean(lambda config: 2e-3 * config.model.width)

    def some_diverge(size, rate, seed):
        return "non_finite_loss" if rate == 8e-3 else score(size, rate, seed)

    study = fill(spec, some_diverge)
    told = json.loads(json.dumps(study_json(study), allow_nan=False))
    assert [(size["width"], size["horizon"]) for size in told["sizes"]] == [
        (w, h) for w in (0.05, 0.1, 0.2) for h in (1, 16)
    ]
    assert told["sizes"][0]["scores"][4] == [None, None]
    assert told["sizes"][0]["diverged"][4] == [True, True]
    step = told["sizes"][0]["best"]["step_size"] / told["sizes"][0]["best"]["rate"]
    assert step == pytest.approx(0.05**-0.5)
    assert study_table(study).row_count == 6
    assert all("nan" not in line for line in study_lines(study))
    figure = tuning_figure(study)
    assert [ax.get_title() for ax in figure.axes if ax.axison] == ["horizon 1", "horizon 16"]
    write_figure(tuning_figure(study), tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
