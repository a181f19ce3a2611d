"""State per communicator and per shape: private communicators, plans, layouts, cached calls."""
