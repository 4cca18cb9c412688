"""This trainer and openai/ppo-ewma on the same weights, observations and actions.

In each of several settings this trainer learns from rollouts of FruitBot easy (16 environments of
36 steps, IMPALA with 16, 32, 32 channels): two policy iterations, an auxiliary phase, where there
is one, and a third policy iteration. Then openai/ppo-ewma's own ``ppg.learn``, from a checkout
and in an interpreter that has its dependencies, learns from the same initial weights, rollouts and
orders of minibatches. Its modules are used as they are published; replaced are only its sources of
data: a ``Roller`` that replays the rollouts, ``torch.randperm`` that replays the orders.

Compared are normalised rewards, advantages and value targets, the loss terms of each minibatch, the
gradient of each phase's first minibatch, the change of each parameter over each phase, and
the EWMA after each of its updates. Adam turns the sign of a gradient near 0 into a whole step, so
rounding in float32 grows; hence both are run twice. In float64, where every mention of float32 is
made to mean float64 on both sides, only a difference of algorithm would be left. In float32 the
differences are read beside those of openai/ppo-ewma from itself when torch computes its
convolutions by another route than oneDNN.

    python benchmarks/ppo_ewma_parity.py --ppo-ewma DIR --peer-python PYTHON [--only NAME ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

ENVS, STEPS, MINIBATCHES, ITERATIONS = 16, 36, 2, 3
COMMON = {
    "learning_rate": 5e-4,
    "horizon": 1999,
    "gae_lambda": 0.95,
    "num_envs": ENVS,
    "rollout_steps": STEPS,
    "minibatches": MINIBATCHES,
    "normalize_reward": True,
}
PHASES = {"policy_iterations": 2, "auxiliary_epochs": 1, "sequences": 8, "learning_rate": 5e-4}
CASES: dict[str, dict[str, Any]] = {
    "PPG-EWMA, dual": {"algorithm": "ppg-ewma", "architecture": "dual", "phasic": PHASES},
    "PPG-EWMA, shared": {"algorithm": "ppg-ewma", "architecture": "shared", "phasic": PHASES},
    "PPG, detach": {"algorithm": "ppg", "architecture": "detach", "phasic": PHASES},
    "PPG-EWMA, dual, KL penalty": {
        "algorithm": "ppg-ewma",
        "architecture": "dual",
        "clip": 0.0,
        "kl_penalty": 1.0,
        "phasic": PHASES,
    },
    "PPO-EWMA, shared, 3 epochs": {
        "algorithm": "ppo-ewma",
        "architecture": "shared",
        "epochs_policy": 3,
        "epochs_value": 3,
    },
    "PPO, dual, 1 policy and 2 value epochs, averaged moments": {
        "algorithm": "ppo",
        "architecture": "dual",
        "epochs_value": 2,
        "advantage_decay": 0.6,
    },
}

#: Names used here for the terms of both sides.
OUR_TERMS = {
    "policy_loss": "policy loss",
    "approx_kl": "KL estimate",
    "clip_fraction": "clip fraction",
    "importance_fraction": "importance fraction",
    "value_loss": "value loss",
    "clone_kl": "distillation KL",
    "auxiliary_loss": "auxiliary value loss",
    "auxiliary_value_loss": "true value loss",
}
THEIR_POLICY_TERMS = {
    "pg": "policy loss",
    "approxkl": "KL estimate",
    "clipfrac": "clip fraction",
    "imp_samp_clipfrac": "importance fraction",
}
THEIR_AUXILIARY_TERMS = {
    "unscaled/pol_distance": "distillation KL",
    "unscaled/vf_aux": "auxiliary value loss",
    "unscaled/vf_true": "true value loss",
}
VALUE_COEF = 0.5
#: Has glibc keep freed memory: half the time in float64.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}

Tensors = dict[str, torch.Tensor]
Trace = dict[str, list[Any]]


def mean_float64_by_float32() -> None:
    """From here on this process computes in double precision what it is told to in single."""
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float64
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]


class Recorder:
    """What a learner goes through, by name; parameters go by openai/ppo-ewma's names."""

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        self.trace: Trace = defaultdict(list)
        self._parameters = parameters
        self._phase_begins = False
        self._hook = register_optimizer_step_pre_hook(self._before_step)

    def add(self, name: str, value: Any) -> None:
        self.trace[name].append(torch.as_tensor(value).detach().clone())

    def add_all(self, name: str, values: Mapping[str, torch.Tensor]) -> None:
        self.trace[name].append({key: value.detach().clone() for key, value in values.items()})

    def begin_phase(self) -> None:
        """Take the weights down; the next step's gradient will be the first of a phase."""
        self.add_all("weights", self._parameters)
        self._phase_begins = True

    def finish(self) -> Trace:
        self.add_all("weights", self._parameters)
        self._hook.remove()
        return dict(self.trace)

    def _before_step(self, *_: Any) -> None:
        if self._phase_begins:
            gradients = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
            self.add_all("gradient", gradients)
        self._phase_begins = False


