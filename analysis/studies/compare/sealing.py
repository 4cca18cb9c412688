"""Statements of the compute multiplier of two recipes that can be scored, and their score.

What is measured is C_A/C_B where recipe B takes a stated compute, by the same comparison of all runs, old and
new. The quantiles are those of the draws, so they hold the noise of the runs there are; new runs that are
many, or much longer, move the estimate by more than that only if the relation is wrong. It is measured once
both recipes reach the return of that compute, each with an optimal size among those it has.

The baseline is 1: no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.forecast.record import (
    LEVELS,
    Item,
    SealedCurves,
    SealedRecipes,
    Statement,
    curves_hash,
    sha256_of,
)
from rlscale.analysis.forecast.scoring import ItemScore, Score, new_runs, no_new_runs, outcome, scored
from rlscale.analysis.records import CodedWarning, warning_fields
from rlscale.analysis.studies.compare.result import Comparison
from rlscale.analysis.studies.compare.study import CompareRecipes, Solution
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

_NEAR = float(np.log(1.01))  # beyond the common returns by less counts as within


def seal_comparison(
    solution: Solution,
    comparison: Comparison,
    computes: Sequence[float] = (),
    *,
    by: str | None = None,
    title: str = "",
) -> Statement:
    """A statement of the multiplier at each compute of recipe B, sealed now.

    Args:
        solution: of ``CompareRecipes.solve``, with draws.
        comparison: its result.
        computes: C of recipe B; by default that of the middle of the common returns.
        by: the run column that tells the recipes apart within one source, if they are not two sources.
        title: what is forecast, for people.

    Raises:
        InputError: if there are no draws (code ``no_bootstrap``), or a compute is none (``invalid_number``).
    """
    if solution.spread is None:
        raise InputError(
            f"The comparison has no draws, so its multiplier has no quantiles; compare with "
            f"{either('--bootstrap 1000', 'replicates=1000')}.",
            code="no_bootstrap",
        )
    for compute in computes:
        check_quantity("Compute", compute)
    items = [_item(solution, compute) for compute in computes or [comparison.b.compute]]
    beyond = sum(item.beyond is not None for item in items)
    own: list[CodedWarning] = (
        [("extrapolation", f"{beyond} of {len(items)} items are extrapolations.")] if beyond else []
    )
    tasks = comparison.tasks
    return Statement(
        sealed=datetime.now(UTC).isoformat(timespec="seconds"),
        rlscale_version=version("rlscale"),
        title=title,
        task=tasks[0] if len(tasks) == 1 else None,
        algorithm=solution.a.selection.algorithm,
        horizon=solution.a.selection.horizon,
        size=comparison.size,
        curves=_sealed(solution.a),
        recipes=SealedRecipes(names=solution.names, by=by, curves_b=_sealed(solution.b)),
        fit_sha256=sha256_of(comparison),
        options={name: comparison.options[name] for name in ("early_exclusion", "replicates", "seed")}
        | {"minimize": solution.a.minimize},
        items=items,
        **warning_fields([*zip(comparison.warning_codes, comparison.warnings, strict=True), *own]),
    ).with_seal()


def score_comparison(
    statement: Statement, a: Curves, b: Curves, *, started: Mapping[str, str] | None = None
) -> Score:
    """Score a statement of a multiplier against the curves of both recipes, old runs and new ones.

    Args:
        statement: from ``rlscale.read_statement``, which refuses one that was changed.
        a, b: of recipe A and of recipe B.
        started: ISO time at which each run started, by run id, as far as a store knows.

    Raises:
        InputError: if the statement is not of two recipes (code ``statement_of_one_recipe``), no recipe has a
            run that it did not know (``no_new_runs``), sizes are measured differently (``other_size``), or
            the recipes cannot be compared (as ``CompareRecipes.solve``).
    """
    recipes = statement.recipes
    if recipes is None:
        raise InputError(
            "The statement forecasts runs of one recipe; score it with its curves alone.",
            code="statement_of_one_recipe",
        )
    new_a, new_b = (
        [curves.run_ids[run] for run in new_runs(curves, sealed, statement.size)]
        for curves, sealed in ((a, statement.curves), (b, recipes.curves_b))
    )
    if not new_a and not new_b:
        raise no_new_runs(f"{a.source}, and {b.source},")
    lacking = len(set(statement.curves.run_ids) - set(a.run_ids)) + len(
        set(recipes.curves_b.run_ids) - set(b.run_ids)
    )
    missing = f"{lacking} of the sealed runs are not among the curves, so no comparison of all"
    solution = None
    if not lacking:
        estimator = CompareRecipes(early_exclusion=statement.options["early_exclusion"], replicates=0)
        solution = estimator.solve(a, b, names=recipes.names)
    return scored(
        statement,
        [
            ItemScore(item=item, outcomes=[], missing=missing)
            if solution is None
            else _item_score(item, solution)
            for item in statement.items
        ],
        [*new_a, *new_b],
        sha256_of([curves_hash(a), curves_hash(b)]),
        started or {},
    )


def _sealed(curves: Curves) -> SealedCurves:
    return SealedCurves(source=curves.source, sha256=curves_hash(curves), run_ids=sorted(curves.run_ids))


def _item(solution: Solution, compute: float) -> Item:
    _, drawn = solution.log_multiplier_at(compute)
    values = np.exp(np.quantile(drawn, LEVELS, method="weibull"))
    outside = _outside(solution, compute)
    return Item(
        quantity="multiplier",
        compute=compute,
        quantiles={f"{level:g}": float(value) for level, value in zip(LEVELS, values, strict=True)},
        baselines={"no_difference": 1.0},
        beyond=f"{outside / np.log(10):.1f} decades outside the returns that both reach" if outside else None,
    )


def _item_score(item: Item, solution: Solution) -> ItemScore:
    assert item.compute is not None  # a multiplier has one
    outside = _outside(solution, item.compute)
    if outside:
        missing = f"both recipes must reach the return of C = {item.compute:.3g} of {solution.names[1]}"
        return ItemScore(item=item, outcomes=[], missing=missing)
    estimate, _ = solution.log_multiplier_at(item.compute)
    return ItemScore(item=item, outcomes=[outcome(item, float(np.exp(estimate)), None)])


def _outside(solution: Solution, compute: float) -> float:
    """By how much, in log compute, B's ``compute`` lies outside the common returns; 0 within them."""
    low, high = solution.common_levels
    level = float(solution.recipes.best_level_b(np.array([np.log(compute)]))[0])
    outside = max(low - level, level - high)
    return outside if outside > _NEAR else 0.0
