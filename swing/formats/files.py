"""Write files atomically: each one appears whole or not at all.

The contents go to temporary files in the same folders, which are renamed when all are complete.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

Pieces = Iterable[str | bytes]


def store(files: Sequence[tuple[str | Path, Pieces]]) -> list[Path]:
    """Write several files; if the contents of any cannot be written, none is replaced.

    A symbolic link stays a link: its target is replaced. Devices and pipes, such as
    ``/dev/stdout``, cannot be replaced, so they are written directly and at once.

    Args:
        files: the path of each file and its contents, piece by piece.

    Returns:
        The paths.

    Raises:
        OSError: a file cannot be written; the error names it.
    """
    ready: list[tuple[str, str]] = []
    path: str | Path = ""
    try:
        for path, pieces in files:
            if is_stream(path):
                with open(path, "wb") as file:
                    file.writelines(_encoded(pieces))
                continue
            target = os.path.realpath(path)
            if os.path.isdir(target):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            handle, name = tempfile.mkstemp(dir=os.path.dirname(target))
            ready.append((name, target))
            with open(handle, "wb") as file:
                file.writelines(_encoded(pieces))
            # mkstemp makes files that only the owner can read. Reading the umask means setting it.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
        # From here on every file is complete, and renaming within a folder hardly ever fails.
        while ready:
            name, path = ready[0]
            os.replace(name, path)
            ready.pop(0)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        for name, _ in ready:
            with suppress(OSError):
                os.unlink(name)
    return [Path(path) for path, _ in files]


def check_writable(path: str | Path) -> None:
    """Check, before a long computation, that its result can be written.

    Raises:
        OSError: the folder does not exist or is not writable, or the path is a folder.
    """
    if is_stream(path) and os.access(path, os.W_OK):
        return
    folder = Path(os.path.realpath(path)).parent
    if Path(path).is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"cannot write {path}: is {folder} a folder that you may write to?")


def is_stream(path: str | Path) -> bool:
    """Return whether a path exists but is a device or a pipe, which cannot be replaced."""
    # Under a shell redirection /dev/stdout leads to a regular file, which must not be renamed over.
    if str(path).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return os.path.exists(path)
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _encoded(pieces: Pieces) -> Iterator[bytes]:
    return (piece.encode() if isinstance(piece, str) else piece for piece in pieces)
