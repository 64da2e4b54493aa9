"""How much work a measurement may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Effort:
    """What the command line said."""

    rounds: int = 5
    threads: int = 1
    minutes: float = 10.0
    share: float = 1.0
    """Of the usual number of steps, and of the usual seconds."""
    quick: bool = False
    """Everything is run once, to see that it runs; the figures mean nothing."""

    def steps(self, usual: int) -> int:
        """At least 20."""
        return max(20, round(usual * self.share))

    def seconds(self, usual: float) -> float:
        """At least a tenth of a second."""
        return max(0.1, usual * min(1.0, self.share))

    def of(self, architectures: Iterable[str]) -> list[str]:
        """Which of these to measure where each takes a while: all of them, or the last one."""
        found = list(architectures)
        return found[-1:] if self.quick else found


QUICK = Effort(rounds=1, minutes=0.1, share=0.01, quick=True)
