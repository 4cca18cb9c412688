"""The closed loop: fit what is measured, plan the runs that help most, train them, again.

    decision = first runs
    until the target or the budget is reached:
        train the decision's runs, each to its length
        fit all curves
        decision = the best runs by the law so far        (``rlscale.analysis.forecast.rounds``)

Each decision is stored before its runs begin (``decisions``), and runs pause where a decision wants them and
go on from there later, so nothing is trained twice. What the loop does follows from the store alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlscale.analysis.curves.load import load_curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.design import Group
from rlscale.analysis.forecast.rounds import Bounds, Round, first_round, longer_round, next_round
from rlscale.analysis.forecast.sizes import optimal_size
from rlscale.loop.decisions import Action, Decision, LawSoFar, MeasuredSize, read_decisions, write_decision
from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import InputError, RlscaleError
from rlscale.sweeps.running.missing import pass_over
from rlscale.sweeps.specs.auto import AutoBounds
from rlscale.sweeps.specs.spec import SweepSpec
from rlscale.sweeps.store.run_store import RunStore

#: Of each fit on the way; ``rlscale fit`` on the store gives the final law with more.
REPLICATES = 200
_REACH = 10.0  # C* by default, in multiples of the largest compute measured
_LAST = 0.02  # of the budget: what is left then is not worth another round
_SECONDS = 3600.0

#: Trains runs, each to a number of interactions, and pauses them there.
Trainer = Callable[[Sequence[tuple[RunConfig, int]]], object]


@dataclass(frozen=True)
class AutoSweep:
    """The runs that a spec's bounds allow.

    Attributes:
        spec: with bounds.
        configs: one of each size, with the least seed, by N.
        bounds: in the unit of the spec's budget.
    """

    spec: SweepSpec
    configs: Mapping[float, RunConfig]
    bounds: Bounds

    @property
    def auto(self) -> AutoBounds:
        return _bounds_of(self.spec, "the spec")

    @property
    def unit(self) -> Literal["compute", "hours"]:
        """Of the budget and of what was spent."""
        return "compute" if self.auto.hours is None else "hours"

    def config(self, size: float, seed: int) -> RunConfig:
        """The config of a run."""
        return self.configs[size].model_copy(update={"seed": seed})

    def runs(self, decision: Decision) -> list[tuple[RunConfig, int]]:
        """The runs of a decision, each with its length."""
        return [
            (self.config(size.N, seed), size.interactions) for size in decision.sizes for seed in size.seeds
        ]


def prepare(spec: SweepSpec, source: str) -> AutoSweep:
    """Measure the sizes between a spec's bounds.

    Args:
        source: what messages call the spec.

    Raises:
        InputError: if the spec has no bounds (code ``no_bounds``), a width does not fit the task, or the
            bounds hold fewer than three sizes (``too_few_sizes``).
    """
    auto = _bounds_of(spec, source)
    from rlscale.scaling.costs.measure import measure

    configs: dict[float, RunConfig] = {}
    prices: dict[float, float] = {}
    for width in auto.widths:
        values = {
            **spec.base,
            "interactions": int(auto.interactions[1]),
            "seed": 0,
            "model": {**(spec.base.get("model") or {}), "width": width},
        }
        config = run_config(values, source=f"{source} (width={width})")
        measured = measure(config, timed=auto.hours is not None)
        size = float(measured.columns["num_params"])
        configs.setdefault(size, config)
        prices.setdefault(size, size)
        if measured.seconds is not None:
            prices[size] = measured.seconds / config.interactions / _SECONDS
    sizes = tuple(sorted(configs))
    if len(sizes) < 3:
        raise InputError(
            f"{source}: widths from {auto.width[0]:g} to {auto.width[1]:g} make {len(sizes)} size"
            f"{'' if len(sizes) == 1 else 's'}; a law needs three: give a wider range.",
            code="too_few_sizes",
        )
    bounds = Bounds(
        sizes=sizes,
        prices=tuple(prices[size] for size in sizes),
        shortest=auto.interactions[0],
        longest=auto.interactions[1],
        least_seeds=auto.seeds[0],
        most_seeds=auto.seeds[1],
        budget=auto.budget or auto.hours or 0.0,
    )
    cheapest = bounds.spent(first_round(bounds).groups)
    if cheapest > bounds.budget:
        raise InputError(
            f"{source}: the first runs, as short as 'interactions' allows, cost {cheapest:.3g}, more than "
            f"the budget of {bounds.budget:.3g}; give shorter runs, smaller widths or a larger budget.",
            code="budget_too_small",
        )
    return AutoSweep(spec, configs, bounds)


def _bounds_of(spec: SweepSpec, source: str) -> AutoBounds:
    if spec.auto is None:
        raise InputError(
            f"{source} has no block 'auto' with bounds; a grid is run with: rlscale sweep run.",
            code="no_bounds",
        )
    return spec.auto


def run_auto(
    sweep: AutoSweep,
    store: RunStore,
    train: Trainer,
    on_decision: Callable[[Decision], None] = lambda decision: None,
    *,
    replicates: int = REPLICATES,
) -> Decision:
    """Decide and train until the target or the budget is reached; goes on with what a store holds.

    Args:
        train: called once a decision with its runs.
        on_decision: called with each decision before its runs, and with the last one.
        replicates: bootstrap draws of each fit.

    Returns:
        The last decision, to stop.

    Raises:
        RlscaleError, KeyboardInterrupt: what ``train`` raises; the store then holds all that was measured.
    """
    name = sweep.spec.name
    decisions = read_decisions(store, name)
    while True:
        last = decisions[-1] if decisions else None
        if last is not None and last.action != "stop":
            on_decision(last)
            train(sweep.runs(last))
        if last is not None and last.action == "stop" and _still_stands(last, sweep):
            on_decision(last)
            return last
        decision = _decide(sweep, store, last, replicates)
        write_decision(store, name, decision)
        decisions.append(decision)


def _still_stands(stop: Decision, sweep: AutoSweep) -> bool:
    """Whether a loop that stopped would stop again: its budget has not grown."""
    return stop.unit == sweep.unit and sweep.bounds.budget <= stop.budget * (1 + 1e-9)


def _decide(sweep: AutoSweep, store: RunStore, last: Decision | None, replicates: int) -> Decision:
    """The decision after ``last``, from all that is measured."""
    now = _Measured.of(sweep, store, last)
    if last is None:
        return now.decided("first", first_round(sweep.bounds))
    bounds = replace(sweep.bounds, closed=now.closed)
    is_spent = bounds.budget - bounds.spent(now.groups) < _LAST * bounds.budget
    exhausted = "The budget is spent." if is_spent else ""
    try:
        curves = load_curves(store.location, sweep=sweep.spec.name)
        fit = JointScalingFit(replicates=replicates, check_replicates=max(replicates // 4, 20)).fit(curves)
    except RlscaleError as error:
        why = str(error).rstrip(".")
        longer = None if is_spent else longer_round(now.groups, bounds, f"no law can be fitted yet ({why})")
        if longer is None:
            return now.stop(f"{exhausted or 'No run can be longer.'} No law could be fitted: {why}.")
        return now.decided("longer", longer)
    law = _law_so_far(fit, sweep.auto)
    reached = target_reached(law, sweep.auto)
    missing = "" if law.identified else f" The law is not identified: {fit.warnings[0]}"
    if reached or is_spent:
        return now.stop(reached or exhausted + missing, law)
    best = next_round(fit, now.groups, bounds, None if _wants_nu(sweep.auto) else law.target_compute)
    if best is None:
        return now.stop(f"No run that the bounds and the budget allow would tell more.{missing}", law)
    return now.decided("best", best, law)


@dataclass(frozen=True)
class _Measured:
    """What is measured once a decision is carried out.

    Attributes:
        number: of the decision, 0 if there is none.
        groups: one a size with curves that count, ascending.
        seeds: of these sizes.
        closed: sizes of which a run failed, in this decision or before.
    """

    sweep: AutoSweep
    number: int
    groups: tuple[Group, ...]
    seeds: Mapping[float, tuple[int, ...]]
    closed: frozenset[float]

    @classmethod
    def of(cls, sweep: AutoSweep, store: RunStore, last: Decision | None) -> _Measured:
        if last is None:
            return cls(sweep, 0, (), {}, frozenset())
        runs = sweep.runs(last)
        records = store.read_runs(sweep.spec.name, [config.run_id for config, _ in runs], pass_over)
        usable = {record.run_id for record in records if record.status in ("paused", "done")}
        seeds = {
            size.N: tuple(seed for seed in size.seeds if sweep.config(size.N, seed).run_id in usable)
            for size in last.sizes
        }
        groups = [Group(s.N, float(s.interactions), len(seeds[s.N])) for s in last.sizes if seeds[s.N]]
        failed = {size.N for size in last.sizes if len(seeds[size.N]) < len(size.seeds)}
        return cls(sweep, last.number, tuple(groups), seeds, frozenset({*last.closed, *failed}))

    def stop(self, reason: str, law: LawSoFar | None = None) -> Decision:
        """The decision to train no more."""
        return self.decided("stop", Round(self.groups, reason), law)

    def decided(self, action: Action, planned: Round, law: LawSoFar | None = None) -> Decision:
        """The next decision, which leads to the groups of a round."""
        sweep = self.sweep
        sizes = [
            MeasuredSize(
                N=group.size,
                width=sweep.configs[group.size].model.width,
                interactions=round(group.length),
                seeds=_with_more(self.seeds.get(group.size, ()), group.seeds),
            )
            for group in planned.groups
        ]
        return Decision(
            number=self.number + 1,
            action=action,
            reason=planned.reason,
            sizes=sizes,
            closed=sorted(self.closed),
            spent=sweep.bounds.spent(self.groups),
            planned=sweep.bounds.spent(planned.groups),
            budget=sweep.bounds.budget,
            unit=sweep.unit,
            shrinkage=planned.shrinkage,
            law=law,
        )


def _with_more(seeds: tuple[int, ...], count: int) -> tuple[int, ...]:
    """``count`` seeds: those there are, and the smallest others."""
    others = (seed for seed in itertools.count() if seed not in seeds)
    return (*seeds, *itertools.islice(others, count - len(seeds)))


def _law_so_far(fit: FitResult, auto: AutoBounds) -> LawSoFar:
    wanted = auto.target.N_opt.compute if auto.target and auto.target.N_opt else _REACH * fit.range.C[1]
    optimum = optimal_size(fit, wanted)
    return LawSoFar(
        nu=fit.nu,
        nu_interval=fit.intervals_total["nu"],
        identified=fit.identified,
        warning_codes=list(fit.warning_codes),
        target_compute=wanted,
        N_opt=optimum.N_opt,
        N_opt_interval=optimum.intervals_total["N_opt"],
    )


def _wants_nu(auto: AutoBounds) -> bool:
    return auto.target is not None and auto.target.nu is not None


def target_reached(law: LawSoFar, auto: AutoBounds) -> str | None:
    """A sentence if the target is reached by a law that is identified."""
    if auto.target is None or not law.identified:
        return None
    if auto.target.nu is not None:
        width = law.nu_interval[1] - law.nu_interval[0]
        if width > auto.target.nu:
            return None
        return f"The target is reached: the interval of nu is {width:.3f} wide."
    low, high = law.N_opt_interval
    factor = max(law.N_opt / low, high / law.N_opt)
    if auto.target.N_opt is None or factor > auto.target.N_opt.factor:
        return None
    known = f"N_opt at {law.target_compute:.3g} is known to within a factor of {factor:.2f}"
    return f"The target is reached: {known}."
