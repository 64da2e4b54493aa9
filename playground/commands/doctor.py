"""`dlplay doctor RUN`: what is wrong with a run, with its evidence, and whether the advice helps."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from dlplay.commands.parameters import AsJson, RunName, RunsDir
from dlplay.engine.errors import nearest
from dlplay.engine.settings import SettingsError
from dlplay.runs import directory
from dlplay.runs.console import print_line

if TYPE_CHECKING:
    from dlplay.doctor.examine import Examination
    from dlplay.runs.history import History

NARROW, WIDE = 40, 100
"""Cells between which the width of the pictures lies."""


def doctor(
    name: RunName,
    /,
    *,
    try_: Annotated[
        bool, Parameter(name="--try", negative="", help="Train with the advised change and without it, three seeds each, and compare.")
    ] = False,
    rule: Annotated[
        str | None, Parameter(name="--rule", help="With --try: the diagnosis to try, by its name; by default the first.")
    ] = None,
    steps: Annotated[int, Parameter(name="--steps", help="With --try: steps of each run; by default a quarter of the run's.")] = 0,
    as_json: AsJson = False,
    svg: Annotated[Path | None, Parameter(name="--svg", help="Write what was found as a picture to this file as well.")] = None,
    force: Annotated[bool, Parameter(name="--force", negative="", help="Replace the picture if it exists.")] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Say what is wrong with a run, by what it recorded; with --try, prove the advice."""
    from dlplay import architectures
    from dlplay.doctor.examine import examine, recorded

    run = directory.find(directory.default_runs_dir(runs_dir), name)
    if not try_ and (rule or steps):
        raise SettingsError(f"--{'rule' if rule else 'steps'} goes with --try")
    if force and svg is None:
        raise SettingsError("--force is for the file of --svg", "force")
    found = examine(run)
    if rule is not None and rule not in found.rules:
        raise SettingsError(f"--rule {rule[:60]}: there is no such rule; {nearest(rule, found.rules)}")
    history = recorded(run, architectures.card(found.architecture))
    if svg is not None:
        from dlplay.doctor import report
        from dlplay.exports.target import staged

        with staged(svg, folder=False, force=force) as draft:
            draft.write_text(report.svg(found, history, WIDE), encoding="utf-8")
    if as_json and not try_:
        print_line(msgspec.json.encode(found).decode())
        return 0
    if not as_json:
        _tell(found, history)
    if not try_:
        return 0
    known = {diagnosis.name: diagnosis for diagnosis in found.diagnoses}
    if rule is not None and rule not in known:
        raise SettingsError(f"--rule {rule}: that was not found; {nearest(rule, list(known)) if known else 'nothing was'}")
    chosen = known[rule] if rule else next((diagnosis for diagnosis in found.diagnoses if diagnosis.changes), None)
    if chosen is None:
        raise SettingsError(f"--try: there is nothing to try: no diagnosis of {run.name} names a setting")
    from dlplay.doctor.trial import attempt

    trial = attempt(run, chosen, found.step, steps, lambda words: None if as_json else print_line(words))
    if as_json:
        print_line(json.dumps(msgspec.to_builtins(found) | {"trial": msgspec.to_builtins(trial)}))
    else:
        print_line(f"{chosen.title}: {trial.verdict}")
        if trial.next:
            print_line(trial.next)
    return 0


def _tell(found: Examination, history: History) -> None:
    from dlplay.doctor import report
    from dlplay.experiments.compare.picture import print_rows

    width = min(max(shutil.get_terminal_size().columns, NARROW), WIDE)
    for line in report.summary(found):
        print_line(line)
    for diagnosis in found.diagnoses:
        for line in report.words(diagnosis):
            print_line(line)
        print_rows(functools.partial(report.rows, diagnosis, history, width))
