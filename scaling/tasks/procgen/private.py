"""Everything undocumented that rlscale uses of procgen and gym3, in one place.

Checked with procgen-mirror 0.10.7, gym3 0.3.3 and gym 0.26.2 (gym-notices 0.1.0).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlscale.scaling.errors import InputError


def import_procgen() -> Any:
    """The package ``procgen``, without the notice that its dependency gym prints.

    Raises:
        InputError: if it cannot be imported, whatever the reason.
    """
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("gym_notices.notices").notices.clear()
        return importlib.import_module("procgen")
    except Exception as error:  # a missing package, a wheel for another system, a numpy that does not fit
        raise InputError(
            f"Procgen cannot be imported ({type(error).__name__}: {error}). Install it with "
            f"pip install 'rlscale[train]' on Python 3.11 or 3.12; there are no wheels for Python 3.13.",
            code="missing_package",
        ) from error


def make_games(**options: Any) -> Any:
    """``ProcgenGym3Env`` that fills the same arrays at every step; by default gym3 copies observations."""
    games = import_procgen().ProcgenGym3Env(**options)
    games._reuse_arrays = True
    return games


def image(observation: Mapping[str, np.ndarray]) -> np.ndarray:
    """The images (n, 64, 64, 3) uint8 of an observation of gym3."""
    return observation["rgb"]


def ended_level(info: Mapping[str, Any]) -> tuple[int, bool]:
    """The level of the last episode that ended in an environment, and whether it was solved."""
    return info["prev_level_seed"], info["prev_level_complete"]
