"""Every benchmark runs. What they measure is not tested: that depends on the machine."""

import re
import subprocess
import sys

import pytest

from benchmarks.__main__ import NAMES
from tests.conftest import ROOT


def test_every_module_that_measures_is_named() -> None:
    modules = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py")) if "def measure(" in path.read_text()]
    assert sorted(NAMES) == modules


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", name]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"### {name}: " in ended.stdout
    rows = re.findall(r"^\| (?!figure|-)(.+?) +\| (.+?) +\|", ended.stdout, re.MULTILINE)
    assert rows
    for what, value in rows:
        assert re.match(r"-?[\d,]+(\.\d*)?(e-?\d+)?( |$)", value), f"{what}: {value}"
