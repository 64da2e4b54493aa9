"""`python -m benchmarks [NAME …]`: measures all or the named ones in one go and prints Markdown tables."""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks import machine
from benchmarks.effort import Effort
from benchmarks.table import render

NAMES = ("throughput", "peers", "evaluation", "attached", "start", "screen", "memory", "journal")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="alternating rounds (default %(default)s)")
    parser.add_argument("--threads", type=int, default=Effort.threads, help="CPU threads of both sides (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=Effort.minutes, help="of training, for memory (default %(default)s)")
    parser.add_argument("--share", type=float, default=Effort.share, help="of the usual steps of one measurement (default %(default)s)")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; known are {', '.join(NAMES)}")
    if given.rounds < 1 or given.threads < 1 or given.minutes <= 0 or given.share <= 0:
        parser.error("rounds and threads are 1 or more, minutes and share more than 0")
    effort = Effort(given.rounds, given.threads, given.minutes, given.share)
    print(f"{machine.describe()}, {effort.threads} threads, {effort.rounds} rounds\n", flush=True)
    missed = 0
    for name in given.names or NAMES:
        try:
            module = importlib.import_module(f"benchmarks.{name}")
        except ModuleNotFoundError as error:
            parser.error(f"{name} needs {error.name}; install what the tests need: pip install -c constraints.txt -e '.[test]'")
        lines = module.measure(effort)
        missed += sum(line.met is False for line in lines)
        print(render(f"{name}: {' '.join((module.__doc__ or '').split())}", lines), flush=True)
    return 1 if missed else 0


sys.exit(main())
