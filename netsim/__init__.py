"""A simulator of torus networks at the level of links: where bytes go and how long they take."""

from netsim import display
from netsim.bounds import lower_bound
from netsim.models import MODELS
from netsim.network import Network, paper_network
from netsim.presets import tpu_network
from netsim.run import Run, simulate
from netsim.topologies.failures import without
from netsim.topologies.graph import graph
from netsim.topologies.names import topology

__all__ = [
    "MODELS", "Network", "Run", "display", "graph", "lower_bound", "paper_network", "simulate",
    "topology", "tpu_network", "without",
]  # fmt: skip
