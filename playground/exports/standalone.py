"""A run as one script of PyTorch alone: model, data, training loop and settings, made from the package's own source.

This works for any architecture. The script is the code that a task needs (`shaking`), in one file (`writing`), with the run's settings as
defaults and a training loop at the end. With the same device, threads and seed it computes the same numbers as the run, to the bit.
"""

from __future__ import annotations

import ast
import functools
import io
import platform
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlplay import __version__, architectures
from dlplay.data.bounded import clean
from dlplay.data.subwords import BytePairs, WordPieces
from dlplay.engine.card import Card
from dlplay.engine.events import Applied, DurableEvent, Started
from dlplay.engine.settings import Options, Settings, SettingsError, field, fields, show, to_dict
from dlplay.exports.loop_text import LOOP, READ
from dlplay.exports.modules import External, Key
from dlplay.exports.shaking import Shaker
from dlplay.exports.source import Source
from dlplay.exports.writing import Writer

ROOTS: tuple[Key, ...] = (("dlplay.engine.device", "prepare"), ("dlplay.engine.task", "looking"))
TYPE_OF_SETTINGS: Key = ("dlplay.engine.task", "S")
NEEDED = ("steps", "seed", "device", "threads", "eval_every")
IMPORTS = tuple(External(name, "", name) for name in ("argparse", "dataclasses", "json", "time", "torch"))
KINDS = {"int": "int", "float": "float", "bool": "bool", "text": "str", "ints": "tuple[int, ...]"}


def write(source: Source, target: Path) -> str:
    """Write the script. Raises `SettingsError` for what cannot be exported."""
    card, settings, notes = _read(source)
    if card.no_script is not None and (why := card.no_script(to_dict(settings))):
        raise SettingsError(f"{source.text[:200]} cannot become a script: {why}")
    kind = getattr(settings, "tokens", "")
    learned = kind == BytePairs.kind and source.run is not None and not source.run.spec.origin
    if kind in (BytePairs.kind, WordPieces.kind) and not learned:
        raise SettingsError(
            f"{source.text[:200]} uses a tokenizer ({kind}) that came with its weights, and a script starts without them; use --to hf"
        )
    script = compose(card, settings, clean(source.text)[:200], notes)
    target.write_text(script, encoding="utf-8")
    return "\n".join([f"{script.count(chr(10)):,} lines; run it with python {{target}}", *notes])


def compose(card: Card, settings: Settings, name: str, notes: list[str]) -> str:
    """The script's text."""
    shaker, writer = _shaken(card.name)
    sections = writer.sections()
    place, _, item = card.task.partition(":")
    names = {
        "Settings": card.settings.__name__,
        "Task": writer.names[place, item],
        "prepare": writer.names[ROOTS[0]],
        "looking": writer.names[ROOTS[1]],
    }
    loop = re.sub(r"\$(\w+)", lambda match: names[match[1]], LOOP)
    own = _settings(card, settings, shaker, writer)
    parts = [own] + [f"# {_rule(f'{_short(home.name)}: {_first(home.doc)}')}\n\n\n{text}" for home, text in sections]
    parts.append(f"# {_rule('the run')}\n\n\n{loop}")
    effects = "\n".join(writer.effects())
    standard, packages = writer.imports(" ".join(map(_names, [*parts, effects])), IMPORTS)
    head = _head(card, settings, name, notes, packages)
    imports = "\n\n".join(filter(None, ["from __future__ import annotations", "\n".join(standard), effects, "\n".join(packages)]))
    script = "\n\n\n".join([f"{head}\n\n{imports}", *map(_tidy, parts)]) + "\n"
    compile(script, "the script", "exec")
    return script


@functools.cache
def _shaken(name: str) -> tuple[Shaker, Writer]:
    """The code that an architecture's task needs, whatever the values of its settings."""
    card = architectures.card(name)
    place, _, item = card.task.partition(":")
    owners = {(base.__module__, base.__name__) for base in card.load_task().__mro__ if base.__module__.startswith("dlplay.")}
    shaker = Shaker((place, item), card.settings, owners=owners)
    shaker.settings.discard((Options.__module__, Options.__name__))
    shaker.grow([*ROOTS, (place, item)], READ)
    return shaker, Writer(shaker, card.settings.__name__, {TYPE_OF_SETTINGS}, ["main", "run", "report", *(each.name for each in IMPORTS)])


# --- the run ----------------------------------------------------------------------------------------------------------------------


