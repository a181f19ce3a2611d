"""Plans: the instructions of one rank for a schedule and a vector length."""
