"""What can be seen of a BERT: each panel is a pure function of the model, its tokenizer, the held-out text and the options."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay.architectures.bert.model import BERT, Block
from dlplay.architectures.bert.pretraining.objective import Pretraining
from dlplay.architectures.bert.sentences.predictions import fill_masks, logits_at, logits_of, suppress_special
from dlplay.architectures.bert.sentences.sentence import ReadSentence, label, read_sentence
from dlplay.architectures.bert.settings import (
    AttentionHead,
    Contexts,
    Fill,
    HeldOutRow,
    PatchedSentence,
    Sentence,
    WordNeighbours,
    WordOfSentence,
)
from dlplay.data.special_tokens import CLS, MASK, SEP
from dlplay.data.tokens import Tokenizer
from dlplay.engine.dataset import Missing
from dlplay.engine.panels import Array, Bars, HeatMap, Layers, Lines, Table, Tokens
from dlplay.engine.settings import Options
from dlplay.engine.units import numbered
from dlplay.parts import forward, head_table, heads, norms, patching, prompts
from dlplay.parts.head_table import Costs
from dlplay.parts.held_out import probe_shape
from dlplay.parts.patching import Axis
from dlplay.parts.prompt_options import Neighbours

PARTS = {
    "embeddings": "embeddings",
    "head": "masked-word head",
    "pooler": "pooler",
    "next_sentence": "next-sentence head",
    "classifier": "classifier",
    "norm_1": "norms",
    "norm_2": "norms",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
"""Parts of the model by the name of their module."""

NO_HEAD = "it has no masked-word head, so it predicts no words"

MAP = 128
"""Tokens on a side of an attention map, at most."""

COLUMNS = 3
"""Masks whose candidates are listed side by side; with more masks than this each has a row."""


class BERTPanels:
    """A method is a panel, named as on the card."""

    def __init__(
        self,
        model: BERT,
        tokenizer: Tokenizer,
        pretraining: Pretraining | Missing,
        class_names: list[str],
        optimizer: torch.optim.Optimizer,
        ablation_costs: Callable[[], Costs],
    ) -> None:
        self.model, self.tokenizer, self.pretraining, self.class_names = model, tokenizer, pretraining, class_names
        self.optimizer, self.ablation_costs = optimizer, ablation_costs

    def fill(self, options: Fill) -> Tokens:
        """The sentence, the probability of the most likely word for each mask, and the candidates at one position."""
        sentence = self._read(options)
        if self.model.head is None:
            return self._unpredicted(options)
        position, masks = sentence.position(options.place), sentence.masks
        here, as_typed = logits_of(self.model, [sentence.row(position), sentence.row()]).softmax(dim=-1)[:, 1:-1]  # (T, V) each
        values: list[float | None] = [None] * len(sentence.ids)
        own = 100 * float(here[position, sentence.ids[position]])
        notes = [f'"{word}": not masked' for word in sentence.words]
        notes[position] += f"; if it were masked: {own:.1f} %"
        best = suppress_special(as_typed, sentence.special.words).max(dim=-1)
        for mask in masks:
            values[mask] = float(as_typed[mask, best.indices[mask]])
            notes[mask] = f'{MASK}: most likely "{self.tokenizer.label(int(best.indices[mask]))}", {100 * float(best.values[mask]):.1f} %'
        filled = fill_masks(self.model, sentence, as_typed) if masks else {}
        figure = f"{len(masks)} masked" if masks else f"{sentence.words[position]}: {own:.1f} %"
        return Tokens(
            words=sentence.words,
            values=values,
            notes=notes,
            text=sentence.text,
            place=position,
            alternatives=_alternatives(here[position], sentence, position, options.top),
            masked="" if position in masks else sentence.replaced({position: sentence.special.mask}),
            filled=sentence.replaced({at: word for at, (word, _) in filled.items()}) if masks else "",
            filled_values=[filled[at][1] if at in filled else None for at in range(len(sentence.ids))] if masks else [],
            figure=f"class {self.classes(options).figure} · {figure}" if self.class_names else figure,
            remark=sentence.remark,
            caption=sentence.caption(),
        )

    def forward(self, options: WordOfSentence) -> Layers:
        """The sentence with one word masked, and what its hidden state predicts after the embeddings and after each layer."""
        sentence = self._read(options)
        if self.model.head is None:
            return Layers(layers=[], caption=NO_HEAD)
        position = sentence.position(options.place)
        row = torch.tensor([sentence.row(position)], device=self.model.embeddings.tokens.weight.device)
        states = [state[0, position + 1] for state in self.model.hidden_states(row)]
        words = [MASK if at == position else word for at, word in enumerate(sentence.words)]

        layers = forward.lens(
            states,
            self.model.logits,
            self.tokenizer,
            first="embeddings",
            answers=functools.partial(suppress_special, words=sentence.special.words),
            goal=MASK,
        )
        return Layers(layers=[forward.words("read", words), *layers], caption=sentence.caption())

    def masked_words(self, options: Fill) -> Table:
        """The most likely words for every mask: side by side for a few masks, a row each for many."""
        sentence = self._read(options)
        words = sentence.special.words
        count = min(options.top, 6, words - 1)
        if self.model.head is None:
            return Table(columns=[], rows=[], caption=NO_HEAD)
        if not sentence.masks:
            return Table(columns=[], rows=[], figure="none masked", caption=f"no word is masked: write {MASK} in place of one")
        probability = logits_of(self.model, [sentence.row()])[0, 1:-1].softmax(dim=-1)  # (T, V)
        tops = [suppress_special(probability[position], words).topk(count) for position in sentence.masks]
        percents = [[f"{100 * p:.0f} %" for p in top.values.tolist()] for top in tops]
        labels = [[self.tokenizer.label(token) for token in top.indices.tolist()] for top in tops]
        contexts = [_context(sentence.words, position) for position in sentence.masks]
        shades = torch.stack([top.values for top in tops]).float()  # (masks, count)
        side_by_side = len(contexts) <= COLUMNS
        if side_by_side:  # a column of percentages and one of words for each mask
            columns = [text for context in contexts for text in ("", context)]
            rows = [[text for mask in range(len(contexts)) for text in (percents[mask][rank], labels[mask][rank])] for rank in range(count)]
            tints = torch.stack([torch.full_like(shades, math.nan), shades], dim=1).flatten(0, 1).T
        else:
            columns = ["mask", *(f"{rank}." for rank in range(1, count + 1))]
            rows = [[context, *map(" ".join, zip(*pair, strict=True))] for context, *pair in zip(contexts, percents, labels, strict=True)]
            tints = torch.cat([torch.full((len(contexts), 1), math.nan), shades], dim=1)
        return Table(
            columns=columns,
            rows=rows,
            right=list(range(0, len(columns), 2)) if side_by_side else [],
            shades=Array.of(tints.numpy()),
            figure=f"{len(contexts)} masked",
            caption=sentence.caption(),
        )

    def pseudo_likelihood(self, options: WordOfSentence) -> Tokens:
        """The probability of each word when it alone is masked (Wang and Cho, 2019; Salazar et al., 2020)."""
        sentence = self._read(options)
        if self.model.head is None:
            return self._unpredicted(options)
        positions = [position for position in range(len(sentence.ids)) if position not in sentence.masks]
        values: list[float | None] = [None] * len(sentence.ids)
        notes = [f"{word}: masked, so it has no probability" for word in sentence.words]
        total = 0.0
        if positions:
            rows = [sentence.row(position) for position in positions]
            logits = logits_at(self.model, rows, [position + 1 for position in positions])  # (P, V)
            for position, log_probs in zip(positions, logits.log_softmax(dim=-1), strict=True):
                own = float(log_probs[sentence.ids[position]])
                total += own
                values[position] = math.exp(own)
                best = label(self.tokenizer, int(log_probs.argmax()))
                notes[position] = f'"{sentence.words[position]}": {100 * math.exp(own):.2f} % when masked; most likely was "{best}"'
        masks = len(sentence.masks)
        left_out = [f"{masks} {'mask is' if masks == 1 else 'masks are'} left out"] if masks else []
        return Tokens(
            words=sentence.words,
            values=values,
            notes=notes,
            text=sentence.text,
            figure=f"{total:.1f} nats" if positions else "",
            caption=sentence.caption(*([f"{total / len(positions):.2f} nats per word"] if positions else []), *left_out),
        )

    def attention(self, options: AttentionHead) -> HeatMap:
        """The attention weights of one head over the sentence, with its [CLS] and [SEP]: row t is the query at token t."""
        sentence = self._read(options)
        layer = min(options.layer, len(self.model.blocks) - 1)
        block = self.model.blocks[layer]
        assert isinstance(block, Block)
        head = min(options.head, block.attention.heads - 1)
        hidden = self._hidden_states(sentence)[layer]  # (1, T, C)
        weights = block.attention.weights(hidden)[0, head].float().cpu()[:MAP, :MAP]  # (T, T)
        labels = [CLS, *sentence.words, SEP]
        cut = [f"the first {MAP} of {len(labels)} tokens are shown"] if len(labels) > MAP else []
        return heads.attention_map(
            weights,
            labels[:MAP],
            figure=heads.which(layer, len(self.model.blocks), head, block.attention.heads),
            part=f"blocks.{layer}.head.{head}",
            caption=sentence.caption(*cut),
        )

    def heads(self, options: Options) -> Table:
        """All heads, with what they attend to in held-out rows, in which nothing is masked."""
        if self.model.head is None and self.model.classifier is None:
            return Table(columns=["head"], rows=[], caption=NO_HEAD)
        costs = self.ablation_costs()
        if isinstance(self.pretraining, Missing):
            return head_table.table(costs, [], f"what they attend to is measured in the text: {self.pretraining.why}")
        rows = self.pretraining.held_out
        count, length = probe_shape(sum(p.numel() for p in self.model.parameters()), self.model.block_size)
        idx, valid = rows.idx[:count, :length], rows.valid[:count, :length]
        segments = rows.segments[:count, :length] if self.pretraining.settings.next_sentence else None
        states = self.model.hidden_states(idx, segments, valid)
        weights = {}
        for layer, (block, hidden) in enumerate(zip(self.model.blocks, states, strict=False)):
            assert isinstance(block, Block)
            weights[f"blocks.{layer}"] = block.attention.weights(hidden, valid[:, None, None, :])
        return head_table.table(costs, [head_table.of_encoder(weights, idx, valid)])

    def patching(self, options: PatchedSentence) -> HeatMap:
        """How much of the masked word comes back when a corrupted sentence gets the clean one's activations, layer by position."""
        if self.model.head is None:
            return HeatMap(values=Array.of(torch.zeros(0, 0)), caption=NO_HEAD)
        sentence, device = self._read(options), self.model.embeddings.tokens.weight.device
        position, words = sentence.position(options.place), sentence.special.words

        def read(idx: Tensor) -> Tensor:
            return suppress_special(self.model.logits(self.model(idx)[:, position + 1]), words)  # (B, V)

        clean, notes, remark = sentence.row(position), sentence.notes, sentence.remark
        if options.corrupt.strip():
            other = self._read(options, options.corrupt)
            patching.check_lengths(other.ids, sentence.ids, self.tokenizer.noun)
            corrupt, remark = other.row(position), " · ".join(filter(None, [remark, other.remark]))
            patching.check_lengths(corrupt, clean, self.tokenizer.noun)
        else:
            positions = [place for place in range(1, len(clean) - 1) if place != position + 1]
            embedding, parameters = self.model.embeddings.tokens.weight[1:words], sum(p.numel() for p in self.model.parameters())
            corrupt, _ = patching.replace_one(torch.tensor(clean, device=device), read, embedding, positions, parameters, first=1)
            notes = ["one word replaced", *notes]
        ids, others = torch.tensor([clean], device=device), torch.tensor([corrupt], device=device)
        answer, unread = prompts.answer_token(read(ids)[0], self.tokenizer, options.answer)
        return patching.patch_map(
            {"bert": self.model},
            [Axis(patching.differing(corrupt, clean, self._label), [f"blocks.{layer}" for layer in range(len(self.model.blocks))])],
            options.site,
            clean=lambda: read(ids),
            corrupted=lambda rows: read(others.expand(rows, -1)),
            answer=answer,
            label=self._label,
            notes=notes,
            remark=" · ".join(filter(None, [remark, unread])),
        )

    def _label(self, token: int) -> str:
        return label(self.tokenizer, token)

    def contexts(self, options: Contexts) -> Lines:
        """Cosine similarity, layer by layer, of one word's hidden states in two sentences, and of two neighbours in one sentence."""
        first, second = self._read(options), self._read(options, options.other_sentence)
        found = _shared_word(first, second, options)
        if found is None:
            return Lines(x=[], series={}, caption="the two sentences share no word: write one that is in both")
        here, there = found
        states, others = self._hidden_states(first), self._hidden_states(second)
        word = first.words[here]
        near = here + 1 if here + 1 < len(first.ids) else max(0, here - 1)
        return Lines(
            x=[float(layer) for layer in range(len(states))],
            series={
                f"{word} in both": [_cosine(a[0, here + 1], b[0, there + 1]) for a, b in zip(states, others, strict=True)],
                f'{word} and "{first.words[near]}"': [_cosine(a[0, here + 1], a[0, near + 1]) for a in states],
            },
            x_title="after the embedding (0) and after each layer",
            figure=f"{word}: {_cosine(states[-1][0, here + 1], others[-1][0, there + 1]):.2f}",
            caption=first.caption(),
        )

    def neighbours(self, options: WordNeighbours) -> Bars:
        sentence = self._read(options)
        words = sentence.special.words
        position = sentence.position(options.place)
        token = sentence.ids[position]
        if token == sentence.special.mask and self.model.head is None:
            return Bars(labels=[], values=[], caption=f"{NO_HEAD}; choose a word that is not masked")
        if token == sentence.special.mask:
            token = int(suppress_special(logits_of(self.model, [sentence.row()])[0, position + 1], words).argmax())
        prompt = prompts.ReadPrompt([token], [token], [token], [self.tokenizer.label(token)], [])
        embedding = self.model.embeddings.tokens.weight[:words]
        return prompts.neighbours(embedding, prompt, self.tokenizer, Neighbours(word=options.word, token=0))

    def held_out(self, options: HeldOutRow) -> Table:
        """The masked words of one held-out row: the targets and the predictions."""
        if self.model.head is None:
            return Table(columns=["mask"], rows=[], caption=NO_HEAD)
        if isinstance(self.pretraining, Missing):
            return Table(columns=["mask"], rows=[], caption=self.pretraining.why)
        data, rows, chosen = self.pretraining, self.pretraining.held_out, self.pretraining.chosen[0]
        number = min(options.example, len(rows.idx) - 1)
        targets, masked = rows.idx[number], chosen[number]
        length = int(rows.valid[number].sum())
        idx = targets.masked_fill(masked, data.special.mask)[:length]
        segments = rows.segments[number : number + 1, :length] if data.settings.next_sentence else None
        probability = self.model.logits(self.model(idx[None], segments))[0].cpu().double().softmax(dim=-1)  # (T, V)
        labels = [self._word(token) for token in targets[:length].tolist()]
        shown = ["____" if is_masked else word for word, is_masked in zip(labels, masked.tolist(), strict=False)]
        lines, correct = [], 0
        for position in torch.nonzero(masked)[:, 0].tolist():
            predicted, target = int(probability[position].argmax()), int(targets[position])
            correct += predicted == target
            lines.append(
                [
                    _context(shown, position, 3).strip(),
                    labels[position],
                    self._word(predicted) + ("" if predicted == target else " ✗"),
                    f"{100 * float(probability[position, target]):.1f} %",
                    f"{int((probability[position] > probability[position, target]).sum()) + 1:,}",
                ]
            )
        return Table(
            columns=["mask", "target", "prediction", "p(target)", "rank"],
            rows=lines,
            right=[3, 4],
            figure=f"{correct} of {len(lines)} correct",
            caption=f"{numbered('row', number, len(rows.idx))}; the masks are always the same",
        )

    def classes(self, options: Sentence) -> Bars:
        """The probability of each class for the sentence."""
        if self.model.classifier is None:
            return Bars(labels=[], values=[], caption="no classes yet: a TSV file as the setting data fine-tunes it")
        sentence = self._read(options)
        values = self.model.classifier(self.model.pool(self._hidden_states(sentence)[-1]))[0].cpu().double().softmax(dim=0).tolist()
        best = max(range(len(values)), key=values.__getitem__)
        return Bars(
            labels=self.class_names,
            values=values,
            percent=True,
            high=1.0,
            chosen=best,
            figure=f"{self.class_names[best]} {100 * values[best]:.1f} %",
            caption=sentence.caption(),
        )

    def follows(self, options: Contexts) -> Bars:
        """Next-sentence prediction: whether the other sentence follows the first."""
        if self.model.next_sentence is None:
            return Bars(labels=[], values=[], caption="it has no next-sentence head: train one with --next-sentence")
        room = (self.model.block_size - 3) // 2
        first = read_sentence(self.tokenizer, options.sentence, room)
        second = read_sentence(self.tokenizer, options.other_sentence, room)
        row = [*first.row(), *second.row()[1:]]
        segments = [0] * (len(first.ids) + 2) + [1] * (len(second.ids) + 1)
        idx, segment = torch.tensor([[row], [segments]], device=self.model.embeddings.tokens.weight.device)  # (1, T) each
        values = self.model.next_sentence(self.model.pool(self.model(idx, segment)))[0].cpu().double().softmax(dim=0).tolist()
        return Bars(labels=["follows", "is from elsewhere"], values=values, percent=True, high=1.0, caption=first.caption())

    def norms(self, options: Options) -> Bars:
        return norms.norms(self.model, _part, self.optimizer)

    def _unpredicted(self, options: WordOfSentence) -> Tokens:
        """The sentence as a model without the masked-word head reads it."""
        sentence = self._read(options)
        return Tokens(
            words=sentence.words,
            values=[None] * len(sentence.ids),
            notes=[f'"{word}": {NO_HEAD}' for word in sentence.words],
            text=sentence.text,
            place=sentence.position(options.place),
            figure=f"class {self.classes(options).figure}" if self.class_names else "",
            remark=sentence.remark,
            caption=sentence.caption(NO_HEAD),
        )

    def _read(self, options: Sentence, text: str | None = None) -> ReadSentence:
        """The sentence of the options, or another `text`, as much of it as fits in a block."""
        options.check()
        return read_sentence(self.tokenizer, options.sentence if text is None else text, self.model.block_size - 2)

    def _hidden_states(self, sentence: ReadSentence) -> list[Tensor]:
        return self.model.hidden_states(torch.tensor([sentence.row()], device=self.model.embeddings.tokens.weight.device))

    def _word(self, token: int) -> str:
        return self.tokenizer.label(token) if token < len(self.tokenizer.vocabulary) else ""


