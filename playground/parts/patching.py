"""Activation patching: a model reads a corrupted input, and at one place after the other gets what stood there for the clean one.

What is measured is how much of the difference between two logits comes back, those of the clean input's answer and of the corrupted
one's: 0 is the corrupted run, 1 the clean one (Meng et al., Locating and Editing Factual Associations in GPT, 2022; Wang et al.,
Interpretability in the Wild, 2022).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.engine import hooks, progress
from dlplay.engine.hooks import Site
from dlplay.engine.panels import Array, HeatMap
from dlplay.engine.settings import SettingsError

TOKENS_AT_ONCE = 4096
"""Tokens of the patched inputs that are read in one pass."""
PASS, LEAST_TOKENS = 5e9, 64
"""Parameters times tokens of such a pass, about, so that a person sees how far it is; but so many tokens, or most of the time goes into
reading the weights."""
COMPUTATION = 1e11
"""Parameters times tokens of a map, at most: seconds of two cores. Where it would be more, several positions are patched at a time."""
EXAMPLE, EXAMPLES = 12, 64
"""Tokens of a piece of held-out text that serves as a prompt, and pieces among which one is chosen."""
NEAREST = 4
"""Tokens with similar embeddings that are tried in the place of each."""

Run = Callable[[int], Tensor]
"""From a number of rows to the logits (rows, V) at the place of the answer, for so many copies of the corrupted input."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """The positions of one sequence, and the layers that have them."""

    labels: Sequence[str]
    layers: Sequence[str]
    """Addresses."""


def sites(models: Mapping[str, nn.Module], layers: Sequence[str], kind: str) -> list[Site]:
    """Where the layers are patched: what each of them returns, its heads, or its feed-forward network."""
    if kind == "heads":
        return [site for address, site in hooks.heads(models).items() if any(address.startswith(f"{layer}.") for layer in layers)]
    return [hooks.find(models, f"{layer}.feed_forward" if kind == "feed_forward" else layer) for layer in layers]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of the map."""

    site: Site
    clean: Tensor
    """What stands there for the clean input, (1, T, C)."""
    span: range
    """The positions that get it."""


def patched(cells: Sequence[Cell], run: Run, at_once: int) -> Iterator[Tensor]:
    """The logits of `run`, each of whose rows is one cell's; (rows, V) of at most `at_once` of the cells after the other."""
    for start in range(0, len(cells), at_once):
        progress.say(f"patched place {start + 1:,} of {len(cells):,}")
        some = cells[start : start + at_once]
        with contextlib.ExitStack() as stack:
            for _, own in itertools.groupby(enumerate(some), key=lambda each: each[1].site.place):
                rows = list(own)
                first = rows[0][1]
                stack.enter_context(hooks.replaced(first.site, _replacing(first.clean, rows, len(some))))
            yield run(len(some))


def _replacing(clean: Tensor, rows: Sequence[tuple[int, Cell]], count: int) -> Callable[[Tensor], Tensor]:
    """From what stands at a site, (count, T, C), to the same with the clean activation in the spans of these rows."""
    place = torch.zeros(count, clean.shape[1], 1, dtype=torch.bool, device=clean.device)
    for row, cell in rows:
        place[row, cell.span.start : cell.span.stop] = True
    return lambda values: torch.where(place, clean, values)


def recovered(differences: Tensor, clean: float, corrupted: float) -> Tensor:
    """Logit differences as shares of the way from the corrupted run to the clean one; NaN where these do not differ."""
    return (differences - corrupted) / (clean - corrupted) if clean != corrupted else torch.full_like(differences, torch.nan)


