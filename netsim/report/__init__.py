"""Reports: schedules on a network as one web page that needs nothing else."""
