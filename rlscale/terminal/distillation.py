"""A teacher and its students as a table for a terminal."""

from __future__ import annotations

from rich.console import Console

from rlscale.analysis.formatting.numbers import brief_number, compact_count, interval_text
from rlscale.analysis.studies.distillation import DistillationResult
from rlscale.terminal.sweep import ID_LENGTH
from rlscale.terminal.tables import new_table, print_line, print_warnings, stored_text


def print_distillation(result: DistillationResult, console: Console) -> None:
    """Every measure of the teacher beside that of its students, and what students left unlearned."""
    table = new_table(None, "", "teacher", "90% interval", "students", "90% interval")
    table.title = stored_text(
        f"{result.task}, run {result.run_id[:ID_LENGTH]} at E = {compact_count(result.interactions)}"
    )
    for each in result.measures:
        form = ".3g" if each.name.startswith("return") else ".2g"
        table.add_row(
            _words(each.name),
            brief_number(each.teacher, form),
            interval_text(each.teacher_interval, form, between="–"),
            brief_number(each.mean, form),
            interval_text(each.students_interval, form, between="–"),
        )
    table.caption = "Mixed with another observation, or with noise: KL from the policy before, and how often"
    table.caption += " its likeliest action is kept."
    table.caption_justify = "left"
    console.print(table)
    losses = ", ".join(brief_number(loss, ".2g") for loss in result.losses)
    print_line(f"KL that the students were left with on what they were taught: {losses} nat.", console)
    print_warnings(result.warnings, console)


def _words(name: str) -> str:
    """A measure's name for people: ``divergence_mixed_0.5`` is ``KL, mixed 0.5``."""
    kind, _, where = name.rpartition("_")
    if kind == "return":
        return {"seen": "return, seen levels", "unseen": "return, unseen levels"}.get(
            where, "return, new seeds"
        )
    what, _, shift = kind.rpartition("_")
    return f"{'KL' if what == 'divergence' else 'kept'}, {shift} {where}"
