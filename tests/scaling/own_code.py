"""A person's own module: environments and networks that commands and tests name."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import nn


class Base(gymnasium.Env):
    """Counts its steps; the reward is the action's, 1 at each step by default."""

    observation_space = spaces.Box(-10.0, 1000.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    length = 5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count, self.offset = 0, float(self.np_random.uniform())
        return self.shown(), {}

    def step(self, action):
        self.step_count += 1
        ends = self.step_count >= self.length
        reward = self.reward(action)  # for what was shown before
        return self.shown(), reward, *self.end(ends), {}

    def end(self, ends):
        return ends, False

    def reward(self, action):
        return 1.0

    def shown(self):
        return np.array([self.step_count, self.offset], np.float32)


class Cut(Base):
    """Its episodes never end by themselves; a time limit cuts them off."""

    def end(self, ends):
        return False, ends


class CutSooner(Base):
    """A time limit cuts every episode off after 2 to 7 steps, by chance."""

    def end(self, ends):
        return False, self.step_count >= 2 + int(6 * self.offset)


class Sums(Base):
    """Several choices; the reward is their sum, starting at 1 and 0."""

    action_space = spaces.MultiDiscrete([3, 2], start=[1, 0])

    def reward(self, action):
        assert self.action_space.contains(action), action
        return float(action.sum())


class Shifted(Base):
    action_space = spaces.Discrete(3, start=-1)

    def reward(self, action):
        assert self.action_space.contains(action), action
        return float(action)


class Push(Base):
    """Numbers between -2 and 1, and between 0 and 4, in a matrix; the reward is best at -1 and 3."""

    action_space = spaces.Box(np.array([[-2.0, 0.0]]), np.array([[1.0, 4.0]]), dtype=np.float64)

    def reward(self, action):
        assert self.action_space.contains(action), action
        return -float(np.square(action - [[-1.0, 3.0]]).sum())


class Pictures(Base):
    """The side that is bright is the action that is rewarded."""

    observation_space = spaces.Box(0, 255, (40, 36, 3), np.uint8)

    def reward(self, action):
        return float(action == self.side)

    def shown(self):
        self.side = int(self.np_random.integers(2))
        image = np.zeros((40, 36, 3), np.uint8)
        image[:, 18 * self.side : 18 * (self.side + 1)] = 255
        return image


class Stacked(Pictures):
    """Frames first, as frame stacking gives them."""

    observation_space = spaces.Box(0, 255, (4, 40, 36), np.uint8)

    def shown(self):
        return np.broadcast_to(super().shown()[None, ..., 0], (4, 40, 36)).copy()


class Gray(Pictures):
    observation_space = spaces.Box(0, 255, (16, 36), np.uint8)

    def shown(self):
        return super().shown()[:16, :, 0]


class Remembers(Base):
    """Offers its state; its random stream is kept for it."""

    def get_state(self):
        return {"step_count": self.step_count, "offset": self.offset}

    def set_state(self, state):
        self.step_count, self.offset = state["step_count"], state["offset"]


class Recall(Remembers):
    """Two steps: the first one shows a side, the second one nothing; its action must name the side.

    A time limit of two steps cuts episodes off.
    """

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    length = 2

    def end(self, ends):
        return False, ends

    def reward(self, action):
        return float(self.step_count == 2 and action == (self.offset < 0.5))

    def shown(self):
        side = 1.0 if self.offset < 0.5 else -1.0
        return np.array([side if self.step_count == 0 else 0.0], np.float32)


class RemembersBadly(Remembers):
    def get_state(self):
        return {"step_count": np.int64(self.step_count)}


class NotFinite(Base):
    def shown(self):
        return super().shown() if self.step_count < 3 else np.full(2, np.nan, np.float32)


class NoReward(Base):
    def reward(self, action):
        return 1.0 if self.step_count < 3 else float("nan")


class Breaks(Base):
    def reward(self, action):
        if self.step_count == 3:
            raise ZeroDivisionError("the wheel came off")
        return 1.0


class OldContract(Base):
    def step(self, action):
        return self.shown(), 1.0, False, {}


class OutOfItsSpace(Base):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([5000.0, 0.0], np.float32), {}


class Unbounded(Base):
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Binary(Base):
    action_space = spaces.MultiBinary(3)


class Places(Base):
    observation_space = spaces.Discrete(4)


class WithArguments(Base):
    def __init__(self, size):
        self.size = size


class MyTrunk(nn.Module):
    pre_activations = ("first",)

    def __init__(self, observation_shape, width, depth):
        super().__init__()
        self.num_features = round(32 * width)
        self.first = nn.Linear(observation_shape[0], self.num_features)

    def forward(self, observation):
        return torch.relu(self.first(observation))


class Unnamed(MyTrunk):
    """Names no pre-activation, and has a buffer that each pass changes."""

    pre_activations = ()
    activation = "leaky-relu"

    def __init__(self, observation_shape, width, depth):
        super().__init__(observation_shape, width, depth)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, observation):
        self.passes += 1
        return nn.functional.leaky_relu(self.first(observation) * (1 + self.passes / 1000))


class Branching(MyTrunk):
    """Looks at a number, so that its gradients cannot be vectorised."""

    def forward(self, observation):
        return super().forward(observation) if bool(observation.isfinite().all()) else self.first(observation)


class WrongSize(MyTrunk):
    def __init__(self, observation_shape, width, depth):
        super().__init__(observation_shape, width, depth)
        self.num_features += 1


class NoSize(MyTrunk):
    def __init__(self, observation_shape, width, depth):
        super().__init__(observation_shape, width, depth)
        del self.num_features


class WrongNames(MyTrunk):
    pre_activations = ("second",)


gymnasium.register("Own/Counting-v3", entry_point=Base)
gymnasium.register("Own/Counting-v4", entry_point=Base, max_episode_steps=3)
