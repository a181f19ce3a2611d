"""Slowdown of jobs that share stations equally, as messages share the links of a network.

The segments of a schedule run side by side, each through its dimensions in its own order. A link
serves all of them at the same speed, also those that should go first because another dimension
waits for them. So a dimension may idle now and have too much to do later. This is processor
sharing, followed from one moment at which a segment changes its dimension to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """A part of a job, in which it uses the same stations in every step.

    Args:
        work: (stations,) seconds of work that the task brings to each station.
        steps: number of messages, one after the other, that bring it.
    """

    work: np.ndarray
    steps: int


def slowdown(jobs: Sequence[Sequence[Task]], in_order: bool = False) -> float:
    """Return the time that all jobs take, divided by the work of the busiest station.

    Args:
        jobs: the tasks of each job, one after the other. A job works at all stations of a task at
            the same time.
        in_order: whether a station serves one message after the other, so that each job gets a
            message through in turn; otherwise all jobs get the same share of its time.

    >>> first, second = Task(np.array([1.0, 0.0]), 4), Task(np.array([0.0, 1.0]), 1)
    >>> slowdown([[first, second], [second, first]])
    1.0
    >>> slowdown([[first, second], [first, second]])    # the second station idles at first
    1.5
    """
    waiting = [[task for task in job if task.work.any()][::-1] for job in jobs]
    waiting = [job for job in waiting if job]
    if not waiting:
        return 1.0
    busiest = float(np.sum([task.work for job in waiting for task in job], axis=0).max())
    now = [job.pop() for job in waiting]
    time, left = 0.0, np.ones(len(now))  # the fraction of each task that is left
    while now:
        seconds = _seconds(now, in_order)
        pause = float((left * seconds).min())
        time, left = time + pause, left - pause / seconds
        for i in np.flatnonzero(left < 1e-9):
            if waiting[i]:
                now[i], left[i] = waiting[i].pop(), 1.0
        on = np.flatnonzero(left >= 1e-9)
        now, waiting, left = [now[i] for i in on], [waiting[i] for i in on], left[on]
    return time / busiest


def _seconds(tasks: Sequence[Task], in_order: bool) -> np.ndarray:
    """(tasks,) seconds that each of some tasks takes if all of them go on so."""
    work, steps = (np.array(column) for column in zip(*tasks, strict=True))
    if in_order:
        turns = (work / steps[:, None]).sum(axis=0)  # a message of each task
        served = steps[:, None] * turns * (work > 0)
    else:
        served = work * (work > 0).sum(axis=0)
    longest: np.ndarray = served.max(axis=1)
    return longest
