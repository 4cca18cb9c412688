"""CartPole-v1 that shows where the cart and the pole are, and not how fast they move."""

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv

TIME_LIMIT = 500  # steps, as CartPole-v1


class CartPoleWithoutVelocities(CartPoleEnv):
    """Observations are the cart's position and the pole's angle; all else is CartPole-v1's.

    A time limit cuts episodes off after ``TIME_LIMIT`` steps. With the two methods below a run that was
    interrupted goes on at the very step.
    """

    def __init__(self):
        super().__init__()
        high = self.observation_space.high[[0, 2]]
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.steps = 0
        return observation[[0, 2]], info

    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        self.steps += 1
        return observation[[0, 2]], reward, terminated, self.steps >= TIME_LIMIT, info

    def get_state(self):
        return {"physics": [float(value) for value in self.state], "steps": self.steps}

    def set_state(self, state):
        self.state, self.steps = np.array(state["physics"]), state["steps"]
