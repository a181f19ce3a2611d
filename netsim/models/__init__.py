"""The models by name: schedule, network, bytes, seed → seconds and peak share of every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netsim.models.analytic import analytic
from netsim.network import Network
from swing.schedule import Schedule

Model = Callable[[Schedule, Network, int, int], tuple[np.ndarray, np.ndarray]]

MODELS: dict[str, Model] = {"analytic": analytic}
