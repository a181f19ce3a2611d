"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

Pieces = Iterable[str | bytes]


def store(files: Sequence[tuple[str | Path, Pieces]]) -> list[Path]:
    """Write some files: all of them are there whole, or none.

    A link stays one, and what it leads to is written. Devices and pipes, such as ``/dev/stdout``,
    are written to as they are.

    Raises:
        OSError: one can not be written, and which; what was there is then still there.
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
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
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
    """Say so now if a file cannot be written later.

    Raises:
        OSError: there is no such folder, or it takes no files.
    """
    if is_stream(path) and os.access(path, os.W_OK):
        return
    folder = Path(os.path.realpath(path)).parent
    if Path(path).is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"cannot write {path}: is {folder} a folder that you may write to?")


def is_stream(path: str | Path) -> bool:
    """Whether a path is a device or a pipe: there, but no file that could be replaced."""
    if str(path).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return os.path.exists(path)
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _encoded(pieces: Pieces) -> Iterator[bytes]:
    return (piece.encode() if isinstance(piece, str) else piece for piece in pieces)
