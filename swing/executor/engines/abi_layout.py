"""Memory layout shared by Python, which fills the memory, and compiled code, which reads it.

All fields are 64-bit words, named by their index: those of a program's state, and those of the
table of known calls of `swing.executor.session.call_cache`, which has a header and rows.
"""

# CODE, WORK, REQUESTS and TAG are addresses, and FAILED is written on an error. The tag is in the
# memory of a context, which changes it for all programs at once. COMM to OPERATION are
# MPI handles. LOOP and LOOP_DATA are the addresses of numpy's loop and of its data. MOVE to
# REDUCE_LOCAL are the addresses of C functions, and IGNORE is the value of MPI_STATUS_IGNORE. PAUSE
# is the address of the C function to call between tests, with the argument NAP, or 0 if MPI's own
# functions do the waiting. It is called from SPIN nanoseconds on; the C function CLOCK writes the
# time to SECONDS and NANOSECONDS. FLAG is where a test writes its answer.
(CODE, ROWS, TAG, FAILED, WORK, REQUESTS, COMM, BYTE, DATATYPE, OPERATION, LOOP, LOOP_DATA,
 MOVE, ISEND, IRECV, SENDRECV, WAITALL, TESTALL, REDUCE_LOCAL, IGNORE, PAUSE, NAP,
 SPIN, CLOCK, SECONDS, NANOSECONDS, FLAG, STATE) = range(28)  # fmt: skip
"""The words of a program's state; STATE is their number."""

# MASK is the number of rows minus 1. ARRAY, NONE and IN_PLACE are the addresses of numpy.ndarray,
# None and MPI.IN_PLACE; SAVE, RESTORE and NUMBER are those of PyEval_SaveThread,
# PyEval_RestoreThread and PyLong_FromLongLong.
MASK, ARRAY, NONE, IN_PLACE, SAVE, RESTORE, NUMBER, HEADER = range(8)
"""The words of the header of the table of calls; HEADER is their number."""

# The words up to DTYPE are addresses of objects (OF_COMM is the communicator). INSITU is whether
# the call is in place. RUNS and SCRATCH are the addresses of a program's state and scratch memory.
OF_COMM, OP, ALGORITHM, TORUS, CONSISTENT, DTYPE, COUNT, NBYTES, INSITU, RUNS, SCRATCH, ROW = range(
    12
)
"""The words of a row of the table of calls; ROW is their number."""

SPREAD, SPREAD_SHIFT = 0x1E3779B97F4A7C15, 48
"""The hash of a call is its number times SPREAD, from bit SPREAD_SHIFT on. All bits of the number
count, so that sizes which are multiples of 256 have different hashes."""

MISS = -1
"""The result of looking up a call that is not in the table; MPI's error codes are not negative."""
