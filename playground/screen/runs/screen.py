"""The list of all runs: filtered as you type, sorted by any column, marked, drawn over each other, tagged, renamed, exported, deleted."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from dlplay.engine.card import Card
from dlplay.engine.units import size
from dlplay.runs import changes, directory, labels
from dlplay.runs.directory import RunDirectory, RunNameError, SpecError
from dlplay.runs.launch import launch
from dlplay.runs.lock import Held
from dlplay.screen.dialogs.dialog import Choice, Dialog, Modal
from dlplay.screen.keys import KeyHints
from dlplay.screen.recent_runs import UNDER_WAY
from dlplay.screen.runs import rows
from dlplay.screen.runs.compare import CompareScreen
from dlplay.screen.runs.rows import COLUMNS, Item
from dlplay.widgets import TableView

FORMATS = {".csv": "csv", ".onnx": "onnx", ".py": "torch"}
"""What `dlplay export` writes, by the end of the file's name."""
AGAIN_SECONDS = 1.0
"""Between two looks at the runs that may have changed."""
PART = 50
"""Runs that are read before what is known is shown."""


@dataclasses.dataclass(frozen=True)
class RunsChoice:
    """What was chosen: to open one run, to resume one, or to draw several over each other."""

    how: Literal["open", "resume", "overlay"]
    runs: tuple[RunDirectory, ...]
    architecture: str


class DeleteDialog(Dialog[bool | None]):
    """Asks before runs are deleted."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("d", "delete", "delete", show=False)]
    choices = (Choice("esc", "keep them", "cancel"), Choice("d", "delete with all checkpoints", "delete"))

    def __init__(self, names: list[str], taken: int) -> None:
        super().__init__()
        self.heading = f"Delete {names[0]}?" if len(names) == 1 else f"Delete {len(names)} runs?"
        self.words = f"{', '.join(names[:8])}{' …' if len(names) > 8 else ''}\n{size(taken)} on disk; this cannot be undone"

    def body(self) -> ComposeResult:
        yield Static(Content(self.words), classes="dialog-text")

    def action_delete(self) -> None:
        self.dismiss(True)


class RunsTable(TableView):
    """The runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "open", key_display="enter", tooltip="Open the run in its tab; of a group, list its members")
    ]


