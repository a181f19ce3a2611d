"""Buffers in GPU memory: staged through the host, or reached where they lie."""
