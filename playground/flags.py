"""Flags from a `Settings` type: one for each field, with its bounds, unit and default in `--help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from dlplay.engine.card import Card
from dlplay.engine.machine import MOST_TRACED
from dlplay.engine.settings import COMMON, Field, current, fields

MODEL = Group("Model and training", sort_key=1)
ASK = Group("Ask a trained model instead of training (with --headless)", sort_key=2)
RUN = Group("Run", sort_key=3)
HOW = Group("How", sort_key=4)
SWEEP = Group("Search", sort_key=0)

HOW_FLAGS: tuple[tuple[str, Any, str], ...] = (
    ("headless", bool, "Run without a screen."),
    ("ascii", bool, "Draw the screen with ASCII characters alone."),
    ("json", bool, "Print JSON lines only; the last one is the finished event. Needs --headless."),
    (
        "at",
        str,
        "The panel as it was at these steps, such as 0,100,1000: by the last checkpoint at or before each. Needs --from NAME.",
    ),
    ("svg", str, "Write the panel as a picture to this file, of several steps side by side. Needs --headless."),
    ("force", bool, "Replace the file of --svg if it exists."),
    ("preset", str, "Start from a preset, settings that were tried: {presets}."),
    (
        "from",
        str,
        "Start from the weights and model settings of a shipped model, a run, its step (RUN@STEP){hf} or a checkpoint folder.",
    ),
    ("set_file", str, 'Read settings from a JSON file, such as {{"lr": 0.001}}; flags override it, it overrides --preset.'),
    ("name", str, "Name of the run: a-z, 0-9, dot, hyphen and underscore; by default {name}-1, {name}-2 and so on."),
    ("runs_dir", str, "Folder that holds the runs; by default the platform's data folder."),
    ("rooms", str, "Folder with rooms of your own, each an architecture more."),
    ("paused", bool, "Start paused, waiting for a screen to attach. Needs --headless."),
    (
        "profile",
        str,
        "Write a trace of so many training steps (1 to {most}), after a few to warm up, into the run's folder; Perfetto opens it. "
        "Needs --headless.",
    ),
    ("find_lr", bool, "Try learning rates from low to high on a copy, print those to take; nothing is kept. Needs --headless."),
    ("find_batch", bool, "Try batches on a copy until one does not fit into memory, print the largest that does. Needs --headless."),
    ("explore", str, "Folder for a socket over which questions about a checkpoint are answered; nothing trains. Needs --headless."),
)
"""What is not a setting of the model: name, type and help."""

SWEEP_FLAGS: tuple[tuple[str, Any, str], ...] = (
    ("search", list[str], "A setting and its values: lr=1e-4..1e-1:log, depth=1..4 or width=32,64,128; one flag for each setting."),
    ("trials", int, "How many runs; 20 by default, with --sampler grid every combination."),
    ("sampler", Literal["tpe", "random", "grid"], "How values are chosen: tpe (learns from the trials before), random or grid."),
    ("prune", Literal["median", "hyperband", "none"], "Which runs are ended early: median, hyperband or none (the default)."),
    ("metric", str, "The held-out metric to search for; by default {metric}."),
    ("storage", str, "Keep the trials in a database, postgresql://USER@HOST/DATABASE; the variable DLPLAY_STORAGE says it unseen."),
    ("on", Literal["slurm"], "Submit --jobs workers to Slurm, through submitit, instead of working here."),
    ("slurm", str, "What Slurm is told, such as partition=gpu,gres=gpu:1,time=60 (minutes). Needs --on slurm."),
)
"""What a sweep has besides the settings of its runs: name, type and help."""
SWEEP_HOW = ("json", "preset", "from", "set_file", "name", "runs_dir", "rooms")
"""Those of `HOW_FLAGS` that a sweep has as well."""

PANEL_HELP = "Print one of the tab's panels for a trained model. ({names}; default {default})"


def question_fields(card: Card) -> tuple[Field, ...]:
    """The options of all panels, which are flags as well: those of the stage's panel first, and none that has the name of a setting."""
    taken = {item.name for item in fields(card.settings)} | {name for name, _, _ in HOW_FLAGS} | {"panel"}
    first = [panel for panel in card.panels if card.stage and panel.name == card.stage.panel]
    found: dict[str, Field] = {}
    for panel in [*first, *card.panels]:
        for item in fields(panel.options):
            if item.name not in taken:
                found.setdefault(item.name, item)
    return tuple(found.values())


