"""Integrations with training libraries, PyTorch and JAX; neither is a dependency."""
