"""The config of an agent: PPO, PPG and their EWMA variants."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlscale.scaling.config.reading import Frozen


class BatchGrowth(Frozen):
    """The iteration batch grows as a power of the interactions so far, in doublings.

    B(E) = B_min * 2^floor(exponent * log2(E / reference)), never below B_min, the batch that
    ``num_envs`` and ``rollout_steps`` give. This power law summarises a greedy schedule
    (Hilton et al. 2023, section on batch size). Exponent 0 keeps the batch fixed.
    """

    exponent: float = Field(0.0, ge=0, le=1, description="exponent of the power law; 0 keeps the batch fixed")
    reference: int = Field(100_000, ge=1, description="interactions at which the growth begins")


class PhasicConfig(Frozen):
    """The auxiliary phase of PPG (Cobbe et al. 2020) with the defaults of arXiv 2110.00641."""

    policy_iterations: int = Field(32, ge=0, description="n_pi, iterations in a phase; 0 gives PPO")
    auxiliary_epochs: int = Field(
        6, ge=0, description="E_aux, epochs over the rollouts of a phase; 0 gives PPO"
    )
    clone_coef: float = Field(1.0, ge=0, description="beta_clone, weight of KL(policy before || policy)")
    value_coef: float = Field(1.0, ge=0, description="weight of the true value head's loss")
    sequences: int = Field(16, ge=1, description="rollouts of single environments in a minibatch")
    learning_rate: float = Field(5e-4, ge=0, description="Adam step size of the auxiliary phase at width 1")


class FeaturePenaltyConfig(Frozen):
    """Proximal feature optimisation, PFO (Moalla et al. 2024): pre-activations stay near those that acted."""

    coefficient: float = Field(ge=0, description="weight of the penalty, a mean over observations and units")
    layers: Literal["last", "all"] = Field(
        "last", description="of the policy network: last, what gives the features; all, every named layer"
    )


class AgentConfig(Frozen):
    """PPO, PPG and their EWMA variants (Hilton, Cobbe, Schulman 2021, arXiv 2110.00641)."""

    algorithm: Literal["ppo", "ppo-ewma", "ppg", "ppg-ewma"] = Field(
        "ppo-ewma", description="-ewma: the proximal policy is a moving average of the weights"
    )
    architecture: Literal["dual", "shared", "detach"] = Field(
        "dual",
        description="two networks, one network, or one network with a value head on detached features",
    )
    policy: Literal["tanh-normal", "normal"] = Field(
        "tanh-normal",
        description="for actions that are numbers: a normal through a tanh, whose deviations depend on the "
        "state; or a normal cut at the bounds, with one learnt deviation for all states",
    )
    phasic: PhasicConfig | None = Field(None, description="auxiliary phase; only for ppg and ppg-ewma")
    learning_rate: float = Field(5e-4, ge=0, description="Adam step size at width 1")
    adam_betas: tuple[float, float] = Field((0.9, 0.999), description="decay of Adam's two moments")
    adam_eps: float = Field(1e-8, gt=0, description="Adam's epsilon")
    horizon: float = Field(1.0, ge=1, description="h in environment steps: gamma = 1 - 2/(h+1)")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="lambda of generalised advantage estimation")
    num_envs: int = Field(1, ge=1, description="environments side by side")
    rollout_steps: int = Field(512, ge=1, description="steps of each environment in an iteration")
    minibatches: int = Field(8, ge=1, description="minibatches, and gradient steps, in an epoch")
    minibatch_of: Literal["sequences", "steps"] = Field(
        "sequences", description="what minibatches are drawn from: rollouts of single environments, or steps"
    )
    epochs_policy: int = Field(1, ge=1, description="passes of the policy over each batch")
    epochs_value: int = Field(1, ge=1, description="passes of the value function over each batch")
    batch_growth: BatchGrowth = Field(BatchGrowth(), description="growth of the batch during training")
    clip: float = Field(0.2, ge=0, lt=1, description="epsilon of the clipped objective; 0 switches it off")
    kl_penalty: float = Field(0.0, ge=0, description="beta; the fixed-KL mode is clip 0, kl_penalty 1")
    importance_cap: float = Field(
        100.0, ge=0, description="upper bound of pi/pi_behaviour; 0 switches it off"
    )
    value_coef: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_coef: float = Field(0.01, ge=0, description="weight of the entropy bonus")
    ewma_decay: float = Field(
        8 / 9,
        ge=0,
        lt=1,
        description="decay of the averaged weights in a gradient step; 8/9 has a centre of mass of 8 steps",
    )
    normalize_advantage: bool = Field(True, description="scale advantages to mean 0 and variance 1")
    advantage_decay: float = Field(
        0.0, ge=0, lt=1, description="decay of the advantages' moments; 0 uses each batch's own"
    )
    normalize_advantage_of: Literal["iteration", "minibatch"] = Field(
        "iteration", description="the advantages that are scaled together"
    )
    feature_penalty: FeaturePenaltyConfig | None = Field(
        None, description="keeps the policy network's features near those that acted; leave it out for none"
    )
    reset_adam: bool = Field(
        False, description="clear the moments of policy and value optimisers before each iteration's epochs"
    )
    reward_mask: float = Field(
        0.0, ge=0, lt=1, description="probability that learning sees 0 for a reward; curves keep raw returns"
    )
    sign_reward: bool = Field(False, description="learn from the signs of rewards; curves keep raw returns")
    normalize_reward: bool = Field(
        False, description="divide rewards by the deviation of the discounted return"
    )
    normalize_observation: Literal["off", "running", "random-steps"] = Field(
        "off",
        description="scale observations to mean 0 and variance 1, cut at 10: running, of all so far; "
        "random-steps, of 4,000 steps at random before the run",
    )
    max_grad_norm: float = Field(
        0.0, ge=0, description="bound of the gradient's norm, of each network; 0 switches it off"
    )

    @property
    def gamma(self) -> float:
        """Discount whose exponential average has a span of ``horizon`` steps."""
        return 1.0 - 2.0 / (self.horizon + 1.0)

    @property
    def uses_ewma(self) -> bool:
        return self.algorithm.endswith("-ewma")

    @property
    def is_phasic(self) -> bool:
        return self.algorithm.startswith("ppg")

    @property
    def auxiliary(self) -> PhasicConfig | None:
        """The auxiliary phase; None for plain PPO, and for PPG with n_pi or E_aux 0."""
        phasic = self.phasic
        return phasic if phasic and phasic.policy_iterations and phasic.auxiliary_epochs else None

    @model_validator(mode="before")
    @classmethod
    def _default_phases(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        algorithm = values.get("algorithm", "")
        is_phasic = isinstance(algorithm, str) and algorithm.startswith("ppg")
        if is_phasic and values.get("phasic") is None:
            return {**values, "phasic": {}}
        if not is_phasic and values.get("phasic") is not None:
            raise ValueError("'phasic' belongs to the algorithms ppg and ppg-ewma; leave it out")
        return values

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        if self.auxiliary and self.batch_growth.exponent > 0:
            raise ValueError("batch_growth is for ppo and ppo-ewma: phases need a batch of one size")
        if self.auxiliary:
            stored = self.auxiliary.policy_iterations * self.num_envs
            if stored % self.auxiliary.sequences:
                raise ValueError(
                    f"phasic.sequences ({self.auxiliary.sequences}) must divide policy_iterations * num_envs "
                    f"({stored}), the rollouts that a phase stores"
                )
        return self

    @model_validator(mode="after")
    def _moments_fit(self) -> Self:
        if self.normalize_advantage_of == "minibatch" and self.advantage_decay > 0:
            raise ValueError("advantage_decay is for normalize_advantage_of iteration; leave one of them out")
        return self

    @model_validator(mode="after")
    def _minibatches_divide(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.adam_betas):
            raise ValueError("adam_betas must lie in [0, 1)")
        if self.clip == 0 and self.kl_penalty == 0 and self.epochs_policy > 1:
            raise ValueError("with several policy epochs give clip > 0 or kl_penalty > 0")
        envs, parts = self.num_envs, self.minibatches
        if self.minibatch_of == "steps":
            count = envs * self.rollout_steps
            if count % parts:
                raise ValueError(f"minibatches ({parts}) must divide num_envs * rollout_steps ({count})")
            return self
        if parts <= envs and envs % parts:
            raise ValueError(f"minibatches ({parts}) must divide num_envs ({envs})")
        if parts > envs and (parts % envs or self.rollout_steps % (parts // envs)):
            raise ValueError(
                f"minibatches ({parts}) must be a multiple of num_envs ({envs}) that cuts "
                f"rollout_steps ({self.rollout_steps}) into equal chunks"
            )
        chunks = max(1, parts // envs)
        if self.batch_growth.exponent > 0 and chunks & (chunks - 1):
            raise ValueError(
                f"with batch_growth, num_envs ({envs}) doubles: minibatches ({parts}) must divide num_envs "
                f"or be num_envs times a power of 2"
            )
        return self

    def num_envs_at(self, interactions: int) -> int:
        """Environments of the iteration that begins after ``interactions`` steps."""
        growth = self.batch_growth
        if growth.exponent == 0 or interactions <= growth.reference:
            return self.num_envs
        # Integers, not floating logs, so that a doubling falls on the same step everywhere.
        doublings = 0
        # No run reaches 2^1000 interactions; a tiny exponent would overflow.
        while interactions >= growth.reference * 2 ** min((doublings + 1) / growth.exponent, 1000.0):
            doublings += 1
        return int(self.num_envs * 2**doublings)
