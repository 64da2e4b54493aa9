"""Recurrent nets: a plain RNN, a GRU and an LSTM, which read one thing after another. Their card; imports no torch."""

from __future__ import annotations

from dlplay.architectures.recurrent.options import (
    Activations,
    Continued,
    Cost,
    Forecast,
    GradientFlow,
    NextToken,
    ReadTokens,
)
from dlplay.architectures.recurrent.settings import RecurrentSettings as RecurrentSettings
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset
from dlplay.parts.prompt_options import Neighbours

_ADDING = {
    "task": "adding",
    "length": 50,
    "width": 64,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "batch": 64,
    "lr": 5e-3,
    "steps": 2000,
    "eval_every": 100,
}

_KERAS = {"tokens": "word", "embedding": 50, "layers": 2, "width": 100, "head": 100, "block_size": 50}

card = Card(
    name="recurrent",
    title="Recurrent",
    summary="Read one step after the other and carry on what is worth remembering: a plain RNN, a GRU or an LSTM.",
    settings=RecurrentSettings,
    task="dlplay.architectures.recurrent.task:RecurrentTask",
    metric="val_loss",
    better="lower",
    order=20,
    charts=(
        ChartCard("Loss (nats a token, or squared error)", train=("train_loss",), held_out=("val_loss",), log=True),
        ChartCard("Held-out tokens guessed right", held_out=("val_top1",), percent=True, when=lambda it: it["task"] in ("text", "copy")),
        ChartCard("Held-out perplexity", held_out=("val_perplexity",), log=True, when=lambda it: it["task"] in ("text", "copy")),
        ChartCard("Squared error", held_out=("test_mse",), log=True, when=lambda it: it["task"] in ("adding", "series")),
        ChartCard("Symbols recalled", held_out=("accuracy",), percent=True, when=lambda it: it["task"] == "copy"),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "next_token",
            "Next",
            "The likeliest tokens after the prompt; for numbers, what the net says.",
            "For a text: the softmax over the vocabulary after the last token of the prompt; pick a candidate to append it. For adding, "
            "type numbers with a star after two of them (0.3 0.9* 0.5 0.4*); for copy, letters from a to h; for a series, its last values. "
            "Hold a unit (silent or clamped) to see what it does: the thin bar is the prediction with the unit free.",
            NextToken,
            rows=10,
        ),
        PanelCard(
            "passage",
            "Passage",
            "The prompt continued; each token is shaded by the probability it had.",
            "Tokens are drawn under the chosen temperature, top-k and top-p, with random numbers of their own: the same sampling seed "
            "writes the same passage. For copy: what is recalled. For a series: the forecast in numbers.",
            Continued,
        ),
        PanelCard(
            "prompt_tokens",
            "Prompt, step by step",
            "How likely the net found each token, given those before it. Select one to look at it elsewhere.",
            "The prompt as it is read. A surprising token has a low probability. For copy: the probability with which each symbol is "
            "recalled. For adding the marked numbers stand out.",
            ReadTokens,
            selects="token",
            rows=4,
        ),
        PanelCard(
            "activations",
            "Activations through time",
            "Row: a unit. Column: a step. Select a row to follow that unit.",
            "The hidden state of every unit after each step, or one of the cell's parts: an LSTM's cell and its input, forget and output "
            "gates, a GRU's update and reset gates. Held-out data is read, or the prompt. Look for rows that change slowly: they remember.",
            Activations,
            selects="unit",
        ),
        PanelCard(
            "unit",
            "One unit",
            "The chosen unit's value after each step of what is read.",
            "Some units of a character model can be read: one counts the place in the line, another is on inside of brackets or quotes "
            "(Karpathy, Johnson and Fei-Fei, 2016). Most cannot. The middle of the scale is zero; the cursor reads out the value.",
            Activations,
            rows=4,
        ),
        PanelCard(
            "gradient_flow",
            "Gradient through time",
            "How strongly the last step's error reaches the hidden state of each step before, on a log scale.",
            "The norm of the gradient of the last step's loss with respect to the hidden state, 0, 1, 2 … steps back: this net beside "
            "fresh ones of every cell. What falls by a constant factor at every step vanishes; nothing so far back can be learnt. Gates "
            "that stay open let it through.",
            GradientFlow,
        ),
        PanelCard(
            "cost_against_length",
            "Cost against length",
            "Milliseconds of one training step of a layer: recurrent, convolution, attention.",
            "Forward and backward of one layer of this width at growing length, measured on this device when the option measurement is "
            "set to another number (about two seconds, for which training waits). A recurrent layer takes its steps one after the other, "
            "however many cores there are; the others take them all at once, and attention looks at all pairs.",
            Cost,
        ),
        PanelCard(
            "forecast",
            "Forecast",
            "For series and adding: what the net says beside the truth.",
            "A series is carried on from a place in its held-out part, each value from the ones before it, its own predictions included; "
            "ahead says how far. For adding: sums said beside the true ones.",
            Forecast,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The tokens whose embeddings point most nearly the same way (cosine).",
            "Tokens that are used alike get embeddings alike. Before training the neighbours are chance.",
            Neighbours,
        ),
        PanelCard(
            "norms",
            "Gradients and weights",
            "For each part: norm of the last step's gradient, and of its weights, on a log scale.",
            "The gradient is the clipped one that the last step used; before the first step there is none.",
        ),
    ),
    stage=stages.Prompt(panel="next_token", option="prompt", generate="passage"),
    presets={
        "reference": Preset(
            {}, "The defaults: an LSTM of 192 units on the language reference, character by character. 1.25 nats, the 5-gram's is 1.32."
        ),
        "keras-tutorial": Preset(
            {**_KERAS, "dropout": 0.35, "weight_decay": 0.1, "batch": 32, "lr": 3e-3, "steps": 1200, "eval_every": 200},
            "The Keras tutorial's word model (two LSTMs of 100), predicting at every place: perplexity 83, the bigram's is 94.",
        ),
        "keras-windows": Preset(
            {
                **_KERAS,
                "predict": "last",
                "dropout": 0.0,
                "weight_decay": 0.0,
                "clip": 0.0,
                "batch": 128,
                "lr": 1e-3,
                "warmup": 0,
                "steps": 1000,
                "eval_every": 250,
            },
            "As the tutorial trains it: one word after each window of 50, so that a step costs as much and learns from a 50th.",
        ),
        "copy": Preset(
            {
                "task": "copy",
                "length": 20,
                "width": 128,
                "embedding": 16,
                "dropout": 0.0,
                "weight_decay": 0.0,
                "batch": 64,
                "lr": 5e-3,
                "steps": 3000,
            },
            "Ten symbols recalled after 20 steps: nearly all of them right, where chance is an eighth.",
        ),
        "series": Preset(
            {
                "task": "series",
                "width": 64,
                "dropout": 0.0,
                "weight_decay": 0.0,
                "block_size": 50,
                "batch": 16,
                "lr": 5e-3,
                "steps": 1500,
                "eval_every": 100,
            },
            "Three sines under noise, forecast 25 steps ahead with an error of .04; the noise alone is .013.",
        ),
        "adding-lstm": Preset(
            {**_ADDING, "cell": "lstm"},
            "The adding problem over 50 steps, which an LSTM's gates solve: a squared error below .001, the constant's is .17.",
        ),
        "adding-gru": Preset(
            {**_ADDING, "cell": "gru"},
            "The adding problem over 50 steps, which a GRU's gates solve: a squared error of .0001, the constant's is .17.",
        ),
        "adding-rnn": Preset(
            {**_ADDING, "cell": "rnn-tanh"},
            "The same steps with a plain RNN, whose memory fades: it stays at the constant or begins to leave it at the end.",
        ),
    },
)
