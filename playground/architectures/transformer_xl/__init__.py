"""Transformer-XL: a decoder that reads on, segment by segment, with a memory of what it read. Its card; imports no torch."""

from __future__ import annotations

from dlplay.architectures.transformer_xl.options import Attention, Continued, Head, MemoryUsed, NextToken, Similar, Speed, TokenRead
from dlplay.architectures.transformer_xl.settings import TransformerXLSettings as TransformerXLSettings
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset

_TEXT = {
    "task": "text",
    "layers": 3,
    "heads": 4,
    "width": 88,
    "block_size": 32,
    "memory": 64,
    "eval_memory": 64,
    "dropout": 0.2,
    "weight_decay": 1.0,
    "batch": 32,
    "lr": 3e-3,
    "steps": 1000,
    "eval_every": 100,
}

card = Card(
    name="transformer-xl",
    title="Transformer-XL",
    summary="Read on segment by segment, and attend to a memory of what was read before.",
    settings=TransformerXLSettings,
    task="dlplay.architectures.transformer_xl.task:TransformerXLTask",
    metric="val_loss",
    better="lower",
    order=90,
    charts=(
        ChartCard("Loss (nats a token)", train=("train_loss",), held_out=("val_loss", "val_loss_without_memory"), log=True),
        ChartCard(
            "Words recalled", held_out=("recall_accuracy", "recall_without_memory"), percent=True, when=lambda it: it["task"] == "recall"
        ),
        ChartCard("Held-out perplexity", held_out=("val_perplexity",), log=True, when=lambda it: it["task"] == "text"),
        ChartCard("Held-out tokens guessed right", held_out=("val_top1",), percent=True, when=lambda it: it["task"] == "text"),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "next_token",
            "Next",
            "The likeliest tokens after the prompt; the thin bar is their probability without the memory.",
            "What was read before is read segment by segment, and only the memory of it is left when the prompt is read. The thin bar says "
            "what the same model would make of the prompt alone. For recall: read words such as red, cat or paris, then name a kind: "
            "colour, animal, city, fruit, metal, tool, drink or body. Pick a candidate to append it.",
            NextToken,
            rows=10,
        ),
        PanelCard(
            "memory_used",
            "What is used of the memory",
            "Each token in the memory, shaded by the attention that the prompt's last token pays to it.",
            "Taken together, the strongest attention of any head in any layer; or that of one head, chosen by layer and head. The memory "
            "holds what went into each layer when the token was read, not the token: in higher layers a place may stand for what was "
            "around it too.",
            MemoryUsed,
            rows=4,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: the token that looks. Column: the token looked at, the memory left of the border, the prompt right of it.",
            "The attention weights of one head over the memory and the prompt; each row sums to 1. Nothing lies right of the diagonal in "
            "the prompt: no token sees the future, and every one sees the whole memory.",
            Attention,
        ),
        PanelCard(
            "memory_curve",
            "Loss or recall against memory",
            "What is lost with a shorter memory: held-out loss, or words recalled, at several lengths.",
            "The same weights are evaluated with memories of different lengths, up to twice the length that is set. A text's loss falls "
            "with every token of memory that is of use, and rises again where distances come that training never had. Recall is chance "
            "until the memory reaches back to the words.",
        ),
        PanelCard(
            "effective_context",
            "How far a head looks",
            "The share of attention that goes at least so many tokens back, over held-out data.",
            "One head, chosen by layer and head, and the mean of all. Beyond the length of a segment everything lies in the memory. A head "
            "that looks at the token before falls at once; one that searches stays high.",
            Head,
        ),
        PanelCard(
            "prompt_tokens",
            "Prompt, token by token",
            "How likely the model found each token, given the memory and those before it. Select one to look at it elsewhere.",
            "The prompt as it is read, one segment of it. A surprising token has a low probability. Select one to see what it uses "
            "of the memory.",
            TokenRead,
            selects="token",
            rows=4,
        ),
        PanelCard(
            "passage",
            "Passage",
            "The prompt continued; each token is shaded by the probability it had.",
            "Tokens are drawn under the chosen temperature, top-k and top-p, with random numbers of their own: the same sampling seed "
            "writes the same passage. A full segment becomes memory, and the next one begins.",
            Continued,
        ),
        PanelCard(
            "evaluation_speed",
            "Speed against context",
            "Tokens a second with a memory, and with the whole window recomputed for every token.",
            "Measured on this device with this model when the option measurement is set to another number (about three seconds, for which "
            "training waits). Both ways every prediction sees at least that many tokens. The paper reports up to 1,800 times, for 3,800 "
            "tokens of context on a GPU.",
            Speed,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The tokens whose embeddings point most nearly the same way (cosine).",
            "Tokens that are used alike get embeddings alike; for recall the words of a kind come together. Before training the neighbours "
            "are chance.",
            Similar,
        ),
        PanelCard(
            "norms",
            "Gradients and weights",
            "For each part: norm of the last step's gradient, and of its weights, on a log scale.",
            "The gradient is the clipped one that the last step used; before the first step there is none.",
        ),
    ),
    stage=stages.Prompt(panel="next_token", option="prompt", generate="passage", before="read_before"),
    presets={
        "recall": Preset({}, "The defaults: six words recalled after 46 dots, three segments on: 100 % with the memory, chance without."),
        "recall-no-memory": Preset(
            {"memory": 0, "eval_memory": 0}, "The same without a memory in training: the words are out of sight, and it stays at chance."
        ),
        "reference": Preset(
            _TEXT,
            "The language reference by words, segments of 32, a memory of 64: perplexity 58.8, the trigram's is 78.5.",
        ),
        "reference-no-memory": Preset(
            {**_TEXT, "memory": 0, "eval_memory": 0},
            "The same without a memory in training: 62.1 in segments side by side, and 59.0 when the window is recomputed for every token.",
        ),
    },
)
