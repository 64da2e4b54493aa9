"""`dlplay learn`: lists the lessons, opens one, or plays it without a screen."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from dlplay.commands.parameters import AsJson, RunsDir
from dlplay.commands.screen import open_screen
from dlplay.engine.settings import Settings, SettingsError, field, parse
from dlplay.runs import directory
from dlplay.runs.console import print_line


def learn(
    name: Annotated[str, Parameter(help="Name of the lesson; without one, all are listed.")] = "",
    /,
    *,
    headless: Annotated[bool, Parameter(name="--headless", negative="", help="Play it without a screen, and check its claims.")] = False,
    seed: Annotated[str | None, Parameter(name="--seed", help="Seed of its runs; 0 by default. Needs --headless.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """List the lessons, or open one: steps that train and look, questions first, claims that are checked."""
    from dlplay.lessons import found

    if seed is not None and not headless:
        raise SettingsError("--seed needs --headless; on the screen the seed is a setting")
    if not name:
        if headless:
            raise SettingsError("--headless needs the name of a lesson; dlplay learn lists them")
        return _list(as_json)
    lesson = found.named(name)
    folder = directory.default_runs_dir(runs_dir)
    if headless:
        from dlplay.lessons import player

        return player.play(lesson, folder, int(parse(field(Settings, "seed"), seed or "0")), as_json)
    if as_json:
        raise SettingsError("--json needs --headless, or no name for the list of all lessons")
    return open_screen(tab=lesson.room, runs_dir=folder, lesson=lesson.name)


def _list(as_json: bool) -> int:
    from dlplay.lessons import found, progress

    lessons = found.all_lessons()
    done = set(progress.read(progress.default_path()).done)
    if as_json:
        for lesson in lessons:
            facts = {"type": "lesson", "name": lesson.name, "room": lesson.room, "title": lesson.title, "promise": lesson.promise}
            print_line(msgspec.json.encode({**facts, "steps": len(lesson.steps), "done": lesson.name in done}).decode())
        return 0
    width = max((len(lesson.name) for lesson in lessons), default=0)
    for lesson in lessons:
        print_line(f"{'✓' if lesson.name in done else ' '} {lesson.name:<{width}}  {lesson.title}")
        print_line(f"  {'':<{width}}  {lesson.promise}")
    print_line(f"{len(done & {lesson.name for lesson in lessons})} of {len(lessons)} done; dlplay learn NAME opens one")
    return 0
