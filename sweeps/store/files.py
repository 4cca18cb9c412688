"""Whole files on any filesystem that pyarrow can reach: a reader never sees half of one.

On a local disk or a shared mount a file is written beside its place, flushed and renamed into it; an
object store's PUT is atomic and durable. The filesystem need only list every file that was written before
the listing; no lock, link or conditional write is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from rlscale.scaling.errors import InputError, StoreUnavailable
from rlscale.scaling.files import is_temporary, make_folders, write_file

_READS = 10  # of an object that is replaced while it is read
_SECRET = re.compile(
    "secret|password|token|credential|_key|sas", re.IGNORECASE
)  # in names of a URI's options
_AWS_ERROR = re.compile(r"AWS Error (\w+) during (\w+) operation: (.*)")
_AWS_TRAILER = re.compile(r"\s*(\(Request ID: .*\)|with address : .*)$")
_REMEDIES = {
    "NO_SUCH_BUCKET": "create the bucket, or check its name",
    "NETWORK_CONNECTION": "check the network and endpoint_override",
    "ACCESS_DENIED": "check the credentials, and that they may list, read, write and delete there",
}
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"


class NotAFileError(OSError):
    """Something that is no regular file is in the place of one; reading it might never end."""


class Files:
    """Files below one root; paths are the filesystem's own, as ``root`` and ``list`` give them."""

    def __init__(self, location: str) -> None:
        """Open the root; it may not exist yet.

        Raises:
            InputError: if ``location`` is no address of a filesystem, or holds a secret.
            StoreUnavailable: if the filesystem cannot be reached.
        """
        self.location = check_location(location)
        try:
            self.fs, self.root = _filesystem(location)
        except OSError as error:
            raise StoreUnavailable(f"The store {location} cannot be opened: {_problem(error)}") from error
        except pa.ArrowException as error:
            raise InputError(
                f"The store {location} cannot be opened: {_problem(error)}", code="not_a_store"
            ) from error
        if not self.root:
            raise InputError(
                f"The store {location} cannot be opened: name a bucket and a folder in it.",
                code="not_a_store",
            )
        self.is_local = isinstance(self.fs, pafs.LocalFileSystem)

    def type_of(self, path: str) -> pafs.FileType:
        """What is at ``path``: a file, a directory or nothing."""
        with _naming(path, "read"):
            return self.fs.get_file_info(path).type

    def exists(self, path: str) -> bool:
        return self.type_of(path) != pafs.FileType.NotFound

    def list(self, folder: str, *, recursive: bool = False) -> list[pafs.FileInfo]:
        """What a folder holds; nothing if it does not exist.

        Names that are no text in UTF-8 are left out: the toolkit writes none. ``names_of_no_text`` has them.
        """
        selector = pafs.FileSelector(folder, allow_not_found=True, recursive=recursive)
        with _naming(folder, "read"):
            while True:
                try:
                    return [info for info in self.fs.get_file_info(selector) if _is_text(info)]
                except FileNotFoundError:  # a folder below was removed meanwhile
                    continue

    def names_of_no_text(self, folder: str) -> tuple[str, ...]:
        """Names in a folder that are no text in UTF-8, as Python writes them: ``run=\\xff``."""
        if not self.is_local or not os.path.isdir(folder):
            return ()
        names = sorted(os.listdir(os.fsencode(folder)))
        return tuple(name.decode(errors="backslashreplace") for name in names if not _decodes(name))

    def read(self, path: str) -> bytes | None:
        """The content of a file, None if there is none; a pipe or a folder in its place has no content."""
        with _naming(path, "read"):
            try:
                with self.open(path) as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None
            except NotAFileError:
                return b""

    def read_ends(self, path: str, size: int) -> tuple[bytes, bytes] | None:
        """The first and the last ``size`` bytes of a file, None if there is none."""
        with _naming(path, "read"):
            try:
                with self.open(path) as stream:
                    first: bytes = stream.read(size)
                    stream.seek(max(0, stream.size() - size))
                    last: bytes = stream.read(size)
                    return first, last
            except (FileNotFoundError, NotAFileError):
                return None

    def open(self, path: str) -> pa.NativeFile:
        """A file to read from; FileNotFoundError if there is none.

        An object is read at once: that takes fewer requests than many small reads, and an error of the
        store is not confused with one of the content.
        """
        if self.is_local:
            if self.type_of(path) not in (pafs.FileType.File, pafs.FileType.NotFound):
                raise NotAFileError(f"{path} is a pipe, a device or a folder")
            return self.fs.open_input_file(path)
        with _naming(path, "read"):
            return pa.BufferReader(self._whole_object(path))

    def _whole_object(self, path: str) -> bytes:
        """Read an object whole; pyarrow reads its size first and would cut off one replaced after that."""
        for _ in range(_READS):
            with self.fs.open_input_file(path) as stream:
                try:
                    content = bytes(stream.read())
                except OSError as error:
                    if self.fs.get_file_info(path).type == pafs.FileType.NotFound:
                        raise FileNotFoundError(path) from error  # removed since it was opened
                    raise
            if self.fs.get_file_info(path).size == len(content):
                return content
        raise OSError("it keeps changing while it is read")

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it; an object store needs none.

        Raises:
            InputError: here and in all that changes files, if a link leads out of the root.
        """
        if self.is_local:
            self._check_inside(folder)
            with _naming(folder, "written"):
                make_folders(folder)

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write or replace one file.

        Raises:
            FileNotFoundError: if its folder is gone.
            StoreUnavailable: if it cannot be written; what was there is unchanged.
        """
        if not self.is_local:
            with _naming(path, "written"), self.fs.open_output_stream(path) as stream:
                stream.write(data)
            return
        self._check_inside(os.path.dirname(path))
        with _naming(path, "written"):
            try:
                write_file(path, memoryview(data))
            except FileNotFoundError:  # another writer removed it, unless the folder itself is gone
                write_file(path, memoryview(data))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        self._check_inside(os.path.dirname(path))
        with _naming(path, "removed"), suppress(FileNotFoundError):
            self.fs.delete_file(path)

    def delete_folder(self, folder: str) -> None:
        """Remove a folder and all in it, if it is there."""
        self._check_inside(folder)
        with _naming(folder, "removed"), suppress(FileNotFoundError):
            if self.is_local or self.list(folder):
                self.fs.delete_dir(folder)

    def remove_temporary(self, folder: str) -> None:
        """Remove the temporary files that writers left in a folder when they died."""
        for info in self.list(folder) if self.is_local else ():
            if is_temporary(info.base_name):
                self.delete(info.path)

    def _check_inside(self, folder: str) -> None:
        """Refuse to write through a symbolic link that leads out of the store."""
        if self.is_local and not Path(os.path.realpath(folder)).is_relative_to(self.root):
            raise InputError(
                f"{folder} leads out of the store {self.root} by a symbolic link to "
                f"{os.path.realpath(folder)}; remove the link.",
                code="unsafe_link",
            )


