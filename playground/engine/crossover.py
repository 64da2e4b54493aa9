"""Up to which size of a net a CPU trains faster than a GPU: a fixed size, until `dlplay check` has measured it on this machine's card.

The size is the multiply-adds of a batch in the matrices between hidden layers, which settings alone tell. A CPU's time for an update grows
with them; a GPU's is that of launching its kernels until they are many. Weights alone would say nothing of the batch.
Imports no torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

UP_TO = 256 * 256 * 128
"""Where nobody has measured it: two layers of 256 units, and a batch of 128."""
MOST_BYTES, MOST_CARDS = 65_536, 64
"""Of the file."""
DRIVER = Path("/proc/driver/nvidia/gpus")
"""Where the driver tells of its cards, on Linux."""

MultiplyAdds = Annotated[int, Meta(ge=0, le=10**15)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """Training steps per second of a net, and its multiply-adds."""

    multiply_adds: MultiplyAdds
    cpu: float
    card: float


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found on a card."""

    up_to: MultiplyAdds
    date: Annotated[str, Meta(max_length=40)]


@dataclasses.dataclass(frozen=True)
class Bound:
    """Nets of so many multiply-adds are trained on the CPU."""

    up_to: int
    card: str
    """On which it was measured; empty: it is the fixed one."""


def crossing(speeds: Sequence[Speeds]) -> int:
    """The multiply-adds up to which the CPU is faster, from at least one net: on a straight line, in the logarithms of size and ratio,
    between the last net before the card is faster and the first with which it is. Where it never is, the size of the largest net, since
    nothing is known beyond; where it always is, 0."""
    ordered = sorted(speeds, key=lambda each: each.multiply_adds)
    ratios = [math.log(each.card / each.cpu) for each in ordered]
    first = next((number for number, ratio in enumerate(ratios) if ratio > 0), None)
    if first is None:
        return ordered[-1].multiply_adds
    if first == 0:
        return 0
    (slow, fast), (low, high) = ratios[first - 1 : first + 1], (math.log(each.multiply_adds) for each in ordered[first - 1 : first + 1])
    return int(math.exp(low + (high - low) * -slow / (fast - slow)))


def bound() -> Bound:
    """The one that holds on this machine: of several cards that were measured, the lowest."""
    known = kept()
    return min((Bound(known[name].up_to, name) for name in cards() if name in known), key=lambda each: each.up_to, default=Bound(UP_TO, ""))


def cards() -> list[str]:
    """The names of this machine's NVIDIA cards, as CUDA has them; empty where the driver does not tell."""
    names = []
    with contextlib.suppress(OSError):
        for path in sorted(DRIVER.glob("*/information"))[:MOST_CARDS]:
            with path.open(errors="replace") as file:
                lines = file.read(MOST_BYTES).splitlines()
            names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names


def kept() -> dict[str, Measured]:
    """What was measured on this machine, by the name of the card; nothing where the file is missing or is not what `keep` writes."""
    try:
        with path().open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        known = msgspec.json.decode(data, type=dict[Name, Measured])
    except (OSError, msgspec.DecodeError, RecursionError):
        return {}
    return known if len(data) <= MOST_BYTES and len(known) <= MOST_CARDS else {}


def keep(card: str, up_to: int) -> None:
    """Write down what was measured on a card, beside what is known of others. Raises `OSError`."""
    others = [(name, found) for name, found in kept().items() if name != card]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    known = dict([*others[-(MOST_CARDS - 1) :], (card[:200], Measured(up_to=up_to, date=now))])
    path().parent.mkdir(parents=True, exist_ok=True)
    staged = path().with_suffix(f".{os.getpid()}")
    staged.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=2))
    staged.replace(path())


def path() -> Path:
    """The file, in the user's cache folder."""
    import platformdirs  # which not every command needs

    return Path(platformdirs.user_cache_dir("dlplay")) / "crossover.json"
