"""Plans: the instructions of one rank for a schedule and a vector length.

This room may know schedules and numbers of elements. It does not know MPI, types of elements or
addresses.
"""
