"""Write local files as a whole and for good.

A reader sees the old content or the new content, never a part; and what was written is on the disk when the
call returns, so that a power failure after it loses nothing. Both assume a disk that keeps what it reports
as flushed, and a filesystem on which a rename is atomic, as ext4, XFS, Btrfs, ZFS and APFS are.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlscale.scaling.errors import InputError

_TEMPORARY = ".tmp-"
_NAME_LENGTH = 40  # of the file's name in its temporary name, so that long names do not become too long
_SPECIAL = ("/dev", "/proc")  # folders whose entries stand for something that a rename would not reach
#: Some network filesystems cannot flush folders; some virtual ones cannot flush at all.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path``; at the end of the block, the file written there replaces ``path``.

    Its data is flushed before the rename, and the name after it: otherwise a power failure could leave an
    empty file under the name. If the block raises, the temporary file is removed and ``path`` keeps its
    content.

    Raises:
        OSError: if the file cannot be renamed into place.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:_NAME_LENGTH]}{_TEMPORARY}{uuid.uuid4().hex}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # never somebody else's file
    try:
        with suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_file(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write or replace one file.

    Raises:
        OSError: if it cannot be written; the file that was there is unchanged.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


@contextmanager
def output(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; at the end of the block, what was written there is what ``path`` names.

    That is a file, as by ``replacing``; a link is followed to its file. A device or a pipe gets the content.

    Raises:
        InputError: if it cannot be written (code ``unwritable_file``); the file that was there is unchanged.
    """
    try:
        check_output(path)
        if _is_special(Path(path)):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / "content"
                yield temporary
                with open(temporary, "rb") as content, open(path, "wb") as stream:
                    shutil.copyfileobj(content, stream)
            return
        with replacing(os.path.realpath(path)) as temporary:
            yield temporary
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def write_output(path: str | os.PathLike[str], content: bytes) -> None:
    """Write what a person asked for to where she asked for it; see ``output``."""
    with output(path) as temporary:
        temporary.write_bytes(content)


def check_output(path: str | os.PathLike[str]) -> None:
    """Refuse a name that cannot be written, before the work whose result it would hold.

    Raises:
        InputError: if it is a folder or in none, or cannot be a name (code ``unwritable_file``).
    """
    if "\0" in str(path):
        raise _unwritable(repr(str(path)), "it has a NUL in it")
    target = Path(path)
    try:
        if target.is_dir():
            raise InputError(
                f"{path} is a folder; name the file to write, e.g. {target / 'result'}.",
                code="unwritable_file",
            )
        target.parent.stat()
        target.stat()
    except FileNotFoundError:
        if not os.path.isdir(target.parent):
            raise InputError(
                f"{path} cannot be written: there is no folder {target.parent}; create it first.",
                code="unwritable_file",
            ) from None
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def require_file(path: str | os.PathLike[str], most: int | None = None) -> None:
    """Refuse what is no regular file, because reading it may never end; whether it exists is for the reader.

    Args:
        most: bytes that such a file can have.

    Raises:
        InputError: if it is a pipe, a device or a socket (code ``not_a_file``), or larger (``too_large``).
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise InputError(
            f"{path} is a pipe or a device, whose end cannot be known; save its content to a file and "
            f"give that.",
            code="not_a_file",
        )
    if most is not None and found.st_size > most:
        raise InputError(
            f"{path} has {found.st_size:,} bytes, too many for what it should hold (at most {most:,}); "
            f"check the path.",
            code="too_large",
        )


def _is_special(path: Path) -> bool:
    """Whether this is a device, a pipe, or a name such as ``/dev/stdout`` of something that is open."""
    folder = os.path.realpath(path.parent)
    return (path.exists() and not path.is_file()) or folder.startswith(_SPECIAL)


def _unwritable(path: object, problem: str) -> InputError:
    return InputError(
        f"{path} cannot be written: {problem}; name a file in a folder that exists and is writable.",
        code="unwritable_file",
    )


def make_folders(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it, and flush the names of the new ones.

    Raises:
        OSError: if one cannot be made.
    """
    path = Path(folder)
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _flush(each.parent)


def _flush(path: Path) -> None:
    """Wait until a file's data, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is temporary: its writer died before renaming it, or still writes."""
    return name.startswith(".") and _TEMPORARY in name
