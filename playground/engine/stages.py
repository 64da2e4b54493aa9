"""What a tab's action area can be: where a person acts on the model, and which question and options that means. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Set


@dataclasses.dataclass(frozen=True)
class Stage:
    """Base of all kinds: what a person does sets an option of a panel, which answers."""

    panel: str
    """The panel that answers."""
    option: str
    """Its option that takes what was typed, drawn or pointed at."""
    shows: str = dataclasses.field(default="", kw_only=True)
    """A panel whose picture stands behind what a person does: the image to draw over, what lies where in a plane. Empty: none."""
    below: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    """Panels that stand below it where there is room: what becomes of the input on its way through the model, the first one first."""

    @property
    def panels(self) -> tuple[str, ...]:
        """All panels that the stage asks: their options stand in its bar, and nowhere else."""
        return (self.panel,)

    @property
    def by_hand(self) -> Set[str]:
        """Options that are set by acting, and need no control anywhere."""
        return {self.option}


@dataclasses.dataclass(frozen=True)
class Prompt(Stage):
    """A text that a person and the model write together. The panel answers with `Bars`: candidates for the next word."""

    generate: str = ""
    """The panel that continues the text; empty: none does."""
    before: str = ""
    """The option that takes what was read before the prompt, part by part: the prompt can be read into it, and it can be emptied."""

    @property
    def panels(self) -> tuple[str, ...]:
        """The candidates, and the continuation."""
        return (self.panel, self.generate) if self.generate else (self.panel,)

    @property
    def by_hand(self) -> Set[str]:
        """The text, and what was read before it."""
        return {self.option, self.before} - {""}


@dataclasses.dataclass(frozen=True)
class TokenLine(Stage):
    """A line, and tokens that answer it or are in it, each of which can be replaced. The panel answers with `Tokens` and what else might
    stand at one of them (`alternatives`)."""

    place: str
    """The option that says which token is looked at; -1 leaves it to the panel."""
    changes: str
    """The option that picking an alternative sets. It may be the line's own (a word of the sentence is replaced) or another one (words that
    the output is made to begin with), which is emptied when the line changes."""
    plays: str = ""
    """The option that says how many tokens may come at the most, so that they can be watched coming one by one; empty: they do not come."""

    @property
    def by_hand(self) -> Set[str]:
        """The line and all that is done to its tokens."""
        return {self.option, self.place, self.changes, self.plays} - {""}


@dataclasses.dataclass(frozen=True)
class Pad(Stage):
    """A pad to draw an input on; the option takes the drawing: rows of comma-separated numbers from 0 to `levels`, rows parted by `;`."""

    size: tuple[int, int] = (8, 8)
    """Rows and columns."""
    levels: int = 16
    """The value of full ink."""

    @property
    def panels(self) -> tuple[str, ...]:
        """None: a drawing takes the place of an image, which a panel goes on choosing."""
        return ()


@dataclasses.dataclass(frozen=True)
class Plane(Stage):
    """A plane in which a cursor walks; the option takes its place, `x,y`. Any kind of panel may answer."""

    bounds: tuple[float, float, float, float] = (-2.0, 2.0, -2.0, 2.0)
    """Left, right, bottom, top."""


@dataclasses.dataclass(frozen=True)
class Environment(Stage):
    """An environment in which an agent acts. The panel answers with a `Frame`; the option takes the room that there is for its picture:
    pixels, `columns x rows`, such as `120x64`."""

    advance: str = ""
    """The action that carries the shown episode on; its options have `steps` and the stage's `option`, it answers like the panel."""
    take: str = ""
    """The action that takes one step with the chosen `action`, otherwise the same; empty: nobody can take the controls."""
