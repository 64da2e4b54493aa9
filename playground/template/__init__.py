"""`dlplay new`: a small working room to start from. The room `blobs` beside this file is copied under another name."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from dlplay.engine.settings import SettingsError

SOURCE = Path(__file__).parent / "blobs"


def write(name: str, folder: Path) -> Path:
    """Write a room called `name` (as on the command line: a-z, 0-9, hyphens) into `folder`; returns its path. Raises `SettingsError` for a
    name that cannot be used or a folder that is taken, and `OSError`."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) or keyword.iskeyword(name):
        bound = "1 to 32 of a-z, 0-9 and hyphens, a letter first, and no keyword of Python"
        raise SettingsError(f"{name[:80]!r} cannot be a room's name; use {bound}")
    room = folder / name.replace("-", "_")
    if room.exists():
        raise SettingsError(f"{room} is there already; choose another name, or remove it")
    room.mkdir(parents=True)
    for source in sorted([*SOURCE.iterdir(), *SOURCE.glob("lessons/*")]):
        if source.suffix in (".py", ".md", ".toml"):
            target = room / source.relative_to(SOURCE).with_stem(source.stem.replace("blobs", name))
            target.parent.mkdir(exist_ok=True)
            target.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
    return room


def _renamed(text: str, name: str) -> str:
    """The title where it stands alone, the class names, and the name itself."""
    title = name.replace("-", " ").capitalize()
    text = re.sub(r"(?<=# )Blobs|(?<=\")Blobs(?=[\":])", title, text)
    return text.replace("Blobs", title.title().replace(" ", "")).replace("blobs", name)