def _alternatives(probability: Tensor, sentence: ReadSentence, position: int, count: int) -> Bars:
    """The most likely words at `position` by its softmax (V,), each with the sentence that it makes."""
    top = suppress_special(probability, sentence.special.words).topk(min(count, sentence.special.words - 1))
    ids = top.indices.tolist()
    return Bars(
        labels=[sentence.tokenizer.label(token) for token in ids],
        values=top.values.tolist(),
        percent=True,
        high=1.0,
        chosen=ids.index(sentence.ids[position]) if sentence.ids[position] in ids else None,
        sets=[sentence.replaced({position: token}) for token in ids],
        figure=f"at {sentence.words[position]}",
        caption=f"top {len(ids)} cover {100 * sum(top.values.tolist()):.1f} %",
    )


def _shared_word(first: ReadSentence, second: ReadSentence, options: Contexts) -> tuple[int, int] | None:
    """The positions of one word in both sentences; None if they share none."""
    vocabulary = first.tokenizer.vocabulary
    wanted: list[int] = []
    if options.shared.strip():
        wanted = first.tokenizer.encode(options.shared)[-1:]
    elif options.place >= 0:
        wanted = [first.ids[first.position(options.place)]]
    common = [token for token in first.ids if token in second.ids and token != first.special.mask]
    longest = sorted(set(common), key=lambda token: (-len(vocabulary[token]), token))
    token = next((token for token in wanted if token in common), longest[0] if longest else None)
    if token is None:
        return None
    chosen = first.position(options.place)
    here = chosen if options.place >= 0 and first.ids[chosen] == token else first.ids.index(token)
    return here, second.ids.index(token)


def _context(words: list[str], position: int, reach: int = 2) -> str:
    """A masked word between its neighbours."""
    before, after = words[max(0, position - reach) : position], words[position + 1 : position + 1 + reach]
    return " ".join([*before, "____", *after])


def _part(name: str) -> str:
    parts = name.split(".")
    return f"layer {parts[1]} {PARTS[parts[2]]}" if parts[0] == "blocks" else PARTS[parts[0]]


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.double(), other.double(), dim=0))
