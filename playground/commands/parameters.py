"""Flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

RunsDir = Annotated[Path | None, Parameter(name="--runs-dir", help="Folder that holds the runs; by default the platform's data folder.")]
Rooms = Annotated[Path | None, Parameter(name="--rooms", help="Folder with rooms of your own, each a tab; goes with every command.")]
SweepName = Annotated[str, Parameter(help="Name of the sweep, as `dlplay sweep list` shows it.")]
Storage = Annotated[
    str | None, Parameter(name="--storage", help="The database of its trials, postgresql://USER@HOST/DATABASE; else $DLPLAY_STORAGE.")
]
RunName = Annotated[str, Parameter(help="Name of the run, as `dlplay runs` shows it.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
Headless = Annotated[bool, Parameter(name="--headless", negative="", help="Without a screen.")]
Ascii = Annotated[bool, Parameter(name="--ascii", negative="", help="Draw with ASCII characters alone.")]
Steps = Annotated[str | None, Parameter(name="--steps", help="Train to this step instead (a whole number).")]
Minutes = Annotated[str | None, Parameter(name="--minutes", help="Train for this many minutes in all instead.")]
Threads = Annotated[
    str | None,
    Parameter(name="--threads", help="CPU threads from now on; with another number the run is no longer the same to the bit."),
]
TrustCode = Annotated[
    bool, Parameter(name="--trust-code", negative="", help="Import the Python modules that its settings name, without asking.")
]
Device = Annotated[str | None, Parameter(name="--device", help="Device from now on: auto, cpu, cuda, cuda:N or mps.")]
Jobs = Annotated[str | None, Parameter(name="--jobs", help="Runs of a group at a time; by default one for each GPU or core.")]
PerGpu = Annotated[str | None, Parameter(name="--per-gpu", help="Runs of a group at a time on each GPU; by default one.")]
Precision = Annotated[
    str | None,
    Parameter(
        name="--precision",
        help="Rounding from now on: auto, float32, tf32 or bf16; with another one the run is no longer the same to the bit.",
    ),
]
Until = Annotated[str | None, Parameter(name="--until", help="Train until this holds instead, such as test_accuracy>=0.99.")]
