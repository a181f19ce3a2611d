"""Buffers in GPU memory: staged through host memory, or sent and reduced where they are.

Only this room may know CuPy, CUDA and NCCL. It imports CuPy when a GPU buffer is met.
"""
