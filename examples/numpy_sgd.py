"""Data-parallel training without a framework: ``mpiexec -n 4 python numpy_sgd.py``.

Every rank has its own rows of the data. It computes the gradient of its rows, `swing.allreduce`
adds up the gradients, and all ranks take the same step: their weights stay the same to the bit.
"""

import numpy as np
from mpi4py import MPI

import swing

ROWS, FEATURES, STEPS, RATE = 480, 32, 60, 0.5

comm = MPI.COMM_WORLD
random = np.random.default_rng(1)  # the same data on every rank: each takes its rows
truth = random.normal(size=FEATURES)
inputs = random.normal(size=(ROWS, FEATURES))
labels = (inputs @ truth > 0).astype(float)
mine = slice(comm.rank, None, comm.size)


def gradient(weights, rows=mine):
    """Of the logistic loss of some rows; the last entry is the loss itself."""
    chance = 1 / (1 + np.exp(-inputs[rows] @ weights))
    loss = -np.log(np.where(labels[rows] > 0, chance, 1 - chance)).sum()
    return np.append(inputs[rows].T @ (chance - labels[rows]), loss) / ROWS


weights = np.zeros(FEATURES)
losses = []
for _ in range(STEPS):
    total = swing.allreduce(comm, gradient(weights))
    weights -= RATE * total[:-1]
    losses.append(total[-1])

alone = np.zeros(FEATURES)  # what one rank with all the data gets
for _ in range(STEPS):
    alone -= RATE * gradient(alone, slice(None))[:-1]
same = comm.allgather(weights.tobytes())
if comm.rank == 0:
    print(f"{comm.size} ranks: loss {losses[0]:.4f} to {losses[-1]:.4f}")
    print(f"same bits on every rank: {'yes' if len(set(same)) == 1 else 'no'}")
    print(f"as one rank with all data, to rounding: {np.allclose(weights, alone, rtol=1e-9)}")
    print(swing.explain(comm, gradient(weights)).algorithm)
else:
    swing.explain(comm, gradient(weights))
