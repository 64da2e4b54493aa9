"""What is remembered of a person's lessons: those that were done, and that the line of the first start was dismissed."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import msgspec

FILE = "lessons.json"
"""Beside the file with the choice of theme."""
LIMIT = 65_536
MOST = 1000
"""Names that are remembered."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    done: list[str] = []
    welcomed: bool = False
    """The line of the first start was dismissed."""


def read(path: Path) -> Progress:
    """What the file says; nothing where there is none, or where it is not what it should be."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(LIMIT), type=Progress)
    except (OSError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Progress()
    return msgspec.structs.replace(found, done=list(dict.fromkeys(found.done))[:MOST])


def write(path: Path, progress: Progress) -> None:
    """Save it as a whole or not at all; where it cannot be written, it is lost and nothing else happens."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".lessons-", delete=False) as draft:
            draft.write(msgspec.json.encode(progress) + b"\n")
        Path(draft.name).replace(path)


def mark_done(path: Path, lesson: str) -> None:
    known = read(path)
    if lesson not in known.done:
        write(path, msgspec.structs.replace(known, done=[*known.done, lesson]))


def mark_welcomed(path: Path) -> None:
    known = read(path)
    if not known.welcomed:
        write(path, msgspec.structs.replace(known, welcomed=True))


def default_path() -> Path:
    """The file in the platform's folder for preferences."""
    import platformdirs

    return Path(platformdirs.user_config_dir("dlplay", appauthor=False)) / FILE
