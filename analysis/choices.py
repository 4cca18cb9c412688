"""The choices that users have in a fit. Imports nothing heavy, so that the command line starts quickly."""

from __future__ import annotations

from typing import Literal

#: Residuals of the return, or of log I as in the paper.
Objective = Literal["return", "paper"]
#: The measure of the size N: policy parameters, all parameters, or FLOPs of a forward pass.
SizeColumn = Literal["params", "params_total", "flops"]
#: What to do with runs that are not healthy: use them, up to where they fell ill, or not at all.
UnhealthyChoice = Literal["keep", "cut", "drop"]
#: Fit a delay where curves show that learning starts late, or not.
LateStartChoice = Literal["auto", "ignore"]
