"""Runs and their branches as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Relative(Protocol):
    """A run, or a group of runs, in a family."""

    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> str:
        """The run that it branched off; empty when it began anew."""

    @property
    def modified(self) -> float:
        """When it changed, in seconds since the epoch."""


Item = TypeVar("Item", bound=Relative)


def tree(items: Sequence[Item]) -> list[tuple[str, Item]]:
    """The newest first, each followed by its branches; with the lines that join it to the one that it branched off, such as `│ └ `.

    One whose parent is not there stands by itself. A group is the parent of what branched off its `members`.
    """
    newest = sorted(items, key=lambda item: -item.modified)
    known = {member.name: item for item in newest for member in getattr(item, "members", ())}
    known |= {item.name: item for item in newest}
    branches: dict[str, list[Item]] = {}
    for item in newest:
        if (above := known.get(item.parent)) is not None:
            branches.setdefault(above.name, []).append(item)
    rows: dict[str, tuple[str, Item]] = {}
    for item in newest:
        top, seen = item, {item.name}
        while (above := known.get(top.parent)) is not None and above.name not in seen:
            top = above
            seen.add(top.name)
        waiting = [(top, "", "")]  # with the lines before it, and those before its branches
        while waiting:
            one, lines, below = waiting.pop()
            if one.name in rows:
                continue
            rows[one.name] = lines, one
            below_it = [branch for branch in branches.get(one.name, ()) if branch.name not in rows]
            for branch in reversed(below_it):
                last = branch is below_it[-1]
                waiting.append((branch, below + ("└ " if last else "├ "), below + ("  " if last else "│ ")))
    return list(rows.values())
