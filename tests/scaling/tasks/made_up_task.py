"""A task that the catalogue does not have: name the bright half of a 2 x 8 x 8 image."""

import numpy as np
import torch

from rlscale.scaling.tasks.interface import BanditBlock

prepared: list[str] = []


def prepare(task):
    prepared.append(task)


def make_bandit(task):
    return BrightHalf()


class BrightHalf:
    observation_shape = (2, 8, 8)
    num_actions = 2

    def draw(self, rng, count):
        return rng.integers(2, size=count)

    def block(self, indices):
        images = np.zeros((*indices.shape, *self.observation_shape), np.uint8)
        images[..., :4] = 255 * (indices == 0)[..., None, None, None]
        images[..., 4:] = 255 * (indices == 1)[..., None, None, None]
        return BanditBlock(torch.from_numpy(images), indices[:-1])
