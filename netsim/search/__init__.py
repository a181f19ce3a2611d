"""Many simulations: grids of cases, and the search for the fastest schedule."""
