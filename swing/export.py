"""Deprecated: this is `swing.formats` now."""

from swing.deprecated import moved

__getattr__ = moved(__name__, "swing.formats")
