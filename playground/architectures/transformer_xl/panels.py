"""What can be seen of a Transformer-XL: each panel is a function of the model, its problem and the options."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.transformer_xl.model import Block, Memory, TransformerXL, memory_after, segments, update_memory
from dlplay.architectures.transformer_xl.problems.problem import memory_lengths
from dlplay.architectures.transformer_xl.problems.text import TextProblem
from dlplay.architectures.transformer_xl.settings import (
    QUESTION,
    READ,
    AttentionHead,
    AttentionMap,
    Attribution,
    MemoryAttention,
    Neighbours,
    NextToken,
    Passage,
    PatchedText,
    PromptToken,
    PromptWithMemory,
    Speed,
)
from dlplay.engine.panels import Bars, HeatMap, Layers, Lines, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.parts import attribution, forward, head_table, heads, norms, patching, prompts
from dlplay.parts.held_out import WINDOWS
from dlplay.parts.measurements import device_and_threads, fastest, remember
from dlplay.parts.patching import Axis
from dlplay.parts.prompts import ReadPrompt
from dlplay.parts.sampling import candidates, distribution

if TYPE_CHECKING:
    from dlplay.architectures.transformer_xl.task import TransformerXLTask

P = TypeVar("P", bound=PromptWithMemory)

PARTS = {
    "tokens": "token embedding",
    "norm": "final norm",
    "norm_1": "norms",
    "norm_2": "norms",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
"""Parts of the model by the name of their module."""

MAP = 96
"""Tokens of the memory, and of the segment, that an attention map shows, at most."""

BORDER = "│"
"""Label of the empty column between memory and segment."""

CURVE = 2048
"""Held-out tokens that the curve over memory lengths reads."""

EXAMPLES = 1024
"""Held-out tokens on which the distances of a head are measured."""

HELD = "memory of"
"""How the note begins that says how much is in the memory."""


class TransformerXLPanels:
    """A method is a panel, named as on the card."""

    def __init__(self, task: TransformerXLTask) -> None:
        self.task = task
        self.model, self.problem, self.settings = task.model, task.problem, task.settings
        self.tokenizer = task.problem.tokenizer

    def next_token(self, options: NextToken) -> Bars:
        """The most likely next tokens, and their probabilities when the prompt's segment is read without a memory."""
        context = self._read(options)
        logits = self.model(context.idx, context.memory)[0][0, -1]  # (V,)
        panel = prompts.next_token(logits, context.prompt, self.tokenizer, _as_read(context, options))
        without = distribution(self.model(context.idx)[0][0, -1], options.temperature)
        shown = candidates(distribution(logits, options.temperature), options.top_k or prompts.BARS, options.top_p)
        read = {name: getattr(context.options, name) for name in ("prompt", "read_before")}
        instead = {name: text for name, text in read.items() if text != getattr(options, name)}
        caption = panel.caption
        if self.problem.answer_length:  # what is asked for, in place of how many words the line above shows
            said = caption.split(" · ")
            caption = " · ".join(["recall the word of this kind", *(part for part in said if not part.startswith(HELD))])
        second = {} if self.task.interventions else {"second": without[shown].tolist(), "names": ["with memory", "without"]}
        return msgspec.structs.replace(panel, **second, read=instead, caption=caption)  # touched, it stands beside that of before

    def forward(self, options: PromptToken) -> Layers:
        """The memory, the prompt, and what the residual stream at one token predicts after the embedding and after each layer."""
        context = self._read(options)
        place, label = context.prompt.place(options.token), self.tokenizer.label
        residuals = [residual[0, place] for residual in self.model.residuals(context.idx, context.memory)]
        memory = [forward.words("memory", [label(token) for token in context.memory_ids])] if context.memory_ids else []
        read = forward.words("read", [label(token) for token in context.prompt.ids[: place + 1]])
        return Layers(layers=[*memory, read, *forward.lens(residuals, self.model.head, self.tokenizer)], caption=context.prompt.caption())

    def passage(self, options: Passage) -> Tokens:
        """The prompt continued; for recall by one word."""
        context = self._read(options)
        answer = self.problem.answer_length
        options = dataclasses.replace(options, words=min(options.words, answer or options.words))
        panel = prompts.passage(Reader(self.model, context), context.prompt, self.tokenizer, _as_read(context, options))
        return msgspec.structs.replace(panel, ended=bool(answer))

    def prompt_tokens(self, options: PromptToken) -> Tokens:
        """The probability of each token of the prompt; for recall only of the words to recall."""
        context = self._read(options)
        logits = self.model(context.idx, context.memory)[0][0]  # (T, V)
        panel = prompts.prompt_tokens(logits, context.prompt, self.tokenizer, _as_read(context, options))
        if context.memory_ids:
            first = f"{panel.words[0]}: no probability, since the token before it is in the memory and is not read again"
            panel = msgspec.structs.replace(panel, notes=[first, *panel.notes[1:]])
        targets = self.problem.is_target(context.prompt.ids)
        if all(targets):
            return panel
        values = [value if target else None for value, target in zip(panel.values, targets, strict=True)]
        notes = [note if target else f"{word}: not a target" for word, note, target in zip(panel.words, panel.notes, targets, strict=True)]
        known = [value for value in values if value is not None]
        figure = f"recalled with {100 * min(known):.0f} %" if known else ""
        return msgspec.structs.replace(panel, values=values, notes=notes, figure=figure)

    def attribution(self, options: Attribution) -> Table:
        """What each part adds to the logit of one next token."""
        context = self._read(options)
        prompt, idx = context.prompt, context.idx
        place = prompt.place(options.token)
        residual, parts = attribution.added({"xl": self.model}, lambda: self.model.residuals(idx, context.memory)[-1], place)
        logits = self.model.head(residual)[0, place]  # (V,)
        embeddings = {"token embedding": self.model.embed(idx)[0, place]}
        norm, output = self.model.norm, self.model.tokens.weight
        whole = residual[0, place]
        return attribution.of_token(embeddings | parts, whole, norm, output, logits, self.tokenizer, options.answer, prompt, place)

    def patching(self, options: PatchedText) -> HeatMap:
        """How much of the answer comes back when a corrupted text gets the clean one's activations, layer by position. What was read before
        and the prompt are read at once, without a memory, so that every position can be patched."""
        clean, corrupt, notes, remark = self._patched_pair(options)
        ids, others = (torch.tensor([each], device=self.task.device) for each in (clean, corrupt))
        answer, unread = prompts.answer_token(self._last(ids)[0], self.tokenizer, options.answer)
        return patching.patch_map(
            {"xl": self.model},
            [Axis(patching.differing(corrupt, clean, self.tokenizer.label), [f"blocks.{n}" for n in range(len(self.model.blocks))])],
            options.site,
            clean=lambda: self._last(ids),
            corrupted=lambda rows: self._last(others.expand(rows, -1)),
            answer=answer,
            label=self.tokenizer.label,
            notes=[*notes, "read at once, without a memory"],
            remark=" · ".join(filter(None, [remark, unread])),
        )

    def _patched_pair(self, options: PatchedText) -> tuple[list[int], list[int], list[str], str]:
        """The ids of the clean and of the corrupted text, notes, and what of them is not read as it was typed."""
        embedding, noun = self.model.tokens.weight, self.tokenizer.noun
        default = (options.prompt, options.read_before) == (QUESTION, READ)
        if not options.corrupt.strip() and default and isinstance(self.problem, TextProblem):
            text, longest = self.problem.text.held_out, self.settings.block_size
            clean, corrupt = patching.from_text(text, self._last, embedding, self.task.parameters, longest)
            return clean, corrupt, ["one token replaced", f"held-out text: {self.tokenizer.decode(clean)}"], ""
        resolved, notes = self.problem.resolve(options)
        prompt = prompts.read_prompt(self.tokenizer, resolved)
        longest = self.settings.block_size + self.settings.eval_memory
        whole = [*self.tokenizer.encode(resolved.read_before), *prompt.all_ids]
        clean, notes = whole[-longest:], [*notes, *prompt.notes]
        if len(whole) > longest:
            notes = [*notes, f"only the last {longest} of {len(whole):,} {noun}"]
        if not options.corrupt.strip():
            ids = torch.tensor(clean, device=self.task.device)
            corrupt, _ = patching.replace_one(ids, self._last, embedding, range(max(1, len(clean) - 1)), self.task.parameters)
            return clean, corrupt, ["one token replaced", *notes], prompt.remark
        other = prompts.read_prompt(self.tokenizer, dataclasses.replace(resolved, prompt=options.corrupt))
        patching.check_lengths(other.all_ids, whole, noun)
        return clean, other.all_ids[-longest:], notes, " · ".join(filter(None, [prompt.remark, other.remark]))

    def _last(self, idx: Tensor) -> Tensor:
        """Logits (B, V) of the token after `idx` (B, T), which follows nothing."""
        return self.model.head(self.model.residuals(idx, self.model.empty_memory(len(idx)))[-1][:, -1])

    def memory_used(self, options: MemoryAttention) -> Tokens:
        """The attention from one token of the prompt to each token of the memory."""
        context = self._read(options)
        prompt, label = context.prompt, self.tokenizer.label
        place = prompt.place(options.token)
        if not context.memory_ids:
            return Tokens(words=[], values=[], caption=prompt.caption("nothing was read before: read something into the memory"))
        weights = self.model.weights(context.idx, context.memory)  # L of (1, H, T, S)
        layer, head = self._head(options.layer, options.head)
        chosen = torch.cat([w[0] for w in weights]) if options.of == "all heads" else weights[layer][0, head][None]  # (heads, T, S)
        by_head = chosen[:, place, : len(context.memory_ids)]  # (heads, M)
        largest = by_head.amax(dim=0).tolist()
        notes = []
        for column, token in enumerate(context.memory_ids):
            at = divmod(int(by_head[:, column].argmax()), self.model.heads) if options.of == "all heads" else (layer, head)
            notes.append(f"{label(token)}: {100 * largest[column]:.1f} %, layer {at[0]} head {at[1]}")
        best = max(range(len(largest)), key=largest.__getitem__)
        of = "blocks.*" if options.of == "all heads" else f"blocks.{layer}"
        whose = "largest weight of any head" if options.of == "all heads" else f"layer {layer}, head {head}"
        return Tokens(
            words=[label(token) for token in context.memory_ids],
            values=largest,
            notes=notes,
            text=self.tokenizer.decode(context.memory_ids),
            parts=[f"{of}.memory@{at}" for at in range(-len(context.memory_ids), 0)],
            place=best,
            figure=f"{label(context.memory_ids[best])} {100 * largest[best]:.0f} %",
            caption=prompt.caption(f"query: {label(prompt.ids[place])}, {whose}"),
        )

    def attention(self, options: AttentionMap) -> HeatMap:
        """The attention weights of one head over the memory and the prompt, with an empty column between them where there are both."""
        context = self._read(options)
        layer, head = self._head(options.layer, options.head)
        weights = self.model.weights(context.idx, context.memory)[layer][0, head].float().cpu()  # (T, S)
        held, label = len(context.memory_ids), self.tokenizer.label
        memory, segment = weights[-MAP:, max(0, held - MAP) : held], weights[-MAP:, held:][:, -MAP:]
        between = memory.new_full((len(memory), int(held > 0)), math.nan)
        labels = [label(token) for token in context.prompt.ids[-MAP:]]
        cut = [f"the last {MAP} of the memory's {held} {self.tokenizer.noun}"] if held > MAP else []
        cut += [f"the last {MAP} of the prompt"] if len(context.prompt.ids) > MAP else []
        in_memory = f"{100 * float(weights[-1, :held].sum()):.0f} % of the last row in memory"
        return heads.attention_map(
            torch.cat([memory, between, segment], dim=1),
            labels,
            [*(label(token) for token in context.memory_ids[-MAP:]), *([BORDER] if held else []), *labels],
            figure=heads.which(layer, len(self.model.blocks), head, self.model.heads),
            part=f"blocks.{layer}.head.{head}",
            caption=context.prompt.caption(in_memory, *cut),
            titles=("query", f"key: memory {BORDER} segment"),
        )

    def heads(self, options: Options) -> Table:
        """All heads, with what they attend to in held-out data and in random tokens that are read twice, at once and without a memory."""
        settings, found = self.settings, self.problem.examples(EXAMPLES)
        length = min(found.shape[1], settings.block_size + settings.eval_memory)
        idx = found.unfold(1, length, length).flatten(0, 1)[:WINDOWS]  # (rows, length)
        longest = min(head_table.LONGEST_REPEATED, settings.block_size + settings.eval_memory)
        repeated = heads.repeated_tokens(head_table.REPEATED_ROWS, longest, len(self.tokenizer.vocabulary)).to(idx.device)
        readings = [head_table.of_decoder(self._weights(idx), idx), head_table.of_repeats(self._weights(repeated), repeated)]
        return head_table.table(head_table.ablation_costs(self.task), readings)

    def memory_curve(self, options: Options) -> Lines:
        """Held-out loss, or share of words recalled, against the memory length, up to twice the one that is set."""
        settings = self.settings
        lengths = memory_lengths(settings, 2 * max(settings.eval_memory, settings.block_size))
        scores = [self.problem.score(self.model, length, CURVE) for length in lengths]
        here = scores[lengths.index(settings.eval_memory)]
        series: dict[str, list[float | None]]
        if settings.task == "recall":
            chance = self.problem.baselines()["recall_accuracy"]["chance"]
            series = {"recalled": [score.accuracy for score in scores], "chance": [chance] * len(lengths)}
            figure = f"{100 * here.accuracy:.1f} %"
        else:
            series = {"held-out loss": [score.loss for score in scores]}
            figure = f"{here.loss - scores[0].loss:+.3f} nats"
        return Lines(
            x=[float(length) for length in lengths],
            series=series,
            x_title="tokens in the memory",
            percent=settings.task == "recall",
            figure=f"{figure} at {settings.eval_memory}",
            caption=f"as of step {self.task.step:,} · trained with a memory of {settings.memory}, segments of {settings.block_size}; "
            f"about {CURVE:,} held-out tokens",  # this takes a while, and charts beside it may be ahead
        )

    def effective_context(self, options: AttentionHead) -> Lines:
        """Share of a head's attention that goes at least so many tokens back, over held-out data; and of all heads together."""
        layer, head = self._head(options.layer, options.head)
        block, wanted, idx = self.settings.block_size, self.settings.eval_memory, self.problem.examples(EXAMPLES)
        keep = min(wanted, max(0, idx.shape[1] - block))  # no segment has a longer memory
        mass = torch.zeros(len(self.model.blocks), self.model.heads, keep + block, dtype=torch.float64)  # by distance
        memory: Memory = self.model.empty_memory(len(idx))
        queries = 0
        for segment in segments(idx, block):
            if memory[0].shape[1] == keep:  # with a shorter memory no query could attend that far
                queries += segment.numel()
                for number, weights in enumerate(self.model.weights(segment, memory)):
                    found = by_distance(weights.cpu().double().sum(dim=0))  # the first segment may be shorter than a block
                    mass[number, :, : found.shape[1]] += found
            _, memory = self.model(segment, memory, keep)
        mass /= max(1, queries)
        at_least = mass.flip(-1).cumsum(-1).flip(-1)
        distance = torch.arange(mass.shape[-1], dtype=torch.float64)
        mean = float((mass[layer, head] * distance).sum())
        cut = f", since the held-out sequences end before they fill {wanted}" if keep < wanted else ""
        return Lines(
            x=distance.tolist(),
            series={f"layer {layer}, head {head}": at_least[layer, head].tolist(), "all heads": at_least.mean(dim=(0, 1)).tolist()},
            x_title="tokens back",
            percent=True,
            figure=f"mean distance {mean:.1f}",
            caption=f"share of attention at least so far back; {queries:,} held-out tokens, segment {block}, memory {keep}{cut}",
        )

    def evaluation_speed(self, options: Speed) -> Lines:
        """Tokens per second with a memory, with a key-value cache, and with the whole window recomputed for every token."""
        if options.measurement == 0:
            return Lines(x=[], series={}, caption="press ] to measure; training waits about four seconds")
        block, device = self.settings.block_size, self.task.device
        speeds = remember(self.task.speeds, options.measurement, lambda: measure_speeds(self.model, block, device))
        return Lines(
            x=[float(context) for context in CONTEXTS],
            series={
                "with memory": [float(f"{value:.4g}") for value in speeds.with_memory],
                "key-value cache": [float(f"{value:.4g}") for value in speeds.with_cache],
                "window recomputed": [float(f"{value:.4g}") for value in speeds.recomputed],
            },
            x_title="tokens of context",
            log=True,
            figure=f"{speeds.with_memory[-1] / speeds.recomputed[-1]:,.0f} and {speeds.with_cache[-1] / speeds.recomputed[-1]:,.0f} times "
            f"at {CONTEXTS[-1]}",
            caption=f"tokens per second, same model, segments of {block}, fastest of several, {device_and_threads(device)}",
        )

    def neighbours(self, options: Neighbours) -> Bars:
        context = self._read(options)
        return prompts.neighbours(self.model.tokens.weight, context.prompt, self.tokenizer, _as_read(context, options))

    def norms(self, options: Options) -> Bars:
        return norms.norms(self.model, _part, self.task.optimizer)

    def _read(self, options: PromptWithMemory) -> Context:
        """The text before the prompt in segments, the last one whole, and as much of the prompt as fits in a segment; what comes first in
        a longer one goes to the memory. Raises `SettingsError`."""
        options, notes = self.problem.resolve(options)
        keep = self.settings.eval_memory if options.memory_length < 0 else options.memory_length
        prompt = prompts.read_prompt(self.tokenizer, options)
        ids, block, device = prompt.all_ids, self.settings.block_size, self.task.device
        cut = max(0, len(ids) - block)
        before = self.tokenizer.encode(options.read_before) + ids[:cut]
        before = before[-len(self.model.blocks) * (keep + block) - block :]  # nothing further back reaches the prompt
        if cut:
            notes = [*notes, f"the first {cut:,} of {len(ids):,} {self.tokenizer.noun} went into the memory"]
        memory = memory_after(self.model, torch.tensor([before], dtype=torch.int64, device=device), block, keep)
        held = memory[0].shape[1]
        notes = [*notes, f"{HELD} {held:,} {self.tokenizer.noun}" if held else "the memory is empty"]
        prompt = dataclasses.replace(prompt, ids=ids[cut:], words=prompt.words[cut:], notes=[*notes, *prompt.notes])
        return Context(prompt, options, torch.tensor([prompt.ids], device=device), memory, before[len(before) - held :], keep, block)

    def _weights(self, idx: Tensor) -> dict[str, Tensor]:
        """The attention weights (B, H, T, T) of each block over `idx` (B, T), which follows nothing."""
        return {f"blocks.{layer}": weights for layer, weights in enumerate(self.model.weights(idx, self.model.empty_memory(len(idx))))}

    def _head(self, layer: int, head: int) -> tuple[int, int]:
        """Layer and head that the options mean."""
        last = len(self.model.blocks) - 1
        return last if layer < 0 else min(layer, last), min(head, self.model.heads - 1)


