"""What is recorded of the machine while a run trains: bounded, thinned, read with care, and told on the command line."""

from __future__ import annotations

import json
import math
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch

from dlplay.engine.machine import LIMIT, CardSample, Sample, from_step, merged, thinned
from dlplay.engine.panels import Bars, Lines, Table
from dlplay.runs import machine
from dlplay.runs.directory import RunDirectory
from dlplay.runs.machine import FILE, Counts, Recording, read
from dlplay.runs.panel_text import print_panel
from dlplay.system.gauges import Gauges, Reading
from dlplay.system.options import System
from dlplay.system.panels import drawn, time_shares
from dlplay.system.shares import OTHER, shares
from tests.conftest import Dlplay, wait_until

GB = 10**9
QUIET = Reading(cpu=0.5, own_cpu=1.0, memory=GB, written=0, cards=())


def a_second(number: int, **values: Any) -> Sample:
    """The second after `number`, in which ten steps were made."""
    usual = {"time": 1e9 + number, "span": 1.0, "first": 10 * number, "step": 10 * number + 10, "times": {"training": 1.0}}
    return Sample(**(usual | values))


# --- thinning -----------------------------------------------------------------------------------------------------------------------------


def test_a_long_run_keeps_its_whole_span_in_so_many_samples() -> None:
    kept: list[Sample] = []
    for number in range(5 * LIMIT):
        kept = thinned([*kept, a_second(number, examples=3.0)])
        assert len(kept) <= LIMIT
    assert kept[0].first == 0
    assert kept[-1].step == 50 * LIMIT
    assert sum(sample.span for sample in kept) == 5 * LIMIT
    assert sum(sample.examples for sample in kept) == 15 * LIMIT
    assert all(one.step == other.first for one, other in zip(kept, kept[1:], strict=False)), "no gap"


def test_merging_keeps_what_a_person_looks_for() -> None:
    cool = CardSample(index=0, utilisation=0.2, memory=1 * GB, temperature=40.0, power=100.0, throttling=0, processes=1)
    hot = CardSample(index=0, utilisation=0.8, memory=9 * GB, temperature=90.0, power=700.0, throttling=0x40, processes=3)
    both = merged(a_second(0, cards=(cool,), cpu=0.0, memory=5, parts={"data": 1.0}, timed=1), a_second(1, cards=(hot,), cpu=1.0, memory=3))
    (card,) = both.cards
    assert (card.utilisation, card.power, both.cpu) == (0.5, 400.0, 0.5), "means over the time"
    assert (card.memory, card.temperature, card.processes, both.memory) == (9 * GB, 90.0, 3, 5), "the most"
    assert card.throttling == 0x40, "that it was held down at all"
    assert (both.first, both.step, both.span, both.timed, both.parts) == (0, 20, 2.0, 1, {"data": 1.0})


def test_samples_of_later_steps_do_not_count_for_a_run_that_goes_on_from_an_earlier_one() -> None:
    assert from_step([a_second(0), a_second(1), a_second(2)], 25) == [a_second(0), a_second(1)]


# --- the file -----------------------------------------------------------------------------------------------------------------------------


