"""The columns of a stored curve: types, units and meanings, in one place.

``COLUMNS`` is the table from which the documentation is generated. Every Parquet file of a store carries
these units and meanings in its field metadata, and ``SCHEMA_VERSION`` in its schema metadata.

``DIAGNOSTICS`` is open-ended: a new diagnostic is one more line there, and a key of that name in the rows
that training records. No version number changes: where a file was written before the diagnostic existed,
``conform`` gives null, and it leaves out what only a later version knows.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import pyarrow as pa

SCHEMA_VERSION = 1


class Column(NamedTuple):
    """One column: its type by Arrow's name, its unit ("" if it has none) and one line on what it holds."""

    dtype: Literal["string", "int64", "float64"]
    unit: str
    meaning: str

    def field(self, name: str) -> pa.Field:
        """The Arrow field of that name, with unit and meaning in its metadata."""
        metadata = {"unit": self.unit, "meaning": self.meaning}
        return pa.field(name, pa.type_for_alias(self.dtype), metadata=metadata)


#: What a row belongs to.
KEY_COLUMNS: dict[str, Column] = {
    "sweep": Column("string", "", "name of the sweep the run belongs to"),
    "run_id": Column("string", "", "hash of the run's complete config; another seed is another run"),
}

#: What a run is: one value a run.
RUN_COLUMNS: dict[str, Column] = {
    "task": Column("string", "", "name of the task"),
    "algorithm": Column("string", "", "ppo, ppo-ewma, ..."),
    "family": Column("string", "", "model family"),
    "width": Column("float64", "multiplier", "width multiplier of the family's default"),
    "depth": Column("int64", "blocks", "depth of the family"),
    "horizon": Column("float64", "environment steps", "h: gamma = 1 - 2/(h+1)"),
    "seed": Column("int64", "", "seed of the run"),
    "learning_rate": Column("float64", "", "Adam step size before the scaling with width"),
    "num_params": Column("int64", "parameters", "N: parameters of the policy network"),
    "num_params_total": Column("int64", "parameters", "parameters of the policy and value networks"),
    "flops_forward": Column("float64", "FLOP", "forward pass of the policy on one observation"),
    "flops_per_interaction": Column("float64", "FLOP", "all training, amortised over interactions"),
    "return_low": Column("float64", "reward", "lowest return that the task allows; null if none is known"),
    "return_high": Column("float64", "reward", "highest return that the task allows; null if none is known"),
    "status": Column("string", "", "wanted, running, done, failed or stopped"),
}

#: What every row of a curve has: progress, and the episodes since the row before.
CURVE_COLUMNS: dict[str, Column] = {
    "interactions": Column(
        "int64",
        "environment steps",
        "E: steps so far, this run, all its environments together (never frames)",
    ),
    "episodes": Column(
        "int64", "episodes", "completed since the previous row (a bandit's step is an episode)"
    ),
    "return_mean": Column(
        "float64",
        "reward",
        "mean undiscounted, unnormalised return of those episodes; null if none (bandit: accuracy)",
    ),
    "return_std": Column("float64", "reward", "standard deviation of those returns; null if none"),
    "episode_length_mean": Column(
        "float64", "environment steps", "mean length of those episodes; null if none"
    ),
    "wall_seconds": Column("float64", "s", "training time so far, all attempts that count"),
    "train_flops": Column("float64", "FLOP", "floating-point operations spent on training so far"),
}

