"""Deprecated: this is `swing.placement` now."""

from swing.deprecated import moved

__getattr__ = moved(__name__, "swing.placement")
