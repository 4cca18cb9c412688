"""Files in the format of MNIST's, with images of a test's own."""

import gzip
import struct
from pathlib import Path

import numpy as np

from rlscale.scaling.tasks.digits.images import MNIST_FILES


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The four files, with the same images for training and for testing."""
    for name, array in zip(MNIST_FILES, (images, labels, images, labels), strict=True):
        (folder / name).write_bytes(gzip.compress(idx_bytes(array)))
