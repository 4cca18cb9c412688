"""Write local files as a whole and for good.

A reader sees the old content or the new content, never a part; and what was written is on the disk when the
call returns, so that a power failure after it loses nothing. Both assume a disk that keeps what it reports
as flushed, and a filesystem on which a rename is atomic, as ext4, XFS, Btrfs, ZFS and APFS are.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = ".tmp-"
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
    temporary = target.with_name(f".{target.name}{_TEMPORARY}{uuid.uuid4().hex[:8]}")
    try:
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
