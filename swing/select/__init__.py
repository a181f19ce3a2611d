"""Algorithm selection: the schedule to use for a torus, a vector size and a machine."""
