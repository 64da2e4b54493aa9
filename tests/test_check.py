"""`dlplay check`: what it finds, prints and writes, and how it refuses. On a device other than the CPU: `test_paper_device`."""

import json
import re
from pathlib import Path
from unittest import mock

import pytest
import torch

from dlplay import architectures
from dlplay.runs import check
from dlplay.runs.check import Report, examine
from tests.conftest import Dlplay
from tests.paper_device.rooms import task as rooms

pytestmark = pytest.mark.usefixtures("as_before")

QUICK = ("--device", "cpu", "--seconds", "0.05")
ROOM = "autoencoder"
"""Any: one that trains a thousand steps a second."""


@pytest.fixture
def examined(request: pytest.FixtureRequest) -> check.Result:
    """A room of the tests, examined on the CPU."""
    card = rooms.card(request.param)
    with mock.patch.object(architectures, "card", return_value=card):
        return examine(card, "cpu", 0.01)


def test_it_examines_what_is_named_and_writes_what_it_found(dlplay: Dlplay, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    ended = dlplay("check", ROOM, *QUICK, "--out", str(out))
    assert (ended.status, ended.err) == (0, "")
    first, _, titles, row, *_, last = ended.out.splitlines()
    assert first.startswith("cpu (")
    assert titles.split() == ["architecture", "losses", "bf16", "resumed", "panels", "memory", "steps/s", "of", "bare", "waits", "graph"]
    panels = len(architectures.card(ROOM).panels)
    assert row.split()[:2] == [ROOM, "0e+00"]
    assert 0 < float(row.split()[2]) < check.ROUNDING_TOLERANCE, "bfloat16 rounds"
    assert row.split()[3:5] == ["exactly", f"{panels}/{panels}"]
    assert row.split()[-2:] == ["–", "–"], "a CPU is not waited for, and has no graphs"
    assert last.startswith("all is well")
    assert str(out) in last
    written = json.loads(out.read_text())
    [result] = written["results"]
    assert result["rounding"].keys() == {"bf16"}, "a CPU has no TF32"
    assert (written["device"], result["problems"], result["resumed_exactly"]) == ("cpu", [], True)
    assert written["versions"]["torch"] == torch.__version__
    assert min(result["memory"], result["steps_per_second"], result["bare_steps_per_second"]) > 0


def test_json_is_all_that_is_printed_then(dlplay: Dlplay, tmp_path: Path) -> None:
    ended = dlplay("check", ROOM, *QUICK, "--json", env={"HOME": str(tmp_path)})
    assert (ended.status, ended.err) == (0, "")
    assert [result["architecture"] for result in json.loads(ended.out)["results"]] == [ROOM]


def test_a_device_that_is_not_there_is_refused_in_words(dlplay: Dlplay) -> None:
    for device, words in {"cuda:7": "--device cuda:7: ", "mps": "no Apple GPU", "gpu": "--device gpu"}.items():
        if device.startswith("cuda") and torch.cuda.device_count() > 7:
            continue
        ended = dlplay("check", ROOM, "--device", device)
        assert (ended.status, ended.out) == (2, "")
        assert words in ended.err
        assert len(ended.err.splitlines()) == 1
    ended = dlplay("check", "autoencodr")
    assert (ended.status, "did you mean autoencoder?" in ended.err) == (2, True)
    ended = dlplay("check", ROOM, "--seconds", "0")
    assert (ended.status, "--seconds 0" in ended.err) == (2, True)


@pytest.mark.parametrize("examined", ["Forgetful"], indirect=True)
def test_a_state_that_no_checkpoint_holds_is_found(examined: check.Result) -> None:
    assert examined.resumed_exactly is False
    assert examined.problems == ["a resumed run has other weights or another state than one that was not interrupted"]


@pytest.mark.parametrize("examined", ["Broken"], indirect=True)
def test_what_goes_wrong_is_a_problem_and_the_rest_is_examined(examined: check.Result) -> None:
    assert (examined.panels, examined.all_panels) == (1, 2)
    (problem,) = examined.problems
    assert re.fullmatch(r"the panel noise: ZeroDivisionError: division by zero \(dlplay\.engine\.task:\d+\)", problem)
    assert examined.bare_steps_per_second
    assert not Report(device="", device_name="", system="", versions={}, date="", results=[examined]).passed


def test_a_failed_check_says_so_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = rooms.card("Forgetful")
    with mock.patch.object(architectures, "card", return_value=card):
        status = check.run([card], "cpu", 0.01, tmp_path / "found.json", False)
    out = capsys.readouterr().out
    assert status == 1
    assert "toy: a resumed run has other weights" in out
    assert "the check FAILED" in out
    assert " NO " in out


@pytest.mark.parametrize(("device", "seconds"), [("cpu", 1.0), ("meta", 5.0)])
def test_speeds_are_measured_for_a_shorter_time_on_a_cpu(device: str, seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    """All rooms are checked in less than three minutes there, which `.ci/run` does."""
    report = Report(device=device, device_name="", system="", versions={"torch": ""}, date="", results=[])
    with mock.patch.object(check, "new_report", return_value=report), mock.patch.object(check, "examine") as examined:
        examined.return_value = check.Result(architecture=ROOM)
        check.run([architectures.card(ROOM)], device, None, None, True)
        assert examined.call_args.args[2] == seconds
