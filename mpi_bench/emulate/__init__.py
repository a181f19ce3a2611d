"""Emulate a torus on one machine: a network namespace per node, with links of a given rate.

``python -m mpi_bench.emulate`` (needs Linux and root) runs one rank per namespace. Messages are
real TCP traffic through real queues, the kernel counts the bytes on each link, and each measured
time is printed beside `netsim`'s prediction.
"""
