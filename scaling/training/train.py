"""Trains one run from its config to its curve: train, record, save, resume."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Literal

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError, LeaseLost, NonFiniteLoss, StoreUnavailable
from rlscale.scaling.training.run import Run
from rlscale.scaling.training.solvable_run import SolvableRun
from rlscale.scaling.training.writer import CurveWriter, Row

#: How ``train`` ends without an error.
Ending = Literal["done", "paused", "stopped"]


def train(
    config: RunConfig,
    writer: CurveWriter,
    *,
    device: str = "cpu",
    until: int | None = None,
    on_progress: Callable[[int, float], None] = lambda interactions, wall_seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Ending:
    """Train to the end, or to ``until``, from the newest checkpoint that can be read. Returns the status.

    Rows since the last checkpoint are stored together with the next one, so a run killed at
    any moment loses at most the work since its last checkpoint. PPG saves its checkpoints, and
    ends, only at the ends of phases, where nothing is stored for the auxiliary phase.

    A run that was paused at ``until`` goes on later as if it had never paused: its curve is the same.

    Args:
        until: interactions after which to pause, if that is before the end.
        on_progress: called with (interactions, wall seconds so far) after each iteration.
        should_stop: called after each iteration; if true, everything is stored and the run
            stops. It can continue later.

    Raises:
        InputError: if the run cannot start (the run is marked failed).
        NonFiniteLoss: if a loss is not finite (the run is marked failed, its rows kept).
        LeaseLost: if another attempt took the run over.
        StoreUnavailable: if the rows cannot be stored; the run can continue from its last checkpoint.
    """
    index = 0
    rows: list[Row] = []
    try:
        run, index = _resume(lambda: make_run(config, device), writer)
        length = config.interactions if until is None else min(until, config.interactions)
        due = _next_checkpoint(run.interactions, config.interactions, config)
        save = _next_checkpoint(run.interactions, length, config)
        on_progress(run.interactions, run.wall_seconds)
        while run.interactions < length or not run.is_between_phases:
            run.iterate()
            may_save = run.is_between_phases
            finished = may_save and run.interactions >= config.interactions
            ending = may_save and run.interactions >= length
            is_due = may_save and run.interactions >= due
            if is_due and config.evaluation_episodes:
                run.evaluate()
            if finished or run.recorder.is_due(run.interactions):
                rows.append(run.close_row())
            stopping = not ending and should_stop()
            if ending or is_due or (may_save and (stopping or run.interactions >= save)):
                writer.write_segment(
                    index, rows, run.save(), interactions=run.interactions, wall_seconds=run.wall_seconds
                )
                index, rows = index + 1, []
                due = _next_checkpoint(run.interactions, config.interactions, config)
                save = _next_checkpoint(run.interactions, length, config)
            on_progress(run.interactions, run.wall_seconds)
            if stopping:
                writer.stop("stopped on request; it goes on from its checkpoint")
                return "stopped"
        if run.interactions < config.interactions:
            writer.pause(f"paused at {run.interactions:,} interactions; it can go on")
            return "paused"
        writer.finish()
        return "done"
    except (LeaseLost, StoreUnavailable):
        raise
    except NonFiniteLoss as error:
        if not run.recorder.is_empty:
            rows.append(run.close_row())
        writer.fail(str(error), code=error.code, rows=rows, index=index)
        raise
    except InputError as error:
        writer.fail(str(error), code=error.code, rows=rows, index=index)
        raise


def make_run(config: RunConfig, device: str = "cpu") -> Run | SolvableRun:
    """The run of a config before its first step."""
    kind = SolvableRun if config.solvable_task else Run
    return kind(config, device=device)


def _resume(make: Callable[[], Run | SolvableRun], writer: CurveWriter) -> tuple[Run | SolvableRun, int]:
    """A run restored from its newest usable checkpoint, and the index of its next checkpoint."""
    run, last = make(), -1
    for index, checkpoint in writer.checkpoints():
        try:
            run.restore(checkpoint)
        except ValueError as error:  # a damaged checkpoint costs one interval, because the one before is used
            logging.getLogger("rlscale").warning("checkpoint %d is not used: %s", index, error)
            run = make()
            continue
        last = index
        break
    writer.drop_after(last)
    return run, last + 1


def _next_checkpoint(interactions: int, length: int, config: RunConfig) -> int:
    """The first of the checkpoint thresholds, evenly spaced to ``length``, beyond ``interactions``."""
    count = config.checkpoints
    reached = interactions * count // length
    return math.ceil((reached + 1) * length / count)