# --- openai/ppo-ewma's side, in its own interpreter ---------------------------------------------


class Exhausted(Exception):
    """All rollouts were replayed."""


def learn_theirs(given: Mapping[str, Any], *, onednn: bool) -> Trace:
    """openai/ppo-ewma's ``ppg.learn`` on the given weights, rollouts and orders of minibatches."""
    from gym3.types import Discrete, TensorType, discrete_scalar
    from ppo_ewma import logger, ppg, ppo, torch_util
    from ppo_ewma.impala_cnn import ImpalaEncoder

    torch.backends.mkldnn.enabled = onednn
    torch_util.register_distributions_for_tree_util()
    logger.configure(dir=tempfile.mkdtemp(), format_strs=[])
    images = TensorType(eltype=Discrete(256, dtype_name="uint8"), shape=(64, 64, 3))
    model = ppg.PhasicValueModel(
        images, discrete_scalar(15), lambda kind: ImpalaEncoder(kind.shape), arch=given["architecture"]
    )
    unexpected = model.load_state_dict(given["weights"], strict=False).unexpected_keys
    assert not unexpected, unexpected

    names = dict(model.named_parameters())
    recorder = Recorder({name: names[name] for name in given["weights"]})
    _replay(given, model, ppo)
    _record_theirs(recorder, given["ppo"], ppo, ppg, logger)
    hyperparameters = dict(given["ppo"], nstep=STEPS, verbose=False)
    try:
        ppg.learn(model=model, venv=SimpleNamespace(num=ENVS), ppo_hps=hyperparameters, **given["ppg"])
    except Exhausted:
        return recorder.finish()
    raise AssertionError("openai/ppo-ewma stopped before all rollouts were used")


def _replay(given: Mapping[str, Any], model: Any, ppo: Any) -> None:
    """Put recorded rollouts and orders where openai/ppo-ewma draws its own."""
    rollouts, orders = iter(given["rollouts"]), iter(given["orders"])

    class Replay:
        def __init__(self, **_: Any) -> None: ...

        def multi_step(self, _: int) -> dict[str, Any]:
            rollout = next(rollouts, None)
            if rollout is None:
                raise Exhausted
            state = model.initial_state(ENVS)
            return rollout | {"state_in": state, "finalstate": state}

    class Silent:
        def __init__(self, **_: Any) -> None: ...

        def __call__(self) -> None: ...

        def gather_roller_stats(self, _: Any) -> None: ...

    def replayed_order(count: int) -> torch.Tensor:
        order = next(orders)
        assert len(order) == count, (len(order), count)
        return order

    ppo.Roller, ppo.LogSaveHelper = Replay, Silent
    torch.randperm = replayed_order


