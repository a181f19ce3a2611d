"""Building blocks of schedules: patterns on one ring, products on a torus, combinations."""
