"""Write local files as a whole: a reader sees the old content or the new content, never a part."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = ".tmp-"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path``; at the end of the block, the file written there replaces ``path``.

    If the block raises, the temporary file is removed and ``path`` keeps its content.

    Raises:
        OSError: if the file cannot be renamed into place.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}{_TEMPORARY}{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        os.replace(temporary, target)
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


def is_temporary(name: str) -> bool:
    """Whether a file of this name is temporary: its writer died before renaming it, or still writes."""
    return name.startswith(".") and _TEMPORARY in name
