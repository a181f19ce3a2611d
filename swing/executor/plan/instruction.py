"""Instruction: one row of a plan."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

SEND, RECV, SCRATCH = range(3)


class Opcode(IntEnum):
    """What an instruction does.

    ========  =================================================================================
    ISEND     begin to send ``length`` elements of ``a`` to ``peer``; ``slot`` names the request
    IRECV     begin to receive ``length`` elements into ``a`` from ``peer``; as above
    SENDRECV      send as in ISEND and receive as in the IRECV that follows it, and wait for both
    WAIT      wait for ``length`` requests, from ``slot`` on
    COPY      out = a
    REDUCE    out = a ⊕ b; out may be either of them
    FETCH     wait until ``length`` elements of ``a``, or as many as there are, came from the device
    PUT       begin to copy them to the device
    ========  =================================================================================
    """

    ISEND, IRECV, SENDRECV, WAIT, COPY, REDUCE, COPY_TO_HOST, COPY_TO_DEVICE = range(8)


class Place(NamedTuple):
    """Elements of a buffer (SEND, RECV or SCRATCH) from some index on."""

    buffer: int
    at: int


NOWHERE = Place(0, 0)


class Instruction(NamedTuple):
    """One row of a plan: see `Opcode`."""

    do: int
    step: int
    peer: int = 0
    slot: int = 0
    length: int = 0
    a: Place = NOWHERE
    b: Place = NOWHERE
    out: Place = NOWHERE
