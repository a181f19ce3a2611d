"""Buffers: convert users' buffers, types and operations to numpy arrays and reductions."""
