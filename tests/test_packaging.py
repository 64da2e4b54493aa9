"""What leaves the repository: wheel and source distribution hold the whole package and nothing else, and run from any folder."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from dlplay import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NAME = f"dlplay-{__version__}"
BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))"
"""What pip and `python -m build` call."""

ENVIRONMENT = """
import gymnasium
import numpy as np
{imports}

class Coin(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {{}}

    def step(self, action):
        return np.zeros(2, np.float32), float(action), False, False, {{}}

gymnasium.register("My-v0", entry_point=Coin, max_episode_steps=5)
"""

LAUNCH = """
import asyncio, sys
from pathlib import Path
from dlplay.runs.launch import launch_blocking
sys.exit(asyncio.run(launch_blocking(sys.argv[1:], Path("log.txt")).wait()))
"""
"""Starts a run in a process of its own, as the screen does."""


def ask(*command: str | Path, cwd: Path, log: Path | None = None) -> str:
    """What a command prints. It is told of no other place to look for modules: the tests' own environment points to the repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + (log.read_text() if log and log.exists() else "")
    return done.stdout


def build(source: Path, kind: str) -> Path:
    """The wheel or the source distribution (`kind`: "wheel", "sdist") of a source folder."""
    target = source / "dist"
    target.mkdir(exist_ok=True)
    return target / ask(sys.executable, "-c", BUILD.format(kind=kind, folder=str(target)), cwd=source).splitlines()[-1]


def contents(wheel: Path) -> dict[str, int]:
    """Checksums by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.CRC for item in archive.infolist() if not item.filename.endswith("/RECORD")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository: nothing is built in it, and nothing built before gets into the wheel."""
    folder = tmp_path_factory.mktemp("source") / "dlplay"
    return copytree(ROOT, folder, symlinks=True, ignore=ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"))


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build(source, "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel in it; everything else it takes from ours, in which dlplay may be editable."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    ask(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    packages = Path(ask(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    ours = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "ours.pth").write_text("\n".join(ours) + "\n")  # a folder on the path; the .pth files in it are not read
    return folder / "bin"


def test_the_wheel_is_the_package_and_nothing_else(source: Path, wheel: Path) -> None:
    package = source / "dlplay"
    files = {Path(folder, name).relative_to(source).as_posix() for folder, _, names in os.walk(package, followlinks=True) for name in names}
    assert {"dlplay/py.typed", "dlplay/widgets/__init__.py", "dlplay/checkpoints/pretrained/manifest.json"} <= files
    extra = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")}
    assert set(contents(wheel)) == files | extra


def test_the_source_distribution_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", build(source, "sdist"), "-C", tmp_path], check=True)
    unpacked = tmp_path / NAME
    assert contents(build(unpacked, "wheel")) == contents(wheel)
    assert {"LICENSE", "CHANGELOG.md", "README.md"} <= {path.name for path in unpacked.iterdir()}
    assert not {"tests", "benchmarks", "playground"} & {path.name for path in unpacked.iterdir()}


@pytest.mark.parametrize("crowded", [False, True], ids=["a folder of its own", "a folder with modules of the same names"])
def test_the_installed_command_runs_in(crowded: bool, installed: Path, tmp_path: Path) -> None:
    imports = ""
    if crowded:
        imports = "import checkpoints, widgets; assert checkpoints.mine and widgets.mine"
        (tmp_path / "checkpoints").mkdir()
        for name in ("checkpoints/__init__.py", "widgets.py"):
            (tmp_path / name).write_text("mine = True\n")
        for name in ("torch", "dlplay"):
            (tmp_path / name).mkdir()
        for name in ("torch/__init__.py", "random.py", "json.py"):
            (tmp_path / name).write_text("raise RuntimeError('this is not the module that was meant')\n")
    (tmp_path / "myenv.py").write_text(ENVIRONMENT.format(imports=imports))
    dqn = ["dqn", "--headless", "--json", "--env-module", "myenv", "--env", "My-v0", "--steps", "5"]

    def run(*command: str) -> str:
        return ask(*command, cwd=tmp_path, log=tmp_path / "log.txt")

    script, python = str(installed / "dlplay"), str(installed / "python")
    where = run(python, "-P", "-c", "import dlplay; print(dlplay.__file__)")
    assert Path(where).is_relative_to(installed.parent)
    assert "--version" in run(script, "--help")
    assert run(python, "-m", "dlplay", "--version") == f"{__version__}\n"
    for command in ([script, "convnet", "--headless", "--steps", "2", "--json"], [script, *dqn]):
        assert json.loads(run(*command).splitlines()[-1])["type"] == "finished"
    if crowded:
        assert json.loads(run(python, "-m", "dlplay", *dqn).splitlines()[-1])["type"] == "finished"
        run(python, "-P", "-c", LAUNCH, *dqn)
