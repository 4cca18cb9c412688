"""Stores on every kind of filesystem, and what these filesystems hold.

A test that asks for ``store`` or ``place`` states the contract of a store and runs on each of them.
"""

import re
from fnmatch import fnmatch
from posixpath import dirname, normpath

import pyarrow.fs as pafs
import pytest

from rlscale.sweeps.store.run_store import RunStore

FILESYSTEMS = ("local", "s3")


@pytest.fixture(params=FILESYSTEMS)
def place(request, tmp_path) -> str:
    """A location for a store."""
    if request.param == "local":
        return str(tmp_path / "store")
    server = request.getfixturevalue("server")
    return server.uri(f"{server.bucket()}/a/store")


@pytest.fixture
def store(place) -> RunStore:
    return RunStore(place, create=True)


class Kept:
    """What the filesystem holds of run r1 of sweep s, read and changed past the store; names are relative."""

    def __init__(self, store: RunStore) -> None:
        self._fs, self._store = store.files.fs, store.files.root
        self.root = f"{self._store}/sweep=s/run=r1"

    def contents(self) -> dict[str, bytes]:
        return self._contents_below(self.root)

    def all_contents(self) -> dict[str, bytes]:
        """Of the whole store."""
        return self._contents_below(self._store)

    def names(self, pattern: str = "*") -> list[str]:
        return [name for name in self._names_below(self.root) if fnmatch(name, pattern)]

    def kinds(self) -> list[str]:
        """The names without the attempts' keys in them."""
        return sorted(re.sub(r"[.-]\d{6}-[0-9a-f]{8}", "", name) for name in self.names())

    def read(self, name: str) -> bytes:
        return self._read(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        self._fs.create_dir(dirname(self._path(name)))
        with self._fs.open_output_stream(self._path(name)) as stream:
            stream.write(content)

    def remove(self, name: str) -> None:
        self._fs.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return normpath(f"{self.root}/{name}")

    def _names_below(self, folder: str) -> list[str]:
        found = self._fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True, recursive=True))
        return sorted(info.path[len(folder) + 1 :] for info in found if info.type == pafs.FileType.File)

    def _contents_below(self, folder: str) -> dict[str, bytes]:
        return {name: self._read(f"{folder}/{name}") for name in self._names_below(folder)}

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_stream(path) as stream:
            return stream.read()


@pytest.fixture
def kept(store) -> Kept:
    return Kept(store)
