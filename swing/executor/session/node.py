"""Node of a rank: the ranks of a communicator that can share memory with it, and their cores.

MPI has no ``MPI_Comm_split_type`` that could be given up at a deadline. So every rank describes its
node in a record, and the ranks exchange their records.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from swing.waiting import cores

_MAX_CORES = 1024
"""Cores of a node that are told apart."""

_NAME_BYTES = 16
RECORD_BYTES = _NAME_BYTES + _MAX_CORES // 8
"""Bytes of a record: a digest of the node's name, then one bit for each core of the rank."""


class Node(NamedTuple):
    """The ranks of a communicator on this rank's node.

    Args:
        ranks: their number.
        cores: the number of cores on which at least one of them may run.
        is_only: whether there are no ranks on other nodes.
    """

    ranks: int
    cores: int
    is_only: bool


def record() -> np.ndarray:
    """(RECORD_BYTES,) the description of this rank's node."""
    bits = np.zeros(_MAX_CORES, np.uint8)
    bits[[core % _MAX_CORES for core in cores()]] = 1
    name = blake2b(_name().encode(), digest_size=_NAME_BYTES).digest()
    return np.append(np.frombuffer(name, np.uint8), np.packbits(bits))


def node_of(mine: np.ndarray, records: np.ndarray) -> Node:
    """Find the ranks of one node.

    Args:
        mine: this rank's record.
        records: (ranks, RECORD_BYTES) those of all ranks.
    """
    here = records[(records[:, :_NAME_BYTES] == mine[:_NAME_BYTES]).all(axis=1), _NAME_BYTES:]
    # A launcher may bind every rank to cores of its own: count those of all ranks.
    together = np.unpackbits(np.bitwise_or.reduce(here, axis=0))
    return Node(len(here), int(together.sum()), len(here) == len(records))


def _name() -> str:
    """A text that is equal on two ranks if they can share memory.

    Containers on one machine can have one kernel but different ``/dev/shm``, and machines can have
    equal host names.
    """
    boot, memory = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    with suppress(OSError):
        folder = os.stat("/dev/shm")
        memory = f"{folder.st_dev} {folder.st_ino}"
    return f"{socket.gethostname()} {boot} {memory}"