def _record_theirs(
    recorder: Recorder, hyperparameters: Mapping[str, Any], ppo: Any, ppg: Any, logger: Any
) -> None:
    """Listen at openai/ppo-ewma's functions; none computes anything else than before."""
    advantage, losses, sleep = ppo.compute_advantage, ppo.compute_losses, ppg.compute_presleep_outputs
    update, log_mean = ppg.EwmaModel.update, logger.logkv_mean
    epochs_value, epochs_policy = hyperparameters["n_epoch_vf"], hyperparameters["n_epoch_pi"]
    targets: Iterator[tuple[str, ...]] = iter(())

    def compute_advantage(model: Any, segment: Tensors, *args: Any, **kwargs: Any) -> None:
        nonlocal targets
        recorder.begin_phase()
        advantage(model, segment, *args, **kwargs)
        for name, key in (("reward", "reward"), ("advantage", "adv"), ("value target", "vtarg")):
            recorder.add(name, segment[key])
        apart = [("vf",)] * (epochs_value * MINIBATCHES) + [("pi",)] * (epochs_policy * MINIBATCHES)
        together = [("pi", "vf")] * (epochs_policy * MINIBATCHES)
        targets = iter(apart if epochs_value != epochs_policy else together)

    def compute_losses(*args: Any, **kwargs: Any) -> Any:
        parts, diagnostics = losses(*args, **kwargs)
        trained = next(targets)
        recorder.add("whole loss", sum(parts[key] for key in trained))
        if "vf" in trained:
            recorder.add("value loss", parts["vf"] / VALUE_COEF)
        if "pi" in trained:
            for key, name in THEIR_POLICY_TERMS.items():
                recorder.add(name, diagnostics.get(key, 0.0))
        return parts, diagnostics

    def compute_presleep_outputs(**kwargs: Any) -> None:
        recorder.begin_phase()
        sleep(**kwargs)

    def update_ewma(self: Any, decay: float | None = None) -> None:
        update(self, decay)
        recorder.add_all("EWMA", dict(self.model_ewma.named_parameters()))

    def logkv_mean(key: str, value: Any) -> None:
        if key in THEIR_AUXILIARY_TERMS:
            recorder.add(THEIR_AUXILIARY_TERMS[key], value)
        log_mean(key, value)

    ppo.compute_advantage, ppo.compute_losses = compute_advantage, compute_losses
    ppg.compute_presleep_outputs, ppg.EwmaModel.update = compute_presleep_outputs, update_ewma
    logger.logkv_mean = logkv_mean


# --- this trainer's side ------------------------------------------------------------------------


class RecordedOrders(np.random.Generator):
    """A generator that remembers the permutations drawn from it, as openai/ppo-ewma numbers rows.

    Rows that an auxiliary phase stored count through the iterations within an environment there.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.orders: list[torch.Tensor] = []

    def permutation(self, x: Any, axis: int = 0) -> Any:
        order = super().permutation(x, axis)
        iteration, env = np.divmod(order, ENVS)
        self.orders.append(torch.from_numpy(env * (len(order) // ENVS) + iteration))
        return order


def learn_ours(agent_values: Mapping[str, Any]) -> tuple[dict[str, Any], Trace]:
    """This trainer from fresh weights; what the other side needs to follow, and the trace."""
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.rollouts.environments import EnvironmentCollector
    from rlscale.scaling.tasks.procgen.games import ProcgenEnv
    from rlscale.scaling.tasks.procgen.names import parse_task
    from rlscale.scaling.training.build import build_networks, make_agent

    config = run_config(
        {"task": "procgen-fruitbot-easy", "interactions": 10**9, "agent": COMMON | dict(agent_values)},
        source="parity",
    )
    model = build_networks(config, torch.Generator().manual_seed(0))
    learner = make_agent(config, model)
    parameters = their_names(model)
    given = _told_theirs(config.agent) | {
        "weights": {name: p.detach().clone() for name, p in parameters.items()}
    }
    recorder = Recorder(parameters)
    _record_ours(recorder, learner)
    env = ProcgenEnv(task=parse_task(config.task), num_envs=ENVS, seed=0, num_threads=0)
    collector = EnvironmentCollector(lambda _: env, ENVS, np.random.default_rng(1), torch.device("cpu"))
    rng, rollouts = RecordedOrders(2), []
    for _ in range(ITERATIONS):
        rollout, _, _ = collector.collect(model, envs=ENVS, steps=STEPS, needs_bootstrap=True)
        rollouts.append(_as_theirs(rollout, env.observe().observation))
        learner.learn(rollout, rng)
    return given | {"rollouts": rollouts, "orders": rng.orders}, recorder.finish()


def their_names(model: Any) -> dict[str, torch.Tensor]:
    """This trainer's parameters by the names that openai/ppo-ewma gives them."""
    names = {}
    for prefix, network in (("pi", model.policy), ("vf", model.value)):
        names |= _network_names(prefix, network) if network is not None else {}
    return names


