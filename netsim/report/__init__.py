"""Reports: schedules on a network as one web page that needs nothing else."""

from netsim.report.data import describe
from netsim.report.page import page

__all__ = ["describe", "page"]
