"""State per communicator: private duplicate, plans, layouts, cached calls, argument check."""