def _network_names(prefix: str, network: Any) -> dict[str, torch.Tensor]:
    trunk = {
        f"{prefix}_enc.cnn."
        + name.replace(".conv.", ".firstconv.").replace(".conv1.", ".conv0.").replace(".conv2.", ".conv1."): p
        for name, p in network.trunk.named_parameters()
    }
    heads = {"logits": "pi_head", "value": f"{prefix}_vhead", "auxiliary": "aux_vf_head"}
    return trunk | {
        f"{heads[head]}.{name}": p
        for head, layer in network.heads.items()
        for name, p in layer.named_parameters()
    }


def _told_theirs(agent: Any) -> dict[str, Any]:
    """The options of ``agent`` as openai/ppo-ewma takes them."""
    phasic = agent.auxiliary
    return {
        "architecture": agent.architecture,
        "ppo": {
            "lr": agent.learning_rate,
            "γ": agent.gamma,
            "λ": agent.gae_lambda,
            "nminibatch": agent.minibatches,
            "n_epoch_pi": agent.epochs_policy,
            "n_epoch_vf": agent.epochs_value,
            "clip_param": agent.clip,
            "kl_penalty": agent.kl_penalty,
            "vfcoef": agent.value_coef,
            "entcoef": agent.entropy_coef,
            "adv_ewma_decay": agent.advantage_decay,
            "imp_samp_max": agent.importance_cap,
        },
        "ppg": {
            "n_pi": phasic.policy_iterations if phasic else 0,
            "n_aux_epochs": phasic.auxiliary_epochs if phasic else 0,
            "aux_mbsize": phasic.sequences if phasic else 1,
            "aux_lr": phasic.learning_rate if phasic else 0.0,
            "kl_ewma_decay": agent.ewma_decay if agent.uses_ewma else None,
            "name2coef": {"pol_distance": phasic.clone_coef, "vf_true": phasic.value_coef} if phasic else {},
        },
    }


def _as_theirs(rollout: Any, last_observation: np.ndarray) -> Tensors:
    """A rollout with environments first, under openai/ppo-ewma's names."""
    images = rollout.observation.permute(1, 0, 3, 4, 2)
    return {
        "ob": images.contiguous(),
        "first": rollout.first[:-1].T.bool(),
        "ac": rollout.action.T.clone(),
        "logp": rollout.logp.T.clone(),
        "vpred": rollout.value[:-1].T.clone(),
        "reward": torch.as_tensor(rollout.reward, dtype=torch.float32).T.clone(),
        "finalob": torch.from_numpy(last_observation.copy()),
        "finalfirst": rollout.first[-1].bool(),
    }


