"""The exceptions that all three packages share. Imports nothing, so anyone may import it."""


class RlscaleError(Exception):
    """A failure told in one clear sentence with its remedy. The command line exits with 1."""

    exit_status = 1


class InputError(RlscaleError):
    """What the user gave cannot be used. The command line exits with 2."""

    exit_status = 2


class StoreUnavailable(InputError):
    """A store cannot be read or written at the moment: its disk is full, read-only or out of reach."""


class OutOfMemory(InputError):
    """The memory does not suffice for a run where it was; elsewhere, or alone, it may."""


class FitDidNotConverge(RlscaleError):
    """The optimiser found no minimum to stand on; says what was tried and what to do."""


class NonFiniteLoss(RlscaleError):
    """Training produced a loss that is not a finite number."""


class LeaseLost(RlscaleError):
    """Another attempt at the same run took it over; this one may no longer write."""
