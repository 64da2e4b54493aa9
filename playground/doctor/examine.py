"""The evidence of a run: its journal, and the panel `anatomy` of its last checkpoint, which a process with torch answers."""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from dlplay import architectures
from dlplay.doctor.rules import RULES
from dlplay.engine.card import Card, ChartCard
from dlplay.engine.diagnosis import UNJUDGED, Curve, Diagnosis, Evidence, LayerHealth, Rule
from dlplay.engine.errors import cause
from dlplay.engine.settings import SettingsError, fields, make, to_dict, without_code
from dlplay.experiments.command_line import flags
from dlplay.runs import launch
from dlplay.runs.directory import RunDirectory
from dlplay.runs.history import History, Series
from dlplay.runs.journal import JournalReader

SECONDS = 300
"""That the answer about the layers may take."""
SEEDS = 3
"""Of each arm of a trial."""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What `dlplay doctor RUN --json` prints."""

    run: str
    architecture: str
    step: int
    diagnoses: list[Diagnosis]
    rules: list[str]
    """Those that were asked."""
    judged: int
    """How many of them had what they need."""
    layers: str
    """Why there was nothing to be told of the layers; empty where there was."""
    trials: dict[str, str] = {}
    """What is trained to try the advice of a diagnosis, in words; of those that name a setting."""


NO_PART_OF_A_RANGE_TEST = frozenset({"lr", "schedule", "warmup", "steps", "seeds", "minutes", "until", "history", "eval_every"})
"""Settings that it does without, or that only a training of full length follows."""


def examine(run: RunDirectory) -> Examination:
    """Everything that is wrong with the run. Raises `SettingsError`, `SpecError` and `OSError`."""
    card = architectures.card(run.spec.architecture)
    layers, problem = layers_of(run, card)
    found = evidence(run, card, layers)
    asked = rules(card)
    judgements = [rule(found) for rule in asked]
    diagnoses = [judgement for judgement in judgements if isinstance(judgement, Diagnosis)]
    count = trial_steps(run, found.step)
    return Examination(
        run=run.name,
        architecture=card.name,
        step=found.step,
        diagnoses=diagnoses,
        judged=sum(judgement is not UNJUDGED for judgement in judgements),
        rules=[rule.__name__.replace("_", "-") for rule in asked],
        layers=problem,
        trials={diagnosis.name: trial_words(diagnosis, count) for diagnosis in diagnoses if diagnosis.changes},
    )


def trial_steps(run: RunDirectory, last: int) -> int:
    """Steps of each run of a trial, where nobody says how many: a quarter of the run's, which are `last` where its settings have none, but
    no fewer than its room needs to learn anything."""
    card = architectures.card(run.spec.architecture)
    least = getattr(importlib.import_module(card.doctor), "least_trial", None) if card.doctor else None
    settings = make(card.settings, without_code(card.settings, run.spec.settings), lenient=True)
    return max(1, int(run.spec.settings.get("steps", last)) // 4, least(settings) if least is not None else 0)


def trial_words(diagnosis: Diagnosis, count: int) -> str:
    """What a trial trains. More steps are compared with fewer of them."""
    if "steps" in diagnosis.changes:
        return f"{SEEDS} runs of {2 * count:,} steps, {SEEDS} of {count:,}"
    return f"{2 * SEEDS} runs of {count:,} steps"


def rules(card: Card) -> Sequence[Rule]:
    """Those for any architecture, and the room's own."""
    return (*RULES, *(importlib.import_module(card.doctor).RULES if card.doctor else ()))


def evidence(run: RunDirectory, card: Card, layers: Iterable[LayerHealth] = ()) -> Evidence:
    """From the run's journal."""
    history = recorded(run, card)
    settings = in_force(run, card, history)
    card = card.of(settings)
    charts = [chart for chart in card.charts if chart.when is None or chart.when(settings)]
    failed = history.failure
    return Evidence(
        settings=settings,
        live=frozenset(item.name for item in fields(card.settings) if item.live),
        training=_curves(history.training),
        held_out=_curves(history.held_out),
        baselines=history.baselines,
        metric=card.metric,
        better=card.better,
        loss="" if card.no_range_test else next((chart.train[0] for chart in charts if chart.train), ""),
        pair=None if card.no_range_test else _pair(charts, history.held_out),
        usual_rate=getattr(card.settings(), "lr", None),
        range_test=range_test(card, settings, run.spec.origin),
        bounds=frozenset(card.bounds),
        data=history.started.data if history.started is not None else "",
        step=history.step,
        done=history.step / history.steps if history.steps else 0.0,
        fresh=not run.spec.origin,
        changed=changed(history),
        not_finite=failed is not None and "not a finite number" in failed.what,
        layers=tuple(layers),
    )


