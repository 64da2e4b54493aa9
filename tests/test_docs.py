"""What the documents tell a person to type can be typed, and what they point to is there."""

import re
import shlex
from pathlib import Path

import pytest

from dlplay import cli
from dlplay.commands import grammar, runs, training
from dlplay.engine import ahead, captured, crossover, machine
from dlplay.experiments import largest_batch, learning_rate, seeds
from dlplay.experiments.sweep import commands
from dlplay.runs import ask, check, find_batch, panel_text

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
MISSING = ("DIR", "FILE", "hf:", "gpt-1", "gpt-sweep-1", "rates", "low", "mine", "widths")
"""What stands for a run or a file of the reader's own, which is not there."""


def indented(text: str) -> list[str]:
    """The lines of code blocks."""
    return [line.strip() for line in text.splitlines() if line.startswith(("    ", "\t"))]


def readme_commands() -> list[str]:
    """Those of code blocks, without their explanation and with what is optional."""
    lines = [re.split(r"\s{3,}", line)[0] for line in indented((ROOT / "README.md").read_text())]
    return [re.sub(r"[][]", "", line) for line in lines if line.startswith("dlplay")]


def sweep_commands() -> list[str]:
    """Those of docs/sweeps.md that need no server."""
    lines = indented((ROOT / "docs" / "sweeps.md").read_text())
    return [line for line in lines if line.startswith("dlplay") and "postgresql" not in line and "slurm" not in line]


def measured_commands() -> list[str]:
    """Those of the table's last column, each variant (`--preset NAME`, or a name alone) with the command of the rows above."""
    commands, whole = [], ""
    for row in (ROOT / "docs" / "measured.md").read_text().splitlines():
        for code in re.findall(r"`([^`]+)`", row.rpartition(" | ")[2]) if row.startswith("|") else ():
            if code.startswith("dlplay "):
                whole = " ".join(code.split()[:2]) + " --headless"
                commands.append(code)
            elif not code.startswith("python "):
                commands.append(f"{whole} {code}" if code.startswith("--") else f"{whole} --preset {code}")
    return commands


NOTES = {
    "convnet": "Plain `digits` are saturated: a support vector machine reads 99.4 %",
    "gpt": "no head scores above 8 % (even attention: 5 %), so small models of such a text are no place to look for induction heads",
    "bert": "positions start as sinusoids, and the queries of every head equal to its keys, both 1.5 times as large as the values",
    "recurrent": "as in PyTorch; Cho and others scale the state before it",
    "autoencoder": "their binary cross-entropy is no likelihood and the sum no bound on one",
    "gan": "its generator doubles the resolution from stage to stage, the one here has a single stage of four tokens",
}
"""Where a model is not what its name says, or its numbers do not show what one would think."""


@pytest.mark.parametrize("room", NOTES)
def test_the_notes_say_what_does_not_hold(room: str) -> None:
    notes = (ROOT / "playground" / "architectures" / room / "notes.md").read_text()
    assert NOTES[room] in " ".join(notes.split())


def test_the_readme_sets_up_as_the_makefile_does() -> None:
    recipe = re.search(r"^\.venv/ready:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe, "the Makefile has no recipe for .venv/ready"
    environment, install, _ = indented(recipe[1])
    assert install.endswith("-e '.[test]'")
    shown = indented((ROOT / "README.md").read_text())[:2]
    assert shown == [environment, install.replace("'.[test]'", ".")], "README.md and Makefile set up differently; edit both"


@pytest.mark.parametrize("command", [*dict.fromkeys(readme_commands() + sweep_commands() + measured_commands())])
def test_a_command_can_be_typed(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All but the training, what is tried on a copy, the model's answer and the screen."""
    for module in (training, runs):
        monkeypatch.setattr(module, "train", lambda *_, **__: 0)
    for module in (cli, grammar, training, runs):
        monkeypatch.setattr(module, "open_screen", lambda **_: 0)
    for module in (learning_rate, largest_batch):
        monkeypatch.setattr(module, "run", lambda *_: 0)
    monkeypatch.setattr(seeds, "train", lambda *_: 0)
    monkeypatch.setattr(ask, "answer", lambda *_: None)
    monkeypatch.setattr(panel_text, "print_panel", lambda *_: None)
    monkeypatch.setattr(check, "run", lambda *_: 0)
    monkeypatch.setattr(commands, "_work", lambda *_, **__: 0)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace(" N", " 3"))
    assert words[0] == "dlplay"
    aside = [] if words[1:2] == ["check"] else ["--runs-dir", "runs"]
    status, said = cli.run([*words[1:], *aside]), capsys.readouterr().err
    assert status == 0 or any(name in command and name in said for name in MISSING), said


def test_the_three_questions_can_be_asked_one_after_the_other() -> None:
    names = re.findall(r" --name (\S+)", " ".join(readme_commands()))
    assert len(names) > 4
    assert len(names) == len(set(names)), "a name that an earlier command took is refused"


def test_every_benchmark_that_is_named_exists() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    named = set(re.findall(r"python -m benchmarks (\w+)", text))
    assert named
    assert [name for name in named if not (ROOT / "benchmarks" / f"{name}.py").exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_points_to_is_there(document: Path) -> None:
    text = document.read_text()
    links = [(document.parent / target).resolve() for target in re.findall(r"\]\(([^):#]+)\)", text)]
    tests = [ROOT / name for name in re.findall(r"pytest (tests/[\w/.]+)", text)]
    assert [str(path) for path in links + tests if not path.exists()] == []


def test_the_bounds_that_the_documents_name_are_those_of_the_code() -> None:
    words = " ".join(((ROOT / "docs/speed.md").read_text() + (ROOT / "docs/gpu.md").read_text()).split())
    for bound in (
        f"where a step would take more than {find_batch.LONG:g} s",
        f"one copy: {ahead.SOON}, more as long as drawing takes less than {1000 * ahead.SECONDS:g} ms",
        f"at most {ahead.DRAWS:,} or {ahead.BYTES >> 20} MB",
        f"have a graph each, {captured.SHAPES} at most",
        f"Beyond {machine.LIMIT:,} samples",
        f"1 to {machine.MOST_TRACED} steps",
        f"By themselves these are {crossover.UP_TO:,}",
    ):
        assert bound in words, bound
