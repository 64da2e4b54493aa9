"""`dlplay ARCH --headless --find-batch`: the largest batch that fits, which `runs/find_batch.py` tries, and how fast each one is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec

from dlplay.engine.card import Card
from dlplay.engine.settings import Settings, field, to_dict
from dlplay.experiments.command_line import command_line
from dlplay.runs.console import print_line

SIDE_BY_SIDE = "{:>10}  {:>10}  {:>12}  {}"


def run(card: Card, settings: Settings, start: str, runs_dir: Path, as_json: bool) -> int:
    """Try batches of a model, or of what a training from `start` trains, and print them; returns the exit status.

    Raises `SettingsError`, `DataError` or `CheckpointError`.
    """
    from dlplay.runs import find_batch, origin  # with torch

    assets = origin.find(start, runs_dir, card.name, weights=False).meta.get("assets") if start else None
    tried = find_batch.search(card, settings, assets)
    fitting = [found for found in tried if found.fits]
    largest = fitting[-1].batch if fitting else None
    if as_json:
        found = {"architecture": card.name, "largest": largest, "tried": [dataclasses.asdict(each) for each in tried]}
        print_line(msgspec.json.encode(found).decode())
        return 0 if fitting else 1
    unit = field(card.settings, card.batch).unit or "examples"
    print_line(SIDE_BY_SIDE.format(card.batch, "memory", f"{unit}/s", "").rstrip())
    for each in tried:
        many = settings.accumulate * each.batch / each.seconds if each.seconds else 0.0
        cells = (f"{each.bytes / 1e6:,.0f} MB", f"{many:,.0f}", "") if each.fits else ("", "", each.why)
        print_line(SIDE_BY_SIDE.format(f"{each.batch:,}", *cells).rstrip())
    if largest is None:
        print_line("no batch fits; take a smaller model")
        return 1
    words = command_line(card, {**to_dict(settings), card.batch: largest}, start)
    print_line(f"the largest that was tried and fits: {largest:,}; to take it: {words}")
    return 0
