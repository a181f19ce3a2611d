"""Measure on real machines what netsim predicts: ``mpiexec -n N python -m mpi_bench``."""
