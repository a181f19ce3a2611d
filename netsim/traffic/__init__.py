"""The traffic of a schedule on a network: link loads, and graphs of dependent messages."""
