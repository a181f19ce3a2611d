"""Everything works on an algorithm of your own: ``mpiexec -n 6 python run.py``."""

import tempfile

import numpy as np
from mpi4py import MPI

import swing
from swing import formats

comm = MPI.COMM_WORLD
torus = swing.Torus((2, 3))
mine = np.arange(1000.0) + comm.rank
expected = comm.size * np.arange(1000.0) + sum(range(comm.size))
swing.allreduce(comm, mine, algorithm="ring_of_rings", torus=torus)
assert (mine == expected).all()

with tempfile.TemporaryDirectory() as folder:  # and so it does if it comes from a file
    path = f"{folder}/schedule.xml"
    formats.write(swing.schedule("ring_of_rings", torus), path)
    schedule = formats.read(path, torus=torus)
mine = np.arange(1000.0) + comm.rank
swing.allreduce(comm, mine, algorithm=schedule)
assert (mine == expected).all()
if comm.rank == 0:
    print(swing.verify(swing.schedule("ring_of_rings", torus)))
