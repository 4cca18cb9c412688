"""What a trained transformer has become: its weights, and its error by the length of the context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError
from rlscale.scaling.solvable.in_context_metrics import Floats, HeldOut, draw_held_out, measure
from rlscale.scaling.solvable.in_context_td import Transformer
from rlscale.scaling.training.checkpoint import read_checkpoint


@dataclass(frozen=True)
class Trained:
    """The last checkpoint of a run.

    Attributes:
        P, Q: weights, (layers or 1, 2d + 1, 2d + 1).
        error: squared value error on held-out processes over that of values 0, for each length of the
            context.
        reference_error: the same of batch TD with the trained step size.
    """

    P: Floats
    Q: Floats
    error: Floats
    reference_error: Floats


def held_out_by_length(settings: InContextConfig, lengths: list[int]) -> dict[int, HeldOut]:
    """The held-out processes of a run, with contexts of other lengths."""
    return {n: draw_held_out(settings.model_copy(update={"length": n})) for n in lengths}


def read_trained(config: RunConfig, checkpoint: bytes, held_out: Mapping[int, HeldOut]) -> Trained:
    """Weights and errors of a checkpoint.

    Args:
        held_out: by the length of the context, as ``held_out_by_length`` gives them.

    Raises:
        InputError: if it cannot be read, or belongs to another run (code ``damaged_checkpoint``).
    """
    transformer = Transformer(config.settings)
    try:
        learner = read_checkpoint(checkpoint, config.run_id, torch.device("cpu"))["learner"]
        transformer.load_state_dict(learner["transformer"])
        alpha = learner["alpha"]
    except (ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"run {config.run_id}: its last checkpoint cannot be used ({error}); train the run again.",
            code="damaged_checkpoint",
        ) from error
    found = [measure(transformer, alpha, each) for each in held_out.values()]
    P, Q = (each.detach().double().numpy() for each in (transformer.P, transformer.Q))
    return Trained(
        P,
        Q,
        error=np.array([1 - each.returns.mean() for each in found]),
        reference_error=np.array([1 - each.reference_returns.mean() for each in found]),
    )