def _record_ours(recorder: Recorder, learner: Any) -> None:
    """Listen at this trainer's functions."""
    from rlscale.scaling.agents import ppo as ppg_module
    from rlscale.scaling.agents import ppo as ppo_module
    from rlscale.scaling.agents.reward_scale import RewardNormalizer

    ppo = getattr(learner, "ppo", learner)
    estimate, step, by_autograd = ppo.estimate, ppo_module.gradient_step, ppo_module.by_autograd
    rewards = RewardNormalizer()
    losses: list[torch.Tensor] = []  # sums over the parts of a minibatch

    def recorded_estimate(rollout: Any) -> tuple[torch.Tensor, torch.Tensor]:
        recorder.begin_phase()
        advantage, target = estimate(rollout)
        recorder.add("reward", rewards(rollout.reward, rollout.first[:-1].numpy()).T)
        recorder.add("advantage", advantage.T)
        recorder.add("value target", target.T)
        return advantage, target

    def recorded_gradients(objective: Any) -> Any:
        def listening(part: Any) -> tuple[torch.Tensor, Tensors]:
            loss, diagnostics = objective(part)
            losses.append(loss.detach() * part.num_steps)
            return loss, diagnostics

        return by_autograd(listening)

    def recorded_step(optimizer: Any, minibatch: Any, gradients: Any, **options: Any) -> Tensors:
        losses.clear()
        diagnostics = step(optimizer, minibatch, gradients, **options)
        if "clone_kl" not in diagnostics:
            recorder.add("whole loss", torch.stack(losses).sum() / minibatch.num_steps)
        for key, value in diagnostics.items():
            recorder.add(OUR_TERMS[key], value)
        return diagnostics

    ppo.estimate = recorded_estimate
    ppo_module.gradient_step = ppg_module.gradient_step = recorded_step
    ppo_module.by_autograd = recorded_gradients
    if ppo.ewma is not None:
        _record_our_ewma(recorder, ppo.ewma)
    if learner is not ppo:
        phase = learner.auxiliary_phase

        def recorded_phase(rng: Any) -> dict[str, float]:
            recorder.begin_phase()
            return phase(rng)

        learner.auxiliary_phase = recorded_phase


def _record_our_ewma(recorder: Recorder, ewma: Any) -> None:
    update = ewma.update

    def recorded_update(decay: float | None = None) -> None:
        update(decay)
        recorder.add_all("EWMA", _network_names("pi", ewma.network))

    ewma.update = recorded_update


# --- both, compared -----------------------------------------------------------------------------


