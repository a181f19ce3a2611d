"""Buffers in GPU memory: staged through host memory, or sent and reduced where they are."""
