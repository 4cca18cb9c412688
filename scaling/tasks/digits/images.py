"""Handwritten digits: the real MNIST from IDX files, or 1,797 digits of 8x8 pixels that are bundled."""

from __future__ import annotations

import gzip
import hashlib
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import write_file
from rlscale.scaling.tasks.data_folder import MNIST

#: The four files of MNIST and the SHA-256 of each as published (gzipped).
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_MOST_BYTES = 50_000_000  # of one of them, unpacked
_SMALL_DIGITS = Path(__file__).with_name("small_digits.npz")
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


@dataclass(frozen=True)
class DigitImages:
    """images: (n, height, width) uint8, 0..255; labels: (n,) int64, 0..9."""

    images: np.ndarray
    labels: np.ndarray


def load_small_digits() -> DigitImages:
    """The test set of UCI's Optical Recognition of Handwritten Digits, scaled from 0..16 to 0..255.

    Alpaydin and Kaynak 1998, doi 10.24432/C50P49, CC BY 4.0; these are the digits of scikit-learn's
    ``load_digits``, in its order.
    """
    with np.load(_SMALL_DIGITS, allow_pickle=False) as digits:
        images = np.rint(digits["images"] * (255 / 16)).astype(np.uint8)
        return DigitImages(images, digits["labels"].astype(np.int64))


def load_mnist_train(first: Path | None = None) -> DigitImages:
    """The 60,000 training digits of MNIST.

    Searches the folders of ``DataFolder.places``; if none has the files, downloads them into the first one.

    Args:
        first: folder to search before the others.

    Raises:
        InputError: if the files are damaged, or are missing and cannot be downloaded.
    """
    folder = find_mnist(first)
    images = read_idx(_existing(folder, "train-images-idx3-ubyte"))
    labels = read_idx(_existing(folder, "train-labels-idx1-ubyte"))
    sizes_agree = images.shape[1:] == (28, 28) and labels.shape == images.shape[:1]
    if not sizes_agree or not labels.size or labels.max() > 9:
        raise InputError(
            f"The files in {folder} are not MNIST: images {images.shape}, labels {labels.shape} instead of "
            f"28x28 images and a digit for each; remove them to have them downloaded again.",
            code="damaged_file",
        )
    return DigitImages(images, labels.astype(np.int64))


def find_mnist(first: Path | None = None) -> Path:
    """The folder with MNIST, downloaded if necessary; see ``load_mnist_train``."""
    found = mnist_at_hand(first)
    if found is None:
        folders = MNIST.places(first)
        _download(folders[0], looked_in=folders)
        found = folders[0]
    return found


def mnist_at_hand(first: Path | None = None) -> Path | None:
    """The folder that has MNIST's four files; None if no folder has them."""
    return next(
        (folder for folder in MNIST.places(first) if all(_present(folder, name) for name in MNIST_FILES)),
        None,
    )


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped or plain, as an array.

    Raises:
        InputError: if the file is truncated or not IDX.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it to have it downloaded again.", code="damaged_file"
        ) from error
    if len(raw) > _MOST_BYTES:
        raise InputError(
            f"{path} holds over {_MOST_BYTES:,} bytes, which none of MNIST's files does; remove it "
            f"to have it downloaded again.",
            code="too_large",
        )
    dimensions = raw[3] if len(raw) > 3 else 0
    header = 4 + 4 * dimensions
    if raw[:3] != b"\x00\x00\x08" or len(raw) < header:
        raise InputError(
            f"{path} is not an IDX file of bytes; remove it to have it downloaded again.", code="damaged_file"
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", count=dimensions, offset=4))
    if len(raw) != header + int(np.prod(shape)):
        raise InputError(f"{path} is truncated; remove it to have it downloaded again.", code="damaged_file")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _present(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / name.removesuffix(".gz")).is_file()


def _existing(folder: Path, stem: str) -> Path:
    packed = folder / f"{stem}.gz"
    return packed if packed.is_file() else folder / stem


def _download(folder: Path, *, looked_in: list[Path]) -> None:
    problem = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, checksum in MNIST_FILES.items():
            if _present(folder, name):
                continue
            data = _fetch(name, checksum)
            write_file(folder / name, data)
        return
    except (OSError, InputError) as error:
        problem = str(error)
    raise InputError(
        f"MNIST is not in {' or '.join(str(f) for f in looked_in)} and could not be downloaded ({problem}). "
        f"Put these four files into {folder}: {', '.join(MNIST_FILES)}; "
        f"or name the folder that has them with --mnist-dir or {MNIST.variable}.",
        code="missing_data",
    )


def _fetch(name: str, checksum: str) -> bytes:
    problems = []
    for mirror in MNIST_MIRRORS:
        try:
            with urllib.request.urlopen(mirror + name, timeout=20) as response:
                data = response.read()
        except (urllib.error.URLError, OSError) as error:
            problems.append(f"{mirror}: {getattr(error, 'reason', error)}")
            continue
        if hashlib.sha256(data).hexdigest() == checksum:
            return bytes(data)
        problems.append(f"{mirror}: {name} has a wrong checksum")
    raise InputError("; ".join(problems), code="missing_data")
