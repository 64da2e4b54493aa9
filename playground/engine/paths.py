"""Paths as a person types them."""

from __future__ import annotations

from pathlib import Path

from dlplay.engine.errors import DataError


def expanded(text: str | Path) -> Path:
    """The path with `~` and `~NAME` replaced by the home folder. Raises `DataError` when there is none."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise DataError(f"{str(text)[:200]!r} begins with the home folder of an unknown user; give the full path") from None