def _read(source: Source) -> tuple[Card, Settings, list[str]]:
    """Architecture, settings, and notes on how the script differs from the run."""
    run = source.run
    notes: list[str] = []
    if run is None:
        checkpoint = source.checkpoint()
        card = source.card(checkpoint)
        return card, source.settings(card, checkpoint), notes
    spec = run.spec
    if spec.architecture not in architectures.cards():
        raise SettingsError(
            f"{run.name} is of {clean(spec.architecture) or 'an unknown architecture'}, which this version of dlplay does not have"
        )
    card = architectures.card(spec.architecture)
    settings = source.checked(card, spec.settings)
    if spec.origin:
        notes.append(
            f"The run started from the weights of {clean(spec.origin)[:200]}; this script starts from fresh ones, so its losses differ."
        )
    if run.journal_path.exists():
        changes = [event for event in source.events() if isinstance(event, Applied)]
        if changes:
            words = ", ".join(f"{clean(event.what)} at step {event.step:,}" for event in changes[:5]) + (
                " and more" if len(changes) > 5 else ""
            )
            notes.append(f"The run was changed while it trained ({words}); this script uses the settings that it began with.")
        if again := _resumed_with(source.events(), to_dict(settings)):
            notes.append(f"The run was resumed with {again}; this script uses the settings that it began with.")
    return card, settings, notes


def _resumed_with(events: Sequence[DurableEvent], first: dict[str, Any]) -> str:
    """Settings that were changed when the run was resumed, except device and threads, which depend on the machine."""
    own = {name: value for name, value in first.items() if name not in ("device", "threads")}
    later = [event.settings for event in events if isinstance(event, Started)]
    changed = {name: settings[name] for settings in later for name, value in own.items() if show(settings.get(name, value)) != show(value)}
    return ", ".join(f"--{name.replace('_', '-')} {show(value)}" for name, value in changed.items())


def _head(card: Card, settings: Settings, name: str, notes: list[str], packages: list[str]) -> str:
    import torch

    needs = sorted({line.split()[1].split(".")[0] for line in packages})
    lines = [
        f"{card.title}: a run of dlplay as one script of PyTorch. It needs {', '.join(needs)}, and no dlplay.",
        "",
        f"Made by: dlplay export {name} --to torch (dlplay {__version__}, torch {torch.__version__}, Python {platform.python_version()})",
        "",
        "The definitions are copied from the source of dlplay; what is not needed to train and evaluate is left out.",
    ]
    if not notes:
        lines.append("With the same versions, device, threads and seed every step has the same loss as in dlplay, to the bit.")
    ends = [f"--{item} {show(getattr(settings, item))}" for item in ("minutes", "until") if getattr(settings, item)]
    if ends:
        notes = [*notes, f"The run could also end by {' and '.join(ends)}; this script always trains for all steps."]
    for note in notes:
        lines += ["", note]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""'


def _settings(card: Card, settings: Settings, shaker: Shaker, writer: Writer) -> str:
    """A frozen dataclass of the settings that the script reads, with the run's values as defaults."""
    wanted = {*NEEDED, *shaker.read, *(name for key in shaker.settings for name in shaker.own.get(key, ()))}
    chosen = [item for item in fields(card.settings) if shaker.dynamic or item.name in wanted]
    doc = (card.settings.__doc__ or "The settings of the run.").strip()
    lines = ["@dataclasses.dataclass(frozen=True)", f"class {card.settings.__name__}:", f'    """{doc}"""']
    for item in chosen:
        lines += ["", f"    {item.name}: {KINDS[item.kind]} = {getattr(settings, item.name)!r}"]
        words = field(card.settings, item.name).doc.replace("\\", "\\\\").replace('"""', "'''")
        lines += [f'    """{words}"""'] if words else []
    for base in card.settings.__mro__:
        kept = shaker.kept.get((base.__module__, base.__name__))
        if kept is not None and kept.members and kept.item.key in shaker.settings:
            lines += ["", writer.body(kept, doc=False)]
    return "\n".join(lines)


# --- text -------------------------------------------------------------------------------------------------------------------------


def _rule(words: str) -> str:
    return f"--- {words} ".ljust(130, "-") if len(words) < 120 else f"--- {words}"


def _short(name: str) -> str:
    return name.removeprefix("dlplay.").removeprefix("architectures.").replace(".", "/")


def _first(doc: str) -> str:
    return " ".join(doc.split()).rstrip(".")


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(text).readline)


@functools.cache
def _names(text: str) -> str:
    """All names in the code, also those in f-strings, separated by spaces."""
    return " ".join({node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)})


@functools.cache
def _tidy(text: str) -> str:
    """Without comments for type checkers and linters, and without extra blank lines."""
    lines = text.split("\n")
    for token in _tokens(text):
        if token.type == tokenize.COMMENT and re.match(r"#\s*(type: ignore|noqa)", token.string):
            row, column = token.start
            rest = re.sub(r"#\s*(type: ignore(\[[^\]]*\])?|noqa(: \w+)?)\s*", "", token.string)
            lines[row - 1] = (lines[row - 1][:column] + rest).rstrip()
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n")
