"""Parameters and FLOPs against counts by hand."""

import math
from types import SimpleNamespace

import pytest

from scaling.config import AgentConfig, ModelConfig, RunConfig
from scaling.train import run_columns

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
