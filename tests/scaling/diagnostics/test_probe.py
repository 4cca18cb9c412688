"""Runs that measure themselves: they learn what others learn, and their metrics are what they say."""

import copy
import math

import pytest
import torch

from rlscale.scaling.config.run import run_config
from rlscale.scaling.modules import name_modules
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.training.run import Run
from rlscale.sweeps.store.schema import DIAGNOSTICS, HEALTH

STEPS = {"num_envs": 4, "rollout_steps": 8, "minibatches": 2}
GYM = {**STEPS, "algorithm": "ppo", "horizon": 9, "learning_rate": 3e-3}
PHASES = {"policy_iterations": 2, "auxiliary_epochs": 1, "sequences": 4}
OF_POLICY = {
    name for name in HEALTH if not name.startswith(("value_", "ratio_above", "ratio_below", "excess"))
}
RANKS = {name for name in HEALTH if name.endswith("_rank") and "ntk" not in name} | {
    name for name in HEALTH if "_srank" in name or "_sigma_" in name
}

#: Task, agent, network and the observations to measure on: every algorithm, architecture, family and space.
CASES = {
    "bandit": ("digits-bandit", {**STEPS, "rollout_steps": 64}, {"width": 0.05}, 256),
    "separate epochs": ("digits-bandit", {**STEPS, "epochs_value": 2}, {"width": 0.02}, 64),
    "ppg": ("digits-bandit", {**STEPS, "algorithm": "ppg-ewma", "phasic": PHASES}, {"width": 0.02}, 64),
    "shared": ("digits-bandit", {**STEPS, "architecture": "shared"}, {"width": 0.02}, 64),
    "detached": ("digits-bandit", {**STEPS, "architecture": "detach"}, {"width": 0.02}, 64),
    "memory": ("gymnasium:CartPole-v1", GYM, {"width": 0.25, "recurrent": "lstm"}, 64),
    "continuous": ("own_code:Push", GYM, {"width": 0.25, "layer_norm": True}, 64),
    "one deviation": ("own_code:Push", GYM | {"policy": "normal"}, {"width": 0.25}, 64),
    "several choices": ("own_code:Sums", GYM, {"width": 0.25, "activation": "relu"}, 64),
    "images": ("own_code:Pictures", GYM, {"family": "nature-cnn", "width": 0.05, "layer_norm": True}, 64),
    "one's own": ("own_code:Push", GYM, {"family": "own_code:Unnamed", "width": 0.5}, 64),
    "procgen": ("procgen-coinrun-easy", GYM, {"width": 0.0625}, 64),
    "feature penalty": (
        "digits-bandit",
        {**STEPS, "feature_penalty": {"coefficient": 1.0, "layers": "all"}},
        {"width": 0.02},
        64,
    ),
    "masked and reset": (
        "own_code:Push",
        GYM | {"reward_mask": 0.5, "reset_adam": True},
        {"width": 0.25},
        64,
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _own_code():
    name_modules(["own_code"])


def config_of(case, **others):
    task, agent, model, _ = CASES[case]
    values = {"task": task, "interactions": 10**6, "agent": agent, "model": model}
    return run_config(values | others, source="test")


def rows_of(run, iterations):
    found = []
    for _ in range(iterations):
        run.iterate()
        found.append(run.close_row())
        del found[-1]["wall_seconds"]
    return found


def measured(case, **options):
    return Run(config_of(case, diagnostics={"every": 1, "batch": CASES[case][3], **options}))


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_measures_itself_learns_the_same_and_goes_on_from_where_it_was_saved(case):
    plain, watched = Run(config_of(case)), measured(case)
    expected, found = rows_of(plain, 4), rows_of(watched, 2)
    checkpoint = watched.save()
    more = rows_of(watched, 2)
    if plain.config.task_entry.resume == "exact":
        resumed = measured(case)
        resumed.restore(checkpoint)
        assert rows_of(resumed, 2) == more
    for row, without in zip(found + more, expected, strict=True):
        assert {name: value for name, value in row.items() if name in without} == without
        assert set(row) - set(without) <= set(HEALTH) <= set(DIAGNOSTICS)
    for one, other in zip(
        watched.agent.model.state_dict().values(), plain.agent.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    assert_complete(case, more[-1], has_value=plain.agent.model.value is not None)


def assert_complete(case, row, *, has_value):
    """Every metric that is defined is there: of the value if it has a network, ..."""
    absent = {name for name in HEALTH if name not in row} - {"ratio_above", "ratio_below", "excess_ratio"}
    of_value = {name for name in HEALTH if name.startswith("value_")} - {"value_churn"}
    expected = set() if has_value else of_value
    if case == "one's own":
        expected |= {"policy_preactivation_norm", "value_preactivation_norm"}
    assert absent == expected
    assert all(math.isfinite(row[name]) for name in row if name in HEALTH)


def test_ranks_need_more_observations_than_units():
    run = measured("bandit", batch=50)  # 50 units
    row = rows_of(run, 1)[0]
    assert row["policy_features"] == 50
    assert RANKS & set(row) == set()
    assert "policy_feature_norm" in row


def test_what_needs_an_earlier_measurement_is_absent_at_first():
    row, later = rows_of(measured("bandit"), 2)
    assert {"policy_churn", "value_churn"} & set(row) == set()
    assert {"policy_churn", "value_churn"} <= set(later)


def test_measurements_come_at_the_interval():
    """Iterations of 32: the first, and those that reach a further multiple of 75."""
    rows = rows_of(measured("detached", every=75), 8)
    assert [row["interactions"] for row in rows if "ratio_max" in row] == [32, 96, 160, 256]


def test_the_metrics_of_an_iteration_by_hand():
    """Features by a pass of the trunk, ratios and divergence from two copies of the policy."""
    run = measured("bandit")
    run.iterate()
    run.close_row()
    before = copy.deepcopy(run.agent.model)
    learned, rollouts = run.agent.learn, []
    run.agent.learn = lambda rollout, *args, **options: (
        rollouts.append(rollout) or learned(rollout, *args, **options)
    )
    row = rows_of(run, 1)[0]
    rollout, after = rollouts[0], run.agent.model
    observation = rollout.observation.transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        old, new = (m.actions(m.policy(flat_inputs(observation))[:, 0]) for m in (before, after))
        action = rollout.action.transpose(0, 1).flatten()
        ratio = (new.log_prob(action) - old.log_prob(action)).exp()
        features = before.policy.trunk(observation)
        weight_norm = torch.cat([p.flatten() for p in before.policy.parameters()]).norm()
    expected = {
        "policy_features": 50,
        "policy_feature_norm": features.norm(dim=1).mean(),
        "policy_dead_share": (features == 0).all(dim=0).float().mean(),
        "policy_sigma_first": torch.linalg.svdvals(features)[0] / 16,  # sqrt(256)
        "policy_variance": old.parameters().var(dim=0).mean(),
        "policy_weight_norm": weight_norm,
        "ratio_max": ratio.max(),
        "ratio_mean": ratio.mean(),
        "kl_exact": new.kl_from(old).mean(),
        "kl_k1": -ratio.log().mean(),
    }
    assert {name: row[name] for name in expected} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-3, abs=1e-6
    )


def test_without_an_update_nothing_moves():
    task, agent, model, batch = CASES["bandit"]
    values = {
        "task": task,
        "interactions": 1000,
        "agent": {**agent, "learning_rate": 0.0},
        "model": model,
        "diagnostics": {"every": 1, "batch": batch},
    }
    row = rows_of(Run(run_config(values, source="test")), 2)[-1]
    still = ("policy_update_norm", "value_update_norm", "policy_churn", "value_churn", "kl_exact")
    assert [row[name] for name in still] == pytest.approx([0.0] * 5, abs=1e-9)
    assert row["ratio_max"] == pytest.approx(1.0, abs=1e-5)
    assert row["policy_gradient_norm"] > 0
    assert set(row) >= OF_POLICY


def test_the_gradients_norm_is_that_before_clipping_and_the_updates_that_of_the_step():
    """With one gradient step in the iteration."""
    task, agent, model, _ = CASES["bandit"]
    rows = {}
    for clip in (0.0, 1e-3):
        one_step = {**agent, "minibatches": 1, "max_grad_norm": clip, "algorithm": "ppo"}
        values = {"task": task, "interactions": 1000, "agent": one_step, "model": model}
        run = Run(run_config(values | {"diagnostics": {"every": 1, "batch": 64}}, source="test"))
        before = copy.deepcopy(run.agent.model)
        rows[clip] = rows_of(run, 1)[0]
        for name, old, new in zip(
            ("policy", "value"), before.networks, run.agent.model.networks, strict=True
        ):
            changes = [n - o for n, o in zip(new.parameters(), old.parameters(), strict=True)]
            moved = torch.cat([change.detach().flatten() for change in changes]).norm()
            assert rows[clip][f"{name}_update_norm"] == pytest.approx(float(moved), rel=1e-5)
        left = torch.cat([p.grad.flatten() for p in run.agent.model.policy.parameters()]).norm()
        assert rows[clip]["policy_gradient_norm"] >= float(left) * (1 - 1e-6)
    assert rows[0.0]["policy_gradient_norm"] == rows[1e-3]["policy_gradient_norm"] > 1e-3
