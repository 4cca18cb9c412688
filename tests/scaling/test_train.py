"""Runs against a real store: repeated, killed, superseded and failed."""

import itertools
import math

import numpy as np
import pytest

from scaling.config import RunConfig, run_config
from scaling.errors import InputError, LeaseLost, NonFiniteLoss
from scaling.train import Run, resolve_device, run_columns, train
from sweeps.store import RunStore, rows_equal

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
