"""Attempts at real runs in this process."""

import os

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.training.facts import run_columns
from rlscale.sweeps.store.run_store import RunStore
from rlscale.sweeps.store.run_writer import RunWriter


def claim_run(store: RunStore, config: RunConfig, sweep: str = "single") -> RunWriter:
    """Begin an attempt at the run of a config, as a worker does."""
    return store.claim(
        sweep,
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=run_columns(config),
        provenance={},
        host="here",
        pid=os.getpid(),
    )
