"""Run an algorithm of your own, by name and from a file: ``mpiexec -n 6 python run.py``."""

import tempfile

import numpy as np
from mpi4py import MPI

import swing
from swing import formats

comm = MPI.COMM_WORLD
torus = swing.Torus((2, 3))
vector = np.arange(1000.0) + comm.rank
expected = comm.size * np.arange(1000.0) + sum(range(comm.size))
swing.allreduce(comm, vector, algorithm="ring_of_rings", torus=torus)
assert (vector == expected).all()

with tempfile.TemporaryDirectory() as folder:  # the same schedule from a file
    path = f"{folder}/schedule.xml"
    formats.write(swing.schedule("ring_of_rings", torus), path)
    schedule = formats.read(path, torus=torus)
vector = np.arange(1000.0) + comm.rank
swing.allreduce(comm, vector, algorithm=schedule)
assert (vector == expected).all()
if comm.rank == 0:
    print(swing.verify(swing.schedule("ring_of_rings", torus)))
