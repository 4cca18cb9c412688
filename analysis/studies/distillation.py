"""A teacher and its students side by side as a result, every measure with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.arrays import StoredFloats
from rlscale.analysis.records import SCHEMA_VERSION, CodedWarning, Interval, Record, warning_fields
from rlscale.analysis.statistics.intervals import mean_interval


class Measure(Record):
    """One measure of the teacher and of its students.

    Attributes:
        name: what is measured: ``return_seen``, ``divergence_mixed_0.5``, ``same_action_noise_0.1``, …
        teacher: mean over episodes or observations.
        teacher_interval: 90% of Student's t over these, within what the measure can be.
        students: the mean of each student.
        mean: of the students.
        students_interval: 90% of Student's t over students; None with a single one.
    """

    name: str
    teacher: float
    teacher_interval: Interval
    students: StoredFloats
    mean: float
    students_interval: Interval | None


class DistillationResult(Record):
    """What ``rlscale distill`` measures.

    Attributes:
        sweep, run_id, task: of the teacher.
        interactions: of its checkpoint.
        losses: KL(teacher || student) that each student is left with on what it was taught, nat.
    """

    kind: Literal["rlscale distill"] = "rlscale distill"
    schema_version: int = SCHEMA_VERSION
    sweep: str
    run_id: str
    task: str
    interactions: int
    losses: StoredFloats
    measures: list[Measure]
    warnings: list[str]
    warning_codes: list[str]


def distillation_result(
    teacher: Mapping[str, ArrayLike],
    students: Sequence[Mapping[str, ArrayLike]],
    *,
    losses: Sequence[float],
    sweep: str,
    run_id: str,
    task: str,
    interactions: int,
) -> DistillationResult:
    """All measures.

    Args:
        teacher: by name, a value for each episode or observation.
        students: the same of each.
    """
    warnings: list[CodedWarning] = []
    if len(students) == 1:
        warnings.append(("one_student", "One student gives no intervals of students: use 2 or more."))
    return DistillationResult(
        sweep=sweep,
        run_id=run_id,
        task=task,
        interactions=interactions,
        losses=np.asarray(losses, float),
        measures=[
            _measure(name, values, [each[name] for each in students]) for name, values in teacher.items()
        ],
        **warning_fields(warnings),
    )


def _measure(name: str, teacher: ArrayLike, students: Sequence[ArrayLike]) -> Measure:
    of_teacher = np.asarray(teacher, float)
    means = np.array([np.asarray(each, float).mean() for each in students])
    return Measure(
        name=name,
        teacher=float(of_teacher.mean()),
        teacher_interval=_possible(name, mean_interval(of_teacher)),
        students=means,
        mean=float(means.mean()),
        students_interval=_possible(name, mean_interval(means)) if len(means) > 1 else None,
    )


def _possible(name: str, interval: Interval) -> Interval:
    """Within 0 and infinity for a divergence, within 0 and 1 for a share."""
    low, high = interval
    if name.startswith("divergence"):
        return max(low, 0.0), high
    return (max(low, 0.0), min(high, 1.0)) if name.startswith("same_action") else interval
