"""Outcome of a proof: the properties of a correct schedule, or the first error in it."""

from __future__ import annotations

from dataclasses import dataclass

from swing.torus import Array


class ScheduleError(ValueError):
    """An error in a schedule, and its location.

    Attributes:
        step, rank, block: the location; None for a coordinate that the error does not have.
    """

    def __init__(
        self, what: str, step: int | None = None, rank: int | None = None, block: int | None = None
    ) -> None:
        location = {"step": step, "rank": rank, "block": block}
        prefix = ", ".join(f"{name} {i}" for name, i in location.items() if i is not None)
        super().__init__(f"{prefix}: {what}" if prefix else what)
        self.step, self.rank, self.block = step, rank, block


@dataclass(frozen=True, eq=False)
class Report:
    """Properties of a schedule that `verify` has proven correct.

    Args:
        same_bits: whether all ranks add in the same order, up to a + b = b + a.
        contiguous: whether every message is one slice of the vector.
        nsteps: number of steps.
        messages: number of messages.
        blocks_sent: (p,) number of blocks that each rank sends.
        ports: largest number of messages that a rank sends, and that a rank receives, in one step.
    """

    same_bits: bool
    contiguous: bool
    nsteps: int
    messages: int
    blocks_sent: Array
    ports: tuple[int, int]

    def __str__(self) -> str:
        least, most = int(self.blocks_sent.min()), int(self.blocks_sent.max())
        slices = "each one slice" if self.contiguous else "not each one slice"
        return (
            "every contribution arrives exactly once\n"
            f"same bits on every rank: {'yes' if self.same_bits else 'no'}\n"
            f"{self.nsteps} steps, {self.messages} messages, {slices}\n"
            f"at most {self.ports[0]} out of a rank and {self.ports[1]} in at the same time\n"
            f"blocks sent by a rank: {least}" + (f" to {most}" if least < most else "")
        )