def run_both(case: str, peer: Mapping[str, Any], *, double: bool) -> tuple[Trace, Trace, Trace | None]:
    """Traces of this trainer, of openai/ppo-ewma and, in float32, of the latter without oneDNN.

    Each is a process of its own with one thread.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, *outs = (str(Path(folder, name)) for name in ("given", "ours", "theirs", "again"))
        precision = ["--double"] if double else []
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | KEEP_FREED_MEMORY
        _run([sys.executable, __file__, "--learn", case, given, outs[0], *precision], environment)
        replay = [peer["python"], __file__, "--replay", given]
        environment |= {"PYTHONPATH": str(peer["checkout"])}
        _run([*replay, outs[1], *precision], environment)
        if double:
            return torch.load(outs[0]), torch.load(outs[1]), None
        _run([*replay, outs[2], "--without-onednn"], environment)
        ours, theirs, again = (torch.load(out) for out in outs)
        return ours, theirs, again


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")


def differences(ours: Trace, theirs: Trace) -> dict[str, dict[str, float]]:
    """Per quantity, the largest absolute and relative difference over all its occurrences.

    Relative is the norm of the difference over the norm of openai/ppo-ewma's value, each being a whole
    array: one term in all minibatches, one parameter's gradient, its change over a phase.
    """
    found: dict[str, dict[str, float]] = {}
    for name, pairs in _pairs(ours, theirs).items():
        absolute = [float((a.double() - b.double()).abs().max()) for a, b in pairs]
        relative = [_relative(a.double(), b.double()) for a, b in pairs]
        found[name] = {"absolute": max(absolute), "relative": max(relative), "arrays": len(pairs)}
    return found


def _relative(a: torch.Tensor, b: torch.Tensor) -> float:
    difference, size = float((a - b).norm()), float(b.norm())
    return difference / size if size > 0 else float(difference > 0)


def _pairs(ours: Trace, theirs: Trace) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    pairs: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    for name in ours:
        assert len(ours[name]) == len(theirs[name]), (name, len(ours[name]), len(theirs[name]))
        if name == "weights":
            continue
        if not isinstance(ours[name][0], dict):
            pairs[name] = [(torch.stack(ours[name]), torch.stack(theirs[name]))]
            continue
        for index, (mine, other) in enumerate(zip(ours[name], theirs[name], strict=True)):
            if name == "gradient" and index > 0:
                # The policy head's is 0 but for rounding where an auxiliary phase begins.
                pairs["gradient, first of a later phase, whole"].append((_flat(mine), _flat(other, mine)))
                continue
            label = "gradient, first of all, per parameter" if name == "gradient" else name
            pairs[label] += [(mine[key], other[key]) for key in mine]
    changes = [_changes(trace["weights"]) for trace in (ours, theirs)]
    for phase, (mine, other) in enumerate(zip(*changes, strict=True)):
        label = "change of a parameter, first phase" if phase == 0 else "change of a parameter, later phases"
        pairs[label] += [(mine[key], other[key]) for key in mine]
    return dict(pairs)


def _flat(values: Tensors, names: Iterable[str] | None = None) -> torch.Tensor:
    return torch.cat([values[name].flatten() for name in (names or values)])


def _changes(weights: list[Tensors]) -> list[Tensors]:
    return [
        {key: after[key].double() - before[key].double() for key in before}
        for before, after in pairwise(weights)
    ]


def compare_case(case: str, peer: Mapping[str, Any]) -> dict[str, Any]:
    ours, theirs, _ = run_both(case, peer, double=True)
    exact = differences(ours, theirs)
    ours, theirs, again = run_both(case, peer, double=False)
    assert again is not None
    single, floor = differences(ours, theirs), differences(again, theirs)
    return {
        name: {
            "arrays": exact[name]["arrays"],
            "float64": _rounded(exact[name]),
            "float32": _rounded(single[name]),
            "float32_theirs_without_onednn": _rounded(floor[name]),
        }
        for name in exact
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {key: float(f"{values[key]:.2g}") for key in ("absolute", "relative")}


def print_table(case: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{case}: largest relative difference (absolute)")
    for column in ("", "arrays", "float64", "float32", "float32, theirs from itself"):
        table.add_column(column, justify="left" if column == "" else "right")
    for name, row in rows.items():
        cells = (row[key] for key in ("float64", "float32", "float32_theirs_without_onednn"))
        table.add_row(
            name, str(row["arrays"]), *(f"{c['relative']:.1e} ({c['absolute']:.1e})" for c in cells)
        )
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ppo-ewma", type=Path, help="a checkout of openai/ppo-ewma")
    parser.add_argument("--peer-python", help="the interpreter that runs it")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "ppo_ewma_parity.json"
    )
    parser.add_argument("--learn", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--replay", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--double", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--without-onednn", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.double:
        mean_float64_by_float32()
    if options.learn:
        case, given_path, out = options.learn
        given, trace = learn_ours(CASES[case])
        torch.save(given, given_path)
        torch.save(trace, out)
        return
    if options.replay:
        given_path, out = options.replay
        torch.save(learn_theirs(torch.load(given_path), onednn=not options.without_onednn), out)
        return
    if options.ppo_ewma is None or options.peer_python is None:
        parser.error("give --ppo-ewma and --peer-python")
    peer = {"checkout": options.ppo_ewma.resolve(), "python": options.peer_python}
    cases = {}
    for case in options.only:
        cases[case] = compare_case(case, peer)
        print_table(case, cases[case])
    result = {
        "what": "largest differences between this trainer and openai/ppo-ewma in three policy iterations and "
        "an auxiliary phase from the same weights, rollouts and orders of minibatches",
        "options": {"envs": ENVS, "steps": STEPS, "minibatches": MINIBATCHES, "iterations": ITERATIONS}
        | {"agent": COMMON, "cases": {case: CASES[case] for case in options.only}},
        "cases": cases,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
