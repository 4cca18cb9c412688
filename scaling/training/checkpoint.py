"""What a checkpoint of a run holds, read without running anything that it contains."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rlscale.scaling.errors import InputError
from rlscale.scaling.training.out_of_memory import is_out_of_memory


def read_checkpoint(checkpoint: bytes, run_id: str, device: torch.device) -> dict[str, Any]:
    """The state that ``Run.save`` wrote.

    Raises:
        ValueError: if it is damaged, or belongs to another run.
    """
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(checkpoint), map_location=device, weights_only=True)
    except Exception as error:  # torch passes on any error of its zip reader
        if is_out_of_memory(error):
            raise
        raise ValueError(f"the checkpoint cannot be read ({error})") from error
    if not isinstance(state, dict) or state.get("run_id") != run_id:
        raise ValueError("the checkpoint belongs to another run")
    if "collector" not in state and "learner" not in state:
        raise ValueError("the checkpoint is of an earlier version")
    return state


@contextmanager
def loading() -> Iterator[None]:
    """Turn any error of a state with another shape into one that says so.

    Raises:
        ValueError: if the block fails for another reason than memory or the user's input.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, InputError):
            raise
        raise ValueError(f"the checkpoint does not fit ({error})") from error


def network_weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of policy and value function, as ``ActorCritic.load_state_dict`` reads them."""
    agent = state["agent"]
    weights: dict[str, torch.Tensor] = agent.get("ppo", agent)["model"]  # PPG holds a PPO
    return weights
