"""Deprecated: this is `swing.build.pattern` now."""

from swing.deprecated import moved

__getattr__ = moved(__name__, "swing.build.pattern")
