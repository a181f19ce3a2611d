"""Integrations of `swing.allreduce` with training libraries, none of which is a dependency."""
