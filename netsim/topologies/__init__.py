"""Network topologies: directed links, and the route of every message. No units.

Lengths and delays are relative; `netsim.network.Network` gives them seconds and bytes.
"""
