"""The N of a model of another library: the parameters of its policy, without its value networks.

A model is anything with torch's ``named_parameters``, so torch itself is not imported. What belongs to a
value network is told by the names of its parts, as stable-baselines3, CleanRL and RLlib call them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rlscale.scaling.errors import InputError

#: Parts of a model that the policy does not use: critics, value heads and their encoders, target copies.
_OF_VALUE = re.compile(r"(critics?|values?|vf|qf)(_.*|\d+)?|.*_(critic|value|vf)(_.*)?", re.IGNORECASE)
#: Beside one of these, a part called ``value`` is that of an attention layer.
_OF_ATTENTION = ("query", "key", "query_proj", "key_proj")
_COPY = re.compile(r"target_.*|.*_target", re.IGNORECASE)


def count_parameters(model: Any, *, value: bool = False) -> int:
    """Number of parameters of a model's policy network, the N of the scaling law.

    Parameters that several parts share count once. An encoder that policy and value share is part of the
    policy. Networks of a value-based agent that choose its actions, such as ``q_net``, are its policy.

    Args:
        model: a module of torch, or an algorithm that has one as its ``policy`` (stable-baselines3).
        value: whether to count the value networks too, as in ``num_params_total``; copies never count.

    Raises:
        InputError: if it has no parameters that could be counted (code ``no_parameters``).
    """
    network = model if hasattr(model, "named_parameters") else getattr(model, "policy", model)
    if not hasattr(network, "named_parameters"):
        raise InputError(
            f"A {type(model).__name__} has no named_parameters to count; give the module of its policy.",
            code="no_parameters",
        )
    named = {name: parameter.numel() for name, parameter in network.named_parameters()}
    count = sum(number for name, number in named.items() if _counts(name, named, value))
    if not count:
        raise InputError(
            f"No parameter of this {type(network).__name__} is of a policy; give the module of its policy.",
            code="no_parameters",
        )
    return int(count)


def _counts(name: str, names: Iterable[str], value: bool) -> bool:
    """Whether the parameter of a name, one of ``names``, counts."""
    parts = name.split(".")
    if any(_COPY.fullmatch(part) for part in parts):
        return False
    if value:
        return True
    for place, part in enumerate(parts):
        if _OF_VALUE.fullmatch(part):
            beside = tuple(".".join([*parts[:place], other]) + "." for other in _OF_ATTENTION)
            if not any(other.startswith(beside) for other in names):
                return False
    return True
