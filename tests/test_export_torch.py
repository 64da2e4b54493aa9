"""A script of a run that was resumed or had settings of its own says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.settings import make, to_dict
from dlplay.engine.task import looking
from dlplay.exports.source import Source
from dlplay.exports.standalone import write
from dlplay.runs import directory
from tests.conftest import Dlplay, flags

PROMISE = "every step has the same loss as in dlplay, to the bit"


def test_a_script_of_a_run_that_was_taken_up_otherwise_promises_nothing(
    small: Callable[[str], dict[str, Any]], dlplay: Dlplay, tmp_path: Path
) -> None:
    runs = ("--runs-dir", str(tmp_path))
    assert dlplay("convnet", "--headless", *flags(small("convnet") | {"steps": 4}), *runs).status == 0
    script = tmp_path / "script.py"
    words = write(Source("convnet-1", tmp_path), script)
    assert PROMISE in script.read_text()
    assert "taken up" not in words
    assert dlplay("resume", "convnet-1", "--headless", "--steps", "6", *runs).status == 0
    words = write(Source("convnet-1", tmp_path), script)
    assert "resumed with --steps 6" in words
    assert "resumed with --steps 6" in script.read_text()
    assert PROMISE not in script.read_text()


def test_a_script_has_the_settings_of_the_run_filled_in(tmp_path: Path) -> None:
    card = architectures.card("gpt")
    run = directory.create(tmp_path, "gpt", to_dict(make(card.settings, {"width": 48, "lr": 0.0125, "seed": 7})))
    script = tmp_path / "script.py"
    write(Source(run.name, tmp_path), script)
    text = script.read_text()
    assert "width: int = 48" in text
    assert "lr: float = 0.0125" in text
    assert "seed: int = 7" in text
    settings = make(card.settings, {"width": 48, "device": "cpu"})
    task = card.load_task()(settings, prepare(settings), None)
    with looking(task):
        assert task.parameters  # the class whose source was taken is left as it was
