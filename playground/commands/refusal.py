"""The exit statuses of all commands, and how they refuse."""

from __future__ import annotations

from dlplay.engine import torchrun
from dlplay.engine.printable import without_address
from dlplay.runs.console import print_line

USAGE, HELD, DISK_FULL, INTERRUPTED = 2, 3, 4, 130


def refuse(words: str, status: int) -> int:
    """Say in one line on standard error why a command is not carried out; returns its exit status. On each machine one rank says it."""
    if (place := torchrun.place()) is None or place.local_rank == 0:
        print_line(f"dlplay: {without_address(words)}", error=True)
    return status