class Progress:
    """Counts that a test moves on."""

    def __init__(self, step: int = 0) -> None:
        self.step = step
        self.idle = False

    def counts(self) -> Counts:
        times = {"training": self.step / 10, "evaluation": 0.0, "saving": 0.0}
        return Counts(step=self.step, examples=4, tokens=0, times=times, parts={}, timed=0)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread takes no sample by itself, and every sample is as long as one of its own."""
    monkeypatch.setattr(machine, "SECONDS", 1e6)
    monkeypatch.setattr(machine, "LIMIT", 8)


def second(recording: Recording, progress: Progress, steps: int = 10) -> None:
    """A second more."""
    progress.step += steps
    recording._began -= 1e6
    recording._take()


@pytest.mark.usefixtures("by_hand")
def test_the_file_stays_bounded_and_a_resumed_run_goes_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "thinned", lambda samples: thinned(samples, 8))
    progress = Progress()
    recording = Recording(tmp_path, progress.step, progress.counts, lambda: QUIET, lambda: progress.idle)
    for number in range(1, 41):
        second(recording, progress)
        found = read(tmp_path)
        assert len(found) <= 8
        assert found[0].first == 0
        assert recording.samples[-1].step == 10 * number, "the one in the making is told as well"
    recording.close()
    lines = (tmp_path / FILE).read_bytes().splitlines()
    assert len(lines) <= 9
    assert sum(sample.step - sample.first for sample in read(tmp_path)) == 400
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]

    resumed = Progress(step=200)
    recording = Recording(tmp_path, resumed.step, resumed.counts, lambda: QUIET, lambda: False)
    assert recording.samples[-1].step <= 200, "what came after the checkpoint does not count"
    before = len(recording.samples)
    second(recording, resumed)
    recording.close()
    assert read(tmp_path)[-1].step == 210
    assert len(read(tmp_path)) == before + 1


@pytest.mark.usefixtures("by_hand")
def test_nothing_is_recorded_while_a_run_is_paused(tmp_path: Path) -> None:
    progress = Progress()
    recording = Recording(tmp_path, progress.step, progress.counts, lambda: QUIET, lambda: progress.idle)
    second(recording, progress)
    progress.idle = True
    for _ in range(5):
        second(recording, progress, steps=0)
    progress.idle = False
    second(recording, progress)
    recording.close()
    assert [(sample.first, sample.step) for sample in read(tmp_path)][:2] == [(0, 10), (10, 20)]


@pytest.mark.usefixtures("by_hand")
def test_where_the_disk_refuses_a_line_training_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    progress = Progress()
    recording = Recording(folder, progress.step, progress.counts, lambda: QUIET, lambda: False)
    (folder / FILE).unlink()
    folder.rmdir()
    second(recording, progress)
    recording.close()
    assert recording.samples[-1].step == 10


@pytest.mark.usefixtures("by_hand")
def test_a_fault_in_a_room_s_own_card_ends_the_recording_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SECONDS", 0.001)
    progress, counted = Progress(), iter(range(3))
    counts = lambda: (next(counted), progress.counts())[1]  # noqa: E731
    recording = Recording(tmp_path, 0, counts, lambda: QUIET, lambda: False)
    recording._thread.join(60)
    assert not recording._thread.is_alive()
    recording.close()


@pytest.mark.usefixtures("by_hand")
def test_a_fault_at_the_first_look_is_told_once_and_nothing_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def counts() -> machine.Counts:
        raise KeyError("blocksize")

    recording = Recording(tmp_path, 0, counts, lambda: QUIET, lambda: False)
    recording.close()
    assert list(recording.samples) == []
    assert capsys.readouterr().err.count("dlplay: what the machine does is recorded no longer: KeyError: 'blocksize'") == 1


@pytest.mark.usefixtures("by_hand")
def test_a_folder_that_is_no_longer_the_run_s_is_not_written_to(tmp_path: Path) -> None:
    progress, places = Progress(), iter([True, True, *[False] * 99])
    recording = Recording(tmp_path, 0, progress.counts, lambda: QUIET, lambda: False, lambda: next(places))
    for _ in range(20):
        second(recording, progress)
    recording.close()
    assert [sample.step for sample in read(tmp_path)] == [10]


BAD = [
    b"",
    b"\x00\xff\xfe",
    b"{",
    b"[" * 30_000,
    b"null",
    b'{"time":1}',
    b'{"time":1,"span":0,"first":0,"step":1}',
    b'{"time":1,"span":1e999,"first":0,"step":1}',
    b'{"time":1,"span":NaN,"first":0,"step":1}',
    b'{"time":1,"span":1,"first":5,"step":1}',
    b'{"time":1,"span":1,"first":-5,"step":1}',
    b'{"time":1,"span":1,"first":0,"step":99999999999999999999999}',
    b'{"time":1,"span":1,"first":0,"step":1,"cpu":7}',
    b'{"time":1,"span":1,"first":0,"step":1,"times":{"a":"b"}}',
    json.dumps({"time": 1, "span": 1, "first": 0, "step": 1, "times": {f"t{n}": 1 for n in range(99)}}).encode(),
    json.dumps({"time": 1, "span": 1, "first": 0, "step": 1, "parts": {"x" * 999: 1}}).encode(),
    json.dumps({"time": 1, "span": 1, "first": 0, "step": 1, "cards": [{"index": n} for n in range(99)]}).encode(),
    json.dumps({"time": 1, "span": 1, "first": 0, "step": 1, "note": "x" * (1 << 16)}).encode(),
]


def test_lines_that_are_none_are_left_out(tmp_path: Path) -> None:
    good = msgspec.json.encode(a_second(0))
    (tmp_path / FILE).write_bytes(b"\n".join([*BAD, good, *BAD, msgspec.json.encode(a_second(1)), good, b'{"time":']))
    assert read(tmp_path) == [a_second(0), a_second(1)], "and steps never go back"
    drawn(read(tmp_path), System())


def test_a_file_of_noise_has_nothing(tmp_path: Path) -> None:
    pen = random.Random(1)
    (tmp_path / FILE).write_bytes(pen.randbytes(200_000))
    assert read(tmp_path) == []


def test_a_file_with_too_many_lines_is_thinned(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\n".join(msgspec.json.encode(a_second(number)) for number in range(3 * LIMIT)))
    found = read(tmp_path)
    assert len(found) <= LIMIT
    assert found[-1].step == 30 * LIMIT


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, kind: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(msgspec.json.encode(a_second(0)))
    match kind:
        case "link":
            (tmp_path / FILE).symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(tmp_path / FILE)
        case "folder":
            (tmp_path / FILE).mkdir()
    assert read(tmp_path) == []


# --- cards --------------------------------------------------------------------------------------------------------------------------------


def driver(cards: dict[str, dict[str, Any]], reasons: str = "EventReasons") -> Any:
    """Answers as the NVML module does, by UUID; what a card has none of raises, as with a driver that cannot tell."""
    by_handle = {f"GPU-{uuid}".encode(): card for uuid, card in cards.items()}
    return SimpleNamespace(
        **{
            "nvmlInit": lambda: None,
            "nvmlDeviceGetHandleByUUID": lambda uuid: uuid if uuid in by_handle else 1 / 0,
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=by_handle[handle]["memory"], free=0, total=80 * GB),
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=by_handle[handle]["gpu"]),
            "nvmlDeviceGetTemperature": lambda handle, sensor: by_handle[handle]["temperature"] if sensor == 0 else 1 / 0,
            "nvmlDeviceGetPowerUsage": lambda handle: by_handle[handle]["milliwatts"],
            f"nvmlDeviceGetCurrentClocks{reasons}": lambda handle: by_handle[handle]["reasons"],
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [object()] * by_handle[handle]["processes"],
        }
    )


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a machine of these cards; `visible` are those that CUDA shows, in its order."""

    def make(found: dict[str, dict[str, Any]], *visible: str, reasons: str = "EventReasons") -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(visible))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=visible[device.index]))
        monkeypatch.setitem(sys.modules, "pynvml", driver(found, reasons))

    return make


