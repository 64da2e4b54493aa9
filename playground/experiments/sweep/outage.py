"""A worker that waits where its database goes away, such as for a restart, and goes on when that is back.

The locks are gone with the connection, and so a new worker takes up the trials, as after a death; their runs train on meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from dlplay.experiments.pool import Interrupted, signals
from dlplay.experiments.sweep.report import Report, report
from dlplay.experiments.sweep.spec import SweepFolder
from dlplay.experiments.sweep.storage import DatabaseGone, opened
from dlplay.experiments.sweep.worker import Told, Worker
from dlplay.runs.console import print_line

PATIENCE = 300.0
"""Seconds that a database may be away."""
RETRY = 1.0
"""Seconds between two questions whether it is back."""


def work(folder: SweepFolder, url: str, *, jobs: int, code: bool, tell: Callable[[Told], None]) -> Report:
    """Work on a sweep until all its trials have ended; returns what was found. Raises what `opened` and `Worker.work` raise, `DatabaseGone`
    only where the database never answered, or was away for longer than `PATIENCE`."""
    worker, deadline = None, math.inf
    with signals() as came:
        while True:
            try:
                with opened(folder, folder.spec, url) as backend:
                    deadline = math.inf
                    worker = Worker(backend, folder.runs_dir, jobs=jobs, code=code, tell=tell)
                    worker.work(came)
                    return report(backend)
            except DatabaseGone:
                if worker is None or time.monotonic() > deadline:
                    raise
            if deadline == math.inf:
                deadline = time.monotonic() + PATIENCE
                print_line(
                    f"{folder.name}: the database does not answer; waiting up to {PATIENCE / 60:g} min, and the runs train on", error=True
                )
            time.sleep(RETRY)
            if came:
                worker.interrupt()
                raise Interrupted("interrupted")
