"""What no allreduce can beat on a network."""

from __future__ import annotations

import numpy as np

from netsim.network import Network, check_size


def lower_bound(network: Network, nbytes: int) -> float:
    """Seconds that every allreduce of a vector needs at least.

    The larger of three:

    - latency: the result on one node depends on the input of the node farthest from it, so some
      chain of messages covers the diameter and pays every fixed cost of at least one message;
    - total: of each element p - 1 contributions have to leave their ranks and p - 1 ranks have
      to be given the result, so at least 2n(p - 1) bytes leave nodes;
    - node: a node's own n bytes have to leave it, and n bytes of others' enter it.

    Args:
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.

    >>> import netsim
    >>> f"{netsim.lower_bound(netsim.paper_network('torus:64x64'), 32) * 1e6:.2f} us"
    '26.44 us'
    """
    check_size(nbytes)
    topology = network.topology
    if topology.size == 1:
        return 0.0
    rates, tails = network.bandwidths, topology.ends[:, 0]
    out = np.bincount(tails, rates, topology.size)[: topology.size]
    total = 2 * nbytes * (topology.size - 1) / out.sum()
    latency = network.latency(*topology.diameter)
    return max(latency, float(total), nbytes / float(out.min()))
