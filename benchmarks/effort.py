"""How much work a measurement may be."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Effort:
    """What the command line said."""

    rounds: int = 5
    threads: int = 1
    minutes: float = 10.0
    share: float = 1.0
    """Of the usual number of steps."""

    def steps(self, usual: int) -> int:
        """At least 20."""
        return max(20, round(usual * self.share))
