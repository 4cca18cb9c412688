"""An LSTM after the trunk, whose state is carried through a rollout and cleared where episodes begin."""

from __future__ import annotations

import torch
from torch import nn

from rlscale.scaling.models.trunk import normed


class Recurrence(nn.Module):
    """Features (rows, steps, size) -> features of the same shape, with memory.

    Initialised like the rest of the network: each unit's input and recurrent weights have norm 1,
    biases 0. The state of a row is its hidden and cell values side by side, (rows, 2 * size).
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(size, size)
        with torch.no_grad():
            for name in ("weight_ih", "weight_hh"):
                layer = normed(nn.Linear(size, 4 * size), 1.0, generator)
                getattr(self.cell, name).copy_(layer.weight)
            self.cell.bias_ih.zero_()
            self.cell.bias_hh.zero_()
        self.num_state = 2 * size

    def forward(
        self, features: torch.Tensor, first: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features with memory and the state after the last step; ``first`` (rows, steps) clears it."""
        hidden, cell = state.chunk(2, dim=1)
        outputs = []
        for t in range(features.shape[1]):
            kept = (1.0 - first[:, t])[:, None]
            hidden, cell = self.cell(features[:, t], (hidden * kept, cell * kept))
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), torch.cat([hidden, cell], dim=1)
