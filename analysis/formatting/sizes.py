"""What each measure of the size N is called, in figures, tables and sentences."""

from __future__ import annotations

from dataclasses import dataclass

from rlscale.analysis.choices import SizeColumn


@dataclass(frozen=True)
class SizeWords:
    """The words for one measure of size.

    Attributes:
        unit: what N is counted in, for headings.
        unit_in_prose: the same where a sentence has room for it.
        measure: what tells this measure from the others, for tables that compare them.
        axis: the label of an axis of N.
        legend: the title of a legend of sizes.
    """

    unit: str
    unit_in_prose: str
    measure: str
    axis: str
    legend: str


SIZE_WORDS: dict[SizeColumn, SizeWords] = {
    "params": SizeWords("parameters", "parameters", "parameters", "Policy parameters $N$", "Parameters $N$"),
    "params_total": SizeWords(
        "parameters", "parameters", "with value net", "Policy and value parameters $N$", "Parameters $N$"
    ),
    "flops": SizeWords(
        "FLOPs", "FLOPs per forward pass", "forward FLOPs", "FLOPs per forward pass $N$", "FLOPs $N$"
    ),
}
