"""The architectures, one room each. This is the only place that looks for them; no other folder names one.

A room is a package with a `card`. Rooms lie in this folder, in folders that a person named (`--rooms DIR`, or the variable DLPLAY_ROOMS),
or in an installed distribution that has an entry point in the group `dlplay.rooms`. A room in a named folder is imported as
`dlplay.architectures.NAME`, as if it lay here: it can be moved here, or out, without an edit.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dlplay.engine.card import Card
from dlplay.engine.errors import cause
from dlplay.engine.settings import SettingsError, fields
from dlplay.microscope.card import with_microscope
from dlplay.system.card import with_system

VARIABLE = "DLPLAY_ROOMS"
"""Folders with rooms, parted as in PATH. Every process that a run or a screen starts inherits it."""
GROUP = "dlplay.rooms"
RESERVED = (
    *(
        "runs",
        "attach",
        "stop",
        "resume",
        "branch",
        "compare",
        "doctor",
        "label",
        "export",
        "rm",
        "learn",
        "serve",
        "new",
        "check",
        "install-completion",
        "help",
        "panel",
    ),
    *("sweep", "show", "list", "work"),  # of which the last three follow `sweep`, as a room's name does
)
"""Names of commands, which no room can have."""


def add_rooms(folders: Sequence[Path]) -> None:
    """Take the rooms of these folders as well, here and in every process started from here. Raises `SettingsError`."""
    for folder in folders:
        _check_folder("--rooms", folder)
        if (folder / "card.py").is_file():
            raise SettingsError(f"--rooms {folder} is a room itself; name the folder that it lies in: --rooms {folder.parent}")
        if not any((item / "card.py").is_file() for item in folder.iterdir()):
            raise SettingsError(f"--rooms {folder}: no folder in it has a card.py; dlplay new NAME {folder} makes a room to start from")
    known = _named_folders()
    os.environ[VARIABLE] = os.pathsep.join(map(str, dict.fromkeys([*known, *(folder.absolute() for folder in folders)])))
    cards.cache_clear()


def _check_folder(source: str, folder: Path) -> None:
    if not folder.is_dir():
        raise SettingsError(f"{source} {folder}: there is no such folder; name the folder in which the folders of your rooms lie")


def _named_folders() -> list[Path]:
    return [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


@functools.cache
def cards() -> dict[str, Card]:
    """Every architecture's card by its name, in the order of the tabs. Raises `SettingsError` for a room of one's own that is not right."""
    names = [room.name for room in pkgutil.iter_modules(__path__[:1]) if room.ispkg]
    found = [importlib.import_module(f"{__name__}.{name}").card for name in names]
    for folder in _named_folders():
        _check_folder(VARIABLE, folder)
        if str(folder) not in __path__:
            __path__.append(str(folder))
        for name in sorted(item.name for item in folder.iterdir() if (item / "card.py").is_file()):
            if name in names:
                raise SettingsError(f"{folder / name}: there is a room called {name} already; rename this folder")
            names.append(name)
            found.append(_load(f"{__name__}.{name}", str(folder / name)))
    if _may_be_installed():
        from importlib.metadata import entry_points  # here, since it takes a tenth of the time that a command needs to start

        for entry in entry_points(group=GROUP):
            found.append(_load(entry.module, f"entry point {entry.name} ({entry.value})", entry.attr or "card"))
    by_name: dict[str, Card] = {}
    for card in sorted(found, key=lambda card: (card.order, card.name)):
        if card.name in RESERVED:
            raise SettingsError(f"{card.name} is a command, and no room can have that name ({card.task}); give it another one")
        if card.name in by_name:
            raise SettingsError(f"two rooms have the name {card.name} ({by_name[card.name].task} and {card.task}); give one another name")
        by_name[card.name] = with_system(with_microscope(card))
    return by_name


def _may_be_installed() -> bool:
    """Whether the entry points of any distribution have the group's name in them, or a distribution lies where only the library looks."""
    for place in map(Path, sys.path):
        if place.is_file():  # an archive
            return True
        for entry_points in place.glob("*-info/entry_points.txt"):
            with contextlib.suppress(OSError):
                if GROUP.encode() in entry_points.read_bytes():
                    return True
    return False


def _load(module: str, source: str, name: str = "card") -> Card:
    """The card of a room that is not part of dlplay. Raises `SettingsError` that says what is wrong with it, and where."""
    try:
        card = getattr(importlib.import_module(module), name)
        if not isinstance(card, Card):
            raise TypeError(f"its card is a {type(card).__name__}, not a Card")
        for options in (card.settings, *(item.options for item in card.panels), *(item.options for item in card.actions)):
            fields(options)  # raises TypeError for a field of another type than a flag can have
    except Exception as error:
        raise SettingsError(f"{source}: this room cannot be opened: {cause(error)}; correct it, or start without it") from error
    return card


def card(name: str) -> Card:
    """The card called `name`. Raises `SettingsError` with the nearest name."""
    known = cards()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}; for a room of your own name its folder with --rooms"
    raise SettingsError(f"there is no architecture {name[:80]!r}; {hint}")
