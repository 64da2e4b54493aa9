"""Panels about a prompt that every language model shares: how it was read, the next token, a passage, the probability of each token."""

from __future__ import annotations

import dataclasses
import math
import unicodedata

import torch
from torch import Tensor

from dlplay.data.bounded import clean
from dlplay.data.tokens import UNKNOWN, Tokenizer, printable
from dlplay.engine.panels import Bars, Tokens
from dlplay.parts.prompt_options import Neighbours, NextWord, Passage, Prompt
from dlplay.parts.sampling import Reader, candidates, distribution, write

BARS = 20
"""No more candidates than this are listed when `top_k` keeps all."""

_SPACES = {code: None for code in range(0x3001) if chr(code).isspace()}
AT_ONCE = 64
"""Positions of a prompt whose probabilities are computed at once."""


@dataclasses.dataclass(frozen=True)
class ReadPrompt:
    """A prompt as token ids."""

    ids: list[int]
    """Those that fit in a block; at least one."""
    all_ids: list[int]
    typed: list[int]
    """All ids that were typed; empty for an empty prompt."""
    words: list[str]
    """The text of each of `ids`, as it was typed."""
    notes: list[str]
    """Remarks on how it was read, for a caption."""
    remark: str = ""
    """Those of them that say what is not read as it was typed."""

    def place(self, token: int) -> int:
        """The index into `ids` that an option means: -1 is the last one, and so is anything beyond it."""
        return len(self.ids) - 1 if token < 0 else min(token, len(self.ids) - 1)

    def caption(self, *more: str) -> str:
        """`more`, then how the prompt was read."""
        return " · ".join(part for part in (*more, *self.notes) if part)


def read_prompt(tokenizer: Tokenizer, options: Prompt, longest: int | None = None) -> ReadPrompt:
    """The prompt's ids: the last `longest` of them, or the start token for an empty prompt."""
    options.check()
    typed, words = tokenizer.read(options.prompt)
    notes = []
    if not typed:
        words = [tokenizer.vocabulary[tokenizer.start]]
        notes.append("an empty prompt is read as the start of a text")
    all_ids = typed or [tokenizer.start]
    ids, kept = (all_ids, words) if longest is None else (all_ids[-longest:], words[-longest:])
    if len(ids) < len(all_ids):
        notes.append(f"only the last {len(ids)} of {len(all_ids):,} {tokenizer.noun} fit in the block")
    lost = what_is_lost(tokenizer, options.prompt, ids, kept)
    return ReadPrompt(ids, all_ids, typed, kept, notes + lost, " · ".join(lost))


def what_is_lost(tokenizer: Tokenizer, text: str, ids: list[int], words: list[str]) -> list[str]:
    """What of the `text` is not read as it was typed: of `words`, its tokens as typed, and `ids` those that are not in the vocabulary, and
    the characters that are in no token."""
    unknown, left_out = unknown_words(tokenizer, ids, words), characters_left_out(tokenizer, text)
    lost = [f"not in the vocabulary, read as <unk>: {unknown}"] if unknown else []
    return lost + ([f"left out, since no token has them: {left_out}"] if left_out else [])


def characters_left_out(tokenizer: Tokenizer, text: str) -> str:
    """The first few different characters of `text` that are in no token, spaces apart; empty when there are none."""
    text = unicodedata.normalize("NFC", text)
    end, left = 0, ""
    for _, start, stop in [*tokenizer.spans(text), ("", len(text), len(text))]:
        left += text[end:start]
        end = max(end, stop)
    found = list(dict.fromkeys(left.translate(_SPACES)))
    return " ".join(clean(character, 1) or ascii(character) for character in found[:8]) + (" …" if len(found) > 8 else "")


def unknown_words(tokenizer: Tokenizer, ids: list[int], words: list[str]) -> str:
    """The first few different `words` that are not in the vocabulary, by their `ids`; empty when all of them are."""
    unknown = list(dict.fromkeys(word for word, token in zip(words, ids, strict=True) if token == tokenizer.unknown and word != UNKNOWN))
    return ", ".join(clean(word, 20) or ascii(word) for word in unknown[:3]) + (" …" if len(unknown) > 3 else "")


def next_token(logits: Tensor, prompt: ReadPrompt, tokenizer: Tokenizer, options: NextWord) -> Bars:
    """The most likely next tokens by their logits (V,).

    Tokens that top-p drops are not listed; the probabilities shown are those of the whole softmax.
    """
    probability = distribution(logits, options.temperature)  # (V,)
    ids = candidates(probability, options.top_k or BARS, options.top_p).tolist()
    values = probability[ids].tolist()
    entropy = float(torch.special.entr(probability).sum())
    spaced = options.prompt[-1:].isspace()
    return Bars(
        labels=[tokenizer.label(token) for token in ids],
        values=values,
        percent=True,
        high=1.0,
        appends=[tokenizer.decode([token], after=prompt.typed, spaced=spaced) for token in ids],
        figure=f"{100 * values[0]:.1f} %",
        remark=prompt.remark,
        caption=prompt.caption(
            f"entropy {entropy / math.log(2):.2f} bits, ≈ {choices(math.exp(entropy))} equally likely {tokenizer.noun}",
            f"top {len(ids)} cover {100 * sum(values):.1f} %",
        ),
    )


