"""Benchmark allreduces on real machines: ``mpiexec -n N python -m mpi_bench``.

The rows have the columns of netsim's, so that measured and predicted times can be compared.
"""
