"""The instruction set of a plan: opcodes, operands and the three buffers they refer to."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

SEND, RECV, SCRATCH = range(3)


class Opcode(IntEnum):
    """The action of an instruction.

    ==============  ==============================================================================
    ISEND           begin to send ``length`` elements of ``a`` to ``peer`` as request ``slot``
    IRECV           begin to receive ``length`` elements of ``a`` from ``peer`` as request ``slot``
    SENDRECV        send as ISEND does, receive as the IRECV in the next row does, wait for both
    WAIT            wait for ``length`` requests, the first of which is ``slot``
    COPY            out = a
    REDUCE          out = a ⊕ b, where out may be a or b
    COPY_TO_HOST    wait until ``length`` elements of ``a`` have arrived from the device
    COPY_TO_DEVICE  begin to copy ``length`` elements of ``a`` to the device
    ==============  ==============================================================================

    The last two occur in staged plans only (see `swing.executor.gpu.staging`). There the last part
    of a vector may have fewer than ``length`` elements.
    """

    ISEND, IRECV, SENDRECV, WAIT, COPY, REDUCE, COPY_TO_HOST, COPY_TO_DEVICE = range(8)


class Place(NamedTuple):
    """An operand: elements of a buffer, the first of which has index ``at``.

    ``buffer`` is SEND, RECV or SCRATCH; plans on shared memory have more buffers (see
    `swing.executor.plan.shared`).
    """

    buffer: int
    at: int


NOWHERE = Place(0, 0)

ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "do", "step", "peer", "slot", "length",
            "a_buffer", "a_at", "b_buffer", "b_at", "out_buffer", "out_at",
        )
    ]
)  # fmt: skip
"""An instruction in memory: the fields of `Instruction`, operands as pairs of buffer and index.

Plans are arrays of these records, and compiled code reads them by the fields' offsets.
"""


class Instruction(NamedTuple):
    """One row of a plan; `Opcode` says which fields each opcode uses."""

    do: int
    step: int
    peer: int = 0
    slot: int = 0
    length: int = 0
    a: Place = NOWHERE
    b: Place = NOWHERE
    out: Place = NOWHERE
