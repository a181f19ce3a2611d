"""Engines: run a plan in Python or in compiled code, blocking or in the background."""
