"""The recurrent nets' card: what the command line and the screen know of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dlplay.architectures.recurrent.presets import PRESETS
from dlplay.architectures.recurrent.settings import (
    Activations,
    Cost,
    Forecast,
    Gates,
    GradientFlow,
    NextToken,
    Passage,
    PromptToken,
    RecurrentSettings,
)
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard
from dlplay.parts.prompt_options import Neighbours


def _of(*tasks: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether the settings name one of these tasks."""
    return lambda settings: settings["task"] in tasks


def _reads(*tokens: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether the settings say that a text is read, as one of these kinds of tokens."""
    return lambda settings: settings["task"] == "text" and settings["tokens"] in tokens


card = Card(
    name="recurrent",
    title="Recurrent",
    summary="Read a sequence step by step and carry a hidden state: a plain RNN, a GRU or an LSTM.",
    settings=RecurrentSettings,
    task="dlplay.architectures.recurrent.task:RecurrentTask",
    tokens=lambda it: int(it["block_size"]) if it["task"] == "text" else 0,
    metric="val_loss",
    better="lower",
    order=20,
    charts=(
        ChartCard("Loss", train=("train_loss",), held_out=("val_loss",), log=True, per_token=True),
        ChartCard("Next-token accuracy", held_out=("val_top1",), percent=True, per_token=True, when=_of("text", "copy")),
        ChartCard("Perplexity (held-out)", held_out=("val_perplexity",), log=True, per_token=True, when=_of("text", "copy")),
        ChartCard(
            "Perplexity of known words (held-out)", held_out=("val_perplexity_known",), log=True, per_token=True, when=_reads("word")
        ),
        ChartCard("Bits per byte (held-out)", held_out=("val_bits_per_byte",), when=_reads("char", "bpe")),
        ChartCard("Squared error (held-out)", held_out=("test_mse",), log=True, when=_of("adding", "series")),
        ChartCard("Symbols recalled", held_out=("accuracy",), percent=True, when=_of("copy")),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "next_token",
            "Next",
            "The most likely tokens after the prompt; for adding and series, the predicted number.",
            "For a text: the softmax over the vocabulary after the last token of the prompt; pick a candidate to append it. For adding, "
            "type numbers and mark two with a star (0.3 0.9* 0.5 0.4*); for copy, letters from a to h; for a series, its last values. "
            "Ablate or clamp a unit to see what it does: the thin bar is the prediction with the unit intact.",
            NextToken,
            rows=10,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From what was read, through the hidden state, to the next token.",
            "All that the network keeps of the text is this state, one cell for each unit: it changes with every token.",
            NextToken,
            rows=8,
        ),
        PanelCard(
            "activations",
            "Activations over time",
            "Row: unit. Column: step. Select a row to follow that unit.",
            "The hidden state of every unit after each step, or another part of the cell: an LSTM's cell state and its input, forget and "
            "output gates, a GRU's update and reset gates. The model reads held-out data, or the prompt. Look for rows that change slowly: "
            "these units remember.",
            Activations,
            selects="unit",
        ),
        PanelCard(
            "unit",
            "One unit",
            "The value of the selected unit after each step.",
            "Some units of a character model can be interpreted: one counts the position in the line, another is active inside brackets or "
            "quotes (Karpathy, Johnson and Fei-Fei, 2016). Most cannot. Zero is in the middle of the scale; the cursor shows the value.",
            Activations,
            rows=4,
        ),
        PanelCard(
            "gates",
            "Gates of one unit",
            "A forget or update gate near 1: the unit keeps what it held.",
            "The gates of the selected unit at each step, from 0 (closed) to 1 (open), and its hidden state. An LSTM keeps of its cell the "
            "share that the forget gate says and adds at most what the input gate says; the output gate is what the other units see of it. "
            "A GRU keeps of its state what the update gate says; the reset gate is what its candidate sees of the last state. Look for "
            "the word at which a gate closes. A plain RNN has none.",
            Gates,
            rows=11,
        ),
        PanelCard(
            "gradient_flow",
            "Gradient through time",
            "The gradient of the last step's loss that reaches each earlier hidden state, on a log scale.",
            "The norm of the gradient of the last step's loss with respect to the hidden state 0, 1, 2 … steps back, for this model and "
            "for untrained ones of every cell. A gradient that shrinks by a constant factor at every step vanishes, and nothing that far "
            "back can be learned. Open forget gates let it through.",
            GradientFlow,
        ),
        PanelCard(
            "prompt_tokens",
            "Prompt, step by step",
            "Each token's probability, given those before.",
            "The prompt as the model reads it. A surprising token has a low probability. For copy: the probability with which each symbol "
            "is recalled. For adding, the marked numbers stand out.",
            PromptToken,
            selects="token",
            rows=4,
        ),
        PanelCard(
            "passage",
            "Passage",
            "The prompt continued; the shade of a token is its probability when it was sampled.",
            "Tokens are sampled from the softmax with the chosen temperature, top-k and top-p. Sampling has a random generator of its own: "
            "the same sampling seed gives the same passage. For copy: the recalled symbols. For a series: the forecast in numbers.",
            Passage,
        ),
        PanelCard(
            "cost_against_length",
            "Cost against length",
            "Milliseconds per training step of one layer: recurrent, convolution, attention.",
            "Forward and backward of one layer of this width for sequences of growing length, measured on this device when the option "
            "measurement is set to another number (about two seconds, for which training waits). A recurrent layer computes its steps one "
            "after the other, however many cores there are; the others compute all at once, and attention compares all pairs. A minimal "
            "GRU (Feng et al., 2024) is recurrent too, but its gate does not see the state, so that log2(length) passes do.",
            Cost,
        ),
        PanelCard(
            "forecast",
            "Forecast",
            "For series and adding: the prediction beside the truth.",
            "A series is forecast from a place in its held-out part: each value is predicted from the ones before it, predictions "
            "included; the option ahead sets the length. For adding: predicted sums beside the true ones.",
            Forecast,
            when=lambda it: it.get("task") in ("series", "adding"),
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The tokens whose embeddings have the highest cosine similarity.",
            "Tokens that are used alike get similar embeddings. Before training the neighbours are random.",
            Neighbours,
            when=lambda it: it.get("task", "text") == "text",
        ),
        PanelCard(
            "norms",
            "Gradient and weight norms",
            "For each part: the norms of its last gradient and of its weights, on a log scale.",
            "This is the gradient after clipping, as the last step used it; before the first step there is none.",
        ),
    ),
    stage=stages.Prompt(panel="next_token", option="prompt", generate="passage", below=("forward", "activations")),
    presets=PRESETS,
    search=("lr=1e-4..1e-1:log", "cell=gru,lstm"),
)