def check_location(location: str) -> str:
    """Return a store's address if it may be shown, stored and passed to other machines.

    Raises:
        InputError: if it holds a password or key; the message does not.
    """
    if "://" not in location:
        return location
    parts = urlsplit(location)
    is_s3 = parts.scheme in ("s3", "s3a")
    if parts.password is not None or (is_s3 and parts.username is not None):
        where = "before its '@'"
    elif secret := next((name for name, _ in parse_qsl(parts.query) if _SECRET.search(name)), None):
        where = f"in its option {secret}"
    else:
        return location
    remedy = _CREDENTIALS if is_s3 else "give credentials by the environment, or give the machine a role"
    raise InputError(
        f"The store's address holds a secret {where}, which others would see: {remedy}.",
        code="secret_in_address",
    )


def _is_text(info: pafs.FileInfo) -> bool:
    try:
        return bool(info.path)
    except UnicodeDecodeError:
        return False


def _decodes(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def _naming(path: str, done: str) -> Iterator[None]:
    """Turn an error of the filesystem into one that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be {done}: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    """The message of a filesystem's error on one line; of an AWS error only its detail, and what to do."""
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    aws = _AWS_ERROR.search(text)
    if aws is None:
        return text
    code, operation, detail = aws.groups()
    detail = _AWS_TRAILER.sub("", detail).rstrip(". ")
    if not detail or detail == "No response body":
        detail = code.lower().replace("_", " ")
    refused = "ACCESS_KEY" in code or "SIGNATURE" in code or "TOKEN" in code or "CREDENTIALS" in code
    remedy = _CREDENTIALS if refused else _REMEDIES.get(code)
    return f"{detail} ({code} at {operation})" + (f"; {remedy}" if remedy else "")


def _filesystem(location: str) -> tuple[pafs.FileSystem, str]:
    if "://" in location:
        if location.startswith("s3://") and "allow_delayed_open" not in location:
            # One request for a small file instead of the three of an upload in parts.
            location += ("&" if "?" in location else "?") + "allow_delayed_open=true"
        filesystem, root = pafs.FileSystem.from_uri(location)
        return filesystem, root.rstrip("/")
    return pafs.LocalFileSystem(), str(Path(location).resolve())