BUSY = {"memory": 60 * GB, "gpu": 97, "temperature": 83, "milliwatts": 690_500, "reasons": 0x4 | 0x20, "processes": 2}
IDLE = {"memory": 0, "gpu": 0, "temperature": 30, "milliwatts": 70_000, "reasons": 0x1, "processes": 0}


@pytest.mark.parametrize("reasons", ["EventReasons", "ThrottleReasons"])
def test_every_card_that_cuda_shows_is_read(cards: Callable[..., None], reasons: str) -> None:
    """By CUDA's numbers, whose order need not be the driver's."""
    cards({"a": IDLE, "b": BUSY, "hidden": BUSY}, "b", "a", reasons=reasons)
    busy, idle = Gauges(torch.device("cuda", 0)).read().cards
    assert busy == CardSample(
        index=0, utilisation=0.97, memory=60 * GB, of_memory=80 * GB, temperature=83.0, power=690.5, throttling=0x24, processes=2
    )
    assert (idle.index, idle.utilisation, idle.processes) == (1, 0.0, 0)


def test_what_the_driver_does_not_tell_is_left_out_and_a_card_without_a_driver_too(cards: Callable[..., None]) -> None:
    cards({"a": {"gpu": 50}}, "a", "gone")
    assert Gauges(torch.device("cuda", 0)).read().cards == (CardSample(index=0, utilisation=0.5),)


