"""Trains one run from its config to its curve: train, record, save, resume."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError, LeaseLost, NonFiniteLoss, StoreUnavailable
from rlscale.scaling.training.run import Run
from rlscale.scaling.training.solvable_run import SolvableRun
from rlscale.scaling.training.writer import CurveWriter, Row


def train(
    config: RunConfig,
    writer: CurveWriter,
    *,
    device: str = "cpu",
    on_progress: Callable[[int, float], None] = lambda interactions, wall_seconds: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> str:
    """Train to the end, from the newest checkpoint that can be read. Returns the status.

    Rows since the last checkpoint are stored together with the next one, so a run killed at
    any moment loses at most the work since its last checkpoint. PPG saves its checkpoints, and
    ends, only at the ends of phases, where nothing is stored for the auxiliary phase.

    Args:
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
        due = _next_checkpoint(run.interactions, config)
        on_progress(run.interactions, run.wall_seconds)
        while run.interactions < config.interactions or not run.is_between_phases:
            run.iterate()
            may_save = run.is_between_phases
            finished = may_save and run.interactions >= config.interactions
            is_due = may_save and run.interactions >= due
            if is_due and config.evaluation_episodes:
                run.evaluate()
            if finished or run.recorder.is_due(run.interactions):
                rows.append(run.close_row())
            stopping = not finished and should_stop()
            if finished or is_due or (stopping and may_save):
                writer.write_segment(
                    index, rows, run.save(), interactions=run.interactions, wall_seconds=run.wall_seconds
                )
                index, rows = index + 1, []
                due = _next_checkpoint(run.interactions, config)
            on_progress(run.interactions, run.wall_seconds)
            if stopping:
                writer.stop("stopped on request; it goes on from its checkpoint")
                return "stopped"
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


def _next_checkpoint(interactions: int, config: RunConfig) -> int:
    """The first of the evenly spaced checkpoint thresholds beyond ``interactions``."""
    count = config.checkpoints
    reached = interactions * count // config.interactions
    return math.ceil((reached + 1) * config.interactions / count)
