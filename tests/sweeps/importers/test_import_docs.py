"""The names that import looks for are the documented ones, in the documented order."""

from pathlib import Path

import pytest

from rlscale.sweeps.importers.readers import rllib, sb3, tensorboard, wandb

TABLE = (Path(__file__).parents[3] / "data" / "README.md").read_text()


@pytest.mark.parametrize(
    "names",
    [
        tensorboard.USUAL_TAGS,
        wandb.STEP_NAMES,
        wandb.RUN_NAMES,
        *(module.NAMES[column] for module in (sb3, rllib) for column in ("interactions", "return_mean")),
    ],
)
def test_names_are_documented_in_their_order(names):
    assert ", ".join(f"`{name}`" for name in names) in TABLE