def with_flags(card: Card, run: Callable[[Card, dict[str, Any]], int]) -> Callable[..., int]:
    """A command for cyclopts: calls `run(card, given)` with the flags that were typed, and only those."""
    parameters = _settings(card)
    parameters.append(
        _flag(
            "panel",
            Literal[tuple(panel.name for panel in card.panels)],
            PANEL_HELP.format(names=", ".join(p.name for p in card.panels), default=_asked(card)),
            ASK,
        )
    )
    parameters += [_setting(item, ASK) for item in question_fields(card)]
    parameters += [_flag(old, str, "", ASK, show=False) for item in question_fields(card) for old in item.was]
    return _command(card, run, parameters + _how(card, [name for name, _, _ in HOW_FLAGS]))


def with_sweep_flags(card: Card, run: Callable[[Card, dict[str, Any]], int]) -> Callable[..., int]:
    """`with_flags` for the command that searches over the settings."""
    search = [_flag(name, kind, help_.format(metric=card.metric), SWEEP) for name, kind, help_ in SWEEP_FLAGS]
    settings = [parameter for parameter in _settings(card) if parameter.name != "seeds_"]
    return _command(card, run, search + settings + _how(card, SWEEP_HOW))


def _command(card: Card, run: Callable[[Card, dict[str, Any]], int], parameters: list[inspect.Parameter]) -> Callable[..., int]:
    def command(**given: Any) -> int:
        return run(card, _today(card, {name.rstrip("_"): value for name, value in given.items() if value is not None}))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = card.summary
    return command


def _today(card: Card, given: dict[str, Any]) -> dict[str, Any]:
    """What was given, under the names of today."""
    former = {old: item for item in question_fields(card) for old in item.was}
    return {
        former[name].name if name in former else name: current(former[name], name, value) if name in former else value
        for name, value in given.items()
    }


def _settings(card: Card) -> list[inspect.Parameter]:
    return [_setting(item, RUN if item.name in COMMON else MODEL, card.metrics) for item in fields(card.settings)]


def _how(card: Card, names: Sequence[str]) -> list[inspect.Parameter]:
    words = {"presets": "; ".join(f"{name} ({preset.why})" for name, preset in card.presets.items()) or "none yet", "name": card.name}
    words["most"] = str(MOST_TRACED)
    words["hf"] = ", hf:FOLDER (a model that transformers saved there)" if card.hf else ""
    return [_flag(name, kind, help_.format(**words), HOW) for name, kind, help_ in HOW_FLAGS if name in names]


def _asked(card: Card) -> str:
    """The panel that is asked when none is named, for each variant."""
    return card.asked + "".join(f", with --{name.replace('_', '-')} {variant.answers}" for name, variant in card.variants.items())


def _setting(item: Field, group: Group, metrics: Sequence[str] = ()) -> inspect.Parameter:
    bounds = item.bounds if item.kind != "bool" else ""
    facts = [*([bounds] if bounds else []), *([item.unit] if item.unit else []), f"default {item.shown(item.default) or 'none'}"]
    if item.name == "until":
        facts = [f"metrics are {', '.join(metrics)}", *facts] if metrics else facts
    kind: Any = {"bool": bool, "int": int, "float": float}.get(item.kind, str)
    if item.choices and not item.path:
        kind = Literal[item.choices]
    return _flag(item.name, kind, f"{item.doc} ({'; '.join(facts)})", group)


def _flag(name: str, kind: Any, help_: str, group: Group, show: bool = True) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    parameter: Parameter
    if kind == list[str]:
        parameter = Parameter(name=flag, help=help_, show_default=False, group=group, negative="")
    elif kind is bool:
        parameter = Parameter(name=flag, help=help_, show_default=False, group=group, negative=None if group is not HOW else "")
    else:
        parameter = Parameter(
            name=flag,
            help=help_,
            show_default=False,
            group=group,
            converter=_as_typed,
            allow_leading_hyphen=True,
            show_choices=False,
            show=show,
        )
    return inspect.Parameter(name + "_", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind | None, parameter], default=None)


def _as_typed(type_: Any, tokens: Any) -> str:
    """Values are checked in one place, `engine.settings.parse`, so that a flag, the form and a file are refused in the same words."""
    return str(tokens[0].value)
