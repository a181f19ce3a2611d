"""A simulator of torus networks at the level of links: where bytes go and how long they take."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from netsim import display
from netsim.bounds import lower_bound, lower_bounds
from netsim.models import MODELS
from netsim.network import Network, paper_network
from netsim.presets import tpu_network
from netsim.run import Run, simulate
from netsim.topologies.failures import without
from netsim.topologies.graph import graph
from netsim.topologies.names import topology

if TYPE_CHECKING:
    from netsim.search.explore import Search as Search
    from netsim.search.sweep import sweep as sweep
    from netsim.search.tune import tune as tune

__all__ = [
    "MODELS", "Network", "Run", "Search", "display", "graph", "lower_bound", "lower_bounds",
    "paper_network", "simulate", "sweep", "topology", "tpu_network", "tune", "without",
]  # fmt: skip

_SEARCH = {
    "Search": "netsim.search.explore",
    "sweep": "netsim.search.sweep",
    "tune": "netsim.search.tune",
}
"""Names whose modules take a third of the time of `import netsim`, and are loaded when needed."""


def __getattr__(name: str) -> Any:
    """Load a search when it is first asked for."""
    if name in _SEARCH:
        return getattr(import_module(_SEARCH[name]), name)
    raise AttributeError(f"module 'netsim' has no attribute {name!r}")
