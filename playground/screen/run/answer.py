"""The JSON answer of a command that a person could have typed."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlplay.runs.directory import explore_path
from dlplay.runs.files import open_regular
from dlplay.runs.launch import launch, terminate

ANSWER_BYTES = 16 << 20


async def answers(arguments: Sequence[str], runs_dir: Path) -> list[Any]:
    """The lines that `dlplay ARGUMENTS --json --runs-dir RUNS_DIR` prints, as JSON values.

    Raises `RuntimeError` with its words. A process that nobody waits for any more is ended.
    """
    folder = explore_path(runs_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ask-", dir=folder) as place:
        starting = asyncio.ensure_future(launch([*arguments, "--json", "--runs-dir", str(runs_dir)], Path(place) / "answer.txt"))
        try:
            process = await asyncio.shield(starting)
            status = await process.wait()
        finally:
            terminate(await starting)
        if status != 0:
            raise RuntimeError(process.last_words(1).removeprefix("dlplay: ") or f"dlplay {arguments[0]} ended without an answer")
        with os.fdopen(open_regular(process.log_path, os.O_RDONLY), "rb") as file:
            printed = file.read(ANSWER_BYTES + 1)
    try:
        if len(printed) > ANSWER_BYTES:
            raise ValueError
        return [json.loads(line) for line in printed.splitlines() if line.startswith(b"{")]
    except ValueError:
        raise RuntimeError(f"what dlplay {' '.join(arguments[:2])} printed cannot be read here") from None


async def last_answer(arguments: Sequence[str], runs_dir: Path) -> Any:
    """The last of these values. Raises as `answers` does, and where there is none."""
    *_, last = await answers(arguments, runs_dir) or [None]
    if last is None:
        raise RuntimeError(f"dlplay {' '.join(arguments[:2])} printed no answer")
    return last
