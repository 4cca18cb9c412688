"""TD inside a transformer as the learner of a run; see ``in_context_td`` for the model.

An update is a step of Adam on the squared TD error of consecutive prompts of one process. Each process is
drawn from a stream of its own, so the number of updates so far says what comes next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from rlscale.scaling.config.in_context import InContextConfig
from rlscale.scaling.solvable.in_context_metrics import draw_held_out, measure, structure
from rlscale.scaling.solvable.in_context_td import (
    Batch,
    Prompts,
    Transformer,
    batch_td,
    draw_batch,
    td_loss,
)
from rlscale.scaling.solvable.reward_processes import draw_process
from rlscale.scaling.tasks.interface import Learned, LearnerFacts


def prepare(task: str) -> None:
    """Nothing: the task draws its processes."""


def facts(settings: InContextConfig) -> LearnerFacts:
    """Sizes and costs. N counts P and Q; depth is the number of layers, width the features over 4."""
    transformer = Transformer(settings)
    num_params = sum(each.numel() for each in transformer.parameters())
    forward, both = _flops(transformer, settings)
    family = f"{settings.attention}-attention" + ("-sequential" if settings.weights == "sequential" else "")
    return LearnerFacts(
        algorithm="td",
        family=family,
        width=settings.features / 4,
        depth=settings.layers,
        horizon=2 / (1 - settings.gamma) - 1,
        learning_rate=settings.learning_rate,
        num_params=num_params,
        num_params_total=num_params,
        flops_forward=forward,
        flops_per_interaction=(settings.batch + 1) * both / settings.interactions_per_update,
        memory=_memory(settings, num_params),
        calmer=f"try a smaller in_context.learning_rate (now {settings.learning_rate:g})",
        smaller=f"try a smaller in_context.batch (now {settings.batch})",
    )


def make_learner(
    settings: InContextConfig, *, seed: np.random.SeedSequence, device: str = "cpu"
) -> InContextLearner:
    """The transformer and its reference before the first update."""
    return InContextLearner(settings, seed=seed, device=device)


class InContextLearner:
    """A transformer that trains on random processes, and beside it the reference of batch TD.

    Attributes:
        transformer: the weights that are trained.
        alpha: the step size of the reference, trained with the same loss and optimiser; it begins at 1.
        updates: so far.
    """

    def __init__(
        self, settings: InContextConfig, *, seed: np.random.SeedSequence, device: str = "cpu"
    ) -> None:
        self._settings, self._device = settings, device
        weights, self._processes = seed.spawn(2)
        generator = torch.Generator().manual_seed(int(weights.generate_state(1)[0]))
        self.transformer = Transformer(settings, generator).to(device)
        self.alpha = torch.nn.Parameter(torch.ones((), device=device))
        self._adam = torch.optim.Adam(
            [*self.transformer.parameters(), self.alpha],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._held_out = draw_held_out(settings, device=device)
        self.updates = 0
        self._drawn: tuple[int, Batch] | None = None

    def iterate(self, most: int) -> Learned:
        """One update, in as many interactions as its walk has steps."""
        which, place = divmod(self.updates, self._settings.batches_per_process)
        batch = self.batches_of(which)
        losses = self.update(batch.walk(place))
        self.updates += 1
        nothing = np.zeros(0)  # returns are measured on held-out processes
        return Learned(self._settings.interactions_per_update, nothing, nothing, losses)

    def update(self, batch: Batch) -> dict[str, float]:
        """A step of Adam on the prompts (steps + 1) of one walk; the losses before it."""
        prompts, gamma = batch.prompts, self._settings.gamma
        w = batch_td(prompts.moments(), self.alpha, self._settings.layers, prompts.length)
        own = td_loss(self.transformer(prompts), batch.rewards, gamma)
        reference = td_loss((w * prompts.query).sum(-1), batch.rewards, gamma)
        self._adam.zero_grad()
        (own + reference).backward()  # they share no weights, so neither changes the other's gradient
        self._adam.step()
        return {"td_error": float(own.detach()), "reference_td_error": float(reference.detach())}

    def batches_of(self, which: int) -> Batch:
        """The walks on process number ``which``, one for each of its updates."""
        if self._drawn is None or self._drawn[0] != which:
            stream = np.random.SeedSequence(
                self._processes.entropy, spawn_key=(*self._processes.spawn_key, which)
            )
            rng = np.random.default_rng(stream)
            process = draw_process(self._settings, rng)
            drawn = draw_batch(
                process,
                self._settings,
                steps=self._settings.batch,
                walks=self._settings.batches_per_process,
                rng=rng,
                device=self._device,
            )
            self._drawn = which, drawn
        return self._drawn[1]

    def measure(self) -> Mapping[str, float]:
        """The return and the metrics on held-out processes, and the structure of the weights."""
        measured = measure(self.transformer, self.alpha, self._held_out)
        return {
            "episodes": len(measured.returns),
            "return_mean": float(measured.returns.mean()),
            "return_std": float(measured.returns.std()),
            **measured.means(),
            **structure(self.transformer.P, self.transformer.Q),
            "reference_step": float(self.alpha.detach()),
        }

    def state_dict(self) -> dict[str, Any]:
        """See ``Learner``."""
        return {
            "updates": self.updates,
            "alpha": self.alpha.detach().clone(),
            "transformer": self.transformer.state_dict(),
            "adam": self._adam.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Learner``."""
        self.updates = int(state["updates"])
        self.alpha.data.copy_(state["alpha"])
        self.transformer.load_state_dict(state["transformer"])
        self._adam.load_state_dict(state["adam"])


def _flops(transformer: Transformer, settings: InContextConfig) -> tuple[float, float]:
    """FLOPs of the value of one prompt, and with the gradient of the weights."""
    rows = 2 * settings.features + 1
    prompts = Prompts(torch.zeros(1, rows, settings.length), torch.zeros(1, settings.features))
    with FlopCounterMode(display=False) as forward:
        value = transformer(prompts)
    with FlopCounterMode(display=False) as backward:
        value.sum().backward()
    return float(forward.get_total_flops()), float(forward.get_total_flops() + backward.get_total_flops())


def _memory(settings: InContextConfig, num_params: int) -> int:
    """Bytes of the weights with gradients and moments, and of what the layers keep for the gradients."""
    rows, columns = 2 * settings.features + 1, settings.length + 1
    a_layer = 6 * rows * rows if settings.attention == "linear" else 3 * columns * (rows + columns)
    prompts = max(settings.batch + 1, settings.held_out * settings.states)
    return 4 * (4 * num_params + prompts * (rows * columns + settings.layers * a_layer))
