"""``rlscale config rescale`` and ``rlscale batch-search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.commands.options import DeviceOption, JsonOption, MnistOption, OutOption
from rlscale.terminal.console import console, write_json, write_yaml


def config_rescale(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    by: Annotated[int, typer.Option(metavar="C", help="Divide the batch, agent.num_envs, by this.")],
    betas: Annotated[bool, typer.Option("--betas", help="Also raise Adam's betas to 1/C.")] = False,
    out: OutOption = None,
) -> None:
    """Rewrite a config for a smaller batch by the rules of batch-size invariance.

    Moves the Adam step, the EWMA, the advantages' moments and PPG's phases, so
    that the run learns as much from an interaction as before (arXiv 2110.00641,
    section 3).
    """
    from rlscale.scaling.config.rescaling import rescaled
    from rlscale.scaling.config.run import load_run_config, run_config

    config = load_run_config(config_path)
    agent = rescaled(config.agent, by, rescale_betas=betas)
    values = config.model_copy(update={"agent": agent}).model_dump(mode="json")
    run_config(values, source=f"{config_path} rescaled by {by}")  # a model with memory may not fit any more
    write_yaml(out, values)


def batch_search(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    fork_interactions: Annotated[int, typer.Option(metavar="N", help="Length of a fork.")],
    interactions: Annotated[
        int | None, typer.Option(metavar="TOTAL", help="Where the search ends; default: the config's length.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="K", help="Runs of each fork.")] = 3,
    standard_errors: Annotated[
        float, typer.Option(metavar="Z", help="By how many the doubled batch must be better.")
    ] = 2.0,
    device: DeviceOption = "auto",
    mnist_dir: MnistOption = None,
    json_path: JsonOption = None,
) -> None:
    """Find how the batch should grow: fork B against 2B, keep the better, fit a power law."""
    from rlscale.scaling.config.run import load_run_config
    from rlscale.scaling.training.batch_search import Fork, search_batch_size
    from rlscale.scaling.training.device import resolve_device
    from rlscale.scaling.training.facts import check_task_data

    config = load_run_config(config_path)
    check_task_data(config.task, mnist_dir)

    def say(fork: Fork) -> None:
        kept = "2B" if fork.doubled else "B"
        console.print(
            f"E {fork.interactions:>12,}  B {fork.num_envs * config.agent.rollout_steps:>9,}  return "
            f"{fork.small:.4f}, with 2B {fork.large:.4f} ({fork.large - fork.small:+.4f} +- "
            f"{fork.standard_error:.4f})  keeps {kept}",
            highlight=False,
            soft_wrap=True,
        )

    schedule = search_batch_size(
        config,
        interactions=interactions or config.interactions,
        fork_interactions=fork_interactions,
        seeds=seeds,
        standard_errors=standard_errors,
        device=resolve_device(device),
        mnist_dir=mnist_dir,
        on_fork=say,
    )
    doublings = len(schedule.doublings)
    heading = (
        f"power law through {doublings} doublings"
        if schedule.growth
        else f"{doublings} doublings after the start; a power law needs 2, so the batch is fixed"
    )
    write_yaml(None, {"agent": schedule.agent_values()}, heading=heading)
    write_json(json_path, schedule.as_json())
