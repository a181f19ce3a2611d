"""What a schedule is: blocks, messages, steps, and the view of one rank."""
