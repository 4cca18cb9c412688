"""Comparisons of two recipes: known multipliers, invariances, pairing, draws against refits, errors."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from rlscale.analysis.curves.synthetic import SyntheticPair, SyntheticSweep
from rlscale.analysis.studies.compare.draws import draw
from rlscale.analysis.studies.compare.models import Model, PairProblem, Recipes, fit_models
from rlscale.analysis.studies.compare.pooled import PairedPreprocessor, PairedResampling
from rlscale.analysis.studies.compare.result import Comparison, read_comparison
from rlscale.analysis.studies.compare.study import SIGNIFICANCE, CompareRecipes
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

END = 1e8
SIZES = tuple(1e5 * 2.0 ** (np.arange(7) - 3))
PIVOT = 1e5 * END / 10
LAW = PowerLaw(0.55, 0.8, np.log(3e5), np.log(3e5 * END))
SWEEP = SyntheticSweep(
    alpha_N=LAW.alpha_N,
    alpha_E=LAW.alpha_E,
    N_c=LAW.N_c,
    sizes=SIZES,
    max_interactions=END,
    points=40,
    first_interactions=END / 100,
)
QUICK = CompareRecipes(replicates=100)


def pair(*, shape="linear", noise=0.0, seeds=3, rng=0, **relation):
    sweep = replace(SWEEP, shape=shape, noise=noise, seeds=seeds)
    return SyntheticPair(sweep, pivot=PIVOT, **relation).curves(np.random.default_rng(rng))


# -- the estimate ------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["linear", "power", "sigmoid", "steps"])
@pytest.mark.parametrize("factor", [0.5, 1.3])
def test_without_noise_the_factor_is_found_whatever_the_map(shape, factor):
    found = CompareRecipes(replicates=0).fit(*pair(shape=shape, factor=factor))
    assert found.multiplier == pytest.approx(factor, rel=0.02)
    assert found.growth.per_decade == pytest.approx(1.0, abs=0.02)
    assert found.interval is None
    assert found.verdict == "undecided"
    assert "no_intervals" in found.warning_codes


def test_an_increasing_function_of_all_returns_changes_nothing_but_the_returns():
    a, b = pair(factor=1.5, noise=0.03)
    plain, bent = QUICK.fit(a, b), QUICK.fit(*(c.with_returns(np.exp(3 * c.returns)) for c in (a, b)))
    for field in ("multiplier", "interval", "p_value", "verdict", "model"):
        assert getattr(plain, field) == getattr(bent, field)
    assert bent.common_return[1] > 5 * plain.common_return[1]


def test_exchanging_the_recipes_inverts_the_multiplier():
    a, b = pair(factor=1.5, noise=0.03)
    forth, back = QUICK.fit(a, b), QUICK.fit(b, a)
    assert forth.multiplier * back.multiplier == pytest.approx(1.0, abs=0.02)
    assert (forth.verdict, back.verdict) == ("b_better", "a_better")


def test_the_unit_of_compute_does_not_matter():
    a, b = pair(factor=1.5, noise=0.03)
    scaled = [replace(c, run_sizes=1e3 * c.run_sizes, interactions=0.1 * c.interactions) for c in (a, b)]
    assert QUICK.fit(*scaled).multiplier == pytest.approx(QUICK.fit(a, b).multiplier, rel=0.01)


def test_a_factor_is_seen_and_reported_with_its_interval():
    found = QUICK.fit(*pair(factor=1.5, noise=0.03, seeds=4))
    assert found.verdict == "b_better"
    assert found.p_value < 0.01
    assert found.interval_total[0] <= found.interval[0]
    assert found.interval[1] <= found.interval_total[1]
    factor = next(one for one in found.models if one.name == "factor")
    low, high = factor.interval
    assert low < 1.5 < high
    assert high / low < 1.5


def test_equal_recipes_are_not_told_apart():
    found = QUICK.fit(*pair(noise=0.05, seeds=4))
    assert found.verdict == "undecided"
    assert found.interval[0] < 1 < found.interval[1]


def test_other_exponents_make_the_ratio_change_and_the_ranking_cross_within_the_data():
    slower = 0.75 * LAW.alpha_E
    growth = LAW.beta / PowerLaw.from_constants(LAW.alpha_N, slower, 1.0).beta - 1
    found = QUICK.fit(*pair(noise=0.03, seeds=5, alpha_E=slower, growth=growth))
    assert found.model == "exponents"
    assert found.growth.p_value < 0.05
    low, high = found.growth.interval
    assert low < 10**growth < high
    assert found.crossing.where == "within"
    assert found.crossing.compute == pytest.approx(PIVOT, rel=0.7)
    assert found.verdict == "depends"
    assert found.a.nu < found.b.nu  # fewer interactions help less, so sizes grow more slowly


def test_a_ceiling_of_one_recipe_is_told_from_a_factor():
    ceiling = 30 * float(SIZES[-1]) * END
    a, b = pair(noise=0.01, seeds=4, ceiling=ceiling)
    found, back = QUICK.fit(a, b), QUICK.fit(b, a)
    assert found.model == "ceiling"
    assert found.ceiling.strength > 0 > back.ceiling.strength
    assert found.curve.multiplier[-1] > 2 * found.curve.multiplier[0]


# -- pairs and draws ------------------------------------------------------------------


def test_runs_of_one_size_and_seed_are_drawn_together():
    a, b = pair()
    order = np.random.default_rng(0).permutation(b.num_runs)
    mixed = replace(
        b,
        run_sizes=b.run_sizes[order],
        table=b.table.iloc[order],
    )
    found = PairedResampling.of(a, mixed)
    assert found.paired
    for run, partner in enumerate(found.partner):
        assert mixed.run_sizes[run] == a.run_sizes[partner]
        assert mixed.table["seed"].iloc[run] == a.table["seed"].iloc[partner]
    counts = found.draws(5, np.random.default_rng(1))
    assert (counts[:, a.num_runs :] == counts[:, found.partner]).all()


def test_sizes_with_other_seeds_are_drawn_apart():
    a, b = pair()
    other = replace(b, table=b.table.assign(seed=b.table["seed"] + 10))
    found = PairedResampling.of(a, other)
    assert not found.paired
    assert (found.partner == -1).all()
    assert found.freedom == 2 * PairedResampling.of(a, b).freedom
    counts = found.draws(3, np.random.default_rng(1))
    assert (counts[:, : a.num_runs] != counts[:, a.num_runs :]).any()


def test_noise_that_seeds_share_narrows_the_interval_of_a_pair():
    a, b = pair(factor=1.2, noise=0.05, seeds=4, shared=0.9)
    apart = replace(b, table=b.table.assign(seed=b.table["seed"] + 10))
    together, separate = (QUICK.fit(a, other).interval for other in (b, apart))
    assert np.log(together[1] / together[0]) < 0.7 * np.log(separate[1] / separate[0])


def fitted(a, b):
    preprocessor = PairedPreprocessor(a, b, early_exclusion=1 / 64)
    points = preprocessor.points()
    log_c = points.both.log_n + points.both.log_e
    problem = PairProblem(points, float(np.log(PIVOT)), float(log_c.max()))
    return preprocessor, problem, fit_models(problem)


def test_the_draw_of_every_run_once_has_the_points_of_all():
    a, b = pair(noise=0.03)
    preprocessor, problem, _ = fitted(a, b)
    weight, response = preprocessor.in_draws(np.ones((1, a.num_runs + b.num_runs), dtype=np.int64))
    assert weight[0] / weight[0].sum() == pytest.approx(problem.points.both.weight)
    assert response[0] == pytest.approx(problem.points.both.response)


def test_linear_draws_agree_with_searching_anew():
    a, b = pair(factor=1.3, noise=0.03, seeds=4)
    preprocessor, problem, fits = fitted(a, b)
    model, found = fits["factor"]
    resampling = PairedResampling.of(a, b)
    counts = resampling.draws(12, np.random.default_rng(0))
    spread = draw(model, found, problem, preprocessor, resampling, counts)
    linear = found.x + (spread.draws - np.median(spread.draws, axis=0)) / spread.widening
    weight, response = preprocessor.in_draws(counts)
    again = []
    for w, r in zip(weight, response, strict=True):
        points = replace(problem.points, both=replace(problem.points.both, weight=w / w.sum(), response=r))
        redrawn = PairProblem(points, problem.log_pivot, problem.log_top)
        again.append(model.search(redrawn, [found.x]).x)
    steps = np.array(again) - np.median(again, axis=0)
    delta = (linear - found.x)[:, -1]
    assert np.corrcoef(delta, steps[:, -1])[0, 1] > 0.95
    assert np.std(delta) == pytest.approx(np.std(steps[:, -1]), rel=0.25)


# -- how frontiers relate -------------------------------------------------------------


@pytest.mark.parametrize("ceiling", [0.0, 0.5, -0.5])
def test_the_frontier_of_each_recipe_is_the_least_compute_over_sizes(ceiling):
    recipes = Recipes(
        law_a=PowerLaw(0.6, 0.9, 11.0, 25.0),
        law_b=PowerLaw(0.5, 0.7, 10.0, 24.5),
        log_factor=0.4,
        growth=0.1,
        ceiling=ceiling,
        log_pivot=24.6,
        log_top=30.0,
    )
    log_n = np.linspace(2, 22, 20_001)
    for level, compute in (
        (recipes.level_a, recipes.log_compute_a),
        (recipes.level_b, recipes.log_compute_b),
    ):
        best = max(level(log_n, 26.0 - log_n))
        assert compute(np.array([best]))[0] == pytest.approx(26.0, abs=1e-4)


def test_no_compute_reaches_a_level_above_the_ceiling():
    recipes = Recipes(LAW, LAW, 0.0, 0.0, 1.0, 24.0, 30.0)
    above = np.array([recipes.log_ceiling + 0.01])
    assert recipes.log_compute_a(above)[0] == np.inf
    assert np.isfinite(recipes.log_compute_b(above)[0])
    assert recipes.log_multiplier(above)[0] == np.inf


def test_power_says_how_many_seeds_show_a_factor():
    a, b = pair(noise=0.08, seeds=3)
    small, large = (replace(QUICK, wanted_factor=f).fit(a, b).power for f in (1.05, 1.5))
    assert small.smallest_factor == large.smallest_factor > 1
    assert small.seeds > 10 * large.seeds
    assert small.more_seeds == small.seeds - 3
    assert (large.more_seeds == 0) == (large.smallest_factor <= 1.5)
    freedom = 2 * len(SIZES)
    quantiles = student.ppf(1 - SIGNIFICANCE / 2, freedom) + student.ppf(0.8, freedom)
    assert small.smallest_factor == pytest.approx(np.exp(small.error * quantiles))
    # Half the factor in logarithms needs about four times the seeds.
    half = replace(QUICK, wanted_factor=np.sqrt(1.05)).fit(a, b).power
    assert half.seeds == pytest.approx(4 * small.seeds, rel=0.02)


# -- results and errors -------------------------------------------------------------------


def test_a_comparison_survives_its_json_file(tmp_path):
    found = QUICK.fit(*pair(factor=1.3, noise=0.03), names=("old", "new"))
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps(found.model_dump(mode="json"), allow_nan=False))
    assert read_comparison(path) == found
    assert isinstance(found, Comparison)
    path.write_text("{}")
    with pytest.raises(InputError) as error:
        read_comparison(path)
    assert error.value.code == "not_a_compare"


def test_the_same_seed_draws_the_same():
    a, b = pair(noise=0.03)
    assert QUICK.fit(a, b) == QUICK.fit(a, b)


def refused(code, a, b, **options):
    with pytest.raises(InputError) as error:
        CompareRecipes(**{"replicates": 0, **options}).fit(a, b, names=("old", "new"))
    assert error.value.code == code
    return str(error.value)


def test_what_cannot_be_compared_is_refused_by_name():
    a, b = pair(noise=0.03)
    assert "run-0000 belongs to old" in refused("same_recipe", a, a)
    tasks = [replace(c, table=c.table.assign(task=t)) for c, t in ((a, "coinrun"), (b, "starpilot"))]
    assert "coinrun, new of starpilot" in refused("different_tasks", *tasks)
    few = b.with_rows(b.run_sizes[b.run_index] < SIZES[2])
    assert "2 sizes" in refused("too_few_sizes", a, few)
    assert "old is never below" in refused("no_common_returns", a.with_returns(a.returns + 10), b)
    assert "new is never below" in refused("no_common_returns", a, b.with_returns(b.returns + 10))


@pytest.mark.parametrize(
    "options", [{"replicates": 5}, {"early_exclusion": 0.7}, {"seed": -1}, {"wanted_factor": 1.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        CompareRecipes(**options)


def test_one_seed_a_size_draws_sizes_and_says_so():
    found = QUICK.fit(*pair(factor=1.5, noise=0.02, seeds=1))
    assert found.scheme == "sizes"
    assert "one_seed" in found.warning_codes


def test_a_frontier_outside_the_data_is_called_one():
    small = pair(noise=0.02)[0]
    few = small.with_rows(small.run_sizes[small.run_index] <= SIZES[2])
    found = QUICK.fit(few, pair(noise=0.02)[1])
    assert "optimum_outside_data" in found.warning_codes or found.a.size_limited_share < 0.9


def test_bounds_hold_every_start():
    a, b = pair(noise=0.03)
    _, problem, fits = fitted(a, b)
    for model, found in fits.values():
        assert isinstance(model, Model)
        assert ((found.x >= model.bounds[:, 0]) & (found.x <= model.bounds[:, 1])).all()
        left = problem.residuals(model.recipes(found.x))
        assert left @ left / problem.variance == pytest.approx(found.loss)
    for larger in ("exponents", "ceiling"):
        assert fits[larger][1].loss <= fits["factor"][1].loss * 1.001


def test_seeds_given_as_text_pair_too():
    a, b = pair()
    text = replace(b, table=b.table.assign(seed=pd.Series(b.table["seed"].astype(str), index=b.table.index)))
    assert PairedResampling.of(a, text).paired


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_recipes_that_start_late_are_said_to(share):
    sweep = replace(SWEEP, late_start=share, noise=0.01, first_interactions=END / 2000, points=80)
    a, b = (sweep.curves(np.random.default_rng(rng)) for rng in (0, 1))
    found = CompareRecipes(replicates=0).fit(a, replace(b, run_ids=tuple(f"b{i}" for i in b.run_ids)))
    assert ("late_start" in found.warning_codes) == bool(share)
    assert (found.a.start == found.b.start == "none") == (not share)
    if share:
        assert found.a.onset == pytest.approx(share * END, rel=0.2)
        assert found.warning_codes.count("late_start") == 2
