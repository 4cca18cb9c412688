"""Fixtures for the tests of ``scaling``."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from scaling.envs.digits import MNIST_FILES, DigitImages


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with MNIST's four files; the test is skipped where there is none."""
    for folder in filter(None, (os.environ.get("RLSCALE_MNIST_DIR"), "data/mnist")):
        if all((Path(folder) / name).is_file() for name in MNIST_FILES):
            return Path(folder).resolve()
    pytest.skip("MNIST's files are not on this machine (RLSCALE_MNIST_DIR)")


@pytest.fixture
def random_digits() -> DigitImages:
    """Sixty 8x8 images of noise, each labelled at random."""
    rng = np.random.default_rng(5)
    return DigitImages(rng.integers(0, 256, (60, 8, 8), np.uint8), rng.integers(0, 10, 60))
