"""Options and arguments that commands share, and how their text is read."""

from __future__ import annotations

import shutil
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from rlscale.analysis.choices import LateStartChoice, Objective, SizeColumn, UnhealthyChoice
from rlscale.scaling.errors import InputError
from rlscale.scaling.files import check_output
from rlscale.sweeps.store.choices import Duplicates


def parse_predictions(texts: list[str] | None) -> list[tuple[float, float]]:
    """``N:h`` pairs as numbers.

    Raises:
        InputError: if one is not of that form.
    """
    found = []
    for text in texts or []:
        size, _, horizon = text.partition(":")
        try:
            found.append((float(size), float(horizon)))
        except ValueError as error:
            raise InputError(
                f"--predict {text!r} is not of the form N:h, e.g. 1e6:64.", code="invalid_option"
            ) from error
    return found


#: Limits of ``JointScalingFit``, checked here so that messages name the options.
MAX_EARLY_EXCLUSION = 0.5
MIN_DRAWS = 20


def parse_columns(text: str | None) -> dict[str, str]:
    """``num_params=n,interactions=steps`` as a dictionary.

    Raises:
        InputError: if a part is not of the form OURS=THEIRS, or names a column of ours twice.
    """
    columns: dict[str, str] = {}
    for part in (text or "").split(",") if text else []:
        ours, equals, theirs = part.strip().partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                f"--columns {text!r}: {part!r} is not of the form OURS=THEIRS, e.g. num_params=n.",
                code="invalid_option",
            )
        if ours.strip() in columns:
            raise InputError(
                f"--columns {text!r} names {ours.strip()} twice; give each column once.",
                code="invalid_option",
            )
        columns[ours.strip()] = theirs.strip()
    return columns


class Names(tuple[str, ...]):
    """Names of columns, in a type that typer takes for one value."""


def parse_names(text: str | None) -> Names:
    """``model,seed`` as names.

    Raises:
        InputError: if one is empty.
    """
    names = Names(name.strip() for name in text.split(",")) if text else Names()
    if not all(names):
        raise InputError(
            f"--run-columns {text!r} has an empty name; give names with commas between, e.g. model,seed.",
            code="invalid_option",
        )
    return names


def parse_duplicates(text: str) -> Duplicates:
    """The name of a choice for rows of one run at one E.

    Raises:
        InputError: if there is no such choice.
    """
    return cast(Duplicates, _choice("--duplicates", text, get_args(Duplicates)))


def parse_share(text: str | float) -> float:
    """A share given as ``1/64`` or ``0.02``.

    Raises:
        InputError: if it is neither, or not a share that can be left out.
    """
    try:
        share = float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"--early-exclusion {text!r} is not a share: give a fraction such as 1/64, or 0.02.",
            code="invalid_option",
        ) from error
    if not 0 <= share <= MAX_EARLY_EXCLUSION:
        raise InputError(f"--early-exclusion must be between 0 and 1/2: got {text}.", code="invalid_number")
    return share


def check_draws(draws: int) -> int:
    """A number of bootstrap draws.

    Raises:
        InputError: if they are too few for an interval.
    """
    if draws != 0 and draws < MIN_DRAWS:
        raise InputError(
            f"--bootstrap must be 0, or at least {MIN_DRAWS}: got {draws}.", code="invalid_number"
        )
    return draws


def parse_late_start(text: str) -> LateStartChoice:
    """The name of a choice about late starts.

    Raises:
        InputError: if there is no such choice.
    """
    return cast(LateStartChoice, _choice("--late-start", text, get_args(LateStartChoice)))


def parse_unhealthy(text: str) -> UnhealthyChoice:
    """The name of a choice about unhealthy runs.

    Raises:
        InputError: if there is no such choice.
    """
    return cast(UnhealthyChoice, _choice("--unhealthy", text, get_args(UnhealthyChoice)))


def parse_size(text: str) -> SizeColumn:
    """The name of a choice of N.

    Raises:
        InputError: if there is no such choice.
    """
    return cast(SizeColumn, _choice("--size", text, get_args(SizeColumn)))


def parse_objective(text: str) -> Objective:
    """The name of an objective.

    Raises:
        InputError: if there is no such objective.
    """
    return cast(Objective, _choice("--objective", text, get_args(Objective)))