def test_a_run_on_the_cpu_asks_no_driver(cards: Callable[..., None]) -> None:
    cards({"a": BUSY}, "a")
    reading = Gauges(torch.device("cpu")).read()
    assert reading.cards == ()
    assert reading.memory > 0


def test_without_the_extra_there_are_no_cards_and_the_panel_says_so(monkeypatch: pytest.MonkeyPatch, cards: Callable[..., None]) -> None:
    cards({"a": BUSY}, "a")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gauges(torch.device("cuda", 0)).read().cards == ()
    assert "extra nvidia" in drawn([a_second(0)], System(gauge="power")).caption


# --- panels -------------------------------------------------------------------------------------------------------------------------------


def on_cards() -> list[Sample]:
    """Two cards, of which the first is held down half of the time."""
    hot = CardSample(index=0, utilisation=0.9, memory=60 * GB, of_memory=80 * GB, power=600.0, processes=2)
    cool = CardSample(index=1, utilisation=0.1, memory=1 * GB, of_memory=80 * GB, temperature=40.0, power=90.0, throttling=0, processes=1)
    usual = {"cpu": 0.25, "memory": 2 * GB, "examples": 40.0, "tokens": 4000.0, "timed": 10}
    parts = {"data": 0.1, "forward": 0.2, "backward": 0.4, "optimiser": 0.1}
    times = {"training": 1.0, "evaluation": 0.25, "saving": 0.25}

    def at(number: int) -> tuple[CardSample, ...]:
        return msgspec.structs.replace(hot, temperature=80.0 + number, throttling=0x4 if number % 2 else 0x1), cool

    return [a_second(number, **usual, written=1000 * number, cards=at(number), parts=parts, times=times) for number in range(4)]


def test_curves_of_every_card_stand_over_the_steps_of_the_losses() -> None:
    panel = drawn(on_cards(), System())
    assert isinstance(panel, Lines)
    assert (panel.x, panel.x_title, panel.percent) == ([10.0, 20.0, 30.0, 40.0], "step", True)
    assert panel.least == (0.0, 1.0)
    assert panel.series == {"processors": [0.25] * 4, "cuda:0": [0.9] * 4, "cuda:1": [0.1] * 4}
    assert "cuda:0 90 %" in panel.caption


@pytest.mark.parametrize(
    ("gauge", "curve", "value"),
    [
        ("memory", "cuda:0", 60.0),
        ("memory", "this process", 2.0),
        ("temperature", "cuda:0", 83.0),
        ("power", "cuda:1", 90.0),
        ("speed", "steps/s", 10.0),
        ("throughput", "tokens/s", 4000.0),
    ],
)
def test_each_gauge(gauge: Any, curve: str, value: float) -> None:
    panel = drawn(on_cards(), System(gauge=gauge))
    assert isinstance(panel, Lines)
    assert panel.series[curve][-1] == value


def test_a_panel_with_nothing_in_it_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for panel in (drawn([], System()), time_shares([])):
        print_panel(panel, False)
        assert capsys.readouterr().out == "nothing is recorded of this model's training: a run records a sample a second while it trains\n"
        print_panel(panel, True)
        assert json.loads(capsys.readouterr().out)["caption"].startswith("nothing is recorded")


