"""Settings of every test."""

from hypothesis import settings

# The machines are shared: no deadline on one example, and as many as fit in a minute.
settings.register_profile("default", deadline=None, max_examples=15)
settings.load_profile("default")
