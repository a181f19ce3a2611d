"""What a schedule puts on a network: loads of links, and graphs of messages."""
