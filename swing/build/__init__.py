"""How schedules are made: patterns on one ring, their products on a torus, and combinations."""
