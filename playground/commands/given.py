"""Settings from what was typed: flags, a preset, a file, a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dlplay.engine.card import Card
from dlplay.engine.errors import nearest
from dlplay.engine.paths import expanded
from dlplay.engine.settings import Settings, SettingsError, code, field, fields, parse_until, read_file
from dlplay.runs.console import print_line


def settings_given(card: Card, given: dict[str, Any], runs_dir: Path) -> dict[str, Any]:
    """Settings in rising order of precedence: from the checkpoint, the preset, the file and the flags."""
    values: dict[str, Any] = {}
    if given.get("from"):
        values |= from_checkpoint(card, given, runs_dir)
    if (preset := given.get("preset")) is not None:
        if preset not in card.presets:
            raise SettingsError(f"there is no preset {preset[:60]!r}; {nearest(preset, card.presets)}")
        values |= dict(card.presets[preset].values)
    if given.get("set_file"):
        values |= _from_file(card, given["set_file"])
    return values | typed(card, given)


def typed(card: Card, given: dict[str, Any]) -> dict[str, Any]:
    return {item.name: given[item.name] for item in fields(card.settings) if item.name in given}


def from_checkpoint(card: Card, given: dict[str, Any], runs_dir: Path) -> dict[str, Any]:
    """The settings that fit the weights of `--from`. Code that they import is asked for, unless a flag names it."""
    from dlplay.runs import origin
    from dlplay.runs.trust import agreed

    checkpoint = origin.find(given["from"], runs_dir, card.name, weights=False, earlier=bool(given.get("explore")))
    unnamed = {name: value for name, value in origin.all_settings(checkpoint).items() if name not in given}
    return origin.settings_of(card, checkpoint) | agreed(card, unnamed, given["from"], "{flags}")


def _from_file(card: Card, path: str) -> dict[str, Any]:
    found = {field(card.settings, name).name: value for name, value in read_file(expanded(path)).items()}
    for name in code(card.settings, found):
        flag = field(card.settings, name).flag
        raise SettingsError(f"the settings file {path} names code to import, and a file cannot decide that; give {flag} as a flag", name)
    return found


def absolute(start: str) -> str:
    """What `--from` names, with a folder as an absolute path."""
    from dlplay.runs import hf

    if hf.is_hf(start):
        return hf.absolute(start)
    return str(expanded(start).absolute()) if "/" in start else start


def tell_unused(settings: Settings, names: Iterable[str]) -> None:
    """Say on standard error which of these settings change nothing as the others are, in one line."""
    unused = settings.unused()
    words = [f"{field(type(settings), name).flag} is for {unused[name]}" for name in names if name in unused]
    if words:
        print_line(f"dlplay: no effect with these settings: {'; '.join(words)}", error=True)


def path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def check_until(card: Card, settings: Settings) -> None:
    """Raises `SettingsError` for a metric that this architecture does not have."""
    wanted = parse_until(settings.until)
    if wanted is not None and not wanted[0].startswith(card.metrics):
        raise SettingsError(f"--until {settings.until}: there is no metric {wanted[0][:60]}; {nearest(wanted[0], card.metrics)}", "until")
