"""The columns of a stored curve: names, types, units and meanings, in one place.

Every Parquet file of a store carries these units and meanings in its field metadata
and ``SCHEMA_VERSION`` in its schema metadata.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1


def _field(name: str, dtype: pa.DataType, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, dtype, metadata={"unit": unit, "meaning": meaning})


_F, _I, _S = pa.float64(), pa.int64(), pa.string()

KEYS = (
    _field("sweep", _S, "", "name of the sweep the run belongs to"),
    _field("run_id", _S, "", "hash of the run's complete config; another seed is another run"),
)

CURVE = (
    _field(
        "interactions",
        _I,
        "environment steps",
        "E: steps so far, this run, all its environments together (never frames)",
    ),
    _field("episodes", _I, "episodes", "completed since the previous row (a bandit's step is an episode)"),
    _field(
        "return_mean",
        _F,
        "reward",
        "mean undiscounted, unnormalised return of those episodes; null if none (bandit: accuracy)",
    ),
    _field("return_std", _F, "reward", "standard deviation of those returns; null if none"),
    _field("episode_length_mean", _F, "environment steps", "mean length of those episodes; null if none"),
    _field("wall_seconds", _F, "s", "training time so far, all attempts that count"),
    _field("train_flops", _F, "FLOP", "floating-point operations spent on training so far"),
)

DIAGNOSTICS = (
    _field("entropy", _F, "nat", "mean policy entropy"),
    _field("approx_kl", _F, "nat", "0.5 * mean squared log ratio to the proximal policy"),
    _field(
        "clip_fraction", _F, "share", "samples whose ratio to the proximal policy is outside the clip range"
    ),
    _field("importance_fraction", _F, "share", "samples whose importance ratio is above its cap"),
    _field("policy_loss", _F, "", "policy-gradient loss"),
    _field("value_loss", _F, "reward^2", "mean squared error of the value, before its coefficient"),
    _field("explained_variance", _F, "share", "1 - Var(target - value) / Var(target)"),
    _field("clone_kl", _F, "nat", "KL(policy before the auxiliary phase || policy), mean over its steps"),
    _field("auxiliary_loss", _F, "reward^2", "half mean squared error of the auxiliary value head"),
    _field("auxiliary_value_loss", _F, "reward^2", "the same of the true value head in that phase"),
    _field("eval_return_mean", _F, "reward", "mean return on levels not trained on, at checkpoints"),
    _field("eval_episodes", _F, "episodes", "episodes of that evaluation"),
    _field("batch_size", _F, "environment steps", "interactions in one iteration"),
    _field("step_size", _F, "", "Adam step size in effect"),
)

RUN = (
    _field("task", _S, "", "name of the task"),
    _field("algorithm", _S, "", "ppo, ppo-ewma, ..."),
    _field("family", _S, "", "model family"),
    _field("width", _F, "multiplier", "width multiplier of the family's default"),
    _field("depth", _I, "blocks", "depth of the family"),
    _field("horizon", _F, "environment steps", "h: gamma = 1 - 2/(h+1)"),
    _field("seed", _I, "", "seed of the run"),
    _field("learning_rate", _F, "", "Adam step size before the scaling with width"),
    _field("num_params", _I, "parameters", "N: parameters of the policy network"),
    _field("num_params_total", _I, "parameters", "parameters of the policy and value networks"),
    _field("flops_forward", _F, "FLOP", "forward pass of the policy on one observation"),
    _field("flops_per_interaction", _F, "FLOP", "all training, amortised over interactions"),
    _field("status", _S, "", "wanted, running, done, failed or stopped"),
)

#: Columns of a stored curve (part files and curve.parquet).
CURVE_SCHEMA = pa.schema(KEYS + CURVE + DIAGNOSTICS, metadata={"schema_version": str(SCHEMA_VERSION)})

#: Columns of an exported file: each row of a curve with the columns of its run beside it.
EXPORT_SCHEMA = pa.schema(KEYS + RUN + CURVE + DIAGNOSTICS, metadata={"schema_version": str(SCHEMA_VERSION)})

#: What a file from elsewhere must have at least.
REQUIRED_COLUMNS = ("run_id", "num_params", "interactions", "return_mean")

RUN_COLUMNS = tuple(field.name for field in RUN)
CURVE_COLUMNS = tuple(field.name for field in CURVE + DIAGNOSTICS)