def patch_map(
    models: Mapping[str, nn.Module],
    axes: Sequence[Axis],
    kind: str,
    *,
    clean: Callable[[], Tensor],
    corrupted: Run,
    answer: int,
    label: Callable[[int], str],
    notes: Sequence[str],
    remark: str = "",
) -> HeatMap:
    """The recovered logit difference for all positions of each site at once, and for each alone. `clean` returns the logits (1, V) of the
    clean input, of which `answer` is one; the other is the most likely token of the corrupted one."""
    places = [(site, number) for number, axis in enumerate(axes) for site in sites(models, axis.layers, kind)]
    with hooks.recorded([site for site, _ in places]) as passes:
        wanted = clean()[0]
    given = corrupted(1)[0]
    other = int(given.index_fill(0, torch.tensor(answer, device=given.device), -torch.inf).argmax())
    whole, none = (float(logits[answer] - logits[other]) for logits in (wanted, given))
    if not (math.isfinite(whole) and math.isfinite(none)):
        raise SettingsError(f"--answer {label(answer)}: the model never answers with it; name another word", "answer")
    spans = [_spans(axis, sum(number == which for _, which in places), models) for number, axis in enumerate(axes)]
    columns = ["all", *(_label(axis, span) for axis, parts in zip(axes, spans, strict=True) for span in parts)]
    grid = torch.full((len(places), len(columns)), torch.nan)
    parameters = sum(p.numel() for model in models.values() for p in model.parameters())
    tokens = min(TOKENS_AT_ONCE, max(LEAST_TOKENS, int(PASS / parameters)))
    at_once = max(1, tokens // sum(len(axis.labels) for axis in axes))
    cells, where = [], []
    for row, ((site, number), found) in enumerate(zip(places, passes, strict=True)):
        first = 1 + sum(map(len, spans[:number]))
        for column, span in enumerate([range(len(axes[number].labels)), *spans[number]]):
            cells.append(Cell(site, found[-1], span))
            where.append((row, column and first + column - 1))
    differences = torch.cat([logits[:, answer] - logits[:, other] for logits in patched(cells, corrupted, at_once)])
    for (row, column), share in zip(where, recovered(differences, whole, none).tolist(), strict=True):
        grid[row, column] = share
    alone = grid[:, 1:].nan_to_num(-torch.inf)
    if kind == "residual" and len(places) > 1:
        alone[-1] = -torch.inf  # the last layer gives the answer back at its own place, whatever the model does
    best = divmod(int(alone.argmax()), alone.shape[1])
    grouped = [f"positions are patched {len(parts[0])} at a time" for parts in spans if len(parts[0]) > 1][:1]
    measured = f"logit of {label(answer)} minus that of {label(other)}: {whole:.2f}, corrupted {none:.2f}"
    same = [] if whole != none else ["both inputs give the same logits: nothing can be recovered"]
    return HeatMap(
        values=Array.of(grid.round(decimals=3) + 0.0),  # no -0
        rows=[site.address for site, _ in places],
        columns=columns,
        parts=[site.address for site, _ in places],
        column_parts=["", *(f"@{_at(span)}" for parts in spans for span in parts)],
        row_title="site",
        column_title="position",
        signed=True,
        counts=True,
        figure="" if same else f"{places[best[0]][0].address} at {columns[1 + best[1]]} {float(grid[best[0], 1 + best[1]]):.2f}",
        caption=" · ".join([*same, measured, *notes, *grouped]),
        remark=remark,
    )


def _spans(axis: Axis, places: int, models: Mapping[str, nn.Module]) -> list[range]:
    """The positions of an axis, one by one or, where so many runs take too long, several at a time."""
    length = len(axis.labels)
    parameters = sum(p.numel() for model in models.values() for p in model.parameters())
    runs = max(1, int(COMPUTATION / (max(1, places) * length * parameters)))
    together = -(-length // min(length, runs))
    return [range(start, min(length, start + together)) for start in range(0, length, together)]


def _at(span: range) -> str:
    return str(span.start) if len(span) == 1 else f"{span.start}:{span.stop}"


def _label(axis: Axis, span: range) -> str:
    return axis.labels[span.start] if len(span) == 1 else f"{axis.labels[span.start]}…{axis.labels[span.stop - 1]}"


def check_lengths(corrupt: Sequence[int], clean: Sequence[int], noun: str) -> None:
    """Raises `SettingsError` for a corrupted input that is no counterpart of the clean one."""
    if len(corrupt) != len(clean):
        raise SettingsError(
            f"--corrupt has {len(corrupt):,} {noun} and the clean input {len(clean):,}; patching needs as many in both, so replace words "
            "one by one",
            "corrupt",
        )
    if list(corrupt) == list(clean):
        raise SettingsError("--corrupt is read as the same tokens as the clean input; replace a word", "corrupt")


def differing(corrupt: Sequence[int], clean: Sequence[int], label: Callable[[int], str]) -> list[str]:
    """A label for each position: of a token that was replaced both."""
    return [label(one) if one == other else f"{label(one)}→{label(other)}" for one, other in zip(clean, corrupt, strict=True)]


def replace_one(
    ids: Tensor, read: Callable[[Tensor], Tensor], embedding: Tensor, positions: Sequence[int], parameters: int, first: int = 0
) -> tuple[list[int], float]:
    """The tokens `ids` (T,) with one of those at `positions` replaced by a token with a similar embedding: the one after which another
    answer wins by the most. And by how much its logit is above that of the former answer.

    `read` gives the logits (rows, V) of rows (rows, T). `embedding` (V', C) has the rows of the tokens that may stand there, from token
    `first` on.
    """
    rows = embedding.detach().float()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    most = max(1, int(COMPUTATION / 5 / (parameters * len(ids) * NEAREST)))
    tried = []
    for position in [position for position in positions if 0 <= int(ids[position]) - first < len(rows)][-most:]:
        own = int(ids[position]) - first
        similarity = rows @ rows[own]
        similarity[own] = -2.0
        for token in similarity.topk(min(NEAREST, len(rows) - 1)).indices.tolist():
            row = ids.clone()
            row[position] = first + token
            tried.append(row)
    if not tried:  # there is nothing to replace
        return ids.tolist(), -math.inf
    answer = int(read(ids[None])[0].argmax())
    logits = torch.cat([read(part) for part in torch.split(torch.stack(tried), max(1, TOKENS_AT_ONCE // len(ids)))])  # (rows, V)
    before = logits[:, answer].clone()
    logits[:, answer] = -torch.inf
    margins = logits.amax(dim=1) - before
    best = int(margins.argmax())
    return tried[best].tolist(), float(margins[best])


def from_text(
    text: Tensor, read: Callable[[Tensor], Tensor], embedding: Tensor, parameters: int, longest: int
) -> tuple[list[int], list[int]]:
    """A piece of the held-out `text` (N,) whose next token the model knows, and the same with one replaced, so that it does not."""
    length = min(EXAMPLE, longest, len(text) - 1)
    windows = text.unfold(0, length + 1, length)[:EXAMPLES]
    windows = windows[: max(1, int(COMPUTATION / 5 / (parameters * length)))]
    known = -F.cross_entropy(read(windows[:, :-1]), windows[:, -1], reduction="none")
    best: tuple[float, list[int], list[int]] | None = None
    tried = max(1, min(NEAREST, len(windows), int(COMPUTATION / (parameters * length**2 * NEAREST))))
    for number in progress.each(known.topk(tried).indices.tolist(), "looking for a prompt:"):
        piece = windows[number, :-1]
        corrupt, margin = replace_one(piece, read, embedding, range(max(1, length - 1)), parameters)
        if best is None or margin > best[0]:
            best = margin, piece.tolist(), corrupt
    assert best is not None
    return best[1:]
