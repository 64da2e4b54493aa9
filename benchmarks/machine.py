"""The machine and the versions that a figure holds for, in words."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path


def describe() -> str:
    """Two lines: hardware and load, then versions."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "textual", "numpy", "cyclopts"))
    return (
        f"{datetime.date.today()}, {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load}\n"
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
