"""What a person says of a run after it began: tags and a note, in `labels.json` in its folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dlplay.runs.directory import RunDirectory, RunNameError
from dlplay.runs.files import open_regular

FILE = "labels.json"
LIMIT = 1 << 16
MAX_NOTE = 2000

Tag = Annotated[str, Meta(pattern=r"\A[\w.+-]{1,40}\Z")]


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """A run's tags and note; both may be empty."""

    tags: Annotated[tuple[Tag, ...], Meta(max_length=32)] = ()
    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""


NONE = Labels()


def read(run: RunDirectory) -> Labels:
    """None of them where the file is missing or is not what this module writes."""
    try:
        with os.fdopen(open_regular(run.path / FILE, os.O_RDONLY), "rb") as file:
            return msgspec.json.decode(file.read(LIMIT), type=Labels)
    except (OSError, msgspec.DecodeError, RecursionError):
        return NONE


def parse_tags(text: str) -> tuple[str, ...]:
    """`"wide, first-try"` as tags, each once. Raises `RunNameError`."""
    tags = tuple(dict.fromkeys(tag for tag in text.replace(",", " ").split() if tag))
    try:
        return msgspec.convert({"tags": tags}, Labels).tags
    except msgspec.ValidationError:
        raise RunNameError(f"{text[:80]!r} cannot be tags; give up to 32 words of letters, digits, _ . + -, up to 40 long") from None


def write(run: RunDirectory, tags: tuple[str, ...], note: str) -> None:
    """Replace the run's tags and note. Raises `RunNameError` for what is too long, and `OSError`."""
    note = " ".join(note.split())
    if len(note) > MAX_NOTE:
        raise RunNameError(f"a note holds {MAX_NOTE:,} characters, and this one has {len(note):,}; shorten it")
    if not (run.path / "run.json").is_file():
        raise RunNameError(f"there is no run {run.name!r} any more")
    fd, draft = tempfile.mkstemp(prefix=".labels-", dir=run.path)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(Labels(tags=parse_tags(" ".join(tags)), note=note)))
            file.flush()
            os.fsync(file.fileno())
        Path(draft).rename(run.path / FILE)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def shown(run: RunDirectory, as_json: bool) -> str:
    """The run's name, tags and note in a line."""
    found = read(run)
    if as_json:
        return msgspec.json.encode({"name": run.name, "tags": found.tags, "note": found.note}).decode()
    return "  ".join([run.name, *(f"#{tag}" for tag in found.tags), *filter(None, [found.note])])
