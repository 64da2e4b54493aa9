"""What the app does for lessons: opens the list and the guide, moves the guide from tab to tab, remembers what was done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from dlplay.engine.card import Card
from dlplay.lessons import found, progress
from dlplay.lessons.found import LessonError
from dlplay.screen.lessons.dialog import NOTES, LessonsDialog
from dlplay.screen.lessons.guide import GuidePane
from dlplay.screen.lessons.play import Play

if TYPE_CHECKING:
    from dlplay.screen.tab import ArchitectureTab


class LessonDesk:
    """One for the app; there is one guide at a time. `path` is the file in which is remembered what was done."""

    def __init__(self, app: App[Any], path: Path) -> None:
        self.app, self.path = app, path
        self.guide: GuidePane | None = None

    async def choose(self, card: Card) -> str | None:
        """Ask which of a room's lessons to take; `NOTES` where its notes are wanted, or where there is nothing else."""
        lessons, problem = [], ""
        try:
            lessons = found.of_room(card)
        except LessonError as error:
            problem = str(error)
        if not lessons and not problem:
            return NOTES
        return await self.app.push_screen_wait(LessonsDialog(card, lessons, progress.read(self.path).done, problem))

    async def begin(self, name: str, tab: ArchitectureTab) -> None:
        """Open the guide with this lesson. Raises `LessonError`."""
        lesson = found.named(name)
        await self.leave()
        await self._show(Play(lesson, tab))

    async def move(self, tab: ArchitectureTab) -> None:
        """The guide goes on in this tab."""
        if self.guide is not None:
            play = self.guide.play
            play.tab = tab
            await self.guide.remove()
            await self._show(play)

    async def _show(self, play: Play) -> None:
        self.guide = GuidePane(play)
        await play.tab.mount(self.guide, before=play.tab.query_one("RunBar"))

    async def leave(self) -> None:
        """Close the guide; what trains goes on."""
        if self.guide is not None:
            guide, self.guide = self.guide, None
            guide.play.close()
            await guide.remove()

    def finished(self, name: str) -> None:
        progress.mark_done(self.path, name)
