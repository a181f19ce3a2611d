"""Words: where compiled code finds what in memory that Python has filled.

All are 64-bit words; a program's state and a row of the table of calls are arrays of them.
"""

(CODE, ROWS, TAG, FAILED, WORK, REQUESTS, SLOTS, COMM, BYTE, DATATYPE, OPERATION, LOOP, LOOP_DATA,
 MOVE, ISEND, IRECV, SENDRECV, WAITALL, REDUCE_LOCAL, IGNORE, STATE) = range(21)  # fmt: skip
"""The words of the state of a program; STATE is their number."""

MASK, ARRAY, NONE, IN_PLACE, SAVE, RESTORE, NUMBER, HEADER = range(8)
"""The words in front of the table of calls; HEADER is their number."""

OF_COMM, OP, ALGORITHM, TORUS, CONSISTENT, DTYPE, COUNT, NBYTES, INSITU, RUNS, SCRATCH, ROW = range(
    12
)
"""The words of a row of the table of calls; ROW is their number."""

MISS = -1
"""The answer to a call that is not in the table."""
