"""Deprecated: this is `swing.build.combine` now."""

from swing.deprecated import moved

__getattr__ = moved(__name__, "swing.build.combine")
