"""`python -m benchmarks [NAME …]`: measures all or the named ones in one go and prints Markdown tables."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys

from benchmarks import machine
from benchmarks.effort import QUICK, Effort
from benchmarks.table import render

NAMES = (
    "throughput",
    "peers",
    "evaluation",
    "attached",
    "start",
    "first_step",
    "screen",
    "memory",
    "journal",
    "history",
    "charts",
    "system",
    "experiments",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="alternating rounds (default %(default)s)")
    parser.add_argument("--threads", type=int, default=Effort.threads, help="CPU threads of both sides (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=Effort.minutes, help="of training, for memory (default %(default)s)")
    parser.add_argument("--share", type=float, default=Effort.share, help="of the usual steps of one measurement (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="run everything once for a moment, to see that it runs; takes three minutes")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; known are {', '.join(NAMES)}")
    if given.rounds < 1 or given.threads < 1 or given.minutes <= 0 or given.share <= 0:
        parser.error("rounds and threads are 1 or more, minutes and share more than 0")
    effort = QUICK if given.quick else Effort(given.rounds, given.threads, given.minutes, given.share)
    print(f"{machine.describe()}, {effort.threads} threads, {effort.rounds} rounds\n", flush=True)
    missed = 0
    for name in given.names or NAMES:
        try:
            module = importlib.import_module(f"benchmarks.{name}")
        except ModuleNotFoundError as error:
            parser.error(f"{name} needs {error.name}; install what the tests need: pip install -c constraints.txt -e '.[test]'")
        lines = module.measure(effort)
        if given.quick:
            lines = [dataclasses.replace(line, bound=None) for line in lines]
        missed += sum(line.met is False for line in lines)
        print(render(f"{name}: {' '.join((module.__doc__ or '').split())}", lines), flush=True)
    if given.quick:
        print("all of it runs; what was measured so briefly means nothing")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
