"""Parameters and FLOPs against counts by hand."""

import math
from types import SimpleNamespace

import pytest

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.model import ModelConfig
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.training.facts import run_columns

TASK_SIDES = {"mnist-bandit": 28, "digits-bandit": 8}


def sizes(width=1.0, depth=1, task="mnist-bandit", **agent):
    columns = run_columns(
        RunConfig(
            task=task,
            interactions=1,
            model=ModelConfig(width=width, depth=depth),
            agent=AgentConfig(**agent),
        )
    )
    names = ("num_params", "num_params_total", "flops_forward", "flops_per_interaction")
    return SimpleNamespace(**{name: columns[name] for name in names})


def procgen_sizes(width, **agent):
    return run_columns(
        RunConfig(
            task="procgen-starpilot-hard",
            interactions=1,
            model={"width": width, "depth": 1},
            agent={"horizon": 1999, **agent},
        )
    )


def impala_macs_by_hand(width, outputs):
    """(all multiply-adds of a forward pass at depth 1, those of the first convolution)."""
    c1, c2, c3, dense = (math.floor(base * width + 0.5) for base in (16, 32, 32, 256))
    first = 64**2 * 9 * 3 * c1
    stacks = 32**2 * 9 * (2 * c1**2 + c1 * c2) + 16**2 * 9 * (2 * c2**2 + c2 * c3) + 8**2 * 9 * 2 * c3**2
    return first + stacks + c3 * 8 * 8 * dense + dense * outputs, first


def units(width):
    return [math.floor(base * width + 0.5) for base in (40, 80, 1000)]


def params_by_hand(width, depth, side, outputs):
    c1, c2, dense = units(width)
    convolutions = (5 * 5 * 1 + 1) * c1 + (3 * 3 * c1 + 1) * c2
    inputs = c2 * (side // 2 // 2) ** 2
    return convolutions + (inputs + 1) * dense + (depth - 1) * (dense + 1) * dense + (dense + 1) * outputs


def macs_by_hand(width, depth, side, outputs):
    """(all multiply-adds of a forward pass, those of the first convolution)."""
    c1, c2, dense = units(width)
    half, quarter = side // 2, side // 4
    first = side**2 * 25 * c1
    rest = half**2 * 9 * c1 * c2 + c2 * quarter**2 * dense + (depth - 1) * dense**2 + dense * outputs
    return first + rest, first


def test_default_network_has_3960930_parameters():
    # conv1 26*40, conv2 361*80, dense 3921*1000, head 1001*10
    assert sizes().num_params == 1_040 + 28_880 + 3_921_000 + 10_010 == 3_960_930


@pytest.mark.parametrize("task", sorted(TASK_SIDES))
@pytest.mark.parametrize(("width", "depth"), [(0.025, 1), (0.125, 1), (0.7, 2), (1.0, 3), (math.sqrt(8), 1)])
def test_parameters_equal_the_count_by_hand(task, width, depth):
    side, measured = TASK_SIDES[task], sizes(width, depth, task)
    policy = params_by_hand(width, depth, side, 10)
    assert measured.num_params == policy
    assert measured.num_params_total == policy + params_by_hand(width, depth, side, 1)


def test_widths_span_a_64th_to_8_times_the_default():
    default = sizes().num_params
    assert sizes(1 / 8).num_params / default == pytest.approx(1 / 64, rel=0.03)
    assert sizes(math.sqrt(8)).num_params / default == pytest.approx(8, rel=0.01)


@pytest.mark.parametrize("task", sorted(TASK_SIDES))
@pytest.mark.parametrize(("width", "depth"), [(0.05, 1), (0.5, 2), (1.0, 1)])
def test_forward_flops_are_two_for_each_multiply_add(task, width, depth):
    macs, _ = macs_by_hand(width, depth, TASK_SIDES[task], 10)
    assert sizes(width, depth, task).flops_forward == 2 * macs


@pytest.mark.parametrize(
    ("algorithm", "epochs_policy", "epochs_value"),
    [("ppo", 1, 1), ("ppo-ewma", 1, 1), ("ppo-ewma", 3, 3), ("ppo-ewma", 1, 2), ("ppo", 2, 1)],
)
def test_training_flops_count_acting_then_each_epochs_passes(algorithm, epochs_policy, epochs_value):
    """A backward pass is two forward passes, less the gradient of the image."""
    (policy, first), (value, _) = (macs_by_hand(0.5, 1, 28, outputs) for outputs in (10, 1))
    policy_step = policy + (2 * policy - first) + (policy if algorithm == "ppo-ewma" else 0)
    value_step = value + (2 * value - first)
    macs = policy + value + epochs_policy * policy_step + epochs_value * value_step
    measured = sizes(0.5, algorithm=algorithm, epochs_policy=epochs_policy, epochs_value=epochs_value)
    assert measured.flops_per_interaction == 2 * macs


PHASES = {"policy_iterations": 4, "auxiliary_epochs": 6, "sequences": 4}


@pytest.mark.parametrize("algorithm", ["ppo", "ppg-ewma"])
@pytest.mark.parametrize(
    ("architecture", "epochs_policy", "epochs_value"),
    [("dual", 1, 1), ("dual", 2, 3), ("shared", 3, 3), ("shared", 2, 1), ("detach", 2, 2), ("detach", 1, 3)],
)
def test_training_flops_follow_the_architecture_and_the_phases(
    algorithm, architecture, epochs_policy, epochs_value
):
    """One network serves both where its heads are trained together; no gradient leaves a detached head."""
    policy, first = impala_macs_by_hand(0.25, 15)
    value = impala_macs_by_hand(0.25, 1)[0] if architecture == "dual" else 0
    policy_step = 3 * policy - first
    value_step = 3 * value - first if value else 0
    own_epochs = {"shared": policy_step, "detach": policy}.get(architecture, value_step)
    is_joint = value or epochs_policy == epochs_value
    macs = policy + value + epochs_policy * policy_step
    macs += epochs_value * (value_step if is_joint else own_epochs)
    if algorithm == "ppg-ewma":
        # The proximal policy's passes; the policy's outputs before the phase; 6 epochs of everything.
        macs += epochs_policy * policy + policy + 6 * (policy_step + value_step)
    measured = procgen_sizes(
        0.25,
        algorithm=algorithm,
        architecture=architecture,
        epochs_policy=epochs_policy,
        epochs_value=epochs_value,
        **({"phasic": PHASES} if algorithm == "ppg-ewma" else {}),
    )
    assert measured["flops_forward"] == 2 * policy
    assert measured["flops_per_interaction"] == 2 * macs
