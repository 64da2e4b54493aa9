"""The answer of a panel before and after interventions, side by side in one panel of its kind."""

from __future__ import annotations

import math

import msgspec

from dlplay.engine.panels import AnyPanel, Array, Bars, Frame, ImageGrid, Layers, Lines, Scatter, Tokens

BEFORE = "before"
LONGEST = 80
"""Characters of a text before, in a caption."""


def beside(before: AnyPanel, after: AnyPanel, interventions: int, idle: str = "") -> AnyPanel:
    """The answer after interventions with the one before beside it. `idle` says which of the interventions did nothing.

    Bars have a second bar each, tokens have that in their alternatives and the former text in the caption, images, points and curves those
    of before among them, a forward pass its former outcome at the end. Where nothing stands beside it, as in a map, a table or bars that
    are two each, the caption has the former figure.
    """
    told = ""
    match before, after:
        case Bars(), Bars(second=[]):
            both: AnyPanel = _bars(before, after)
        case Tokens(), Tokens():
            both = _tokens(before, after)
            told = _cut(before.text) if before.text != after.text else ""
        case Frame(bars=Bars() as former), Frame(bars=Bars() as now):
            both = msgspec.structs.replace(after, bars=_bars(former, now))
        case ImageGrid(), ImageGrid():
            both = _images(before, after)
        case Scatter(), Scatter():
            both = _points(before, after)
        case Lines(), Lines():
            both = _curves(before, after)
        case Layers(), Layers():
            both = _layers(before, after)
        case _:
            both = after
    if both is after and not told and before.figure != after.figure:
        told = before.figure
    said = f"with {interventions} intervention{'s' * (interventions > 1)}"
    parts = (said, f"{BEFORE}: {told}" if told else "", idle, both.caption)
    return msgspec.structs.replace(both, caption=" · ".join(part for part in parts if part))


def unaffected(panel: AnyPanel, why: str = "") -> AnyPanel:
    """An answer that interventions do not reach, and why where that is known: one about the weights, for one."""
    said = "interventions do not act here" + (f": {why}" if why else "")
    return msgspec.structs.replace(panel, caption=said + (f" · {panel.caption}" if panel.caption else ""))


def _bars(before: Bars, after: Bars) -> Bars:
    """A second bar for each label, but not where two labels are written alike."""
    if len(set(before.labels)) < len(before.labels):
        return after
    known = dict(zip(before.labels, before.values, strict=True))
    second = [known.get(label, math.nan) for label in after.labels]  # unknown where the answer before did not name it
    return msgspec.structs.replace(after, second=second, names=["with", "without"])


def _tokens(before: Tokens, after: Tokens) -> Tokens:
    """The alternatives at the selected place, where both have that one."""
    if before.alternatives is None or after.alternatives is None or before.place != after.place:
        return after
    return msgspec.structs.replace(after, alternatives=_bars(before.alternatives, after.alternatives))


def _images(before: ImageGrid, after: ImageGrid) -> ImageGrid:
    """Those that became others stand behind the others as they were; a sheet of a plane stays what it is."""
    if after.row_title or before.images.shape[1:] != after.images.shape[1:] or before.images.dtype != after.images.dtype:
        return after
    import numpy as np

    old, new = before.images.numpy(), after.images.numpy()
    changed = [at for at in range(min(len(old), len(new))) if old[at].tobytes() != new[at].tobytes()]
    count = len(new)
    labels = after.labels or [str(at) for at in range(count)]
    former = before.labels or labels
    ids = after.ids or list(range(count))
    return msgspec.structs.replace(
        after,
        images=Array.of(np.concatenate([new, old[changed]])),
        labels=[*labels, *(f"{BEFORE}: {former[at]}" for at in changed)],
        ids=[*ids, *(ids[at] for at in changed)],
        wrong=[*after.wrong, *(before.wrong[at] for at in changed)] if after.wrong and before.wrong else [],
    )


def _points(before: Scatter, after: Scatter) -> Scatter:
    """The points of groups that became others, once more as they were."""
    import numpy as np

    old, new = before.points.numpy(), after.points.numpy()
    groups = after.groups or [0] * len(new)
    names = after.names or ["points"]
    if before.groups != after.groups or old.shape != new.shape or after.labels:
        return after
    moved = np.any((old != new) & ~(np.isnan(old) & np.isnan(new)), axis=1)
    changed = [group for group in dict.fromkeys(groups) if any(moved[at] for at, own in enumerate(groups) if own == group)]
    places = [at for group in changed for at, own in enumerate(groups) if own == group]
    arrows = None
    if after.arrows is not None:
        arrows = Array.of(np.concatenate([after.arrows.numpy(), np.zeros((len(places), 2), np.float32)]))
    return msgspec.structs.replace(
        after,
        points=Array.of(np.concatenate([new, old[places]])),
        groups=[*groups, *(len(names) + changed.index(groups[at]) for at in places)],
        names=[*names, *(f"{names[group]} {BEFORE}" for group in changed)],
        arrows=arrows,
    )


def _curves(before: Lines, after: Lines) -> Lines:
    """Those that became others, once more as they were."""
    if before.x != after.x:
        return after
    former = {f"{name} {BEFORE}": values for name, values in before.series.items() if not _same(values, after.series.get(name))}
    return msgspec.structs.replace(after, series=after.series | former)


def _layers(before: Layers, after: Layers) -> Layers:
    """The last layer of before behind that of after."""
    if not before.layers or not after.layers or _same(before.layers[-1], after.layers[-1]):
        return after
    last = before.layers[-1]
    return msgspec.structs.replace(after, layers=[*after.layers, msgspec.structs.replace(last, title=f"{last.title} {BEFORE}", selects={})])


def _same(one: object, other: object) -> bool:
    """Whether they say the same; a value that is not there, NaN, is the same as another such."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
