"""The exceptions that the whole toolkit shares. Imports nothing of ours, so that any module may import it.

Each carries a sentence for people and a ``code`` for programs. Nothing reads the sentence to decide.
"""

from __future__ import annotations

from collections.abc import Sequence


class RlscaleError(Exception):
    """A failure described in one clear sentence with its remedy. The command line exits with 1.

    Args:
        message: the sentence.
        code: what kind of failure it is, in lower case with underscores; by default that of the class.
    """

    exit_status = 1
    code = "failed"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InputError(RlscaleError):
    """The user's input cannot be used. The command line exits with 2."""

    exit_status = 2
    code = "invalid_input"


class InvalidConfig(InputError):
    """A config with problems.

    Attributes:
        problems: a sentence on each, without the config's name.
    """

    code = "invalid_config"

    def __init__(self, source: str, problems: Sequence[str], *, code: str) -> None:
        *first, last = problems
        head = f"{source} has {len(problems)} problems: " if first else f"{source}: "
        super().__init__(head + "; ".join([*(each.rstrip(".") for each in first), last]), code=code)
        self.source, self.problems = source, tuple(problems)


class StoreUnavailable(InputError):
    """A store cannot be read or written at the moment: its disk is full, read-only or out of reach."""

    code = "store_unavailable"


class DamagedRun(InputError):
    """A file of one run in a store cannot be used; the other runs can.

    Attributes:
        sweep, run_id: which run it is.
        may_be_redone: whether the run may be done again in its place. It may not if the file is intact but
            of another run or a later version.
    """

    code = "damaged_run"

    def __init__(self, message: str, *, sweep: str, run_id: str, may_be_redone: bool = True) -> None:
        super().__init__(message)
        self.sweep, self.run_id, self.may_be_redone = sweep, run_id, may_be_redone


class DamagedSpec(InputError):
    """The stored spec of a sweep cannot be read; its runs can."""

    code = "damaged_spec"


class OutOfMemory(InputError):
    """This machine has too little memory for a run; the run may fit alone or on another machine."""

    code = "out_of_memory"


class FitDidNotConverge(RlscaleError):
    """The optimiser found no minimum; the sentence says what was tried and what to do."""

    code = "fit_did_not_converge"


class NonFiniteLoss(RlscaleError):
    """Training produced a loss that is not a finite number."""

    code = "non_finite_loss"


class LeaseLost(RlscaleError):
    """Another attempt took the run over; this one may no longer write."""

    code = "lease_lost"
