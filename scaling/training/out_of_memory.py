"""Recognises that memory ran out, and reports what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rlscale.scaling.config.agent import AgentConfig
from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import OutOfMemory

#: What torch's exceptions say, on CPU and on a GPU, when they mean that there is no memory.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


@contextmanager
def memory_is_asked_for(remedy: str) -> Iterator[None]:
    """Say what to change when memory runs out.

    Raises:
        OutOfMemory: if torch or numpy could not get memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"The memory does not suffice for this run; {remedy}.") from error


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def smaller_batch(agent: AgentConfig) -> str:
    if agent.num_envs > 1:
        smaller = f"agent.num_envs {agent.num_envs // 2} (now {agent.num_envs})"
    else:
        smaller = f"agent.rollout_steps {max(1, agent.rollout_steps // 2)} (now {agent.rollout_steps})"
    phases = " or fewer agent.phasic.policy_iterations" if agent.auxiliary else ""
    return f"try {smaller}{phases}; it goes on from its last checkpoint where there is more memory"


def smaller_width(config: RunConfig) -> str:
    return f"try a smaller model.width (now {config.model.width:g})"
