"""Scaling laws of reinforcement learning, measured: sweeps, joint fits, compute-optimal forecasts.

The public API is what ``__init__.pyi`` lists. Each name is imported when it is first used, so
``import rlscale`` loads neither torch nor ray, and the base install is enough for the analysis.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rlscale")
    return _load(name)
