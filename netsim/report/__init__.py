"""Reports: schedules on a network as one self-contained web page."""
