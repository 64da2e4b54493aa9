"""Asking a trained model one question, or keeping one ready to be asked: nothing is trained here."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

import msgspec

from playground.engine import device as devices
from playground.engine import explore as exploring
from playground.engine.card import Card
from playground.engine.panels import AnyPanel, Array, Bars, Table, Tokens
from playground.engine.settings import Settings, SettingsError, make
from playground.engine.task import looking
from playground.runs import origin
from playground.runs.console import say
from playground.runs.directory import RunDirectory
from playground.runs.lock import RunLock
from playground.runs.process import load
from playground.runs.server import Server

LINGER_SECONDS = 5.0


def answer(card: Card, settings: Settings, start: str, runs_dir: Path, panel: str, options: dict[str, Any]) -> AnyPanel:
    """One panel of the checkpoint that `start` names."""
    task = load(card, origin.find(start, runs_dir, card.name), settings)
    with looking(task):
        return task.panel(panel, make(card.panel(panel).options, options))


def explore(directory: RunDirectory, card: Card, settings: Settings, start: str, runs_dir: Path) -> int:
    """Answer questions over the directory's socket until nobody has been attached for a few seconds. Returns the exit status."""
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: ended.append(number))
    with RunLock(directory.lock_path), contextlib.ExitStack() as stack:
        task = load(card, origin.find(start, runs_dir, card.name), settings)
        server = Server(directory.socket_path)
        server.start()
        stack.callback(server.close)
        exploring.explore(card, task, ServerOutlet(server), devices.describe(task.device), lambda: bool(ended), LINGER_SECONDS)
    return 0


class ServerOutlet:
    """An outlet without a journal."""

    def __init__(self, server: Server) -> None:
        self.poll = server.poll
        self.reply = server.reply
        self.broadcast = server.broadcast
        self._server = server

    @property
    def clients(self) -> frozenset[int]:
        """Those attached now."""
        return self._server.clients

    def record(self, event: object) -> None:
        """Nothing trains, so nothing is recorded. Raises `SettingsError`."""
        raise SettingsError("nothing is recorded while exploring")

    def tell(self, event: object) -> None:
        """Nobody started a run."""


def _said(panel: AnyPanel) -> dict[str, Any]:
    """What a script wants of a panel: bars and tokens as rows, arrays as nested lists, nothing that is empty."""
    plain: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(panel).items():
        if isinstance(value, Array):
            plain[name] = value.numpy().tolist()
        elif value not in ("", [], {}, None):
            plain[name] = msgspec.to_builtins(value)
    match panel:
        case Bars():
            plain["rows"] = [{"label": label, "value": value} for label, value in zip(panel.labels, panel.values, strict=True)]
            hints = {"labels", "values", "high", "percent", "log", "appends"}
        case Tokens():
            plain["rows"] = [{"word": word, "value": value} for word, value in zip(panel.words, panel.values, strict=True)]
            hints = {"words", "values", "notes"}
        case _:
            hints = {"signed", "low", "high", "counts", "pick"}
    return {"kind": type(panel).__name__.lower(), **{name: value for name, value in plain.items() if name not in hints}}


def print_panel(panel: AnyPanel, as_json: bool) -> None:
    """A panel as a table on standard output, or as one JSON object without what is there for drawing alone."""
    if as_json:
        say(msgspec.json.encode(_said(panel)).decode())
        return
    from rich.console import Console
    from rich.table import Table as RichTable

    table = RichTable(box=None, pad_edge=False, header_style="bold")
    match panel:
        case Bars():
            table.add_column("")
            table.add_column("", justify="right")
            table.add_column("")
            top = panel.high or max(panel.values, default=1.0) or 1.0
            for label, value in zip(panel.labels, panel.values, strict=True):
                table.add_row(label, f"{100 * value:.2f} %" if panel.percent else f"{value:.4g}", "█" * round(30 * value / top))
        case Tokens():
            say(panel.text or " ".join(panel.words))
            return
        case Table():
            for index, column in enumerate(panel.columns):
                table.add_column(column, justify="right" if index in panel.right else "left")
            for row in panel.rows:
                table.add_row(*row)
        case _:
            say(msgspec.json.encode(_said(panel)).decode())
            return
    if panel.caption:
        say(panel.caption)
    Console(highlight=False, markup=False).print(table)
