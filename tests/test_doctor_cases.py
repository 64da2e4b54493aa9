"""How often the doctor is right: runs that are ill by their settings and healthy ones are trained and examined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.doctor.examine import Examination, examine
from dlplay.engine.settings import make, to_dict
from dlplay.experiments import pool
from dlplay.runs import directory, launch
from tests.doctor_cases import HEALTHY, PLANTED, Case


def examined(cases: Sequence[Case], folder: Path) -> list[tuple[Case, Examination]]:
    """Each case's run, trained on one thread and then examined."""
    runs = []
    for number, case in enumerate(cases):
        card = architectures.card(case.architecture)
        settings = make(card.settings, dict(case.settings) | {"device": "cpu", "threads": 1})
        runs.append(directory.create(folder, card.name, to_dict(settings), "", f"case-{number}"))
    launch.prepare(cases[0].architecture)
    pool.train_all(runs, ["--threads", "1"], pool.default_jobs(1, "cpu"), lambda run, status: None)
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
@pytest.mark.timeout(7200)
def test_the_doctor_finds_what_is_planted_and_is_silent_on_healthy_runs(tmp_path: Path) -> None:
    found = examined([*PLANTED, *HEALTHY], tmp_path)
    precision, recall, wrong = score(found)
    print(f"precision {precision:.3f}, recall {recall:.3f} over {len(PLANTED)} ill and {len(HEALTHY)} healthy runs", *wrong, sep="\n")
    assert recall >= 0.9
    assert precision >= 0.9
    said = {case.name: [it.name for it in examination.diagnoses] for case, examination in found if not case.ill and examination.diagnoses}
    assert said == {}
