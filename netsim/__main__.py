"""``python -m netsim``: simulate schedules, sweep grids, plot what came out."""

from __future__ import annotations

import sys

from netsim.cli.compare_command import compare_command
from netsim.cli.plot_command import plot_command
from netsim.cli.report_command import report_command
from netsim.cli.simulate_command import simulate_command
from netsim.cli.sweep_command import sweep_command
from netsim.cli.tune_command import tune_command
from swing.cli import group, invoke


@group
def main() -> None:
    """Simulate collectives on torus networks."""


for command in (
    simulate_command,
    sweep_command,
    plot_command,
    tune_command,
    compare_command,
    report_command,
):
    main.add_command(command)


def run() -> int:
    """Run the program ``netsim`` that the package installs; return its exit status."""
    return invoke(main, "netsim")


if __name__ == "__main__":
    sys.exit(invoke(main, "python -m netsim"))
