"""Collection of tests: the docstrings of what needs JAX are tests only where JAX is installed."""

from importlib.util import find_spec

NEED_JAX = ("calls", "explanation", "interpreter", "layout", "primitive", "request")
collect_ignore = (
    [] if find_spec("jax") else [f"swing/integrations/jax/{name}.py" for name in NEED_JAX]
)
