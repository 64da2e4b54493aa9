"""Options of the panels about the machine. Imports no torch."""

from __future__ import annotations

from typing import Literal

from dlplay.engine.settings import Options, frozen


@frozen
class System(Options):
    """What is drawn."""

    gauge: Literal["utilisation", "memory", "temperature", "power", "speed", "throughput", "figures"] = "utilisation"
    """What is drawn over the steps: how busy cards and processors are, memory, the cards' temperature or power, steps a second, or examples
    (tokens, for text) a second; figures: all of it as a table, with throttling, processes and what went to the disk."""
