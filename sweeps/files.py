"""Whole files on any filesystem that pyarrow can reach: a reader never sees half of one.

On a local disk or a shared mount a file is written beside its place and renamed into it; an
object store's PUT is atomic as it is. Nothing else is asked of the filesystem than that a
listing shows every file written before it, so no lock, link or conditional write is needed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from scaling.errors import InputError, StoreUnavailable

_TEMPORARY = ".tmp-"


class Files:
    """Files below one root; paths are the filesystem's own, as ``root`` and ``list`` give them."""

    def __init__(self, location: str) -> None:
        """Open the root, which need not exist yet.

        Raises:
            InputError: if ``location`` is no address of a filesystem.
        """
        self.location = location
        try:
            self.fs, self.root = _filesystem(location)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"The store {location} cannot be opened: {error}") from error
        self.is_local = isinstance(self.fs, pafs.LocalFileSystem)

    def type_of(self, path: str) -> pafs.FileType:
        """What is at ``path``: a file, a directory or nothing."""
        with _telling(path, "read"):
            return self.fs.get_file_info(path).type

    def exists(self, path: str) -> bool:
        return self.type_of(path) != pafs.FileType.NotFound

    def list(self, folder: str, *, recursive: bool = False) -> list[pafs.FileInfo]:
        """What a folder holds; nothing if it does not exist."""
        selector = pafs.FileSelector(folder, allow_not_found=True, recursive=recursive)
        with _telling(folder, "read"):
            while True:
                try:
                    return self.fs.get_file_info(selector)
                except FileNotFoundError:  # a folder below was removed meanwhile
                    continue

    def read(self, path: str) -> bytes | None:
        """The content of a file, None if there is none."""
        with _telling(path, "read"):
            try:
                with self.open(path) as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None

    def open(self, path: str) -> pa.NativeFile:
        """A file to read from; FileNotFoundError if there is none."""
        return self.fs.open_input_file(path)

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it; an object store needs none."""
        if self.is_local:
            with _telling(folder, "written"):
                os.makedirs(folder, exist_ok=True)

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write or replace one file.

        Raises:
            FileNotFoundError: if its folder is gone.
            StoreUnavailable: if it cannot be written; what was there is unchanged.
        """
        if not self.is_local:
            with _telling(path, "written"), self.fs.open_output_stream(path) as stream:
                stream.write(data)
            return
        with _telling(path, "written"):
            try:
                _replace(path, data)
            except FileNotFoundError:  # swept away by another writer, unless the folder itself is gone
                _replace(path, data)

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        with _telling(path, "removed"), suppress(FileNotFoundError):
            self.fs.delete_file(path)

    def delete_folder(self, folder: str) -> None:
        """Remove a folder and all in it, if it is there."""
        with _telling(folder, "removed"), suppress(FileNotFoundError):
            if self.is_local or self.list(folder):
                self.fs.delete_dir(folder)

    def remove_temporary(self, folder: str) -> None:
        """Remove what writers that died left half written in a folder."""
        for info in self.list(folder) if self.is_local else ():
            if is_temporary(info.base_name):
                self.delete(info.path)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that ``Files.write`` has not yet renamed."""
    return name.startswith(".") and _TEMPORARY in name


def _replace(path: str, data: bytes | pa.Buffer) -> None:
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}{_TEMPORARY}{uuid.uuid4().hex[:8]}"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def _telling(path: str, done: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        problem = " ".join((error.strerror or str(error)).split())
        raise StoreUnavailable(f"{path} cannot be {done}: {problem}") from error


def _filesystem(location: str) -> tuple[pafs.FileSystem, str]:
    if "://" in location:
        filesystem, root = pafs.FileSystem.from_uri(location)
        return filesystem, root.rstrip("/")
    return pafs.LocalFileSystem(), str(Path(location).resolve())