@dataclasses.dataclass(frozen=True)
class Context:
    """A prompt, and the memory of what was read before it."""

    prompt: ReadPrompt
    options: PromptWithMemory
    """With the texts that were read in place of defaults."""
    idx: Tensor  # (1, T)
    memory: Memory
    memory_ids: list[int]
    """The tokens that the memory is of."""
    keep: int
    """Tokens that the memory holds, at most."""
    block: int


def _as_read(context: Context, options: P) -> P:
    """The options with the prompt that was read."""
    return dataclasses.replace(options, prompt=context.options.prompt)


class Reader:
    """Feeds a model token by token and keeps the logits after the last one.

    The layer inputs of the current segment are kept as well, as a key-value cache would keep keys and values, so that nothing is computed
    twice; when the segment is full it becomes memory, which is then cut to its length.
    """

    def __init__(self, model: TransformerXL, context: Context) -> None:
        self.model = model
        self.ids = list(context.prompt.all_ids)
        self._keep, self._block, self._in_segment = context.keep, context.block, 0
        self._memory = context.memory
        self.logits = self._read(context.idx)  # (V,)

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        self.ids.append(token)
        self.logits = self._read(torch.tensor([[token]], device=self.model.tokens.weight.device))
        return self.logits

    def _read(self, idx: Tensor) -> Tensor:
        if self._in_segment + idx.shape[1] > self._block:
            self._memory, self._in_segment = update_memory(self._memory, [x[:, :0] for x in self._memory], self._keep), 0
        logits, self._memory = self.model(idx, self._memory, self._memory[0].shape[1] + idx.shape[1])
        self._in_segment += idx.shape[1]
        out: Tensor = logits[0, -1]
        return out


