"""Parameter sweeps, and the search for the fastest schedule."""
