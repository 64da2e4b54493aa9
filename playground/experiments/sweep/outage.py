"""A worker that waits where its database goes away, such as for a restart, or where the disk is full, and goes on when that is over.

It gives up its locks, and so a new worker takes up the trials, as after a death. Their runs train on meanwhile, or wait for space, too.
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
from dlplay.runs.files import FULL, check_space

PATIENCE = 300.0
"""Seconds that a database may be away."""
TELL = 60.0
"""Seconds at the least between two lines that the disk is full."""
RETRY = 1.0
"""Seconds between two questions whether it is back."""


def work(folder: SweepFolder, url: str, *, jobs: int, code: bool, tell: Callable[[Told], None]) -> Report:
    """Work on a sweep until all its trials have ended; returns what was found. Raises what `opened` and `Worker.work` raise, `DatabaseGone`
    only where the database never answered, or was away for longer than `PATIENCE`; for space it waits as long as it takes."""
    worker, deadline, full, told_at = None, math.inf, False, -math.inf
    with signals() as came:
        while True:
            try:
                if full:
                    check_space(folder.path)
                    full = False
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
                    limit = f"{PATIENCE / 60:g} min"
                    print_line(f"{folder.name}: the database does not answer; waiting up to {limit}, and the runs train on", error=True)
            except OSError as error:
                if worker is None or error.errno not in FULL:
                    raise
                full = True
                if time.monotonic() - told_at > TELL:
                    told_at = time.monotonic()
                    print_line(f"{folder.name}: the disk is full; waiting until there is space, as its runs do", error=True)
            time.sleep(RETRY)
            if came:
                worker.interrupt()
                raise Interrupted("interrupted")
