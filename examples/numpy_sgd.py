"""Data-parallel training with numpy alone: ``mpiexec -n 4 python numpy_sgd.py``.

Every rank has its own rows of the data and computes their gradient. `swing.allreduce` adds up the
gradients of all ranks, and all ranks take the same step, so their weights have the same bits.
"""

import numpy as np
from mpi4py import MPI

import swing

ROWS, FEATURES, STEPS, RATE = 480, 32, 60, 0.5

comm = MPI.COMM_WORLD
random = np.random.default_rng(1)  # every rank makes the same data and uses its own rows of it
truth = random.normal(size=FEATURES)
inputs = random.normal(size=(ROWS, FEATURES))
labels = (inputs @ truth > 0).astype(float)
mine = slice(comm.rank, None, comm.size)


def gradient(weights, rows=mine):
    """The gradient of the logistic loss of the rows; the last entry is the loss itself."""
    chance = 1 / (1 + np.exp(-inputs[rows] @ weights))
    loss = -np.log(np.where(labels[rows] > 0, chance, 1 - chance)).sum()
    return np.append(inputs[rows].T @ (chance - labels[rows]), loss) / ROWS


weights = np.zeros(FEATURES)
losses = []
for _ in range(STEPS):
    total = swing.allreduce(comm, gradient(weights))
    weights -= RATE * total[:-1]
    losses.append(total[-1])

alone = np.zeros(FEATURES)  # the weights that one rank with all the data gets
for _ in range(STEPS):
    alone -= RATE * gradient(alone, slice(None))[:-1]
bits = comm.allgather(weights.tobytes())
if comm.rank == 0:
    print(f"{comm.size} ranks: loss {losses[0]:.4f} to {losses[-1]:.4f}")
    print(f"same bits on every rank: {'yes' if len(set(bits)) == 1 else 'no'}")
    print(f"as one rank with all data, to rounding: {np.allclose(weights, alone, rtol=1e-9)}")
    print(swing.explain(comm, gradient(weights)).algorithm)
else:  # all ranks call explain together, as they call allreduce
    swing.explain(comm, gradient(weights))