#: What training measured of itself: float64, null where it was not measured.
DIAGNOSTICS: dict[str, Column] = {
    "entropy": Column("float64", "nat", "mean policy entropy"),
    "approx_kl": Column("float64", "nat", "0.5 * mean squared log ratio to the proximal policy"),
    "clip_fraction": Column(
        "float64", "share", "samples whose ratio to the proximal policy is outside the clip range"
    ),
    "importance_fraction": Column("float64", "share", "samples whose importance ratio is above its cap"),
    "policy_loss": Column("float64", "", "policy-gradient loss"),
    "value_loss": Column("float64", "reward^2", "mean squared error of the value, before its coefficient"),
    "explained_variance": Column("float64", "share", "1 - Var(target - value) / Var(target)"),
    "clone_kl": Column(
        "float64", "nat", "KL(policy before the auxiliary phase || policy), mean over its steps"
    ),
    "auxiliary_loss": Column("float64", "reward^2", "half mean squared error of the auxiliary value head"),
    "auxiliary_value_loss": Column("float64", "reward^2", "the same of the true value head in that phase"),
    "eval_return_mean": Column("float64", "reward", "mean return on levels not trained on, at checkpoints"),
    "eval_episodes": Column("float64", "episodes", "episodes of that evaluation"),
    "feature_penalty": Column(
        "float64",
        "",
        "mean square of the change of pre-activations within an iteration, before its coefficient",
    ),
    "batch_size": Column("float64", "environment steps", "interactions in one iteration"),
    "step_size": Column("float64", "", "Adam step size in effect"),
}


def _of_network(net: str) -> dict[str, Column]:
    """Metrics of the network that gives the policy, or of a separate one that gives the value."""
    return {
        f"{net}_features": Column("float64", "units", f"D: units of the {net} network's last layer"),
        f"{net}_approximate_rank": Column(
            "float64",
            "rank",
            "of its features: least k whose squared singular values are over 99% of the sum",
        ),
        f"{net}_effective_rank": Column(
            "float64", "rank", "of its features: exponential of the entropy of the singular values' shares"
        ),
        f"{net}_srank": Column(
            "float64", "rank", "of its features: least k whose singular values are over 99% of the sum"
        ),
        f"{net}_absolute_rank": Column(
            "float64", "rank", "of its features: singular values over sqrt(N) that are above 0.01"
        ),
        f"{net}_pytorch_rank": Column(
            "float64", "rank", "of its features: singular values above what float32 resolves"
        ),
        f"{net}_sigma_first": Column(
            "float64", "", "largest singular value of its features over sqrt(N), N observations"
        ),
        f"{net}_sigma_second": Column("float64", "", "second largest singular value over sqrt(N)"),
        f"{net}_sigma_last": Column("float64", "", "smallest singular value over sqrt(N)"),
        f"{net}_feature_norm": Column("float64", "", "mean L2 norm of its features"),
        f"{net}_preactivation_norm": Column(
            "float64", "", "mean L2 norm of the inputs of the nonlinearity that gives the features"
        ),
        f"{net}_dead_share": Column(
            "float64", "share", "units of its last layer that say nothing about the observation"
        ),
        f"{net}_gradient_norm": Column(
            "float64", "", "L2 norm of its gradient before clipping, mean over steps of the iteration"
        ),
        f"{net}_weight_norm": Column("float64", "", "L2 norm of its weights"),
        f"{net}_update_norm": Column(
            "float64", "", "L2 norm of the change of its weights in a gradient step, mean over the iteration"
        ),
        f"{net}_ntk_rank": Column(
            "float64", "rank", "approximate rank of its gradients on 32 observations, at most 32"
        ),
    }


#: Metrics of representation and trust (Moalla et al. 2024), measured where a config has ``diagnostics``.
HEALTH: dict[str, Column] = {
    **_of_network("policy"),
    **_of_network("value"),
    "policy_variance": Column("float64", "", "variance over states of the policy's parameters, their mean"),
    "ratio_max": Column(
        "float64", "ratio", "largest pi_end/pi_collect of the iteration's actions, after it has learned"
    ),
    "ratio_min": Column("float64", "ratio", "smallest of these ratios"),
    "ratio_mean": Column("float64", "ratio", "their mean"),
    "ratio_std": Column("float64", "ratio", "their standard deviation"),
    "ratio_above": Column("float64", "ratio", "mean of those above 1 + clip; null if there is none"),
    "ratio_below": Column("float64", "ratio", "mean of those below 1 - clip; null if there is none"),
    "excess_ratio": Column("float64", "ratio", "ratio_above over ratio_below"),
    "kl_exact": Column("float64", "nat", "mean KL(pi_collect || pi_end) on the measured observations"),
    "kl_k1": Column("float64", "nat", "the same estimated from the iteration's actions: mean -log ratio"),
    "kl_k3": Column("float64", "nat", "the same, mean ratio - 1 - log ratio"),
    "policy_churn": Column(
        "float64", "nat", "mean KL by which an iteration changes the policy on observations of an earlier one"
    ),
    "value_churn": Column("float64", "reward", "mean absolute change of the value on the same observations"),
}
DIAGNOSTICS |= HEALTH

