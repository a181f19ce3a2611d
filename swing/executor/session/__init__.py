"""What is kept with a communicator: plans, layouts, bound calls and the check of arguments."""
