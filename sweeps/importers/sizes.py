"""Sizes and other run columns, by the runs' names, for sources that do not state them."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from rlscale.scaling.errors import InputError
from rlscale.sweeps.importers.check import check_fact
from rlscale.sweeps.importers.readers.csv_log import read_text
from rlscale.sweeps.importers.readers.runs import listed, plural
from rlscale.sweeps.store.schema import RUN_COLUMNS

_NAME_COLUMNS = ("run", "run_id", "name")
_COLUMNS = tuple(name for name in RUN_COLUMNS if name != "status")
_COUNTS = ("num_params", "num_params_total", "flops_forward", "flops_per_interaction")
_SUFFIXES = {"k": 3, "m": 6, "b": 9}


@dataclass(frozen=True)
class Rule:
    """Run columns for the runs whose name is ``pattern``, or matches it as a glob."""

    pattern: str
    origin: str
    values: Mapping[str, Any]

    def matches(self, name: str) -> bool:
        return name == self.pattern or fnmatchcase(name, self.pattern)


@dataclass(frozen=True)
class Fact:
    """A value of a run column, and where it was found."""

    value: Any
    origin: str


class RunFacts:
    """The run columns of one run, from all sources; they must not contradict each other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._facts: dict[str, Fact] = {}

    def state(self, column: str, value: object, origin: str) -> None:
        """Add a value.

        Raises:
            InputError: if it cannot be a value of that column, or contradicts another.
        """
        if column in _COUNTS and isinstance(value, str):
            value = parse_count(value, origin)
        checked = check_fact(column, value, f"{origin}, run {self.name}")
        if checked is None:
            return
        known = self._facts.setdefault(column, Fact(checked, origin))
        if known.value != checked:
            raise InputError(
                f"Run {self.name} has two values of {column}: {known.value} ({known.origin}) and "
                f"{checked} ({origin}); keep one.",
                code="conflicting_sizes",
            )

    @property
    def values(self) -> dict[str, Any]:
        """What is known of the run."""
        return {column: fact.value for column, fact in self._facts.items()}


def apply_file(path: Path, runs: Sequence[RunFacts]) -> list[str]:
    """Add the values of a mapping file to the runs, and return notes.

    All entries that match a run apply, so one glob may give the size and another the task.

    Raises:
        InputError: if the file cannot be used, or matches no run.
    """
    rules = read_rules(path)
    names = [run.name for run in runs]
    used = {rule.origin for rule in rules if any(map(rule.matches, names))}
    if not used:
        raise InputError(
            f"{path} matches no run: it names {listed((rule.pattern for rule in rules), 3)}, "
            f"the runs are {listed(names, 3)}.",
            code="no_matching_run",
        )
    for run in runs:
        for rule in rules:
            if rule.matches(run.name):
                for column, value in rule.values.items():
                    run.state(column, value, rule.origin)
    unused = [rule.pattern for rule in rules if rule.origin not in used]
    if not unused:
        return []
    return [f"{path} names {plural(len(unused), 'pattern')} that no run matches: {listed(unused)}."]


def apply_pattern(pattern: str, runs: Sequence[RunFacts]) -> None:
    """Add to each run the values of a regular expression's named groups, searched in the run's name.

    Raises:
        InputError: if the expression is invalid, has no group ``num_params`` or matches no run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about syntax that a later Python changes
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(
            f"--size-pattern {pattern!r} is not a regular expression: {error}.", code="invalid_option"
        ) from error
    if "num_params" not in compiled.groupindex:
        raise InputError(
            f"--size-pattern {pattern!r} has no group num_params; write the part that is the size "
            f"as (?P<num_params>...).",
            code="invalid_option",
        )
    _require_columns(compiled.groupindex, "--size-pattern")
    matches = [compiled.search(run.name) for run in runs]
    if not any(matches):
        names = listed((run.name for run in runs), 3)
        raise InputError(
            f"--size-pattern {pattern!r} matches no run; the runs are {names}.", code="no_matching_run"
        )
    for run, match in zip(runs, matches, strict=True):
        for column, text in match.groupdict().items() if match else ():
            run.state(column, text, "--size-pattern")


def read_rules(path: Path) -> list[Rule]:
    """The entries of a mapping file: CSV with a column ``run``, or YAML or JSON by run.

    Raises:
        InputError: naming the file, the entry and the remedy.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".yaml", ".yml", ".json"):
        raise InputError(
            f"--sizes {path}: give a file that ends in .csv, .yaml, .yml or .json.",
            code="unknown_file_format",
        )
    text = read_text(path)
    rules = _rules_of_csv(text, path) if suffix == ".csv" else _rules_of_mapping(text, path)
    if not rules:
        raise InputError(f"{path} is empty; give each run a size, e.g. 'small-*: 12000'.", code="no_rows")
    return rules


