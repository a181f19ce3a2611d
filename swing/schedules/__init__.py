"""The data model of schedules: blocks, messages, steps, and the messages of one rank."""
