"""Pages from the code (columns, configs, commands, presets, errors, public names) and from our forecasts.

``conf.py`` calls ``write_all`` before Sphinx reads its sources; pages include what it writes.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from error_codes import WARNING, coded_sentences, error_classes

ROOT = Path(__file__).resolve().parent.parent


def write_all(folder: Path) -> None:
    """Write every generated page into ``folder``, in Markdown (the names: in reStructuredText)."""
    folder.mkdir(exist_ok=True)
    pages = {
        "columns.md": columns(),
        "configs.md": configs(),
        "commands.md": commands(),
        "presets.md": presets(),
        "errors.md": errors(),
        "track_record.md": track_record(),
        "api.rst": api(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # Sphinx reads again only what changed
            path.write_text(text)


# -- columns ------------------------------------------------------------------


def columns() -> str:
    """The columns of a stored or exported curve, in three tables."""
    from rlscale.sweeps.store.schema import EXPORT_SCHEMA, RUN_COLUMNS

    names = EXPORT_SCHEMA.names
    of_curve = names[names.index("interactions") :]
    return "\n\n".join(
        [
            "## Columns of a run",
            "One value for each run. In a store they are in `run.json`; an exported file repeats them in "
            "every row.",
            _columns_table(name for name in names if name in RUN_COLUMNS or name not in of_curve),
            "## Columns of a row",
            "One row for each interval of a run. Diagnostics are null where they were not measured, and in "
            "files from before they existed.",
            _columns_table(of_curve),
        ]
    )


def _columns_table(names: Iterable[str]) -> str:
    from rlscale.sweeps.store.schema import EXPORT_SCHEMA

    rows = []
    for name in names:
        field = EXPORT_SCHEMA.field(name)
        about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        rows.append((f"`{name}`", str(field.type), about.get("unit", ""), about.get("meaning", "")))
    return _table(("column", "type", "unit", "meaning"), rows)


# -- configs ------------------------------------------------------------------


def configs() -> str:
    """Every field of a run config and of a sweep spec, with type, default and bounds."""
    from rlscale.scaling.config.run import ALIASES, RunConfig
    from rlscale.sweeps.specs.spec import SweepSpec

    short = _table(("short name", "field"), [(f"`{name}`", f"`{path}`") for name, path in ALIASES.items()])
    return "\n\n".join(
        [
            "## A run: `task: …`",
            *_model_tables(RunConfig),
            "## A sweep: `name`, `base`, `axes`",
            *_model_tables(SweepSpec),
            "## Short names of axes",
            short,
        ]
    )


def _model_tables(model: Any, prefix: str = "") -> Iterator[str]:
    """One table for a pydantic model, then one for each model that is a field of it."""
    if prefix:
        yield f"### `{prefix.rstrip('.')}`"
    first_paragraph = (model.__doc__ or "").split("\n\n")[0]
    yield " ".join(first_paragraph.split())
    rows, inner = [], []
    for name, field in model.model_fields.items():
        submodel = _submodel(field.annotation)
        if submodel is not None:
            inner.append((submodel, f"{prefix}{name}."))
        default = _link(prefix + name) if submodel is not None else _default(field)
        rows.append((f"`{name}`", _type(field.annotation), default, _bounds(field), field.description or ""))
    yield _table(("field", "type", "default", "bounds", "meaning"), rows)
    for submodel, deeper in inner:
        yield from _model_tables(submodel, deeper)


def _link(path: str) -> str:
    return f"[below](#{path.replace('.', '').lower()})"


def _submodel(annotation: Any) -> Any:
    choices = get_args(annotation) if _is_union(annotation) else (annotation,)
    return next((choice for choice in choices if hasattr(choice, "model_fields")), None)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (typing.Union, types.UnionType)


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if _is_union(annotation):
        return " or ".join(_type(arg) for arg in args if arg is not type(None))
    if origin is typing.Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin is typing.Annotated:
        return _type(args[0])
    if origin in (list, tuple):
        kinds = list(dict.fromkeys(_type(arg) for arg in args if arg is not Ellipsis))
        return f"list of {', '.join(kinds)}"
    if origin is dict:
        return "mapping"
    return (
        "group" if hasattr(annotation, "model_fields") else getattr(annotation, "__name__", str(annotation))
    )


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:.4g}`"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    return f"`{default}`"


_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}


def _bounds(field: Any) -> str:
    found = []
    for rule in field.metadata:
        for attribute, sign in _SIGNS.items():
            value = getattr(rule, attribute, None)
            if value is not None:
                found.append(f"{sign} {value:g}")
    return ", ".join(found)


# -- presets ------------------------------------------------------------------


def presets() -> str:
    """The presets that ``rlscale sweep presets`` lists."""
    from typer.testing import CliRunner

    from rlscale.cli import app

    listing = CliRunner().invoke(app, ["sweep", "presets"], env={"COLUMNS": "110", "NO_COLOR": "1"})
    if listing.exit_code:
        raise RuntimeError(f"rlscale sweep presets failed: {listing.output}")
    lines = [line.rstrip() for line in listing.output.splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```\n"


# -- commands -----------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options, from the command tree itself."""
    return "\n\n".join(part for path, command in command_tree() for part in _command(path, command))


