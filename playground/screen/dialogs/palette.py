"""Lists of options that bear a page key before they are laid out, for which Textual's raise `KeyError`; the command palette is one."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.command import CommandList, CommandPalette
from textual.widgets import OptionList

from dlplay.screen.dialogs.dialog import QUIT, Steady


class Options(OptionList):
    """A list of options."""

    def action_page_up(self) -> None:
        if self.size.height:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        if self.size.height:
            super().action_page_down()  # type: ignore[no-untyped-call]


class Palette(Steady, CommandPalette):
    """The command palette."""

    BINDINGS: ClassVar[list[BindingType]] = [QUIT]

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).size.height:
            super()._action_command_list(action)
