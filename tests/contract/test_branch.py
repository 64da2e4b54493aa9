"""In every room: checkpoints along the way leave training alone, and a branch that changes nothing ends with its parent's weights."""

import json
from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.checkpoints.history import kept
from dlplay.runs.directory import RunDirectory
from tests.conftest import Dlplay, Small
from tests.runs import begin, curves, same, weights

STEPS, AT = 60, 40


@pytest.mark.parametrize("name", architectures.cards())
def test_a_branch_that_changes_nothing_ends_as_its_parent(name: str, small: Small, dlplay: Dlplay, tmp_path: Path) -> None:
    settings = small(name) | {"steps": STEPS, "save_every": STEPS}
    parent, without, child = (RunDirectory(tmp_path / "runs" / run) for run in ("parent", "without", "child"))
    unobserved = begin(dlplay, name, without, settings | {"history": 0})
    assert begin(dlplay, name, parent, settings).wait().status == 0
    command = ["branch", "parent", "--at", str(AT), "--headless", "--json", "--name", "child", "--runs-dir", str(parent.path.parent)]
    branched = dlplay(*command)
    assert branched.status == 0, branched.err
    assert unobserved.wait().status == 0
    assert "child branches off parent at step 38, the last checkpoint with a training state at or before step 40" in branched.err
    assert all(isinstance(json.loads(line), dict) for line in branched.out.splitlines())
    assert (child.spec.parent, child.spec.parent_step, child.spec.settings) == ("parent", 38, parent.spec.settings)
    assert parent.history.steps() == child.history.steps() == sorted(kept(STEPS, 32))
    assert without.history.steps() == []
    assert weights(parent)[0] == weights(without)[0] == weights(child)[0] == STEPS
    assert same(weights(parent)[1], weights(without)[1])
    assert same(weights(parent)[1], weights(child)[1])
    assert curves(parent) == curves(without) == curves(child)
