"""What carries out a plan: in Python, or compiled."""
