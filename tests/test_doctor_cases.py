"""How often the doctor is right: runs that are ill by their settings and healthy ones are trained and examined."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dlplay import architectures
from dlplay.doctor.examine import Examination, examine
from dlplay.engine.settings import SettingsError, make, to_dict
from dlplay.experiments import pool
from dlplay.runs import directory, launch
from dlplay.runs.directory import RunDirectory
from tests.doctor_cases import HEALTHY, PLANTED, REPEATED, Case, write_repeated

KEPT = "DLPLAY_DOCTOR_CASES"
"""Names a folder in which the runs are kept: what was interrupted goes on where it was, and what has ended is only examined again."""
TRAINING = ("architectures", "checkpoints", "data", "engine", "parts", "runs")
"""Where the code lies that decides how a run turns out; kept runs of other code do not count."""


def code() -> str:
    """A digest of it."""
    root = Path(architectures.__file__).parents[1]
    files = sorted(path for room in TRAINING for path in (root / room).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


def run_of(case: Case, folder: Path, version: str) -> RunDirectory:
    """The case's run, a new one or one that is kept."""
    card = architectures.card(case.architecture)
    values = dict(case.settings) | {"device": "cpu", "threads": 1}
    if values.get("text") == REPEATED:
        values["text"] = str(folder / "repeated.txt")
        write_repeated(folder / "repeated.txt")
    settings = to_dict(make(card.settings, values))
    name = f"case-{version}-{hashlib.sha256(repr((card.name, settings)).encode()).hexdigest()[:12]}"
    if directory.is_run(folder, name):
        return directory.find(folder, name)
    return directory.create(folder, card.name, settings, "", name)


def examined(cases: Sequence[Case], folder: Path) -> list[tuple[Case, Examination]]:
    """Each case's run, trained on one thread and then examined."""
    version = code()
    runs = [run_of(case, folder, version) for case in cases]
    left = [run for run in runs if directory.summary(run).state not in ("finished", "failed")]
    if left:
        launch.prepare(cases[0].architecture)
        pool.train_all(left, ["--threads", "1"], pool.at_once(1, "cpu"), lambda run, status: None)
    return [(case, examine(run)) for case, run in zip(cases, runs, strict=True)]


def score(found: Sequence[tuple[Case, Examination]]) -> tuple[float, float, list[str]]:
    """Precision over all diagnoses, recall over the ill runs, and what went wrong, a line each."""
    said = right = ill = hit = 0
    wrong = []
    for case, examination in found:
        names = {diagnosis.name for diagnosis in examination.diagnoses}
        said, right = said + len(names), right + len(names & (case.ill | case.also))
        wrong += [f"{case.name}: {name} was said" for name in sorted(names - case.ill - case.also)]
        if case.ill:
            ill, hit = ill + 1, hit + bool(names & case.ill)
            wrong += [] if names & case.ill else [f"{case.name}: {' or '.join(sorted(case.ill))} was not found"]
    return right / max(1, said), hit / max(1, ill), wrong


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_the_doctor_finds_what_is_planted_and_is_silent_on_healthy_runs(tmp_path: Path) -> None:
    found = examined([*PLANTED, *HEALTHY], Path(os.environ.get(KEPT, tmp_path)))
    precision, recall, wrong = score(found)
    print(f"precision {precision:.3f}, recall {recall:.3f} over {len(PLANTED)} ill and {len(HEALTHY)} healthy runs", *wrong, sep="\n")
    assert recall >= 0.9
    assert precision >= 0.9
    said = {case.name: [it.name for it in examination.diagnoses] for case, examination in found if not case.ill and examination.diagnoses}
    assert said == {}


@pytest.mark.slow
def test_kept_runs_are_not_trained_again_and_interrupted_ones_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"data": "digits", "eval_every": 10, "save_every": 5, "channels": (2,)}
    cases = [Case("convnet", settings | {"steps": steps}) for steps in (10, 20)]
    trained: list[int] = []
    own = pool.train_all

    def train_all(runs: Sequence[RunDirectory], *rest: Any) -> None:
        trained.append(len(runs))
        own(runs[:1] if len(trained) == 1 else runs, *rest)  # the first time the other one is not reached

    monkeypatch.setattr(pool, "train_all", train_all)
    with contextlib.suppress(SettingsError):  # there is nothing to examine of a run that did not begin
        examined(cases, tmp_path)
    found = examined(cases, tmp_path)
    again = examined(cases, tmp_path)
    assert trained == [2, 1]
    assert [case for case, _ in again] == cases
    assert [[it.name for it in one.diagnoses] for _, one in again] == [[it.name for it in one.diagnoses] for _, one in found]
    monkeypatch.setattr("tests.test_doctor_cases.code", lambda: "another")
    examined(cases[:1], tmp_path)
    assert trained == [2, 1, 1]