def command_tree() -> Iterator[tuple[str, Any]]:
    """Each command that does something, as its full name and its click command."""
    import typer.main

    from rlscale.cli import app

    yield from _leaves("rlscale", typer.main.get_command(app))


def _leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(f"{path} {name}".rstrip(), inner)
    else:
        yield path, command


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"## {path}"
    yield _paragraphs(command.help or "")
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    usage = " ".join([path, *(_metavar(each) for each in arguments), *(["[OPTIONS]"] if options else [])])
    yield f"```text\n{usage}\n```"
    rows = [(f"`{_metavar(each)}`", _sentence(each.help or ""), "required") for each in arguments]
    for option in options:
        spelled = " / ".join([*option.opts, *option.secondary_opts])
        names = spelled if option.is_flag else f"{spelled} {_metavar(option)}"
        rows.append((f"`{names}`", _sentence(option.help or ""), _option_default(option)))
    if rows:
        yield _table(("", "meaning", "default"), rows)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    default = option.default
    if default is None or option.is_flag or not option.show_default:
        return ""
    text = str(getattr(default, "value", default))
    # What depends on the machine that builds the site is no default for anyone else.
    return "" if text.startswith("/") else f"`{text}`"


def _paragraphs(help_text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", help_text.strip()))


def _sentence(text: str) -> str:
    return " ".join(text.split())


# -- errors and warnings ------------------------------------------------------


def errors() -> str:
    """Every code of an error and of a warning, with the sentences that carry it."""
    found = [each for each in coded_sentences() if each.code and each.sentence]
    statuses = {name: str(kind.exit_status) for name, kind in error_classes().items()}
    raised = [(*each[:3], statuses[each.kind]) for each in found if each.kind != WARNING]
    warned = [each[:3] for each in found if each.kind == WARNING]
    return "\n\n".join(
        [
            "## Errors",
            _table(("code", "sentence", "in", "exit status"), _coded_rows(raised)),
            "## Warnings",
            _table(("code", "sentence", "in"), _coded_rows(warned)),
        ]
    )


def _coded_rows(found: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, ...]]:
    """A row for each sentence, in the order of the codes; a code stands in the first of its rows."""
    before = None
    for code, sentence, module, *status in sorted(set(found)):
        yield (f"`{code}`" if code != before else "", f"`{sentence}`", f"`{module}`", *status)
        before = code


# -- forecasts on record --------------------------------------------------------


def track_record() -> str:
    """The score of every statement in ``data/forecasts``, the latest first."""
    return "\n\n".join(part for part in _scores(ROOT / "data" / "forecasts"))


def _scores(folder: Path) -> Iterator[str]:
    from rlscale.analysis.forecast.scoring import read_score
    from rlscale.analysis.formatting.record import SCORE_HEADINGS, score_rows, verdict

    for path in sorted(folder.glob("*/score*.json"), reverse=True):
        score = read_score(path)
        yield f"### {score.title}"
        began = f"the first run started {score.first_row}" if score.first_row else "runs not dated"
        yield f"`data/forecasts/{path.parent.name}`: sealed {score.sealed}, {began}."
        yield f"SHA-256 of the statement: `{score.statement_sha256}`"
        yield "\n".join(f"* {verdict(tally)}" for tally in score.tallies)
        yield from score.warnings
        yield _table(SCORE_HEADINGS, score_rows(score))


# -- public names -------------------------------------------------------------


def public_names() -> list[tuple[str, str]]:
    """(module, name) of everything that ``import rlscale`` offers, in the order of ``__init__.pyi``."""
    stub = (ROOT / "rlscale" / "__init__.pyi").read_text()
    return [
        (f"rlscale{module}", name)
        for module, name in re.findall(r"^from (\.[\w.]+) import (\w+) as \w+$", stub, flags=re.M)
    ]


def api() -> str:
    """An autodoc directive for each public name, grouped by the package it comes from."""
    import importlib

    from pydantic import BaseModel

    from rlscale.analysis.results import Shown

    of_pydantic = [name for name in dir(BaseModel) if not name.startswith("_")]
    of_pydantic += ["model_post_init", "__init__", "__new__"]
    titles = {"analysis": "Analysis", "scaling": "Training", "sweeps": "Sweeps and the store"}
    parts: dict[str, list[str]] = {}
    for module, name in public_names():
        if name == "PowerLaw":  # on the page of the equations
            continue
        package = module.split(".")[1]
        offered = getattr(importlib.import_module(module), name)
        kind = "autofunction"
        if isinstance(offered, type):
            kind = "autoexception" if issubclass(offered, BaseException) else "autoclass"
        lines = [f".. {kind}:: {module}.{name}"]
        if kind == "autoclass":
            lines += ["   :members:", f"   :exclude-members: {', '.join(of_pydantic)}"]
            if issubclass(offered, Shown):
                lines.append("   :inherited-members:")
        parts.setdefault(package, []).append("\n".join(lines) + "\n")
    return "\n".join(
        f"{title}\n{'-' * len(title)}\n\n" + "\n".join(parts.get(package, []))
        for package, title in titles.items()
    )


# -- Markdown -----------------------------------------------------------------


def _cell(text: str) -> str:
    text = text.replace("|", "\\|")
    return text if text.startswith("`") else text.replace("<", "&lt;")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    head = list(head)
    return "\n".join([line(head), line("---" for _ in head), *(line(row) for row in rows)])