def test_the_figures_say_why_a_card_was_slow() -> None:
    panel = drawn(on_cards(), System(gauge="figures"))
    assert isinstance(panel, Table)
    rows = {row[0]: row[1:] for row in panel.rows}
    assert rows["cuda:0 memory of 80 GB"] == ["60 GB", "60 GB", "60 GB"]
    assert rows["cuda:0 temperature"] == ["82 °C", "83 °C", "83 °C"]
    assert rows["cuda:0 throttled: power cap"] == ["50 % of the time", "", "yes"]
    assert rows["cuda:1 throttled"] == ["never", "", ""]
    assert rows["tokens per second"][0] == "4,000"


def test_a_curve_has_no_more_points_than_a_panel_can_show() -> None:
    panel = drawn([a_second(number, cpu=0.5) for number in range(LIMIT)], System())
    assert isinstance(panel, Lines)
    assert len(panel.x) <= 400
    assert panel.x[-1] == 10 * LIMIT


def test_shares_sum_to_one() -> None:
    found = shares(on_cards())  # 40 steps in 4 s of training, of 0.08 s each: 3.2 s
    assert math.isclose(sum(found.values()), 1)
    assert found == pytest.approx(
        {
            "data": 0.4 / 6,
            "forward": 0.8 / 6,
            "backward": 1.6 / 6,
            "optimiser": 0.4 / 6,
            "evaluation": 1 / 6,
            "saving": 1 / 6,
            OTHER: 0.8 / 6,
        }
    )
    panel = time_shares(on_cards())
    assert isinstance(panel, Bars)
    assert panel.labels[panel.chosen or 0] == "backward"


def test_steps_that_were_never_timed_are_one_share_and_nothing_is_none() -> None:
    assert shares([a_second(0, times={"training": 3.0, "saving": 1.0})]) == {"training": 0.75, "saving": 0.25}
    assert shares([]) == {}
    assert "nothing is recorded" in time_shares([]).caption


# --- a run --------------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_recorded_and_told(dlplay: Dlplay, tmp_path: Path) -> None:
    folder = ["--runs-dir", str(tmp_path / "runs")]
    short = ["--steps", "40", "--eval-every", "20", "--save-every", "20", "--device", "cpu"]
    assert dlplay("convnet", "--headless", *short, "--name", "r", *folder).status == 0
    run = RunDirectory(tmp_path / "runs" / "r")
    samples = read(run.path)
    assert (samples[0].first, samples[-1].step) == (0, 40)
    assert sum(sample.examples for sample in samples) > 40
    assert sum(sample.timed for sample in samples) > 0
    assert (run.path / FILE).stat().st_mode & 0o777 == 0o600

    told = dlplay("runs", "--system", "r", *folder)
    assert told.status == 0
    assert "processors" in told.out
    assert "backward" in told.out
    found = json.loads(dlplay("runs", "--system", "--json", *folder).out)
    assert found["name"] == "r", "the latest one"
    assert found["samples"][-1]["step"] == 40
    assert math.isclose(sum(found["shares"].values()), 1)

    asked = dlplay("convnet", "--headless", "--from", "r", "--panel", "system", "--gauge", "speed", "--json", *folder)
    panel = json.loads(asked.out)
    assert panel["x"][-1] == 40
    assert panel["series"]["steps/s"]
    earlier = json.loads(dlplay("convnet", "--headless", "--from", "r@0", "--panel", "time_shares", "--json", *folder).out)
    assert "rows" not in earlier or earlier["rows"] == [], "at step 0 nothing had been trained"

    assert "--system" in dlplay("runs", "r", *folder).err


def test_a_run_that_trains_tells_it_live(dlplay: Dlplay, tmp_path: Path) -> None:
    folder = ["--runs-dir", str(tmp_path / "runs")]
    command = dlplay.start("convnet", "--headless", "--steps", "100000000", "--device", "cpu", "--name", "r", *folder)
    run = RunDirectory(tmp_path / "runs" / "r")
    wait_until(lambda: not command.running or len(read(run.path)) >= 2, "two samples")
    assert command.running, command.wait().err
    assert dlplay("stop", "r", *folder).status == 0
    command.wait()
