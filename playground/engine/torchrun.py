"""What torchrun tells each process that it starts: which of how many it is. Imports no torch."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from pathlib import Path

from dlplay.engine.settings import Settings, SettingsError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


@dataclasses.dataclass(frozen=True)
class Place:
    """One process among those that torchrun started."""

    rank: int
    ranks: int
    """Of all machines together (the world size)."""
    local_rank: int
    """On this machine: the number of its card."""
    local_ranks: int
    restarts: int
    """How often torchrun has started them anew, as `--max-restarts` says."""
    launch: str
    """This torchrun and no other: the same after a restart."""


def place() -> Place | None:
    """The place of this process; None where torchrun has not started it."""
    values = [os.environ.get(name, "") for name in _VARIABLES]
    numbers, restarts = values[:4], os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if not all(values) or not all(map(str.isdecimal, [*numbers, restarts])):
        return None
    rank, ranks, local_rank, local_ranks = map(int, numbers)
    parent = os.getppid()
    return Place(rank, ranks, local_rank, local_ranks, int(restarts), f"{values[-1]} {socket.gethostname()} {parent} {_began(parent)}")


def check(settings: Settings, ranks: int) -> None:
    """Raises `SettingsError` where several ranks cannot train with these settings."""
    if settings.graph:
        raise SettingsError("--graph captures the steps of one process; leave it out, or start it without torchrun", "graph")
    if why := settings.no_accumulation():
        norm = "use another --norm, or " if hasattr(settings, "norm") else ""
        raise SettingsError(f"{ranks} ranks would train another loss: {why}; {norm}start it without torchrun")
    if why := indivisible(getattr(settings, "batch", ranks), ranks):
        raise SettingsError(why, "batch")


def indivisible(batch: int, ranks: int) -> str:
    """Why a batch cannot be divided by the ranks, in words; empty where it can."""
    if batch % ranks == 0:
        return ""
    fewer, more = batch // ranks * ranks, -(-batch // ranks) * ranks
    sizes = f"{fewer} or {more}" if fewer else f"{more}"
    return f"a batch of {batch} cannot be divided by {ranks} ranks; use --batch {sizes}"


def tries_again() -> bool:
    """Whether torchrun will start the command anew when it fails, as `--max-restarts` says."""
    found, most = place(), os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    return found is not None and most.isdecimal() and found.restarts < int(most)


def is_follower() -> bool:
    """Whether another process, rank 0, writes the run and speaks to the person."""
    found = place()
    return found is not None and found.rank > 0


def _began(pid: int) -> str:
    """When the process began, where the system tells: numbers of processes come again."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
