"""What one rank does with its memory, worked out for a schedule and a count."""
