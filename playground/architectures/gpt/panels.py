"""What can be seen of a GPT: each panel is a pure function of the model, its tokenizer and the options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.gpt.model import GPT, Block, Cache
from dlplay.architectures.gpt.settings import AttentionHead
from dlplay.data.text import Corpus
from dlplay.data.tokens import Tokenizer
from dlplay.engine.dataset import Missing, present
from dlplay.engine.panels import Array, Bars, HeatMap, Layers, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.parts import attribution, forward, head_table, heads, norms, patching, prompts
from dlplay.parts.head_table import Costs, of_decoder, of_repeats
from dlplay.parts.held_out import probe_shape
from dlplay.parts.patching import Axis
from dlplay.parts.prompt_options import Neighbours, NextAnswer, NextWord, Passage, PatchedPrompt, Prompt, TokenOfPrompt
from dlplay.parts.prompts import ReadPrompt

PARTS = {
    "tokens": "token embedding",
    "positions": "position embedding",
    "norm": "final norm",
    "norm_1": "norms",
    "norm_2": "norms",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
"""Parts of the model by the name of their module."""

MAP = 128
"""Tokens on a side of an attention map, at most."""


class GPTPanels:
    """A method is a panel, named as on the card."""

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        optimizer: torch.optim.Optimizer,
        text: Corpus | Missing,
        ablation_costs: Callable[[], Costs],
        repeated_tokens: Callable[[], Tensor],
    ) -> None:
        self.model, self.tokenizer, self.optimizer, self.text = model, tokenizer, optimizer, text
        self.ablation_costs, self.repeated_tokens = ablation_costs, repeated_tokens

    def next_word(self, options: NextWord) -> Bars:
        prompt = self._read(options)
        panel = prompts.next_token(self._logits(prompt)[-1], prompt, self.tokenizer, options)
        return panel if self._knows(options) else msgspec.structs.replace(panel, read={"prompt": self._piece()})

    def forward(self, options: TokenOfPrompt) -> Layers:
        """The prompt, and what the residual stream at one token predicts after the embedding and after each layer."""
        prompt = self._read(options)
        place = prompt.place(options.token)
        residuals = [residual[0, place] for residual in self.model.residuals(self._batch(prompt))]
        read = forward.words("read", [self.tokenizer.label(token) for token in prompt.ids[: place + 1]])
        return Layers(layers=[read, *forward.lens(residuals, self.model.head, self.tokenizer)], caption=prompt.caption())

    def passage(self, options: Passage) -> Tokens:
        prompt = self._read(options)
        return prompts.passage(CachedReader(self.model, prompt.all_ids), prompt, self.tokenizer, options)

    def prompt_tokens(self, options: TokenOfPrompt) -> Tokens:
        prompt = self._read(options)
        return prompts.prompt_tokens(self._logits(prompt), prompt, self.tokenizer, options)

    def attention(self, options: AttentionHead) -> HeatMap:
        """The weights of one head over the prompt's last `MAP` tokens: row t is the query at token t, each row sums to 1."""
        prompt = self._read(options)
        layer = min(options.layer, len(self.model.blocks) - 1)
        block = self.model.blocks[layer]
        assert isinstance(block, Block)
        head = min(options.head, block.attention.heads - 1)
        residual = self.model.residuals(self._batch(prompt))[layer]
        weights = block.attention.weights(block.norm_1(residual))[0, head].float().cpu()[-MAP:, -MAP:]  # (T, T)
        ids = prompt.ids[-MAP:]
        labels = [self.tokenizer.label(token) for token in ids]
        cut = [f"the last {MAP} of {len(prompt.ids)} {self.tokenizer.noun} are shown"] if len(prompt.ids) > MAP else []
        return heads.attention_map(
            weights,
            labels,
            figure=heads.which(layer, len(self.model.blocks), head, block.attention.heads),
            part=f"blocks.{layer}.head.{head}",
            caption=prompt.caption(heads.words(heads.pattern(weights, ids)), *cut),
        )

    def heads(self, options: Options) -> Table:
        """All heads, with what they attend to in held-out text and in random tokens that are read twice."""
        text = torch.from_numpy(present(self.text).held_out).to(self.model.tokens.weight.device)
        count, length = probe_shape(sum(p.numel() for p in self.model.parameters()), self.model.block_size)
        windows = text[: len(text) // length * length].view(-1, length)[:count]
        repeated = self.repeated_tokens()
        readings = [of_decoder(self._weights(windows), windows), of_repeats(self._weights(repeated), repeated)]
        return head_table.table(self.ablation_costs(), readings)

    def attribution(self, options: NextAnswer) -> Table:
        """What each part adds to the logit of one next token."""
        prompt = self._read(options)
        place, idx = prompt.place(options.token), self._batch(prompt)
        residual, parts = attribution.added({"gpt": self.model}, lambda: self.model.residuals(idx)[-1], place)
        logits = self.model.head(residual)[0, place]  # (V,)
        embeddings = {"token embedding": self.model.tokens(idx)[0, place], "position embedding": self.model.positions.weight[place]}
        norm, output = self.model.norm, self.model.tokens.weight
        whole = residual[0, place]
        return attribution.of_token(embeddings | parts, whole, norm, output, logits, self.tokenizer, options.answer, prompt, place)

    def patching(self, options: PatchedPrompt) -> HeatMap:
        """How much of the answer comes back when a corrupted prompt gets the clean one's activations, layer by position."""
        clean, corrupt, notes, remark = self._patched_pair(options)
        device = self.model.tokens.weight.device
        ids, others = torch.tensor([clean], device=device), torch.tensor([corrupt], device=device)
        answer, unread = prompts.answer_token(self._last(ids)[0], self.tokenizer, options.answer)
        return patching.patch_map(
            {"gpt": self.model},
            [Axis(patching.differing(corrupt, clean, self.tokenizer.label), [f"blocks.{n}" for n in range(len(self.model.blocks))])],
            options.site,
            clean=lambda: self._last(ids),
            corrupted=lambda rows: self._last(others.expand(rows, -1)),
            answer=answer,
            label=self.tokenizer.label,
            notes=notes,
            remark=" · ".join(filter(None, [remark, unread])),
        )

    def _patched_pair(self, options: PatchedPrompt) -> tuple[list[int], list[int], list[str], str]:
        """The ids of the clean and of the corrupted prompt, notes, and what of them is not read as it was typed."""
        embedding, parameters = self.model.tokens.weight, sum(p.numel() for p in self.model.parameters())
        if not options.corrupt.strip() and options.prompt == Prompt.prompt and isinstance(self.text, Corpus):
            text = torch.from_numpy(self.text.held_out).to(embedding.device)
            clean, corrupt = patching.from_text(text, self._last, embedding, parameters, self.model.block_size)
            return clean, corrupt, ["one word replaced", f"held-out text: {self.tokenizer.decode(clean)}"], ""
        prompt = self._read(options)
        if not options.corrupt.strip():
            ids = torch.tensor(prompt.ids, device=embedding.device)
            corrupt, _ = patching.replace_one(ids, self._last, embedding, range(max(1, len(ids) - 1)), parameters)
            return prompt.ids, corrupt, prompt.caption("one word replaced").split(" · "), prompt.remark
        other = self._read(dataclasses.replace(options, prompt=options.corrupt))
        patching.check_lengths(other.all_ids, prompt.all_ids, self.tokenizer.noun)
        return prompt.ids, other.ids, prompt.notes, " · ".join(filter(None, [prompt.remark, other.remark]))

    def _last(self, idx: Tensor) -> Tensor:
        """Logits (B, V) of the token after `idx` (B, T)."""
        return self.model.head(self.model.residuals(idx)[-1][:, -1])

    def layer_lens(self, options: TokenOfPrompt) -> Table:
        """The logit lens: the residual stream after the embedding and after each layer, through the final norm and the output head."""
        prompt = self._read(options)
        place = prompt.place(options.token)
        residuals = torch.stack([residual[0, place] for residual in self.model.residuals(self._batch(prompt))])  # (1 + L, C)
        probability = self.model.head(residuals).cpu().double().softmax(dim=-1)  # (1 + L, V)
        top = probability.topk(min(5, probability.shape[1]))
        names = ["embedding", *(f"layer {layer}" for layer in range(len(self.model.blocks)))]
        rows, shades = [], []
        for name, values, ids in zip(names, top.values.tolist(), top.indices.tolist(), strict=True):
            rows.append([name, *(f"{self.tokenizer.label(token)} {100 * value:.0f} %" for token, value in zip(ids, values, strict=True))])
            shades.append([0.0, *values])
        return Table(
            columns=["after", *(f"{rank}." for rank in range(1, top.values.shape[1] + 1))],
            rows=rows,
            shades=Array.of(torch.tensor(shades).numpy()),
            figure=f'after "{self.tokenizer.label(prompt.ids[place])}"',
            caption=prompt.caption(),
        )

    def neighbours(self, options: Neighbours) -> Bars:
        return prompts.neighbours(self.model.tokens.weight, self._read(options), self.tokenizer, options)

    def norms(self, options: Options) -> Bars:
        return norms.norms(self.model, _part, self.optimizer)

    def _read(self, options: Prompt) -> ReadPrompt:
        """The prompt; a piece of the held-out text instead of the default one, where the model knows none of its words."""
        if self._knows(options):
            return prompts.read_prompt(self.tokenizer, options, self.model.block_size)
        read = prompts.read_prompt(self.tokenizer, dataclasses.replace(options, prompt=self._piece()), self.model.block_size)
        return dataclasses.replace(read, notes=["held-out text, until you type a prompt", *read.notes])

    def _knows(self, options: Prompt) -> bool:
        """Whether the prompt is read: it is a person's, or the model knows a word of it, or there is no text to read instead."""
        return (
            options.prompt != Prompt.prompt
            or isinstance(self.text, Missing)
            or any(token != self.tokenizer.unknown for token in self.tokenizer.encode(options.prompt))
        )

    def _piece(self) -> str:
        """The beginning of the held-out text."""
        assert isinstance(self.text, Corpus)
        return self.tokenizer.decode(self.text.held_out[: self.model.block_size * 3 // 4].tolist())

    def _weights(self, idx: Tensor) -> dict[str, Tensor]:
        """The attention weights (B, H, T, T) of each block, by its address."""
        return {f"blocks.{layer}": weights for layer, weights in enumerate(self.model.weights(idx))}

    def _batch(self, prompt: ReadPrompt) -> Tensor:
        return torch.tensor([prompt.ids], device=self.model.tokens.weight.device)  # (1, T)

    def _logits(self, prompt: ReadPrompt) -> Tensor:
        logits: Tensor = self.model(self._batch(prompt))[0]  # (T, V)
        return logits


class CachedReader:
    """Feeds a model token by token and keeps the logits after the last one: with a key-value cache while the tokens fit in a block, and
    from then on by a full pass over the last `block_size` tokens, since every token's learned position moves."""

    def __init__(self, model: GPT, ids: list[int]) -> None:
        self.model = model
        self.ids = list(ids)
        self._cache: Cache = []
        self.logits = self._read(self.ids[-model.block_size :])  # (V,)

    def append(self, token: int) -> Tensor:
        """Read one more token; logits (V,) after it."""
        self.ids.append(token)
        if len(self.ids) <= self.model.block_size:
            self.logits = self._read([token])
        else:
            self._cache = []
            self.logits = self._read(self.ids[-self.model.block_size :])
        return self.logits

    def _read(self, ids: list[int]) -> Tensor:
        logits: Tensor = self.model(torch.tensor([ids], device=self.model.tokens.weight.device), self._cache)  # (1, T, V)
        return logits[0, -1]


def _part(name: str) -> str:
    parts = name.split(".")
    return f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]