def by_distance(weights: Tensor) -> Tensor:
    """Attention weights (H, T, S) of a segment, summed by how many tokens back the key is: (H, S)."""
    heads, T, S = weights.shape  # noqa: N806
    back = (torch.arange(S - T, S)[:, None] - torch.arange(S)).clamp(min=0)  # (T, S); the future has weight 0
    return torch.zeros(heads, S, dtype=weights.dtype).index_add_(1, back.flatten(), weights.flatten(1))


def _part(name: str) -> str:
    parts = name.split(".")
    return f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]


# --- speed of evaluation --------------------------------------------------------------------------------------------------------------
#
# All predict every token of the same text from at least the same context, with the same weights. Where nothing is kept a token has the full
# context only as the last one of a window, so that a window is computed for each (Dai et al., 2019, section 4.6 and appendix A; there up to
# 1,874 times slower, at a context of 3,800 tokens). A decoder with relative positions can also keep keys and values: it computes nothing
# twice, where a memory of layer inputs is normalised and projected again for every segment.

CONTEXTS = (16, 32, 64, 128, 256, 512)
"""Tokens before each predicted one, at least."""

SECONDS = 0.12
"""How long each way is timed at each length of context."""

WINDOW_TOKENS = 4096
"""Tokens of the windows that are computed side by side."""


