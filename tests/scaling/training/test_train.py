"""Runs against a real store: repeated, killed, superseded and failed."""

import io
import itertools
import math

import numpy as np
import pytest
import torch

from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import InputError, LeaseLost, NonFiniteLoss
from rlscale.scaling.tasks.procgen.names import LEVEL_LIMIT
from rlscale.scaling.training.device import resolve_device
from rlscale.scaling.training.facts import run_columns
from rlscale.scaling.training.run import Run
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.run_store import RunStore, rows_equal

SWEEP = "single"


class Killed(BaseException):
    """Ends an attempt on the spot, as a signal would."""


def make_config(interactions=4096, width=0.05, checkpoints=8, seed=3, **agent) -> RunConfig:
    return run_config(
        {
            "task": "digits-bandit",
            "interactions": interactions,
            "seed": seed,
            "checkpoints": checkpoints,
            "rows_per_decade": 20,
            "model": {"width": width},
            "agent": {"rollout_steps": 128, **agent},
        },
        source="test",
    )


def claim(store, config):
    return store.claim(
        SWEEP,
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=run_columns(config),
        provenance={},
        host="here",
        pid=1,
    )


def attempt(store, config, **options):
    return train(config, claim(store, config), **options)


def curve(store, config):
    return store.read_curve(SWEEP, config.run_id)


def uninterrupted(tmp_path, config):
    store = RunStore(tmp_path / "uninterrupted", create=True)
    assert attempt(store, config) == "done"
    return curve(store, config)


@pytest.fixture(scope="module")
def default_curve(tmp_path_factory):
    """The curve of ``make_config()`` that nothing interrupted."""
    return uninterrupted(tmp_path_factory.mktemp("default"), make_config())


def killing_at(interactions):
    def on_progress(so_far, _wall_seconds):
        if so_far >= interactions:
            raise Killed

    return on_progress


def stopping_at(interactions):
    """(on_progress, should_stop) that stop a run after the first iteration beyond ``interactions``."""
    reached = [0]
    return {
        "on_progress": lambda so_far, _: reached.__setitem__(0, so_far),
        "should_stop": lambda: reached[0] >= interactions,
    }


def kill_and_go_on(store, config, *kills):
    for interactions in kills:
        with pytest.raises(Killed):
            attempt(store, config, on_progress=killing_at(interactions))
    assert attempt(store, config) == "done"
    return curve(store, config)


def assert_each_row_once(table):
    interactions = table["interactions"].to_pylist()
    assert interactions == sorted(set(interactions))
    assert sum(table["episodes"].to_pylist()) == interactions[-1]


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_config_and_seed_give_the_same_curve_bit_for_bit(tmp_path, default_curve):
    assert default_curve.num_rows > 10
    assert_each_row_once(default_curve)
    assert rows_equal(uninterrupted(tmp_path, make_config()), default_curve)


def test_a_run_that_pauses_and_goes_on_is_bit_equal(tmp_path, default_curve):
    store, config = RunStore(tmp_path / "paused", create=True), make_config()
    for until in (700, 701, 2048):
        assert attempt(store, config, until=until) == "paused"
        assert store.read_run(SWEEP, config.run_id).status == "paused"
        rows = curve(store, config)["interactions"].to_pylist()
        assert rows == [row for row in default_curve["interactions"].to_pylist() if row <= max(until, 768)]
    assert attempt(store, config, until=10**9) == "done"
    assert rows_equal(curve(store, config), default_curve)


def test_a_paused_run_that_was_killed_on_its_way_is_bit_equal(tmp_path, default_curve):
    store, config = RunStore(tmp_path / "killed", create=True), make_config()
    assert attempt(store, config, until=1000) == "paused"
    with pytest.raises(Killed):
        attempt(store, config, until=3000, on_progress=killing_at(2100))
    record = store.read_run(SWEEP, config.run_id)
    # Checkpoints are as dense on the way to where it pauses as they would be on the way to an end there.
    assert 2000 - 3000 / config.checkpoints <= record.interactions <= 2100
    assert attempt(store, config) == "done"
    assert rows_equal(curve(store, config), default_curve)


