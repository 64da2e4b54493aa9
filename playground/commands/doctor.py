"""`dlplay doctor RUN`: what is wrong with a run, with its evidence, and whether the advice helps."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from cyclopts import Parameter

from dlplay.commands.parameters import AsJson, RunName, RunsDir, nearest
from dlplay.engine.settings import SettingsError
from dlplay.runs import directory
from dlplay.runs.console import print_line


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
    runs_dir: RunsDir = None,
) -> int:
    """Say what is wrong with a run, by what it recorded; with --try, prove the advice."""
    from dlplay.doctor.examine import examine

    run = directory.find(directory.default_runs_dir(runs_dir), name)
    if not try_ and (rule or steps):
        raise SettingsError(f"--{'rule' if rule else 'steps'} goes with --try")
    found = examine(run)
    if as_json and not try_:
        print_line(msgspec.json.encode(found).decode())
        return 0
    if not as_json:
        _tell(found)
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
    return 0


def _tell(found: object) -> None:
    from dlplay.doctor.examine import Examination

    assert isinstance(found, Examination)
    if found.layers:
        print_line(f"without its layers: {found.layers}")
    if not found.diagnoses:
        print_line(f"{found.run}: nothing is wrong by {len(found.rules)} rules, at step {found.step:,}")
    for diagnosis in found.diagnoses:
        print_line(f"{diagnosis.title} ({diagnosis.name})")
        print_line(f"  {diagnosis.found}")
        print_line(f"  measured {diagnosis.number:.3g} against {diagnosis.bound:.3g}: {diagnosis.rule}")
        print_line(f"  {diagnosis.source}")
        print_line(f"  what helps: {diagnosis.advice}")