def parse_count(text: str, origin: str) -> int | Decimal:
    """A number such as 12000, 12_000, 1.2e4, 12k, 1.5M or 2B.

    Raises:
        InputError: if it is not such a number.
    """
    match = re.fullmatch(r"([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]{1,2})?)\s*([kKmMbB]?)", text.strip())
    try:
        if match is None:
            raise InvalidOperation
        number = Decimal(match[1].replace("_", "")).scaleb(_SUFFIXES.get(match[2].lower(), 0))
    except InvalidOperation as error:
        raise InputError(
            f"{origin}: {text!r} is not a number such as 12000, 12k, 1.5M or 2B.", code="invalid_value"
        ) from error
    return int(number) if number == number.to_integral_value() else number


def _rules_of_csv(text: str, path: Path) -> list[Rule]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise InputError(f"{path} is not a readable CSV file: {error}.", code="unreadable_file") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    keys = [name for name in _NAME_COLUMNS if name in header]
    if len(keys) != 1:
        raise InputError(
            f"{path} needs one column 'run' with names or globs; it has: {listed(header, 30)}.",
            code="missing_column",
        )
    if len(set(header)) < len(header):
        raise InputError(
            f"{path} has two columns of one name; it has: {listed(header, 30)}.", code="duplicate_column"
        )
    _require_columns((name for name in header if name != keys[0]), str(path))
    rules = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number}: {len(row)} values for {len(header)} columns; correct it.",
                code="unreadable_file",
            )
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        values = {name: cell for name, cell in cells.items() if name != keys[0] and cell}
        rules.append(Rule(cells[keys[0]], f"{path}, row {number}", values))
    return rules


def _rules_of_mapping(text: str, path: Path) -> list[Rule]:
    try:
        if path.suffix.lower() == ".json":
            entries = json.loads(text, object_pairs_hook=_once)
        else:
            entries = yaml.load(text, Loader=_OnceLoader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        problem = " ".join(str(error).split()) or "it is nested too deeply"
        raise InputError(f"{path} cannot be read: {problem}.", code="unreadable_file") from error
    if not isinstance(entries, dict):
        raise InputError(
            f"{path} must give each run its size, e.g. 'small-*: 12000'.", code="unreadable_file"
        )
    rules = []
    for name, entry in entries.items():
        origin = f"{path}, entry {name}"
        values = entry if isinstance(entry, dict) else {"num_params": entry}
        _require_columns(values, origin)
        if values.get("num_params", "") is None:
            raise InputError(f"{origin}: it has no size; write a number after it.", code="missing_size")
        rules.append(Rule(str(name), origin, values))
    return rules


def _require_columns(names: Iterable[object], origin: str) -> None:
    for name in names:
        if name not in _COLUMNS:
            raise InputError(
                f"{origin}: there is no run column {name!r}; there are: {', '.join(_COLUMNS)}.",
                code="unknown_column",
            )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"{name!r} occurs twice; keep one")
        entries[name] = value
    return entries


class _OnceLoader(yaml.SafeLoader):
    """YAML's safe loader, with an error on a key that occurs twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} occurs twice; keep one", node.start_mark
                )
        return super().construct_mapping(node, deep)
