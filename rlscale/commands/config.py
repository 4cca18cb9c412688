"""``rlscale config rescale`` and ``rlscale batch-search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlscale.commands.options import DeviceOption, ImportOption, JsonOption, MnistOption, OutOption
from rlscale.terminal.console import console, write_json, write_yaml


def config_rescale(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    by: Annotated[int, typer.Option(metavar="C", help="Divide the batch, agent.num_envs, by this number.")],
    betas: Annotated[bool, typer.Option("--betas", help="Also raise Adam's betas to 1/C.")] = False,
    imports: ImportOption = None,
    out: OutOption = None,
) -> None:
    """Rewrite a config for a smaller batch by the rules of batch-size invariance.

    Changes the Adam step, the EWMA, the moments of the advantages and the phases
    of PPG, so that a run learns as much from each interaction as before (arXiv
    2110.00641, section 3).
    """
    from rlscale.scaling.config.rescaling import rescaled
    from rlscale.scaling.config.run import load_run_config, run_config

    config = load_run_config(config_path)
    config.check_has_agent()
    agent = rescaled(config.agent, by, rescale_betas=betas)
    values = config.model_copy(update={"agent": agent}).model_dump(mode="json")
    run_config(values, source=f"{config_path} rescaled by {by}")  # a model with memory may not fit any more
    write_yaml(out, values)


def batch_search(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's config.")],
    fork_interactions: Annotated[int, typer.Option(metavar="N", help="Interactions of each fork.")],
    interactions: Annotated[
        int | None,
        typer.Option(
            metavar="TOTAL", help="Interactions at which the search ends; default: those of the config."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="K", help="Seeds of each fork.")] = 3,
    standard_errors: Annotated[
        float, typer.Option(metavar="Z", help="Standard errors by which the doubled batch must be better.")
    ] = 2.0,
    device: DeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
    json_path: JsonOption = None,
) -> None:
    """Find how the batch should grow: train B and 2B from one state, keep the better, fit a power law."""
    from rlscale.scaling.config.run import load_run_config
    from rlscale.scaling.tasks.data_folder import MNIST
    from rlscale.scaling.tasks.registry import prepare_task
    from rlscale.scaling.training.batch_search import Fork, search_batch_size
    from rlscale.scaling.training.device import resolve_device

    config = load_run_config(config_path)
    MNIST.put_first(mnist_dir)
    prepare_task(config.task)

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