#: Order parameters of the RL perceptron at the end of a row, means over the students of the run.
PERCEPTRON: dict[str, Column] = {
    "perceptron_overlap": Column("float64", "", "overlap of student and teacher, the whole of it"),
    "perceptron_overlap_std": Column("float64", "", "standard deviation of that over students"),
    "perceptron_r": Column("float64", "", "R: product of student and the teacher that it sees, over D"),
    "perceptron_q": Column("float64", "", "Q: squared length of the student, over D"),
    "perceptron_error": Column("float64", "share", "steps that a student gets wrong, from its overlap"),
    "perceptron_rate": Column("float64", "", "rate in force"),
    "perceptron_steps": Column("float64", "environment steps", "horizon T in force"),
}
DIAGNOSTICS |= PERCEPTRON

#: Metrics of TD inside a transformer (Wang et al. 2024), of the task in-context-td. The reference is a
#: transformer whose layers are batch TD by construction; returns and similarities are on held-out processes.
IN_CONTEXT: dict[str, Column] = {
    "td_error": Column("float64", "reward^2", "mean squared TD error that was trained on, before the update"),
    "reference_td_error": Column("float64", "reward^2", "the same of the reference"),
    "reference_return": Column("float64", "reward", "return of the reference"),
    "reference_step": Column("float64", "", "step size of the reference, which is trained"),
    "value_difference": Column("float64", "reward^2", "mean squared gap between the values of both"),
    "weight_similarity": Column(
        "float64", "cosine", "between the weights that explain the values best, and those of the reference"
    ),
    "sensitivity_similarity": Column(
        "float64", "cosine", "between the gradients of both values with respect to the query"
    ),
    "p_corner": Column("float64", "share", "last entry of P over its largest, in magnitude; TD has 1"),
    "p_others": Column("float64", "share", "mean magnitude of the others over the largest; TD has 0"),
    "q_left": Column(
        "float64", "share", "mean diagonal of Q's block of the states over its largest entry; TD has -1"
    ),
    "q_right": Column("float64", "share", "the same of its block of the successors; TD has 1"),
    "q_others": Column("float64", "share", "mean magnitude of Q's other entries over the largest; TD has 0"),
}
DIAGNOSTICS |= IN_CONTEXT

#: All of them, in the order of an exported file.
COLUMNS: dict[str, Column] = {**KEY_COLUMNS, **RUN_COLUMNS, **CURVE_COLUMNS, **DIAGNOSTICS}


def _schema(columns: dict[str, Column]) -> pa.Schema:
    """The Arrow schema of these columns, with the version in its metadata."""
    fields = [column.field(name) for name, column in columns.items()]
    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION)})


#: Columns of a stored curve (part files and curve.parquet).
CURVE_SCHEMA = _schema({**KEY_COLUMNS, **CURVE_COLUMNS, **DIAGNOSTICS})

#: Columns of an exported file: each row of a curve with the columns of its run beside it.
EXPORT_SCHEMA = _schema(COLUMNS)

#: What a stored curve cannot lack.
REQUIRED_COLUMNS = ("sweep", "run_id", "interactions", "return_mean")


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns and types of ``schema``, part of ``CURVE_SCHEMA`` or ``EXPORT_SCHEMA``.

    What the table lacks is null; columns that ``schema`` lacks are left out.

    Raises:
        KeyError: if the table lacks one of ``REQUIRED_COLUMNS``.
        pyarrow.ArrowException: if values do not fit their column's type.
    """
    missing = {name for name in schema.names if name not in table.column_names}
    for name in schema.names:
        if name in missing and name in REQUIRED_COLUMNS:
            raise KeyError(name)
    columns = [
        pa.nulls(table.num_rows, field.type) if field.name in missing else table.column(field.name)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)
