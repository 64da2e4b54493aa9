"""Who answers: the model whose name stands on the stage, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlplay.checkpoints import shipped
from dlplay.engine.events import Hello
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.server import Server
from dlplay.screen.run.peer import Peer, PeerDied
from tests.conftest import Dlplay
from tests.screen_pilot import opened, part_text, until

PANEL = "next_word"
TINY = ("--layers", "1", "--width", "32", "--heads", "2", "--batch", "4", "--block-size", "16", "--threads", "1")


async def test_the_model_that_was_opened_last_answers_and_its_name_stands_on_the_stage(dlplay: Dlplay, tmp_path: Path) -> None:
    given = ("--runs-dir", str(tmp_path / "runs"))
    assert dlplay("gpt", "--headless", *TINY, "--steps", "5", *given).status == 0
    asked = dlplay("gpt", "--headless", "--from", "gpt-1", "--panel", PANEL, "--prompt", "the", "--json", *given)
    assert asked.status == 0, asked.err
    wanted = [(row["label"], row["value"]) for row in json.loads(asked.out)["rows"]]
    async with opened(tmp_path / "runs", tab="gpt", explore=True, options={"prompt": "the"}) as (app, _):
        stage = app.tab.stage
        assert stage is not None
        await until(lambda: "· gpt-reference" in part_text(app, "ActionStage") and stage._candidates is not None)  # type: ignore[attr-defined]
        shipped = stage._candidates  # type: ignore[attr-defined]
        assert shipped.values != [value for _, value in wanted]
        await app.tab.controls.load("gpt-1", run=True, train=False)
        await until(lambda: "· gpt-1 at step 5" in part_text(app, "ActionStage"))
        assert "gpt-reference" not in part_text(app, "ActionStage")
        await until(lambda: stage._candidates is not shipped)  # type: ignore[attr-defined]
        found = stage._candidates  # type: ignore[attr-defined]
        assert list(zip(found.labels, found.values, strict=True)) == wanted


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return directory.create(tmp_path, "gpt", {})


@pytest.mark.parametrize(("architecture", "pid"), [("gan", os.getpid()), ("gpt", 1)], ids=["another architecture", "another process"])
async def test_an_answer_of_anybody_else_is_not_taken(run: RunDirectory, architecture: str, pid: int) -> None:
    hello = Hello(architecture=architecture, name="gpt-1", pid=pid)
    server = Server(run.socket_path, lambda: hello)
    server.start()
    peer = Peer(run, "gpt", lambda event: pytest.fail("an event"), lambda: None)
    peer.process = SimpleNamespace(pid=os.getpid(), returncode=None)  # type: ignore[assignment]
    try:
        with pytest.raises(PeerDied, match="no process answers"):
            await peer.connect(timeout=0.5)
        assert not peer.connected
        await until(lambda: not server.clients)
        await asyncio.sleep(0)  # its connection is closed by the event loop
    finally:
        server.close()


@pytest.mark.parametrize("tab", ["gan", "transformer-xl", "recurrent", "dqn"])
async def test_the_whole_name_of_the_model_stands_in_a_small_window_too(tmp_path: Path, tab: str) -> None:
    """Beside a long title there is no room for it: then it stands alone."""
    async with opened(tmp_path, (80, 24), tab=tab, explore=True) as (app, _):
        known = [name for name, item in shipped.shipped().items() if item.architecture == tab]
        await until(lambda: any(name in part_text(app, "ActionStage") for name in known))
