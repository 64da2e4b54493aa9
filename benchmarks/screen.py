"""The screen at 140x42 while a run trains on the same cores: how soon it answers a key, what it sends, and how large it is."""

from __future__ import annotations

import statistics
import time

import psutil

from benchmarks.effort import Effort
from benchmarks.rounds import percentile
from benchmarks.running import attached
from benchmarks.table import Line, spread
from benchmarks.terminal import Terminal
from benchmarks.throughput import bare_loops

TYPED_IN = "gpt"
"""An architecture with a prompt."""
SECONDS = 20.0
LETTERS = "бвгджзийлнптуфцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
"""None of them is on the screen before it is typed."""
PAUSE = 0.25
"""Seconds between two keys: a person who types quickly, and long enough for what the last key caused."""


def measure(effort: Effort) -> list[Line]:
    """One long look at each architecture; keys where there is a prompt to type."""
    lines = []
    for architecture in [TYPED_IN] if effort.quick else bare_loops():
        with attached(architecture, effort.threads) as (_, screen):
            settle = screen.bytes
            while True:  # the panels come in the first seconds
                time.sleep(effort.seconds(2.0))
                if screen.bytes - settle < 200_000:
                    break
                settle = screen.bytes
            lines += _traffic(architecture, screen, effort.seconds(SECONDS))
            if architecture == TYPED_IN:
                lines += _keys(screen, LETTERS[: effort.steps(len(LETTERS))])
            lines.append(Line(f"{architecture}, resident memory of the screen", screen.resident() / 1e6, "MB", 120.0, "most"))
    return lines


def _traffic(architecture: str, screen: Terminal, wanted: float) -> list[Line]:
    process = psutil.Process(screen.process.pid)
    before, times, began = screen.bytes, process.cpu_times(), time.perf_counter()
    time.sleep(wanted)
    seconds, after = time.perf_counter() - began, process.cpu_times()
    used = after.user + after.system - times.user - times.system
    return [
        Line(f"{architecture}, sent to the terminal", (screen.bytes - before) / seconds / 1000, "KB/s", 25.0, "most"),
        Line(f"{architecture}, share of a core that the screen takes", 100 * used / seconds, "%"),
    ]


def _keys(screen: Terminal, letters: str) -> list[Line]:
    screen.send("/")  # to the prompt, where what is typed replaces what stood there
    time.sleep(1.0)
    taken = []
    for letter in letters:
        began = time.perf_counter()
        screen.send(letter)
        taken.append(1000 * (screen.wait_for(letter, 10.0) + screen.began - began))
        time.sleep(PAUSE)
    return [
        Line("a typed letter is on the screen, median", statistics.median(taken), "ms", spread=spread(taken)),
        Line("a typed letter is on the screen, 95th percentile", percentile(taken, 95), "ms", 50.0, "most"),
    ]
