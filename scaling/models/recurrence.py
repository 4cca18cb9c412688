"""An LSTM after the trunk, whose state is carried through a rollout and cleared where episodes begin."""

from __future__ import annotations

import torch
from torch import nn

from rlscale.scaling.errors import InputError
from rlscale.scaling.models.trunk import normed


def lstm_units(hidden_size: int, width: float) -> int:
    """Units of the LSTM: ``hidden_size`` times ``width``, rounded to the nearest whole (halves up).

    Raises:
        InputError: if there is none.
    """
    units = int(hidden_size * width + 0.5)
    if units == 0:
        raise InputError(
            f"Width {width:g} gives an LSTM of 0 units ({hidden_size} x {width:g} rounds to 0); use a width "
            f"of at least {0.5 / hidden_size:g}, or a larger model.hidden_size.",
            code="width_too_small",
        )
    return units


class Recurrence(nn.Module):
    """Features (rows, steps, inputs) -> features with memory (rows, steps, size).

    Initialised like the rest of the network: each unit's input and recurrent weights have norm 1,
    biases 0. The state of a row is its hidden and cell values side by side, (rows, 2 * size).
    """

    def __init__(self, inputs: int, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, size)
        with torch.no_grad():
            for name in ("weight_ih", "weight_hh"):
                weight = getattr(self.cell, name)
                weight.copy_(normed(nn.Linear(weight.shape[1], 4 * size), 1.0, generator).weight)
            self.cell.bias_ih.zero_()
            self.cell.bias_hh.zero_()
        self.num_features = size
        self.num_state = 2 * size

    def forward(
        self, features: torch.Tensor, first: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features with memory and the state after each step; ``first`` (rows, steps) clears it before one.

        Args:
            state: (rows, num_state), before the first step; those returned are (rows, steps, num_state).
        """
        hidden, cell = state.chunk(2, dim=1)
        kept = (1.0 - first)[:, :, None]
        begins = first.any(dim=0).tolist()
        hiddens, cells = [], []
        for t, begins_here in enumerate(begins):
            if begins_here:  # elsewhere a factor of 1, which takes a third of the time of narrow networks
                hidden, cell = hidden * kept[:, t], cell * kept[:, t]
            hidden, cell = self.cell(features[:, t], (hidden, cell))
            hiddens.append(hidden)
            cells.append(cell)
        remembered = torch.stack(hiddens, dim=1)
        return remembered, torch.cat([remembered, torch.stack(cells, dim=1)], dim=2)
