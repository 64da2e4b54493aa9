"""Options of the panels that every architecture has. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine.interventions import parse
from dlplay.engine.settings import Options, frozen

Address = Annotated[str, Meta(max_length=200)]
Group = Annotated[str, Meta(max_length=200)]


@frozen
class Effect(Options):
    """What is done to the model."""

    do: Annotated[str, Meta(max_length=2000)] = ""
    """Interventions parted by ;, such as blocks.1.head.3=mean, blocks.0.feed_forward[17]*2 or tokens["the"]=0."""

    group: Group = ""
    """Measure held-out examples of this class alone: what does it do to a 7? Empty: all."""

    def check(self) -> None:
        """Raises `SettingsError`."""
        parse(self.do)


@frozen
class Ablations(Options):
    """Which parts are ablated, one after the other."""

    module: Address = ""
    """A module by its address, as the panel anatomy lists them; empty: the first layer, or for ablations every attention head."""

    group: Group = ""
    """Measure held-out examples of this class alone: what does a 7 hang on? Empty: all."""

    by: Literal["mean", "zero"] = "mean"
    """What a part is replaced by: its mean over held-out data, or 0."""


@frozen
class Anatomy(Options):
    """What is told of each module."""

    columns: Literal["build", "health"] = "build"
    """build: shapes, parameters, multiply-adds, time; health: activations, gradients, updates, effective ranks."""


@frozen
class Layer(Options):
    """One module, and what of it is shown."""

    module: Address = ""
    """A module by its address, as the panel anatomy lists them; empty: the first layer, or for ablations every attention head."""

    details: Literal["weights", "activations", "gradients", "matrix", "units"] = "weights"
    """Histograms of its weights, its output or its gradients; its weight matrix; or the held-out example that excites each unit most."""

    over_time: bool = False
    """Histograms at each of some checkpoints along the way of the run, as rows of a map, the newest at the bottom."""
