"""The commands of ``python -m netsim``, one file each."""
