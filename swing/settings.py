"""Every environment variable of this library, in one table.

A variable that is not set, or is empty, has its default. A value that the table does not allow is a
ValueError that names the variable. `python -m swing settings` prints the table.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from swing.waiting import POLICIES, Policy


def _c_getenv() -> Callable[[bytes], bytes | None] | None:
    try:
        return ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.c_char_p)(("getenv", ctypes.pythonapi))
    except AttributeError:  # a system where C's library is not in Python's
        return None


_getenv = _c_getenv()


def _text(name: str) -> str:
    """Return the text of an environment variable; empty if it is not set."""
    # ``os.environ`` keeps C's environment up to date. Its own ``get`` takes ten times as long for a
    # variable that is not set: a fifth of a first call on a communicator, which reads three.
    if _getenv is None:
        return os.environ.get(name, "")
    text = _getenv(name.encode())
    return os.fsdecode(text) if text else ""


def _choice(values: Collection[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return parse


def _switch(text: str) -> bool:
    return _choice(("0", "1"))(text) == "1"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError
    return seconds


@dataclass(frozen=True)
class Setting:
    """An environment variable.

    Args:
        name: the variable.
        allowed: the values that it may have, in words or as a table of policies.
        default: what happens if it is not set, in words.
        read: when it is read.
        purpose: what it is for.
        parse: turns its text into a value; a ValueError means that the text is not allowed.
        unset: the value if it is not set.
    """

    name: str
    allowed: str | Mapping[str, Policy]
    default: str
    read: str
    purpose: str
    parse: Callable[[str], Any] = str
    unset: Any = None

    @property
    def values(self) -> str:
        """The values that it may have, in words."""
        allowed = self.allowed
        return allowed if isinstance(allowed, str) else "one of " + ", ".join(allowed)

    def get(self) -> Any:
        """Return the value that the variable has now.

        Raises:
            ValueError: the variable has a value that is not allowed.
        """
        text = _text(self.name)
        if not text:
            return self.unset
        try:
            return self.parse(text)
        except ValueError:
            raise ValueError(f"{self.name} must be {self.values}, not {text!r}") from None


FIRST_CALL, EVERY_CALL = "at the first call that needs MPI", "at each call that is not a repetition"

MACHINE = Setting(
    "SWING_MACHINE", "node, cluster, paper, messages, or the path of a selection table (….json)",
    "node if all ranks share one node, else cluster", "at the first call on a communicator",
    'the machine for which algorithm="auto" chooses; the same on all ranks',
)  # fmt: skip
ENGINE = Setting(
    "SWING_ENGINE", "plain or compiled", "compiled where it can be, else plain", EVERY_CALL,
    "the engine of blocking allreduces on host memory without timeout=; with compiled, one that "
    "compiled code cannot run is an error",
    _choice(("plain", "compiled")),
)  # fmt: skip
CHECK = Setting(
    "SWING_CHECK", "0 or 1", "0", FIRST_CALL,
    "compare the arguments of all ranks before each call", _switch, unset=False,
)  # fmt: skip
CHECK_TIMEOUT = Setting(
    "SWING_CHECK_TIMEOUT", "a number of seconds from 0 up", "30", FIRST_CALL,
    "how long SWING_CHECK=1 waits for ranks that make no call", _seconds, unset=30.0,
)  # fmt: skip
GPU_AWARE = Setting(
    "SWING_GPU_AWARE", "0 or 1", "what the MPI library says", EVERY_CALL,
    "whether MPI accepts GPU memory", _switch,
)  # fmt: skip
NCCL = Setting(
    "SWING_NCCL", "0 or 1", "0", EVERY_CALL,
    "move GPU memory by NCCL; the same on all ranks", _switch, unset=False,
)  # fmt: skip

WAIT = Setting(
    "SWING_WAIT", POLICIES,
    "spin-yield if no node has more ranks than cores, else yield", EVERY_CALL,
    "how ranks wait for each other; the values that keep a core busiest come first",
    _choice(POLICIES),
)  # fmt: skip

SETTINGS = (MACHINE, ENGINE, WAIT, CHECK, CHECK_TIMEOUT, GPU_AWARE, NCCL)


def table() -> str:
    """Return all settings as text, a few lines each."""
    return "\n\n".join("\n  ".join(_lines(setting)) for setting in SETTINGS)


def _lines(setting: Setting) -> Iterator[str]:
    yield setting.name
    yield setting.purpose
    yield f"values: {setting.values}"
    if isinstance(setting.allowed, Mapping):
        yield from (f"  {name}: {policy.meaning}" for name, policy in setting.allowed.items())
    yield f"default: {setting.default}"
    yield f"read {setting.read}"
