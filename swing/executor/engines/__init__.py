"""Engines: run a plan in Python or in compiled code, blocking or in the background.

This room may know plans, memory, MPI's point-to-point functions and how ranks wait. It does not
know schedules, tori or which collective a plan is for.
"""
