"""The closed loop: real runs in this process, stored, fitted and gone on with."""

import itertools
import shutil
from functools import partial

import pytest
from attempts import claim_run

from rlscale.analysis.curves.load import load_curves
from rlscale.loop.auto import prepare, run_auto, target_reached
from rlscale.loop.decisions import LawSoFar, read_decisions
from rlscale.scaling.errors import InputError
from rlscale.scaling.training.train import train
from rlscale.sweeps.running.missing import lengths_to_do
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.store.run_store import RunStore, rows_equal

NAME = "small-auto"
BOUNDS = {"width": [0.02, 0.1], "interactions": [2000, 30_000], "seeds": [1, 2], "budget": 1.2e8}


class Killed(BaseException):
    """Ends the loop on the spot."""


def spec_of(**bounds):
    agent = {"algorithm": "ppo", "rollout_steps": 256, "minibatches": 2}
    base = {"task": "digits-bandit", "checkpoints": 2, "rows_per_decade": 40, "agent": agent}
    return {"name": NAME, "base": base, "auto": {**BOUNDS, **bounds}}


def sweep_of(**bounds):
    spec = parse_spec(spec_of(**bounds), source="small.yaml")
    return prepare(spec, "small.yaml")


run = partial(run_auto, replicates=20)


def trainer(store):
    """Trains what is missing in this process, as workers do."""

    def go(runs):
        for config, until in lengths_to_do(runs, store, NAME)[0]:
            train(config, claim_run(store, config, NAME), until=until)

    return go


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep whose loop has ended, its store and its last decision."""
    store = RunStore(tmp_path_factory.mktemp("auto"), create=True)
    sweep = sweep_of()
    return sweep, store, run(sweep, store, trainer(store))


def test_a_loop_spends_at_most_its_budget_in_rounds_that_only_add(finished):
    sweep, store, last = finished
    decisions = read_decisions(store, NAME)
    assert [each.number for each in decisions] == list(range(1, len(decisions) + 1))
    assert (decisions[0].action, last.action) == ("first", "stop")
    assert last == decisions[-1]
    assert len(decisions) > 2
    for before, after in itertools.pairwise(decisions):
        assert after.planned <= sweep.bounds.budget
        assert after.spent == pytest.approx(before.planned)
        sizes = {size.N: size for size in after.sizes}
        for size in before.sizes:
            assert sizes[size.N].interactions >= size.interactions
            assert set(sizes[size.N].seeds) >= set(size.seeds)


def test_its_runs_are_paused_where_the_last_decision_says_and_count_in_a_fit(finished):
    sweep, store, last = finished
    records = {record.run_id: record for record in store.runs(NAME)}
    runs = sweep.runs(last)
    assert set(records) == {config.run_id for config, _ in runs}
    for config, until in runs:
        record = records[config.run_id]
        assert record.status in ("paused", "done")
        assert until <= record.interactions < until + 2 * 256
    curves = load_curves(store.location, sweep=NAME)
    assert set(curves.run_ids) == set(records)
    assert curves.notes == ()


def test_each_of_its_runs_is_the_run_that_never_paused(finished, tmp_path):
    sweep, store, last = finished
    config, _ = min(sweep.runs(last), key=lambda run: run[0].model.width)
    alone = RunStore(tmp_path, create=True)
    train(config, claim_run(alone, config, NAME))
    paused = store.read_curve(NAME, config.run_id)
    assert paused.num_rows > 10
    assert rows_equal(alone.read_curve(NAME, config.run_id).slice(0, paused.num_rows), paused)


def test_a_loop_that_ended_stays_so_until_its_budget_grows(finished, tmp_path):
    sweep, ended, last = finished
    store = RunStore(shutil.copytree(ended.location, tmp_path / "copy"))

    def refuse(runs):
        pytest.fail(f"{len(runs)} runs are trained again")

    assert run(sweep, store, refuse) == last
    more = sweep_of(budget=1.1 * BOUNDS["budget"])

    def stop(decision):
        raise Killed

    with pytest.raises(Killed):
        run(more, store, refuse, on_decision=stop)
    assert read_decisions(store, NAME)[-1].budget == more.bounds.budget


def test_a_loop_killed_between_two_runs_goes_on_with_what_it_had_decided(finished, tmp_path):
    sweep, undisturbed, last = finished
    store = RunStore(tmp_path, create=True)
    left = [3]

    def killed(runs):
        for run in lengths_to_do(runs, store, NAME)[0]:
            if not left[0]:
                raise Killed
            left[0] -= 1
            trainer(store)([run])

    for runs_before_the_kill in (3, 8):
        left[0] = runs_before_the_kill
        with pytest.raises(Killed):
            run(sweep, store, killed)
    assert run(sweep, store, trainer(store)) == last
    assert read_decisions(store, NAME) == read_decisions(undisturbed, NAME)
    for run_id in undisturbed.run_ids(NAME):
        assert rows_equal(store.read_curve(NAME, run_id), undisturbed.read_curve(NAME, run_id))


def test_a_size_with_a_failed_run_is_not_gone_on_with(finished, tmp_path):
    sweep, _, _ = finished
    store = RunStore(tmp_path, create=True)
    failed = sweep.bounds.sizes[0]

    def train_but_one(runs):
        for config, until in lengths_to_do(runs, store, NAME)[0]:
            if config == sweep.config(failed, 1):
                claim_run(store, config, NAME).fail("a loss is nan", code="non_finite_loss")
            else:
                trainer(store)([(config, until)])

    run(sweep, store, train_but_one)
    first, *later = read_decisions(store, NAME)
    length = {size.N: size.interactions for size in first.sizes}[failed]
    for decision in later:
        assert decision.closed == [failed]
        mine = next(size for size in decision.sizes if failed == size.N)
        assert (mine.interactions, mine.seeds) == (length, (0,))


def test_one_seed_a_size_is_enough_for_a_loop(tmp_path):
    sweep, store = sweep_of(seeds=[1, 1]), RunStore(tmp_path, create=True)
    last = run(sweep, store, trainer(store))
    assert {size.seeds for size in last.sizes} == {(0,)}
    assert last.planned <= sweep.bounds.budget


def law(**changes):
    known = {"nu": 0.4, "nu_interval": (0.36, 0.46), "identified": True, "warning_codes": []}
    known |= {"target_compute": 1e9, "N_opt": 1e4, "N_opt_interval": (5e3, 1.5e4)}
    return LawSoFar(**{**known, **changes})


@pytest.mark.parametrize(
    ("target", "changes", "words"),
    [
        ({"nu": 0.1001}, {}, "the interval of nu is 0.100 wide"),
        ({"nu": 0.0999}, {}, None),
        ({"nu": 0.2}, {"identified": False}, None),
        (
            {"N_opt": {"compute": 1e9, "factor": 2.01}},
            {},
            "N_opt at 1e+09 is known to within a factor of 2.00",
        ),
        ({"N_opt": {"compute": 1e9, "factor": 1.99}}, {}, None),  # the farther end counts
        (None, {}, None),
    ],
)
def test_a_target_is_reached_by_an_identified_law_alone(target, changes, words):
    found = target_reached(law(**changes), sweep_of(target=target).auto)
    assert (found is None) if words is None else found == f"The target is reached: {words}."


def test_hours_are_a_budget_in_measured_time(finished):
    in_hours = sweep_of(budget=None, hours=0.5)
    assert in_hours.unit == "hours"
    assert in_hours.bounds.sizes == finished[0].bounds.sizes
    assert all(0 < price < 1e-4 for price in in_hours.bounds.prices)


@pytest.mark.parametrize(
    ("bounds", "code", "words"),
    [
        ({"width": [0.5, 0.1]}, "invalid_config", "the first number of width must be at most the second"),
        ({"seeds": [0, 2]}, "invalid_config", "auto.seeds"),
        ({"budget": None}, "invalid_config", "give one of budget and hours"),
        ({"hours": 2}, "invalid_config", "give one of budget and hours"),
        ({"target": {}}, "invalid_config", "give one of nu and N_opt"),
        ({"target": {"nu": 2}}, "invalid_config", "auto.target.nu"),
        ({"interactions": [0, 10]}, "invalid_config", "auto.interactions"),
        ({"wdith": [1, 2]}, "invalid_config", "wdith"),
        ({"width": [0.1, 0.1]}, "too_few_sizes", "a law needs three"),
        ({"budget": 1e4}, "budget_too_small", "more than the budget"),
    ],
)
def test_bounds_that_do_not_fit_are_refused_by_name(bounds, code, words):
    with pytest.raises(InputError, match=words) as found:
        sweep_of(**bounds)
    assert found.value.code == code


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axes": {"seed": [0]}}, "not both"),
        ({"base": {"task": "digits-bandit", "interactions": 100}}, "'auto' chooses interactions"),
        ({"base": {"task": "digits-bandit", "model": {"width": 1}}}, "'auto' chooses the width"),
        ({"tuning": {"learning_rate": [1e-3, 1e-2]}}, "not tuned"),
    ],
)
def test_what_bounds_choose_is_not_set_otherwise(changes, words):
    with pytest.raises(InputError, match=words) as found:
        parse_spec({**spec_of(), **changes}, source="small.yaml")
    assert found.value.code == "invalid_spec"


def test_a_spec_with_bounds_has_no_grid_and_one_without_has_no_bounds():
    with pytest.raises(InputError, match="rlscale sweep auto") as found:
        expand(parse_spec(spec_of(), source="small.yaml"), source="small.yaml")
    assert found.value.code == "no_grid"
    grid = parse_spec({**spec_of(), "auto": None, "axes": {"seed": [0]}}, source="grid.yaml")
    with pytest.raises(InputError, match="rlscale sweep run") as found:
        prepare(grid, "grid.yaml")
    assert found.value.code == "no_bounds"
