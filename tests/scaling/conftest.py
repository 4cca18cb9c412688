"""Fixtures for the tests of ``scaling``."""

import numpy as np
import pytest
import torch

from rlscale.scaling.tasks.digits.images import DigitImages


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def random_digits() -> DigitImages:
    """Sixty 8x8 images of noise, each labelled at random."""
    rng = np.random.default_rng(5)
    return DigitImages(rng.integers(0, 256, (60, 8, 8), np.uint8), rng.integers(0, 10, 60))