class Speeds(NamedTuple):
    """Tokens per second, in the order of `CONTEXTS`."""

    with_memory: list[float]
    with_cache: list[float]
    recomputed: list[float]


def measure_speeds(model: TransformerXL, block: int, device: torch.device) -> Speeds:
    """All three ways at every length of context."""
    found = Speeds([], [], [])
    with torch.no_grad():
        for context in CONTEXTS:
            windows = max(1, WINDOW_TOKENS // (context + 1))
            memory, cache = (functools.partial(way, model, block, context) for way in (with_memory, with_cache))
            window = functools.partial(recomputed, model, windows, context)
            found.with_memory.append(block / fastest(memory, device, seconds=SECONDS))
            found.with_cache.append(block / fastest(cache, device, seconds=SECONDS))
            found.recomputed.append(windows / fastest(window, device, seconds=SECONDS))
    return found


def with_memory(model: TransformerXL, block: int, context: int) -> Tensor:
    """Logits (block, V) after each token of a segment that follows a memory of `context` tokens."""
    device, width = model.tokens.weight.device, model.tokens.weight.shape[1]
    memory = [torch.zeros(1, context, width, device=device) for _ in model.blocks]
    logits: Tensor
    logits, _ = model(torch.zeros(1, block, dtype=torch.int64, device=device), memory, context)
    return logits[0]


def with_cache(model: TransformerXL, block: int, context: int) -> Tensor:
    """Logits (block, V) after each token of a segment that follows `context` tokens, whose keys and values are cached."""
    device, width = model.tokens.weight.device, model.tokens.weight.shape[1]
    empty = torch.zeros(1, model.heads, context, width // model.heads, device=device)
    return cached_logits(model, torch.zeros(1, block, dtype=torch.int64, device=device), [(empty, empty) for _ in model.blocks])[0]


def cached_logits(model: TransformerXL, idx: Tensor, cache: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Logits (B, T, V) of tokens (B, T) that follow those whose keys and values (B, H, M, D) each layer has in `cache`."""
    R, mask = model.positions(idx, [k.transpose(1, 2) for k, _ in cache])  # noqa: N806
    x = model.embed(idx)  # (B, T, C)
    for block, (past_k, past_v) in zip(model.blocks, cache, strict=True):
        assert isinstance(block, Block)
        normalised = block.norm_1(x)
        k, v = block.attention.keys_values(normalised)
        x = x + block.attention.attend(normalised, torch.cat([past_k, k], dim=2), torch.cat([past_v, v], dim=2), R, mask)
        x = x + block.feed_forward(block.norm_2(x))
    return model.head(x)


def recomputed(model: TransformerXL, windows: int, context: int) -> Tensor:
    """Logits (windows, V) after the last token of each window, every one a token further on; only these go through the head."""
    device = model.tokens.weight.device
    idx = torch.zeros(windows + context, dtype=torch.int64, device=device).unfold(0, context + 1, 1)  # (windows, context + 1)
    return model.head(model.residuals(idx, model.empty_memory(windows))[-1][:, -1])
