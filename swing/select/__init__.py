"""Which schedule for which torus, size and machine."""