def _choice(option: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise InputError(
            f"{option} {text!r} is not known: choose {' or '.join(choices)}.", code="unknown_choice"
        )
    return text


def writable(path: Path | None) -> Path | None:
    """Refuse a path that cannot be written, before the work that its file would hold."""
    if path is not None:
        check_output(path)
    return path


def refuse_existing(path: Path | None) -> None:
    """Refuse to write a statement over a file."""
    if path is not None and path.exists():
        raise InputError(
            f"{path} exists, and a statement is not replaced; name a new file.", code="file_exists"
        )


def same_value(name: str, value: str) -> bool:
    """Whether two texts name one value; numbers may be written differently, such as 5e-4 and 0.0005."""
    try:
        return float(name) == float(value)
    except ValueError:
        return name == value


class StandardInput(str):
    """The path of a file that holds what came by standard input, while the command runs."""

    __slots__ = ()


def read_source(context: typer.Context, source: str) -> str:
    """The source of curves; ``-`` is what standard input holds."""
    if source != "-":
        return source
    folder = context.with_resource(tempfile.TemporaryDirectory(prefix="rlscale-"))
    path = Path(folder) / "standard input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return StandardInput(path)


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A store, or a Parquet, CSV or JSON lines file of curves; - for standard input.",
        callback=read_source,
    ),
]
ObjectiveOption = Annotated[
    Objective,
    typer.Option(
        parser=parse_objective,
        metavar="return|paper",
        help="Fit residuals of the return, or of log I as the paper does.",
    ),
]
SizeOption = Annotated[
    SizeColumn,
    typer.Option(
        parser=parse_size, metavar="MEASURE", help="Measure of the size N: params, params_total or flops."
    ),
]
ColumnsOption = Annotated[
    dict[str, str] | None,
    typer.Option(
        parser=parse_columns,
        metavar="OURS=THEIRS,...",
        help="Rename the columns of a file, e.g. num_params=n.",
    ),
]
LateStartOption = Annotated[
    LateStartChoice,
    typer.Option(
        parser=parse_late_start,
        metavar="auto|ignore",
        help="Fit a delay of learning where the curves show that it starts late, or never.",
    ),
]
UnhealthyOption = Annotated[
    UnhealthyChoice,
    typer.Option(
        parser=parse_unhealthy,
        metavar="keep|cut|drop",
        help="Use runs that collapsed or degrade, use them until they fell ill, or leave them out.",
    ),
]
RunColumnsOption = Annotated[
    Names | None,
    typer.Option(
        parser=parse_names,
        metavar="NAME,...",
        help="Columns of a file without run_id that together tell runs apart, or each-row.",
    ),
]
DuplicatesOption = Annotated[
    Duplicates,
    typer.Option(
        parser=parse_duplicates,
        metavar="error|mean|last",
        help="What to do with rows of a file that share a run and its interactions.",
    ),
]
MinimizeOption = Annotated[
    bool,
    typer.Option(
        "--minimize", help="Less is better in return_mean, as in a loss; the results are of its negative."
    ),
]
EarlyExclusionOption = Annotated[
    float,
    typer.Option(
        parser=parse_share,
        metavar="SHARE",
        show_default="1/64",
        help="Share of each size's longest run to leave out at its start.",
    ),
]
TaskOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this task.")]
AlgorithmOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this algorithm.")]
HorizonOption = Annotated[float | None, typer.Option(metavar="H", help="Only runs of this horizon.")]
BootstrapOption = Annotated[
    int,
    typer.Option(
        metavar="DRAWS",
        help="Bootstrap draws for the intervals, 20 or more; 0 for none.",
        callback=check_draws,
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="SEED", help="Seed of the bootstrap.", min=0)]
PeriodsOption = Annotated[
    bool, typer.Option("--periods", help="Also fit the early, middle and late third of training separately.")
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:min=A,max=B]",
        help="Find a metric that is a power of I: auto, fail-ratio, log-failure, elo, trueskill, return.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT",
        help="Processes for the bootstrap; 0 for one per core. Does not change the result.",
        min=0,
    ),
]


JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the result as JSON to FILE.", callback=writable),
]
OutOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write to FILE instead of the terminal.", callback=writable),
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", metavar="NAME", help="Only this sweep of the store.")
]

StoreOption = Annotated[
    str, typer.Option("--store", metavar="STORE", help="Directory or URI of the run store.")
]


DeviceOption = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="auto is cuda if a GPU is available, otherwise cpu.")
]
MnistOption = Annotated[
    Path | None,
    typer.Option(help="Folder with the four files of MNIST; default: RLSCALE_MNIST_DIR, then data/mnist."),
]


def import_modules(names: list[str] | None) -> list[str]:
    """Import the modules that a command line names, before the command reads anything else.

    Raises:
        InputError: if one does not import.
    """
    from rlscale.scaling.modules import name_modules

    name_modules(names or [])
    return names or []


ImportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import this Python module of yours first: it registers environments, or holds classes that "
        "a config names as module:Class. Repeat it for more.",
        callback=import_modules,
        is_eager=True,
    ),
]

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="Spec of the sweep: a YAML file, or the name of a preset (rlscale sweep presets).",
    ),
]
SweepDeviceOption = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda", help="auto is cuda if the spec reserves GPUs for its runs, otherwise cpu."
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Address of the Ray cluster to run on; default: Ray on this machine."
    ),
]