def test_another_seed_gives_another_curve(tmp_path):
    one, two = (uninterrupted(tmp_path / str(seed), make_config(1024, seed=seed)) for seed in (1, 2))
    assert not np.array_equal(one["return_mean"].to_numpy(), two["return_mean"].to_numpy())


VARIANTS = {
    "defaults": {},
    "ppo": {"algorithm": "ppo"},
    "batch growth across checkpoints": {"batch_growth": {"exponent": 0.5, "reference": 500}},
    "normalised rewards and a horizon of 16": {"normalize_reward": True, "horizon": 16, "num_envs": 2},
    "running advantage moments": {"advantage_decay": 0.9, "horizon": 4},
    "separate epochs": {"epochs_policy": 1, "epochs_value": 2},
    "growing, normalised, with a horizon": {
        "normalize_reward": True,
        "horizon": 4,
        "batch_growth": {"exponent": 1.0, "reference": 700},
    },
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_run_killed_twice_and_resumed_is_bit_equal(tmp_path, options):
    config = make_config(**options)
    whole = uninterrupted(tmp_path, config)
    store = RunStore(tmp_path / "killed", create=True)
    resumed = kill_and_go_on(store, config, 1200, 2900)
    assert_each_row_once(resumed)
    assert rows_equal(resumed, whole)
    record = store.read_run(SWEEP, config.run_id)
    assert record.status == "done"
    assert [a.outcome for a in record.attempts] == [None, None, "done"]
    assert record.attempts[2].from_interactions > record.attempts[1].from_interactions == 1024


def test_batch_growth_grows_within_the_run(tmp_path):
    table = uninterrupted(tmp_path, make_config(batch_growth={"exponent": 0.5, "reference": 500}))
    sizes = table["batch_size"].to_pylist()
    assert sizes[0] == 128.0
    assert sizes[-1] == 256.0


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path):
    config = make_config(1024, checkpoints=2)
    store = RunStore(tmp_path / "killed", create=True)
    assert rows_equal(kill_and_go_on(store, config, 128), uninterrupted(tmp_path, config))


def test_a_run_stopped_at_any_moment_goes_on_bit_equal(tmp_path):
    config = make_config(2048)
    whole = uninterrupted(tmp_path, config)
    store = RunStore(tmp_path / "stopped", create=True)
    for interactions in (1, 700, 1500):
        assert attempt(store, config, **stopping_at(interactions)) == "stopped"
        record = store.read_run(SWEEP, config.run_id)
        assert record.status == "stopped"
        assert record.lease is None
        assert record.interactions > interactions  # all that was done is stored
    assert attempt(store, config) == "done"
    assert rows_equal(curve(store, config), whole)


def spoil_newest(store_dir, how, count=1):
    checkpoints = sorted(store_dir.rglob("*.pt"))
    assert len(checkpoints) == 2
    for path in checkpoints[-count:]:
        path.write_bytes(how(path.read_bytes()))


