"""GPT: a decoder that predicts the next word. Its card; imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from msgspec import Meta

from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset
from dlplay.engine.settings import Settings, check_heads
from dlplay.parts.prompt_options import Neighbours, NextWord, Passage, Prompt, TokenOfPrompt


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPTSettings(Settings):
    """What the GPT can be told."""

    text: Annotated[str, Meta(min_length=1, max_length=4096, extra={"choices": ["reference"], "path": True})] = "reference"
    """What it reads: reference (the language reference inside Python), or a UTF-8 text file of at most 64 MiB."""

    tokens: Literal["word", "char", "bpe"] = "word"
    """What it reads at a time: a word, number or punctuation mark in lower case, a character as it stands, or (bpe) the pieces of words
    that a model from elsewhere brings along."""

    layers: Annotated[int, Meta(ge=1, le=48)] = 3
    """Blocks of attention and feed-forward, one after the other."""

    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads in each block; the width must divide by them."""

    width: Annotated[int, Meta(ge=4, le=4096)] = 96
    """Length of the vector that stands for each token, in every layer."""

    block_size: Annotated[int, Meta(ge=2, le=1024, extra={"unit": "tokens"})] = 64
    """How many tokens it sees at once."""

    dropout: Annotated[float, Meta(ge=0, lt=1, extra={"live": True})] = 0.2
    """Share of activations that are switched off at random while training; more of it counters overfitting."""

    vocab_size: Annotated[int, Meta(ge=2, le=65_536)] = 8000
    """At most this many different tokens are known; the rarest of the rest are read as <unk>."""

    min_count: Annotated[int, Meta(ge=1, le=10_000)] = 3
    """A word that comes less often in the training text is read as <unk>; characters are all kept."""

    batch: Annotated[int, Meta(ge=1, le=4096, extra={"live": True, "unit": "windows"})] = 16
    """Windows of text in each step, each of a block's length from a random place."""

    lr: Annotated[float, Meta(gt=0, le=1, extra={"live": True})] = 3e-3
    """Step size at its highest: after the warm-up, from where it falls along a cosine to a tenth at the last step."""

    warmup: Annotated[int, Meta(ge=0, le=1_000_000, extra={"unit": "steps", "live": True})] = 100
    """Steps over which the step size rises from nothing."""

    weight_decay: Annotated[float, Meta(ge=0, le=10, extra={"live": True})] = 1.0
    """How strongly AdamW pulls the matrices (not biases and norms) to zero, times the step size; a text read many times needs much."""

    clip: Annotated[float, Meta(ge=0, le=1000, extra={"live": True})] = 1.0
    """The gradient's norm is cut down to this; 0 leaves it alone."""

    steps: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 2500
    """Training ends after this many steps; the step size falls towards that end."""

    eval_every: Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "steps", "live": True})] = 100
    """Steps between two evaluations on the whole held-out text."""

    def check(self) -> None:
        """The heads share the width evenly."""
        super().check()
        check_heads(self.width, self.heads)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionHead(Prompt):
    """Options of the attention map."""

    layer: Annotated[int, Meta(ge=0, le=47)] = 0
    """Which block, counted from 0; beyond the last one the last is shown."""

    head: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which head of it, counted from 0; beyond the last one the last is shown."""


card = Card(
    name="gpt",
    title="GPT",
    summary="Learn to predict the next word of a text with a decoder of GPT-2's form.",
    settings=GPTSettings,
    task="dlplay.architectures.gpt.task:GPTTask",
    hf="dlplay.architectures.gpt.hf:GPT2",
    metric="val_perplexity",
    better="lower",
    order=70,
    charts=(
        ChartCard("Loss (nats a token)", train=("train_loss",), held_out=("val_loss",)),
        ChartCard("Held-out perplexity", held_out=("val_perplexity",), log=True),
        ChartCard("Held-out words guessed right", held_out=("val_top1",), percent=True),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "next_word",
            "Next word",
            "The likeliest words after the prompt, with their probabilities.",
            "The softmax over the whole vocabulary, after the last word of the prompt. A low temperature sharpens it, a high one "
            "flattens it; top-k and top-p leave out what is unlikely. Pick a candidate to append it. Words that the vocabulary lacks "
            "are read as <unk>.",
            NextWord,
            rows=10,
        ),
        PanelCard(
            "passage",
            "Passage",
            "The prompt continued word by word; each word is shaded by the probability it had.",
            "Words are drawn from the softmax under the chosen temperature, top-k and top-p, with random numbers of their own: "
            "training is not disturbed, and the same sampling seed writes the same passage. <unk> is never drawn. Temperature 0 always "
            "takes the likeliest.",
            Passage,
        ),
        PanelCard(
            "prompt_tokens",
            "Prompt, word by word",
            "How likely the model found each word, given those before it. Select one to look at it elsewhere.",
            "The prompt as the model reads it. A surprising word has a low probability; the first has none, since nothing stands "
            "before it.",
            TokenOfPrompt,
            selects="token",
            rows=4,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: the word that looks. Column: the word looked at. Each row sums to 1.",
            "The attention weights of one head, computed again from its queries and keys. Nothing lies above the diagonal: no word "
            "sees the future. Look for heads that look at the word before, at the start, or at an earlier copy of the same word.",
            AttentionHead,
        ),
        PanelCard(
            "layer_lens",
            "What each layer would say",
            "The likeliest next words if the stream ended after each layer.",
            "The stream after every layer goes through the final norm and the output head (the logit lens of nostalgebraist, 2020). "
            "Early layers say what the word alone suggests, later ones what the context makes of it.",
            TokenOfPrompt,
            rows=7,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The words whose embeddings point most nearly the same way (cosine).",
            "Words that are used alike get embeddings alike. Before training the neighbours are chance.",
            Neighbours,
        ),
        PanelCard(
            "norms",
            "Gradients and weights",
            "For each layer: norm of the last step's gradient, and of its weights, on a log scale.",
            "Gradients that vanish or explode show here first. The gradient is the clipped one that the last step used; before the "
            "first step there is none.",
        ),
    ),
    stage=stages.Prompt(panel="next_word", option="prompt", generate="passage"),
    presets={
        "reference": Preset(
            {},
            "The defaults: 0.5 M parameters on the language reference; strong weight decay, since the text is read 31 times. "
            "Perplexity 61, the trigram's is 78.",
        ),
        "quick": Preset(
            {"layers": 2, "width": 64, "dropout": 0.0, "weight_decay": 2.0, "lr": 4e-3, "steps": 1500},
            "Two narrow layers and no dropout: below the trigram in under a minute (perplexity 69).",
        ),
        "char": Preset(
            {
                "tokens": "char",
                "layers": 4,
                "width": 128,
                "batch": 12,
                "dropout": 0.0,
                "weight_decay": 0.1,
                "lr": 1e-3,
                "steps": 2000,
                "eval_every": 250,
            },
            "Characters at nanoGPT's setting for a CPU; on tiny Shakespeare its author reports 1.88 nats. Works for any text file.",
        ),
        "char-gpu": Preset(
            {
                "tokens": "char",
                "layers": 6,
                "heads": 6,
                "width": 384,
                "block_size": 256,
                "batch": 64,
                "weight_decay": 0.1,
                "lr": 1e-3,
                "steps": 5000,
                "eval_every": 250,
            },
            "Characters at nanoGPT's setting for a GPU, 10.7 M parameters; on tiny Shakespeare its author reports 1.47 nats.",
        ),
    },
)
