"""Options of the panels that every architecture has. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.interventions import parse
from dlplay.engine.settings import Options

Address = Annotated[str, Meta(max_length=200)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect(Options):
    """What is done to the model."""

    do: Annotated[str, Meta(max_length=2000)] = ""
    """Interventions parted by ;, such as blocks.1.head.3=mean or blocks.0.feed_forward[17]*2."""

    def check(self) -> None:
        """Raises `SettingsError`."""
        parse(self.do)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablations(Options):
    """Which parts are ablated, one after the other."""

    ablate: Address = ""
    """A module, whose units are ablated; empty: every attention head or, without any, every unit of the first layer."""

    group: Annotated[str, Meta(max_length=200)] = ""
    """Measure held-out examples of this class alone: what does a 7 hang on? Empty: all."""

    by: Literal["mean", "zero"] = "mean"
    """What a part is replaced by: its mean over held-out data, or 0."""