@pytest.mark.parametrize(
    "how",
    [lambda b: b[: len(b) // 2], lambda b: b[:-1], lambda b: b"", lambda b: b"garbage" * 100],
    ids=["half", "last byte", "empty", "garbage"],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, default_curve, how):
    config = make_config()
    store_dir = tmp_path / "damaged"
    store = RunStore(store_dir, create=True)
    with pytest.raises(Killed):
        attempt(store, config, on_progress=killing_at(2600))
    spoil_newest(store_dir, how)
    starts = []
    with pytest.raises(Killed):
        attempt(
            store, config, on_progress=lambda so_far, _: starts.append(so_far) or killing_at(3000)(so_far, 0)
        )
    assert starts[0] == 2048  # not 2560, whose checkpoint is damaged
    assert attempt(store, config) == "done"
    resumed = curve(store, config)
    assert_each_row_once(resumed)
    assert rows_equal(resumed, default_curve)


def test_with_no_readable_checkpoint_a_run_begins_again(tmp_path):
    config = make_config(2048)
    store_dir = tmp_path / "damaged"
    store = RunStore(store_dir, create=True)
    with pytest.raises(Killed):
        attempt(store, config, on_progress=killing_at(1500))
    spoil_newest(store_dir, lambda b: b[:100], count=2)
    assert attempt(store, config) == "done"
    assert_each_row_once(curve(store, config))
    assert rows_equal(curve(store, config), uninterrupted(tmp_path, config))


def test_another_runs_checkpoint_is_not_taken(tmp_path):
    config, other = make_config(1024), make_config(1024, seed=4)
    with pytest.raises(ValueError, match="another run"):
        Run(config).restore(Run(other).save())


def as_an_earlier_version_saved_it(checkpoint):
    state = torch.load(io.BytesIO(checkpoint), weights_only=True)
    del state["collector"]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def test_a_run_with_checkpoints_of_an_earlier_version_begins_again(tmp_path):
    config = make_config(2048)
    store_dir = tmp_path / "earlier"
    store = RunStore(store_dir, create=True)
    with pytest.raises(Killed):
        attempt(store, config, on_progress=killing_at(1500))
    spoil_newest(store_dir, as_an_earlier_version_saved_it, count=2)
    with pytest.raises(ValueError, match="earlier version"):
        Run(config).restore(as_an_earlier_version_saved_it(Run(config).save()))
    assert attempt(store, config) == "done"
    assert_each_row_once(curve(store, config))
    assert rows_equal(curve(store, config), uninterrupted(tmp_path, config))


def test_a_superseded_attempt_writes_nothing(tmp_path):
    config = make_config()
    store_dir = tmp_path / "store"
    store = RunStore(store_dir, create=True)
    old = claim(store, config)
    claim(store, config)
    before = files(store_dir)
    with pytest.raises(LeaseLost, match="attempt 2"):
        train(config, old)
    assert files(store_dir) == before


def test_an_attempt_superseded_at_work_writes_nothing_more(tmp_path, default_curve):
    config = make_config()
    store_dir = tmp_path / "store"
    store = RunStore(store_dir, create=True)
    taken = []

    def on_progress(so_far, _wall_seconds):
        if so_far >= 1200 and not taken:
            claim(store, config)
            taken.append(files(store_dir))

    with pytest.raises(LeaseLost):
        attempt(store, config, on_progress=on_progress)
    assert files(store_dir) == taken[0]
    assert attempt(store, config) == "done"
    assert rows_equal(curve(store, config), default_curve)


@pytest.mark.parametrize("minibatches", [1, 8], ids=["between iterations", "within an iteration"])
def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_its_rows(tmp_path, minibatches):
    config = make_config(learning_rate=1e30, minibatches=minibatches)
    store = RunStore(tmp_path / "store", create=True)
    with pytest.raises(NonFiniteLoss) as caught:
        attempt(store, config)
    record = store.read_run(SWEEP, config.run_id)
    assert record.status == "failed"
    assert record.reason == str(caught.value)
    assert "learning_rate" in record.reason
    assert record.lease is None
    table = curve(store, config)
    assert table.num_rows == 1
    assert_each_row_once(table)


def test_an_auxiliary_phase_that_diverges_fails_the_run(tmp_path):
    phasic = {"policy_iterations": 2, "sequences": 1, "learning_rate": 1e30}
    config = make_config(algorithm="ppg-ewma", phasic=phasic)
    store = RunStore(tmp_path / "store", create=True)
    with pytest.raises(NonFiniteLoss, match="after 256 interactions"):
        attempt(store, config)
    assert store.read_run(SWEEP, config.run_id).status == "failed"
    assert curve(store, config)["interactions"].to_pylist()[-1] == 256


def test_a_failed_run_that_is_run_again_fails_the_same_way_with_each_row_once(tmp_path):
    config = make_config(learning_rate=1e30)
    store = RunStore(tmp_path / "store", create=True)
    tables = []
    for _ in range(2):
        with pytest.raises(NonFiniteLoss):
            attempt(store, config)
        tables.append(curve(store, config))
    assert_each_row_once(tables[1])
    assert rows_equal(*tables)


def test_means_of_a_failed_runs_last_row_are_over_the_iterations_that_have_a_value():
    run = Run(make_config())
    run.iterate()
    expected = run.recorder.state_dict()["_diagnostic_sums"]["value_loss"]
    for parameter in run.agent.model.value.parameters():
        parameter.data.fill_(math.inf)
    with pytest.raises(NonFiniteLoss):
        run.iterate()
    row = run.close_row()
    assert row["episodes"] == 256
    assert row["value_loss"] == pytest.approx(expected)


def test_a_width_too_small_fails_the_run_with_the_remedy(tmp_path):
    config = make_config(width=0.05)
    store = RunStore(tmp_path / "store", create=True)
    writer = claim(store, config)
    with pytest.raises(InputError, match="at least"):
        train(config.model_copy(update={"model": config.model.model_copy(update={"width": 0.01})}), writer)
    assert store.read_run(SWEEP, config.run_id).status == "failed"


@pytest.mark.parametrize(("interactions", "checkpoints"), [(1000, 3), (512, 20), (4096, 1)])
def test_a_run_ends_with_the_first_iteration_that_reaches_its_length(tmp_path, interactions, checkpoints):
    table = uninterrupted(tmp_path, make_config(interactions, checkpoints=checkpoints))
    assert table["interactions"].to_pylist()[-1] == math.ceil(interactions / 128) * 128


def test_rows_carry_accuracy_flops_and_growing_time(tmp_path):
    config = make_config(1024)
    table = uninterrupted(tmp_path, config).to_pydict()
    flops = run_columns(config)["flops_per_interaction"]
    for e, f in zip(table["interactions"], table["train_flops"], strict=True):
        assert f == pytest.approx(flops * e)
    assert all(a < b for a, b in itertools.pairwise(table["wall_seconds"]))
    for mean, std in zip(table["return_mean"], table["return_std"], strict=True):
        assert 0 <= mean <= 1
        assert std == pytest.approx(math.sqrt(mean * (1 - mean)))
    assert table["entropy"][0] == pytest.approx(math.log(10), abs=0.05)
    assert set(table["episode_length_mean"]) == {1.0}


def test_ppo_ewma_learns_digits(tmp_path):
    config = make_config(30_000, width=0.25, rollout_steps=512, seed=0)
    table = uninterrupted(tmp_path, config).to_pydict()
    assert table["return_mean"][0] < 0.2  # chance is 0.1
    assert np.mean(table["return_mean"][-3:]) > 0.7
    assert table["entropy"][-1] < 1.2


def test_a_horizon_beyond_one_step_bootstraps_and_learns(tmp_path):
    config = make_config(30_000, width=0.25, horizon=4, rollout_steps=512, seed=0)
    table = uninterrupted(tmp_path, config).to_pydict()
    assert np.mean(table["return_mean"][-3:]) > 0.4
    values = [v for name in ("value_loss", "approx_kl", "policy_loss") for v in table[name]]
    assert np.isfinite(values).all()


def test_an_unknown_device_is_an_input_error():
    with pytest.raises(InputError, match="auto, cpu or cuda"):
        resolve_device("tpu")


PHASE = 128  # interactions of a phase: 2 iterations of 4 environments for 16 steps


def procgen_config(interactions=512, checkpoints=4, algorithm="ppo-ewma", evaluation_episodes=0, **agent):
    """A run small enough for a test, of a game whose episodes are short under random play."""
    if algorithm.startswith("ppg"):
        agent = {"phasic": {"policy_iterations": 2, "auxiliary_epochs": 1, "sequences": 4}} | agent
    return run_config(
        {
            "task": "procgen-fruitbot-hard",
            "levels": {"num_levels": 20},
            "evaluation_episodes": evaluation_episodes,
            "interactions": interactions,
            "seed": 1,
            "checkpoints": checkpoints,
            "rows_per_decade": 1000,  # a row an iteration
            "model": {"width": 0.0625, "depth": 1},
            "agent": {
                "algorithm": algorithm,
                "horizon": 1999,
                "gae_lambda": 0.95,
                "num_envs": 4,
                "rollout_steps": 16,
                "minibatches": 2,
                "normalize_reward": True,
                **agent,
            },
        },
        source="test",
    )


@pytest.fixture(scope="module")
def procgen_curves(tmp_path_factory):
    """Curves of ``procgen_config`` that nothing interrupted, by algorithm."""
    folder = tmp_path_factory.mktemp("procgen")
    return {
        algorithm: uninterrupted(folder / algorithm, procgen_config(algorithm=algorithm))
        for algorithm in ("ppo-ewma", "ppg-ewma")
    }


@pytest.mark.parametrize("algorithm", ["ppo-ewma", "ppg-ewma"])
def test_a_procgen_run_stopped_and_killed_at_random_is_bit_equal(tmp_path, procgen_curves, algorithm):
    config = procgen_config(algorithm=algorithm)
    store = RunStore(tmp_path / "store", create=True)
    moments = np.sort(np.random.default_rng(len(algorithm)).choice(np.arange(1, 6), 3, replace=False)) * 64
    for i, moment in enumerate(moments.tolist()):
        if i % 2:
            with pytest.raises(Killed):
                attempt(store, config, on_progress=killing_at(moment))
        else:
            assert attempt(store, config, **stopping_at(moment)) == "stopped"
    assert attempt(store, config) == "done"
    assert rows_equal(curve(store, config), procgen_curves[algorithm])


@pytest.mark.parametrize("options", [{"architecture": "shared", "num_envs": 2}, {"algorithm": "ppg"}])
def test_the_same_procgen_run_twice_is_bit_equal(tmp_path, options):
    config = procgen_config(256, **options)
    one, two = (uninterrupted(tmp_path / name, config) for name in ("one", "two"))
    assert rows_equal(one, two)


def test_a_procgen_run_that_grows_its_batch_goes_on_bit_equal(tmp_path):
    config = procgen_config(400, batch_growth={"exponent": 1.0, "reference": 60})
    whole = uninterrupted(tmp_path, config)
    assert set(whole["batch_size"].to_pylist()) == {64.0, 128.0, 256.0}
    store = RunStore(tmp_path / "killed", create=True)
    assert rows_equal(kill_and_go_on(store, config, 200), whole)


def test_a_stop_within_a_phase_costs_the_phase_and_leaves_nothing_behind(tmp_path, procgen_curves):
    config = procgen_config(algorithm="ppg-ewma")
    store_dir = tmp_path / "store"
    store = RunStore(store_dir, create=True)
    assert attempt(store, config, **stopping_at(64)) == "stopped"
    at_the_end_of_a_phase = {path.name for path in store_dir.rglob("part-*")}
    assert attempt(store, config, **stopping_at(PHASE)) == "stopped"  # an iteration later, amid the next
    record = store.read_run(SWEEP, config.run_id)
    assert (record.status, record.interactions, record.lease) == ("stopped", PHASE, None)
    assert {path.name for path in store_dir.rglob("part-*")} == at_the_end_of_a_phase
    assert curve(store, config)["interactions"].to_pylist() == [64, PHASE]
    starts = []
    assert attempt(store, config, on_progress=lambda so_far, _: starts.append(so_far)) == "done"
    assert starts[0] == PHASE
    assert rows_equal(curve(store, config), procgen_curves["ppg-ewma"])


@pytest.mark.parametrize(("interactions", "end"), [(1, PHASE), (PHASE, PHASE), (PHASE + 1, 2 * PHASE)])
def test_a_phasic_run_ends_with_its_phase(tmp_path, interactions, end):
    table = uninterrupted(tmp_path, procgen_config(interactions, algorithm="ppg-ewma"))
    assert table["interactions"].to_pylist()[-1] == end


def test_auxiliary_diagnostics_are_in_the_rows_where_a_phase_ended(procgen_curves):
    table = procgen_curves["ppg-ewma"].to_pydict()
    for name in ("clone_kl", "auxiliary_loss", "auxiliary_value_loss"):
        found = [e for e, value in zip(table["interactions"], table[name], strict=True) if value is not None]
        assert found == list(range(PHASE, 513, PHASE))
    assert set(procgen_curves["ppo-ewma"].to_pydict()["clone_kl"]) == {None}


@pytest.mark.parametrize("algorithm", ["ppo-ewma", "ppg-ewma"])
def test_all_that_a_procgen_row_says_is_finite(procgen_curves, algorithm):
    table = procgen_curves[algorithm].to_pydict()
    assert table["interactions"] == list(range(64, 513, 64))
    for values in table.values():
        numbers = [value for value in values if isinstance(value, (int, float))]
        assert np.isfinite(numbers).all()
    for name in ("entropy", "policy_loss", "value_loss", "approx_kl", "explained_variance", "step_size"):
        assert None not in table[name]
    assert sum(table["episodes"]) > 2
    assert any(mean is not None and mean < 0 for mean in table["return_mean"])  # raw, not normalised
    for episodes, mean, length in zip(
        table["episodes"], table["return_mean"], table["episode_length_mean"], strict=True
    ):
        assert (mean is None) == (length is None) == (episodes == 0)


@pytest.mark.parametrize("algorithm", ["ppo-ewma", "ppg-ewma"])
def test_evaluation_adds_its_columns_at_checkpoints_and_changes_nothing_else(
    tmp_path, procgen_curves, algorithm
):
    config = procgen_config(algorithm=algorithm, evaluation_episodes=3, checkpoints=2)
    table = uninterrupted(tmp_path, config)
    rows, plain = (t.to_pydict() for t in (table, procgen_curves[algorithm]))
    evaluated = [e for e, n in zip(rows["interactions"], rows["eval_episodes"], strict=True) if n is not None]
    assert evaluated == [256, 512]
    means = [mean for mean in rows["eval_return_mean"] if mean is not None]
    assert len(means) == 2
    assert np.isfinite(means).all()
    assert {n for n in rows["eval_episodes"] if n is not None} == {4}  # one for each environment
    same = [name for name in rows if not name.startswith("eval_") and name not in ("wall_seconds", "run_id")]
    assert {name: rows[name] for name in same} == {name: plain[name] for name in same}


def test_an_evaluation_that_no_level_is_left_for_is_refused_at_the_start():
    config = procgen_config(evaluation_episodes=1)
    levels = config.levels.model_copy(update={"num_levels": LEVEL_LIMIT})
    with pytest.raises(InputError, match="no level to evaluate on"):
        Run(config.model_copy(update={"levels": levels}))


def test_a_seed_beyond_procgens_own_trains_and_evaluates():
    run = Run(procgen_config(evaluation_episodes=1).model_copy(update={"seed": 2**40 + 3}))
    run.iterate()
    run.evaluate()
    assert math.isfinite(run.close_row()["eval_return_mean"])


def test_a_procgen_run_that_diverges_is_marked_failed(tmp_path):
    config = procgen_config(learning_rate=1e30, algorithm="ppg-ewma")
    store = RunStore(tmp_path / "store", create=True)
    with pytest.raises(NonFiniteLoss, match=r"smaller agent\.learning_rate"):
        attempt(store, config)
    assert store.read_run(SWEEP, config.run_id).status == "failed"
