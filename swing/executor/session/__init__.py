"""State per communicator and per shape: private communicators, plans, layouts, cached calls.

This room may know MPI's communicators, schedules, plans and engines. It does not know which of the
user's functions was called, beyond the `CollectiveCall` that it is given.
"""
