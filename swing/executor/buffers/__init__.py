"""Buffers: convert users' buffers, types and operations to numpy arrays and reductions.

This room may know mpi4py's specifications of buffers, MPI's types and operations, and memory. It
does not know schedules or communicators.
"""