def choices(count: float) -> str:
    """A number of equally likely tokens, with one decimal below ten."""
    return f"{count:.1f}" if count < 10 else f"{count:,.0f}"


def passage(reader: Reader, prompt: ReadPrompt, tokenizer: Tokenizer, options: Passage) -> Tokens:
    """The prompt that `reader` has read, continued: the new tokens, and as running text what they add to the prompt."""
    written = write(
        reader,
        options.words,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.sampling_seed,
        ban=tokenizer.unknown,
    )
    ids = [token for token, _ in written]
    probabilities = [probability for _, probability in written]
    surprise = math.exp(-sum(math.log(max(p, 1e-300)) for p in probabilities) / len(probabilities))
    return Tokens(
        words=[tokenizer.label(token) for token in ids],
        values=list(probabilities),
        notes=[f"{tokenizer.label(token)}: {100 * probability:.1f} % when it was sampled" for token, probability in written],
        text=tokenizer.decode(ids, after=prompt.typed, spaced=options.prompt[-1:].isspace()),
        figure=f"perplexity {surprise:.3g}",
        caption=prompt.caption(),
    )


def prompt_tokens(logits: Tensor, prompt: ReadPrompt, tokenizer: Tokenizer, options: Prompt) -> Tokens:
    """The probability of each token of the prompt, given those before it, by the logits (T, V) after each."""
    values: list[float | None] = [None]
    notes = [f"{_said(prompt, tokenizer, 0)}: the first token, nothing comes before it"]
    nats = 0.0
    for place, token in enumerate(prompt.ids[1:]):
        if place % AT_ONCE == 0:
            log_probability = logits[place : place + AT_ONCE].cpu().double().log_softmax(dim=-1)  # of 1,024 x 50,257 they take 0.4 GB
        here = log_probability[place % AT_ONCE]
        rank = int((here > here[token]).sum()) + 1
        values.append(float(here[token].exp()))
        nats -= float(here[token])
        best = tokenizer.label(int(here.argmax()))
        notes.append(
            f"{_said(prompt, tokenizer, place + 1)}: {100 * float(here[token].exp()):.2f} %, rank {rank:,}; most likely was {best}"
        )
    count = len(prompt.ids) - 1
    return Tokens(
        words=[tokenizer.label(token) for token in prompt.ids],
        values=values,
        notes=notes,
        text=printable(options.prompt),
        figure=f"perplexity {math.exp(min(nats / count, 700)):.4g}" if count else "",
        caption=prompt.caption(),
    )


def answer_token(logits: Tensor, tokenizer: Tokenizer, text: str) -> tuple[int, str]:
    """The token that `text` names, and a remark on what of it is not read as it was typed; of an empty text the most likely one by the
    logits (V,). Where tokens have their space in front of them, with it or without, whichever is likelier."""
    if not text.strip():
        return int(logits.argmax()), ""
    readings = [ids for ids in (tokenizer.encode(text), tokenizer.encode(f" {text.strip()}")) if ids] or [[tokenizer.unknown or 0]]
    ids = min(readings, key=lambda ids: (len(ids), -float(logits[ids[0]])))
    word = clean(text.strip(), 40) or ascii(text.strip())
    if ids[0] == tokenizer.unknown and text.strip() != UNKNOWN:
        return ids[0], f"not in the vocabulary, read as <unk>: {word}"
    return ids[0], f"of the answer {word} only {tokenizer.label(ids[0])} is read" if len(ids) > 1 else ""


def neighbours(embedding: Tensor, prompt: ReadPrompt, tokenizer: Tokenizer, options: Neighbours) -> Bars:
    """The tokens whose embeddings (rows of (V, C)) have the highest cosine similarity to the chosen one's."""
    if options.word.strip():
        chosen = (tokenizer.encode(options.word) or [0])[-1]
    else:
        chosen = prompt.ids[prompt.place(options.token)]
    rows = embedding.detach().float()  # (V, C)
    lengths = rows.norm(dim=1).clamp_min(1e-12)
    cosine = (rows @ rows[chosen] / (lengths * lengths[chosen])).cpu()
    cosine[chosen] = -2.0
    top = cosine.topk(min(10, len(cosine) - 1))
    return Bars(
        labels=[tokenizer.label(token) for token in top.indices.tolist()],
        values=top.values.tolist(),
        high=1.0,
        figure=f'of "{tokenizer.label(chosen)}"',
        caption="that word is not in the vocabulary: these are the neighbours of <unk>" if chosen == tokenizer.unknown else "",
    )


def _said(prompt: ReadPrompt, tokenizer: Tokenizer, place: int) -> str:
    label = tokenizer.label(prompt.ids[place])
    return (
        label if prompt.ids[place] != tokenizer.unknown else f"{label} (for {clean(prompt.words[place], 40) or ascii(prompt.words[place])})"
    )