PACE = ("lr", "critic lr", "schedule", "warmup", "steps", "minutes", "until", "history", "eval every", "save every")
"""Settings, in words, whose change leaves the loss what it was: how fast and for how long it trains, and what is kept of it."""


def changed(history: History) -> int:
    """The last step at which somebody acted, or changed a setting that may make another loss of it."""
    return max((step for step, label in history.marks if not label.startswith(PACE)), default=0)


def range_test(card: Card, settings: Mapping[str, Any], origin: str) -> str:
    """The command for the learning-rate range test of these settings; empty where the architecture has none."""
    if card.no_range_test:
        return ""
    return shlex.join(["dlplay", card.name, "--headless", "--find-lr", *flags(card, settings, origin, NO_PART_OF_A_RANGE_TEST)])


def recorded(run: RunDirectory, card: Card) -> History:
    """All that is in the run's journal."""
    history = History(card.metric, card.better)
    history.add(JournalReader(run.journal_path).read())
    return history


def in_force(run: RunDirectory, card: Card, history: History) -> dict[str, Any]:
    """The settings that the run had last, without those that import code."""
    try:  # of an older version, or of anybody's making: every name is there, and every value can be
        return to_dict(make(card.settings, without_code(card.settings, history.settings or run.spec.settings), lenient=True))
    except SettingsError:
        return to_dict(make(card.settings, without_code(card.settings, run.spec.settings), lenient=True))


def _curves(series: Mapping[str, Series]) -> dict[str, Curve]:
    curves = {}
    for name, one in series.items():
        kept = np.isfinite(one.y)
        if kept.any():
            curves[name] = Curve(one.x[kept].copy(), one.y[kept].copy())
    return curves


def _pair(charts: Sequence[ChartCard], held_out: Iterable[str]) -> tuple[str, str] | None:
    """The first loss that is drawn in training and on held-out data together; else the first of each that is called a loss."""
    for chart in charts:
        if chart.train and chart.held_out and chart.better in ("", "lower") and not chart.percent:
            return chart.train[0], chart.held_out[0]
    train = next((chart.train[0] for chart in charts if chart.train and chart.train[0].endswith("loss")), None)
    other = next((name for name in held_out if name.endswith("loss")), None)
    return (train, other) if train and other else None


# --- layers -----------------------------------------------------------------------------------------------------------------------


def layers_of(run: RunDirectory, card: Card) -> tuple[list[LayerHealth], str]:
    """The rows of the panel `anatomy` at the run's last checkpoint, or why there are none."""
    question = ["--headless", "--panel", "anatomy", "--columns", "health", "--from", run.name, "--threads", "1", "--json"]
    words = [*launch.command(), card.name, *question, "--runs-dir", str(run.path.parent)]
    try:
        answered = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return [], f"its layers took longer than {SECONDS} s to examine"
    if answered.returncode != 0:
        said = answered.stderr.decode(errors="replace").strip().splitlines()
        return [], (said[-1].removeprefix("dlplay: ") if said else "its layers could not be examined")
    try:
        return read_layers(json.loads(answered.stdout.splitlines()[-1])), ""
    except (IndexError, KeyError, TypeError, ValueError) as error:
        return [], f"the answer about its layers cannot be read: {cause(error)}"


def read_layers(table: Mapping[str, Any]) -> list[LayerHealth]:
    """The rows of the panel's JSON."""
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table.get("rows", [])]
    found: list[LayerHealth] = []
    path: list[str] = []
    depths = [(len(row["module"]) - len(row["module"].lstrip())) // 2 for row in rows]
    for row, depth, after in zip(rows, depths, [*depths[1:], 0], strict=True):
        path = [*path[:depth], row["module"].strip()]
        share = row["dead or saturated"]
        found.append(
            LayerHealth(
                address=".".join(path[1:] if len(path) > 1 and sum(each == 0 for each in depths) == 1 else path),
                kind=row["kind"],
                leaf=after <= depth,
                deviation=_number(row["deviation"]),
                dead=_share(share, "dead"),
                saturated=_share(share, "saturated"),
                one_hot=_share(share, "one-hot"),
                weights=_number(row["weight norm"]),
                gradients=_number(row["gradient norm"]),
                ratio=_number(row["update/weight"]),
            )
        )
    return found


def _number(text: str) -> float | None:
    return float(text) if text else None


def _share(text: str, what: str) -> float | None:
    return float(text.split()[0]) / 100 if text.endswith(what) else None
