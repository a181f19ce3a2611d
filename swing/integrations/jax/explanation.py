"""Explanation of a call on a mesh: the schedule that runs, where its ranks are, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from swing.checks import counted, shown
from swing.display import schedule_html
from swing.integrations.jax.lowering import lower
from swing.integrations.jax.program import Program
from swing.integrations.jax.request import Request, check_type
from swing.placement import from_coords
from swing.schedules.schedule import Schedule
from swing.sizes import format_size
from swing.torus import Torus


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a call runs, and why.

    Args:
        algorithm: the algorithm with its options, as commands take it.
        why: the reason for it.
        program: what every device runs.
        nbytes: bytes of the vector.
        devices: kind of the devices, as JAX calls them.
    """

    algorithm: str
    why: str
    program: Program
    nbytes: int
    devices: str

    @property
    def schedule(self) -> Schedule:
        """The schedule, such as `netsim.simulate` takes."""
        return self.program.schedule

    def __str__(self) -> str:
        schedule = self.schedule
        loops = sum(len(run.steps) > 1 for run in self.program.runs)
        return "\n".join(
            [
                f"algorithm: {self.algorithm}",
                f"why: {self.why}",
                f"torus: {schedule.torus.name}, devices: {self.devices}",
                f"schedule: {schedule.collective} of {format_size(self.nbytes)}, "
                f"{counted(schedule.nsteps, 'step')}, {counted(len(schedule.parts), 'part')}",
                f"program: {counted(self.program.npermutes, 'collective permute')}, "
                f"{counted(loops, 'loop')}",
            ]
        )

    def _repr_html_(self) -> str:
        lines = "<br>".join(map(escape, str(self).splitlines()))
        return f"<div>{lines}</div>{schedule_html(self.schedule)}"


def explain(
    x: Any, mesh: Any, axis_name: Any, collective: str, torus: Torus | None,
    algorithm: str | Schedule, op: str, options: Mapping[str, Any],
) -> Explanation:  # fmt: skip
    """Resolve a call without running it; see `swing.integrations.jax.explain`."""
    sizes = _sizes(mesh, axis_name)
    request = Request.of(collective, algorithm, torus, sizes, op, options)
    check_type(np.zeros(0, x.dtype), collective, op)
    nbytes = request.nbytes(x)
    first = mesh.devices.flat[0]
    resolved = request.resolve(nbytes, first.platform)
    program = lower(resolved.schedule, op in ("sum", "mean"))
    return Explanation(resolved.spelled, resolved.why, program, nbytes, str(first.device_kind))


def torus_of(mesh: Any, axis_name: Any, wrap: bool) -> Torus:
    """Make the torus of mesh axes; see `swing.integrations.jax.torus_of`."""
    sizes = _sizes(mesh, axis_name)
    names = list(mesh.axis_names)
    grid = np.moveaxis(mesh.devices, [names.index(axis) for axis in sizes], range(len(sizes)))
    # Groups of devices along the other axes run the same schedule: take the first group.
    devices = grid.reshape(int(np.prod(list(sizes.values()))), -1)[:, 0].tolist()
    if not all(hasattr(device, "coords") for device in devices):
        return Torus(tuple(sizes.values()))
    table = np.array([[*d.coords, getattr(d, "core_on_chip", 0)] for d in devices])
    wraps = [wrap] * (table.shape[1] - 1) + [False]
    keep = [j for j in range(table.shape[1]) if np.ptp(table[:, j])] or [0]
    return from_coords(table[:, keep], wrap=[wraps[j] for j in keep])


def _sizes(mesh: Any, axis_name: Any) -> dict[Any, int]:
    axes = tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)
    shape = dict(mesh.shape)
    missing = [axis for axis in axes if axis not in shape]
    if missing or not axes or len(set(axes)) < len(axes):
        raise ValueError(
            f"name one or more different axes of the mesh ({', '.join(map(str, shape))}), "
            f"not {shown(axis_name)}"
        )
    return {axis: shape[axis] for axis in axes}
