"""The digit bandits: name the digit in the image, reward 1 if right, else 0.

The stream never ends and the next image does not depend on the action, so the trainer
draws a whole rollout at once (``DigitBandit``). For other agents the same stream is a
gymnasium environment, scalar (``DigitBanditEnv``) and vector (``DigitBanditVectorEnv``).
One seed gives the same images in all three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from rlscale.scaling.tasks.catalog import find_task
from rlscale.scaling.tasks.data_folder import MNIST
from rlscale.scaling.tasks.digits.images import DigitImages, find_mnist, load_mnist_train, load_small_digits
from rlscale.scaling.tasks.interface import BanditBlock

NUM_DIGITS = 10


class DigitBandit:
    """The task as the trainer sees it; observations are (1, height, width) uint8."""

    num_actions = NUM_DIGITS

    def __init__(self, digits: DigitImages) -> None:
        self._images = torch.from_numpy(np.array(digits.images))
        self._labels = digits.labels
        height, width = digits.images.shape[1:]
        self.observation_shape = (1, int(height), int(width))

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniform i.i.d. image indices, int64 (count,); the stream does not depend on how it is cut."""
        return rng.integers(len(self._labels), size=count)

    def block(self, indices: np.ndarray) -> BanditBlock:
        """Images and labels of the contexts (T + 1, n)."""
        images = self._images[torch.from_numpy(indices)]
        return BanditBlock(images[:, :, None], self._labels[indices[:-1]])


class DigitBanditEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One digit bandit as a gymnasium environment.

    Args:
        digits: the images and labels.
        episode_length: steps after which an episode is truncated, for agents that log by
            episode; None for an endless stream. Nothing else depends on it.
    """

    def __init__(self, digits: DigitImages, episode_length: int | None = 512) -> None:
        self._vector = DigitBanditVectorEnv(digits, num_envs=1, episode_length=episode_length)
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        observations, info = self._vector.reset(seed=seed, options=options)
        return observations[0], info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observations, rewards, terminated, truncated, info = self._vector.step(np.array([action]))
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info


class DigitBanditVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` digit bandits side by side, on one stream of images.

    Episodes are truncated together after ``episode_length`` steps. The stream continues, so
    the observation of a truncated step is also the first of the next episode.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - gymnasium's protocol

    def __init__(self, digits: DigitImages, num_envs: int = 1, episode_length: int | None = 512) -> None:
        self.num_envs = num_envs
        self._images = digits.images[:, None]
        self._labels = digits.labels
        self._episode_length = episode_length
        self._elapsed = 0
        self._indices = np.zeros(num_envs, np.int64)
        shape = self._images.shape[1:]
        self.single_observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(NUM_DIGITS)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed[0] if isinstance(seed, list) else seed)
        self._elapsed = 0
        return self._draw(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        rewards = (np.asarray(actions) == self._labels[self._indices]).astype(np.float64)
        observations = self._draw()
        self._elapsed += 1
        info: dict[str, Any] = {}
        ends = self._episode_length is not None and self._elapsed >= self._episode_length
        if ends:
            self._elapsed = 0
            final = np.empty(self.num_envs, dtype=object)
            final[:] = list(observations)
            everywhere = np.ones(self.num_envs, bool)
            info = {"final_obs": final, "_final_obs": everywhere, "final_info": {}, "_final_info": everywhere}
        return observations, rewards, np.zeros(self.num_envs, bool), np.full(self.num_envs, ends), info

    def _draw(self) -> np.ndarray:
        self._indices = self.np_random.integers(len(self._labels), size=self.num_envs)
        return self._images[self._indices]


def make_bandit(task: str) -> DigitBandit:
    """The task for the trainer; reads its images."""
    return DigitBandit(_images(task))


def prepare(task: str) -> None:
    """Make sure that this machine has the images; see ``find_mnist``."""
    if find_task(task).data is MNIST:
        find_mnist()


def make_env(task: str, mnist_dir: Path | None = None, **options: Any) -> DigitBanditEnv:
    """Entry point of ``gymnasium.make``."""
    return DigitBanditEnv(_images(task, mnist_dir), **options)


def make_vector_env(task: str, mnist_dir: Path | None = None, **options: Any) -> DigitBanditVectorEnv:
    """Entry point of ``gymnasium.make_vec``."""
    return DigitBanditVectorEnv(_images(task, mnist_dir), **options)


def _images(task: str, mnist_dir: Path | None = None) -> DigitImages:
    return load_mnist_train(mnist_dir) if find_task(task).data is MNIST else load_small_digits()
