"""These tests run where JAX is installed (``make test-jax``), on 16 virtual devices of the CPU."""

from __future__ import annotations

import os
from importlib.util import find_spec

if not find_spec("jax"):
    collect_ignore_glob = ["*"]
else:
    flags = os.environ.get("XLA_FLAGS", "")
    # JAX reads this when it starts its first device.
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=16".strip()
