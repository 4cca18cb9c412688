"""The images: the IDX reader, the bundled digits, and what is said when MNIST is missing."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes, write_mnist
from sklearn.datasets import load_digits

from rlscale.scaling.errors import InputError
from rlscale.scaling.tasks.digits.images import MNIST_FILES, load_mnist_train, load_small_digits, read_idx

ROOT = Path(__file__).parents[4]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_packed_or_plain(tmp_path, images, packed):
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(idx_bytes(images)) if packed else idx_bytes(images))
    np.testing.assert_array_equal(read_idx(path), images)


def flipped(packed):
    """The gzip stream with bytes in its middle overwritten."""
    middle = len(packed) // 2
    return packed[: middle - 8] + bytes([255] * 16) + packed[middle + 8 :]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("file", lambda raw: raw[:-1]),
        ("file", lambda raw: raw + b"x"),
        ("file", lambda raw: raw[:7]),
        ("file", lambda raw: b""),
        ("file", lambda raw: b"\x00\x00\x0d" + raw[3:]),
        ("file", lambda raw: b"<html>no such file</html>" * 10),
        ("file.gz", lambda raw: raw),
        ("file.gz", lambda raw: gzip.compress(raw)[:-20]),
        ("file.gz", lambda raw: gzip.compress(raw[:-1])),
        ("file.gz", lambda raw: flipped(gzip.compress(raw))),
        ("file.gz", lambda raw: gzip.compress(raw)[:10] + bytes([255] * 40)),
    ],
    ids=[
        "one byte short",
        "one byte more",
        "half a header",
        "empty",
        "another type",
        "a web page",
        "not gzip",
        "gzip cut short",
        "cut before packing",
        "gzip of other content",
        "gzip of no content",
    ],
)
def test_a_damaged_idx_file_is_an_input_error_naming_it(tmp_path, images, name, spoil):
    path = tmp_path / name
    path.write_bytes(spoil(idx_bytes(images)))
    with pytest.raises(InputError, match=str(path)):
        read_idx(path)


def test_a_folder_given_is_preferred(tmp_path, monkeypatch):
    folders = tmp_path / "given", tmp_path / "environment"
    for number, folder in enumerate(folders):
        folder.mkdir()
        write_mnist(folder, np.full((6, 28, 28), number, np.uint8), np.arange(6, dtype=np.uint8))
    monkeypatch.setenv("RLSCALE_MNIST_DIR", str(folders[1]))
    assert load_mnist_train(folders[0]).images.max() == 0
    assert load_mnist_train().images.min() == 1


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((6, 28, 28), np.uint8), np.zeros(5, np.uint8)),
        (np.zeros((6, 28, 28), np.uint8), np.zeros((6, 28, 28), np.uint8)),
        (np.zeros((6, 14, 14), np.uint8), np.zeros(6, np.uint8)),
        (np.zeros((6, 28, 28), np.uint8), np.full(6, 10, np.uint8)),
    ],
    ids=["fewer labels", "images as labels", "smaller images", "label 10"],
)
def test_files_that_do_not_belong_together_are_an_input_error(tmp_path, images, labels):
    write_mnist(tmp_path, images, labels)
    with pytest.raises(InputError, match="MNIST"):
        load_mnist_train(tmp_path)


@pytest.mark.mnist
def test_mnist_has_60000_digits_of_28x28(mnist_dir):
    digits = load_mnist_train(mnist_dir)
    assert digits.images.shape == (60_000, 28, 28)
    assert digits.images.dtype == np.uint8
    assert digits.labels.shape == (60_000,)
    assert np.bincount(digits.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_small_digits_are_scikit_learns_in_256_levels():
    digits, theirs = load_small_digits(), load_digits()
    np.testing.assert_array_equal(digits.images, np.rint(theirs.images * (255 / 16)))
    np.testing.assert_array_equal(digits.labels, theirs.target)
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.uint8
    assert digits.images.max() == 255
    assert np.unique(digits.images).size == 17
    assert sorted(set(digits.labels.tolist())) == list(range(10))


def test_missing_mnist_without_network_is_one_sentence_with_the_remedy(tmp_path):
    """A real run where the files are absent and the download cannot work (its proxy refuses)."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    (tmp_path / "config.yaml").write_text("task: mnist-bandit\ninteractions: 512\n")
    proxy = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-m", "rlscale.cli", "train", "config.yaml", "--store", "store"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RLSCALE_MNIST_DIR": str(folder),
            "http_proxy": proxy,
            "https_proxy": proxy,
            "no_proxy": "",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for name in MNIST_FILES:
        assert name in done.stderr
    assert f"into {folder}" in done.stderr
    assert "RLSCALE_MNIST_DIR" in done.stderr
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "store").exists()
