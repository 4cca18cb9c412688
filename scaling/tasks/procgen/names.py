"""The names of the Procgen tasks, ``procgen-<game>-<mode>``, and the levels that each allows."""

from __future__ import annotations

from dataclasses import dataclass

from rlscale.scaling.errors import InputError

PREFIX = "procgen-"
#: The form of a task's name, and one name, for messages.
PATTERN = "procgen-<game>-<mode>"
EXAMPLE = "procgen-coinrun-easy"

GAMES = (
    "bigfish",
    "bossfight",
    "caveflyer",
    "chaser",
    "climber",
    "coinrun",
    "dodgeball",
    "fruitbot",
    "heist",
    "jumper",
    "leaper",
    "maze",
    "miner",
    "ninja",
    "plunder",
    "starpilot",
)

#: Procgen's distribution modes and the games that have each. Exploration is one hard level per game.
MODES = {
    "easy": GAMES,
    "hard": GAMES,
    "memory": ("caveflyer", "dodgeball", "heist", "jumper", "maze", "miner"),
    "exploration": ("caveflyer", "climber", "coinrun", "heist", "jumper", "leaper", "maze", "ninja"),
}

OBSERVATION_SHAPE = (3, 64, 64)
NUM_ACTIONS = 15
#: Levels are numbered 0 .. LEVEL_LIMIT - 1.
LEVEL_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class ProcgenTask:
    """One game of Procgen in one distribution mode.

    Raises:
        InputError: if there is no such game, or the game does not have the mode.
    """

    game: str
    mode: str

    def __post_init__(self) -> None:
        if self.game not in GAMES:
            raise InputError(
                f"Procgen has no game {self.game!r}; choose one of {', '.join(GAMES)}.", code="unknown_task"
            )
        modes = modes_of(self.game)
        if self.mode not in modes:
            raise InputError(
                f"Procgen's {self.game} has no mode {self.mode!r}; choose one of {', '.join(modes)}.",
                code="unknown_task",
            )

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.game}-{self.mode}"


def modes_of(game: str) -> tuple[str, ...]:
    """The distribution modes that a game has."""
    return tuple(mode for mode, games in MODES.items() if game in games)


def all_tasks() -> tuple[ProcgenTask, ...]:
    """Every game in every mode that it has."""
    return tuple(ProcgenTask(game, mode) for game in GAMES for mode in modes_of(game))


def parse_task(name: str) -> ProcgenTask:
    """``procgen-starpilot-easy`` as a task.

    Raises:
        InputError: if the name has another form, or there is no such game or mode.
    """
    game, dash, mode = name.removeprefix(PREFIX).partition("-")
    if not name.startswith(PREFIX) or not dash:
        raise InputError(
            f"{name!r} is not a Procgen task: write {PATTERN}, such as {EXAMPLE}; "
            f"games: {', '.join(GAMES)}; modes: {', '.join(MODES)}.",
            code="unknown_task",
        )
    return ProcgenTask(game, mode)


def check_levels(task: ProcgenTask, num_levels: int | None, start_level: int) -> None:
    """Make sure that a task can be played on the levels start_level .. start_level + num_levels - 1.

    Raises:
        InputError: if it cannot; ``num_levels`` None means all levels, which begin at 0.
    """
    if start_level < 0:
        raise InputError(
            f"start_level is {start_level}: levels are numbered from 0, use 0 or more.", code="invalid_levels"
        )
    if task.mode == "exploration" and (num_levels is not None or start_level):
        raise InputError(
            f"{task.name} is one fixed level: leave num_levels and start_level out.", code="invalid_levels"
        )
    if num_levels is None:
        if start_level:
            raise InputError(
                f"start_level is {start_level} but num_levels is not given, which means all levels: "
                f"give num_levels too, or leave start_level out.",
                code="invalid_levels",
            )
    elif num_levels < 1:
        raise InputError(
            f"num_levels is {num_levels}: use 1 or more, or leave it out for an unlimited number of levels.",
            code="invalid_levels",
        )
    elif start_level + num_levels > LEVEL_LIMIT:
        raise InputError(
            f"start_level + num_levels is {start_level + num_levels:,}, but Procgen's levels end at "
            f"{LEVEL_LIMIT:,}: use a smaller start_level or num_levels.",
            code="invalid_levels",
        )
