"""An emulated torus: one network namespace a node, one rank in each, links of a given rate.

``python -m mpi_bench.emulate`` (Linux, root): real TCP over real queues, bytes counted on every
link by the kernel, and `netsim`'s prediction beside every time.
"""