class RunsScreen(Modal[RunsChoice | None]):
    """Every run of the folder, whatever its architecture."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "mark", "mark", tooltip="Mark the run under the cursor, or a whole group, for what follows"),
        Binding("c", "compare", "compare", tooltip="What differs between the marked runs and groups, and whether it is luck"),
        Binding("o", "overlay", "overlay", tooltip="Draw the curves of the marked runs over each other in their tab"),
        Binding("slash", "filter", "filter", key_display="/", tooltip="Filter by name, state, setting, #tag or note"),
        Binding("s", "sort(1)", "sort", tooltip="Sort by the next column, or click a column's name"),
        Binding("S", "reverse", "reverse", tooltip="Reverse the order"),
        Binding("p", "resume", "resume", tooltip="Open the run in its tab and train on"),
        Binding("t", "tags", "tags", tooltip="Tag the run under the cursor"),
        Binding("n", "note", "note", tooltip="Write a note on the run under the cursor"),
        Binding("e", "rename", "rename", tooltip="Rename the run under the cursor"),
        Binding("w", "export", "export", tooltip="Write the curves of the marked runs, or the model of one, to files"),
        Binding("d", "delete", "delete", tooltip="Delete the marked runs with all their checkpoints, after asking"),
        Binding("escape", "back", "close", key_display="esc"),
        Binding("ctrl+p", "app.command_palette", "palette", show=False),
    ]

    def __init__(self, runs_dir: Path, cards: Mapping[str, Card]) -> None:
        super().__init__()
        self.runs_dir, self.cards = runs_dir, cards
        self.sorted_by, self.reverse = rows.CHANGED, False
        self.shown: list[Item] = []
        """Those in the table, in its order."""
        self._items: dict[str, Item] = {}
        self._marked: set[str] = set()
        self._opened: set[str] = set()
        """The groups whose members are listed."""
        self._asked: Callable[[str], None] | None = None
        """What the line at the bottom is for, while it is there."""

    def compose(self) -> ComposeResult:
        with Vertical(id="runs"):
            yield Static(id="runs-title")
            yield Input(placeholder="filter: name, architecture, state, setting, #tag, note", id="runs-filter", compact=True)
            yield RunsTable(empty="no runs yet: F5 in a tab trains one", click_moves=True, narrowest=16, id="runs-table")
            yield Input(id="runs-line", compact=True)
            yield KeyHints()

    def on_mount(self) -> None:
        self.query_one("#runs-line").display = False
        self.query_one(TableView).focus()
        self._read()
        self.set_interval(AGAIN_SECONDS, self._look_again)

    # --- reading ------------------------------------------------------------------------------------------------------------------

    @work(group="read", exclusive=True)
    async def _read(self) -> None:
        """Show the names at once, then what each run has come to, the newest first."""
        names = await asyncio.to_thread(self._names)
        self._items = {name: self._items.get(name, Item(name)) for name in names}
        self._marked &= set(names)
        self._draw()
        for start in range(0, len(names), PART):
            for item in await asyncio.to_thread(self._read_part, names[start : start + PART]):
                self._items[item.name] = item
            if start in (0, PART) or start % (10 * PART) == 0 or start + PART >= len(names):
                self._draw()

    @work(group="again", exclusive=True)
    async def _look_again(self) -> None:
        """Read what has changed since, and draw it if something has."""
        found = await asyncio.to_thread(self._changed, dict(self._items))
        if found and not any(worker.group == "read" and worker.is_running for worker in self.workers):
            self._items |= {item.name: item for item in found}
            self._draw()

    def _changed(self, known: dict[str, Item]) -> list[Item]:
        """The runs that are new, under way, or written since they were read, as they are now; without those that came to the same."""
        found = []
        for name in self._names():
            item = known.get(name)
            if item is not None and item.summary is None:
                continue  # it is being read
            if item is None:
                found += self._read_part([name])
                continue
            assert item.summary is not None
            run = RunDirectory(self.runs_dir / name)
            with contextlib.suppress(OSError):
                if item.summary.state in UNDER_WAY or run.journal_path.stat().st_mtime != item.summary.modified:
                    summary = directory.summary(run)
                    if dataclasses.replace(summary, modified=0.0) != dataclasses.replace(item.summary, modified=0.0):
                        changed = changes.of(run, summary.step)
                        settings = rows.changed_settings(self.cards.get(summary.architecture), _settings(run), changed)
                        found.append(dataclasses.replace(item, summary=summary, settings=settings))
        return found

    def _names(self) -> list[str]:
        def changed(name: str) -> float:
            with contextlib.suppress(OSError):
                return (self.runs_dir / name / "events.jsonl").stat().st_mtime
            return 0.0

        return sorted(directory.names(self.runs_dir), key=changed, reverse=True)

    def _read_part(self, names: list[str]) -> list[Item]:
        items = []
        for name in names:
            run = RunDirectory(self.runs_dir / name)
            with contextlib.suppress(OSError):  # it is being removed
                summary = directory.summary(run)
                settings = rows.changed_settings(self.cards.get(summary.architecture), _settings(run), changes.of(run, summary.step))
                items.append(Item(name, summary, labels.read(run), directory.disk_space(run.path), settings))
        return items

    def _draw(self) -> None:
        table = self.query_one(TableView)
        under = self.under.name if self.under else ""
        wanted = rows.filtered(self._items.values(), self.query_one("#runs-filter", Input).value)
        in_order = rows.ordered(rows.folded(wanted), self.sorted_by, self.reverse, self.cards)
        self.shown = []
        for item in in_order:
            self.shown.append(item)
            if item.name in self._opened:
                members = rows.ordered(item.members, self.sorted_by, self.reverse, self.cards)
                self.shown += [dataclasses.replace(member, lines="  " + member.lines) for member in members]
        arrow = "▲" if self.reverse else "▼"
        columns = [f"{name} {arrow}" if at == self.sorted_by else name for at, name in enumerate(COLUMNS)]
        names = [item.name for item in self.shown]
        if under in names:
            table.cursor = names.index(under)
        marked = {at for at, item in enumerate(self.shown) if {run.name for run in _runs(item)} <= self._marked}
        table.show(columns, rows.cells(self.shown, self.cards, self._opened), right=rows.RIGHT, marked=marked)
        count = len(wanted)
        taken = sum(item.bytes for item in self._items.values())
        words = f"{count} of {len(self._items)} runs" if count < len(self._items) else f"{count} runs"
        number = f", {len(self._marked)} marked" if self._marked else ""
        self.query_one("#runs-title", Static).update(
            Content.assemble(("Runs", "bold $text-accent"), f"  {words}{number}, {size(taken)} on disk")
        )

    @property
    def under(self) -> Item | None:
        """The run under the cursor."""
        table = self.query_one(TableView)
        return self.shown[table.cursor] if table.cursor < len(self.shown) else None

    @property
    def chosen(self) -> list[Item]:
        """The marked runs, or without any the one under the cursor."""
        marked = [item for item in self._items.values() if item.name in self._marked]
        return marked or (_runs(self.under) if self.under is not None else [])

    def _run(self, item: Item) -> RunDirectory:
        return RunDirectory(self.runs_dir / item.name)

    # --- keys ---------------------------------------------------------------------------------------------------------------------

    def action_back(self) -> None:
        """Out of a line first, then out of the list."""
        if self.focused is not self.query_one(TableView):
            self._close_line()
        else:
            self.dismiss(None)

    def action_filter(self) -> None:
        self.query_one("#runs-filter").focus()

    def action_sort(self, by: int) -> None:
        self.sorted_by = (self.sorted_by + by) % len(COLUMNS)
        self.reverse = False
        self._draw()

    def action_reverse(self) -> None:
        self.reverse = not self.reverse
        self._draw()

    @on(TableView.HeadClicked)
    def _head_clicked(self, event: TableView.HeadClicked) -> None:
        self.reverse = not self.reverse if event.column == self.sorted_by else False
        self.sorted_by = event.column
        self._draw()

    def action_mark(self) -> None:
        if self.under is not None:
            names = {item.name for item in _runs(self.under)}
            self._marked = self._marked - names if names <= self._marked else self._marked | names
            self._draw()
            self.query_one(TableView).action_move(1)

    @on(TableView.Selected)
    def _chosen(self) -> None:
        """Open the run; of a group list the members, or no longer."""
        if self.under is not None and self.under.members:
            self._opened ^= {self.under.name}
            self._draw()
        else:
            self._leave("open", [self.under] if self.under else [])

    def action_resume(self) -> None:
        if (item := self._single) is not None:
            self._leave("resume", [item])

    @property
    def _single(self) -> Item | None:
        """The run under the cursor; a group has nothing of its own to change."""
        if self.under is not None and self.under.members:
            self.notify(f"{self.under.name} is a group; enter lists its runs")
            return None
        return self.under

    def action_compare(self) -> None:
        if chosen := self.chosen:
            self.app.push_screen(CompareScreen(self._with_groups(chosen), self.runs_dir))

    def _with_groups(self, chosen: list[Item]) -> list[str]:
        """Their names; that of a group for its members, where all of them were chosen."""
        groups: dict[str, set[str]] = {}
        for item in self._items.values():
            if item.summary is not None and item.summary.group:
                groups.setdefault(item.summary.group, set()).add(item.name)
        names = {item.name for item in chosen}
        whole = {member: group for group, members in groups.items() if members <= names for member in members}
        return list(dict.fromkeys(whole.get(item.name, item.name) for item in chosen))

    def action_overlay(self) -> None:
        chosen = self.chosen
        kinds = {item.summary.architecture for item in chosen if item.summary}
        if len(kinds) > 1:
            self.notify(f"these runs are of {', '.join(sorted(kinds))}; a tab draws one architecture, dlplay compare draws several")
            return
        self._leave("overlay", chosen)

    def _leave(self, how: Literal["open", "resume", "overlay"], items: list[Item]) -> None:
        known = [item for item in items if item.summary is not None and item.summary.architecture in self.cards]
        if not known:
            self.notify("nothing to open here: " + (items[0].summary.problem if items and items[0].summary else "it is still being read"))
            return
        assert known[0].summary is not None
        self.dismiss(RunsChoice(how, tuple(self._run(item) for item in known), known[0].summary.architecture))

    def action_tags(self) -> None:
        if (item := self._single) is not None:
            self._ask(
                f"tags of {item.name}",
                " ".join(item.labels.tags),
                lambda text: self._label(item, labels.parse_tags(text), item.labels.note),
            )

    def action_note(self) -> None:
        if (item := self._single) is not None:
            self._ask(f"note on {item.name}", item.labels.note, lambda text: self._label(item, item.labels.tags, text))

    def _label(self, item: Item, tags: tuple[str, ...], note: str) -> None:
        labels.write(self._run(item), tags, note)

    def action_rename(self) -> None:
        if (item := self._single) is not None:
            self._ask(f"new name of {item.name}", item.name, lambda text: self._rename(item, text))

    def _rename(self, item: Item, name: str) -> None:
        if name != item.name:
            directory.rename(self._run(item), name)
            if item.name in self._marked:
                self._marked |= {name}

    def action_export(self) -> None:
        if chosen := self.chosen:
            several = len(chosen) > 1
            what = f"a folder for the curves of {len(chosen)} runs" if several else f"export {chosen[0].name}: {', '.join(FORMATS)}"
            self._ask(what, "curves" if several else f"{chosen[0].name}.csv", lambda text: self._export_all(chosen, text))

    def _export_all(self, items: list[Item], text: str) -> None:
        target = Path(text).expanduser().absolute()
        if len(items) > 1:
            target.mkdir(exist_ok=True)
            self._export([(item, target / f"{item.name}.csv") for item in items])
        elif target.suffix in FORMATS:
            self._export([(items[0], target)])
        else:
            raise RunNameError(f"{target.name} ends with none of {', '.join(FORMATS)}; other formats: dlplay export {items[0].name} --to …")

    @work(group="export")
    async def _export(self, targets: list[tuple[Item, Path]]) -> None:
        """By the command that a person could have typed."""
        log = directory.explore_path(self.runs_dir) / "export.txt"
        for item, target in targets:
            command = ["export", item.name, "--to", FORMATS[target.suffix], str(target), "--runs-dir", str(self.runs_dir)]
            try:
                exported = await launch(command, log)
            except OSError as error:
                self.notify(str(error), severity="error", timeout=8)
                return
            if await exported.wait() != 0:
                self.notify(exported.last_words(1).removeprefix("dlplay: "), severity="error", timeout=8)
                return
        self.notify(f"{targets[-1][1]} is written" if len(targets) == 1 else f"{len(targets)} files are in {targets[0][1].parent}")

    @work(group="delete")
    async def action_delete(self) -> None:
        chosen = self.chosen
        if not chosen or not await self.app.push_screen_wait(
            DeleteDialog([item.name for item in chosen], sum(item.bytes for item in chosen))
        ):
            return
        kept = await asyncio.to_thread(self._delete, chosen)
        if kept:
            self.notify("\n".join(kept), timeout=8)
        self._read()

    def _delete(self, items: list[Item]) -> list[str]:
        """Delete them; returns why some could not be. Another screen may delete the same ones."""
        kept = []
        for item in items:
            try:
                directory.remove(self._run(item))
            except FileNotFoundError:
                continue
            except (Held, OSError) as error:
                kept.append(str(error))
        return kept

    # --- the line at the bottom ---------------------------------------------------------------------------------------------------

    def _ask(self, what: str, value: str, then: Callable[[str], None]) -> None:
        line = self.query_one("#runs-line", Input)
        line.placeholder, line.value, line.display = what, value, True
        line.border_title = what
        self._asked = then
        line.focus()

    def _close_line(self) -> None:
        self._asked = None
        self.query_one("#runs-line").display = False
        self.query_one(TableView).focus()

    @on(Input.Submitted, "#runs-line")
    def _answered(self, event: Input.Submitted) -> None:
        then = self._asked
        if then is None:
            return
        try:
            then(event.value)
        except (RunNameError, Held, OSError) as error:
            self.notify(str(error), severity="error", timeout=8)
            return
        self._close_line()
        self._read()

    @on(Input.Submitted, "#runs-filter")
    def _filter_done(self) -> None:
        self.query_one(TableView).focus()

    @on(Input.Changed, "#runs-filter")
    def _filter_changed(self) -> None:
        self._draw()


def _runs(item: Item) -> list[Item]:
    """The run, or the members of a group."""
    return list(item.members) or [item]


def _settings(run: RunDirectory) -> Mapping[str, Any]:
    with contextlib.suppress(SpecError):
        return run.spec.settings
    return {}
