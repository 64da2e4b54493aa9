"""What a sweep has found: its trials, the best of them as a command line, and which settings matter."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

import msgspec
from optuna.trial import FrozenTrial, TrialState

from dlplay.engine.settings import show
from dlplay.experiments.command_line import command_line
from dlplay.experiments.sweep.locks import is_free
from dlplay.experiments.sweep.spec import SweepSpec
from dlplay.experiments.sweep.storage import Backend
from dlplay.experiments.sweep.worker import STATES
from dlplay.runs.console import format_number, print_line

LEAST = 5
"""Complete trials from which the importance of settings is told."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One trial."""

    number: int
    """From 1, as in the name of its run."""
    run: str
    state: Literal["complete", "pruned", "failed", "training", "left"]
    """`left`: its worker died; the next one takes it up."""
    step: int
    value: float | None
    """Of the metric: at the end, or the last one that was reported; None where there is no finite one."""
    settings: dict[str, Any]
    """Those that are searched."""
    why: str = ""
    """Why it was pruned, or failed."""
    values: dict[int, float] = {}
    """Of the metric, by step."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep, as `dlplay sweep show --json` prints it."""

    name: str
    architecture: str
    metric: str
    better: Literal["higher", "lower"]
    sampler: str
    prune: str
    search: dict[str, str]
    wanted: int
    """Trials."""
    counts: dict[str, int]
    """Trials by state."""
    best: str
    """The run of the best complete trial; empty where there is none yet."""
    best_value: float | None
    command: str
    """A command line that trains with the best settings."""
    importance: dict[str, float]
    """Share of the metric's variance that each setting explains, by itself and together with others (fANOVA; Hutter and others, 2014);
    empty where there are too few complete trials."""
    note: str = ""
    """What makes the values hard to compare."""
    trials: list[Row]
    """The best first; pruned, failed and unfinished ones after those that are complete."""


def report(backend: Backend) -> Report:
    """What the sweep has found by now."""
    spec = backend.spec
    trials = backend.study.get_trials(deepcopy=False)[: spec.trials]
    rows = sorted((_row(backend, trial) for trial in trials), key=lambda row: _rank(spec, row))
    best = next((row for row in rows if row.state == "complete"), None)
    return Report(
        name=spec.name,
        architecture=spec.architecture,
        metric=spec.metric,
        better=spec.better,
        sampler=spec.sampler,
        prune=spec.prune,
        search=spec.search,
        wanted=spec.trials,
        counts=dict(Counter(row.state for row in rows)),
        best=best.run if best else "",
        best_value=best.value if best else None,
        command=command(spec, best.settings) if best else "",
        importance=_importance(backend),
        note=_early(spec, [row for row in rows if row.state == "complete"]),
        trials=rows,
    )


def _early(spec: SweepSpec, rows: list[Row]) -> str:
    """Which of these trials the steps ended, where the time was to end them."""
    every = [(row.step, spec.settings | row.settings) for row in rows]
    early = sum(settings.get("minutes", 0) > 0 and step >= settings.get("steps", math.inf) for step, settings in every)
    if not early:
        return ""
    return f"{early} of {len(rows)} trials came to their last step before their time was over; with more --steps each trains for as long"


def _row(backend: Backend, trial: FrozenTrial) -> Row:
    spec = backend.spec
    if trial.state.is_finished():
        state: Any = STATES[trial.state]
    else:
        state = "left" if is_free(backend.locks, str(trial.number)) else "training"
    reported = {step: value for step, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)}
    value = trial.value if trial.value is not None else reported[max(reported)] if reported else None
    return Row(
        number=trial.number + 1,
        run=spec.run_name(trial.number),
        state=state,
        step=trial.user_attrs.get("step", max(reported, default=0)),
        value=value if value is not None and math.isfinite(value) else None,
        settings={d.name: msgspec.to_builtins(d.value(trial.params[d.name])) for d in spec.space if d.name in trial.params},
        why=trial.user_attrs.get("why", ""),
        values=reported,
    )


def _rank(spec: SweepSpec, row: Row) -> tuple[int, float, int]:
    order = ("complete", "pruned", "training", "left", "failed").index(row.state)
    value = math.inf if row.value is None else row.value if spec.better == "lower" else -row.value
    return order, value, row.number


def _importance(backend: Backend) -> dict[str, float]:
    complete = backend.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST or len({trial.value for trial in complete}) < 2:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # imports scikit-learn

    try:
        shares = get_param_importances(backend.study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (RuntimeError, ValueError):  # such as settings that no two complete trials differ in
        return {}
    return {name: float(share) for name, share in shares.items()}


def command(spec: SweepSpec, settings: dict[str, Any]) -> str:
    """The command line that trains with these settings in place of the sweep's."""
    return command_line(spec.card, spec.settings | settings, spec.origin, "--headless")


def print_report(found: Report, as_json: bool) -> None:
    """Print it as a table, or as one JSON object."""
    if as_json:
        print_line(msgspec.json.encode(found).decode())
        return
    counts = ", ".join(f"{number} {state}" for state, number in found.counts.items()) or "none started"
    print_line(f"{found.name}: {found.architecture}, {found.metric} ({found.better} is better), {found.wanted} trials: {counts}")
    if found.trials:
        print_line("")
        for line in _table(found):
            print_line(line)
    if found.importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.importance.items())
        print_line(f"\nimportance (fANOVA): {shares}")
    if found.note:
        print_line(f"\nnote: {found.note}")
    if found.best:
        assert found.best_value is not None
        print_line(f"\nbest: {found.best}, {found.metric} {format_number(found.best_value)}\n  {found.command}")


def _table(found: Report) -> list[str]:
    names = list(found.search)
    rows = [["run", "state", "step", found.metric, *names, ""]]
    for row in found.trials:
        cells = [show(row.settings[name]) if name in row.settings else "–" for name in names]
        cells = [
            f"{value:.4g}" if isinstance(value := row.settings.get(name), float) else cell for name, cell in zip(names, cells, strict=True)
        ]
        rows.append([row.run, row.state, f"{row.step:,}", "–" if row.value is None else format_number(row.value), *cells, row.why])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join(
            [*(cell.ljust(w) if at < 2 else cell.rjust(w) for at, (cell, w) in enumerate(zip(row, widths, strict=False))), row[-1]]
        ).rstrip()
        for row in rows
    ]
