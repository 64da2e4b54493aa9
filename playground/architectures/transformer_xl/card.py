"""The Transformer-XL's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.transformer_xl.presets import PRESETS
from dlplay.architectures.transformer_xl.settings import (
    AttentionHead,
    AttentionMap,
    Attribution,
    MemoryAttention,
    Neighbours,
    NextToken,
    Passage,
    PatchedText,
    PromptToken,
    Speed,
    TransformerXLSettings,
)
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard
from dlplay.parts.circuit_cards import DECODER_HEADS, attribution

card = Card(
    name="transformer-xl",
    title="Transformer-XL",
    summary="Read a text segment by segment, and attend to a memory of the segments before.",
    settings=TransformerXLSettings,
    task="dlplay.architectures.transformer_xl.task:TransformerXLTask",
    tokens=lambda it: int(it["block_size"]) if it["task"] == "text" else 0,
    metric="val_loss",
    better="lower",
    order=90,
    doctor="dlplay.architectures.transformer_xl.doctor",
    charts=(
        ChartCard(
            "Loss (nats per token)", train=("train_loss",), held_out=("val_loss", "val_loss_without_memory"), log=True, per_token=True
        ),
        ChartCard(
            "Words recalled", held_out=("recall_accuracy", "recall_without_memory"), percent=True, when=lambda it: it["task"] == "recall"
        ),
        ChartCard("Perplexity (held-out)", held_out=("val_perplexity",), log=True, per_token=True, when=lambda it: it["task"] == "text"),
        ChartCard(
            "Perplexity of known words (held-out)",
            held_out=("val_perplexity_known",),
            log=True,
            per_token=True,
            when=lambda it: it["task"] == "text" and it["tokens"] == "word",
        ),
        ChartCard(
            "Bits per byte (held-out)", held_out=("val_bits_per_byte",), when=lambda it: it["task"] == "text" and it["tokens"] != "word"
        ),
        ChartCard("Next-token accuracy", held_out=("val_top1",), percent=True, per_token=True, when=lambda it: it["task"] == "text"),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "next_token",
            "Next",
            "The most likely tokens after the prompt; the thin bar is the probability without the memory.",
            "The text before the prompt is read segment by segment, and only the memory of it is left when the prompt is read. The thin "
            "bar is the prediction of the same model from the prompt alone. For recall: read words such as red, cat or paris, then name a "
            "kind: colour, animal, city, fruit, metal, tool, drink or body. Pick a candidate to append it.",
            NextToken,
            rows=10,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the memory and the words through each layer's best guesses to the next token.",
            "The residual stream after each layer, through the output head. Empty the memory and see which layer misses it.",
            PromptToken,
            rows=8,
        ),
        PanelCard(
            "memory_used",
            "Attention to memory",
            "Each token of the memory; its shade is the attention weight that the prompt's last token gives it.",
            "By default the largest weight of any head in any layer; or that of one head, chosen by layer and head. The memory holds the "
            "inputs of each layer, not the tokens: in higher layers a position can stand for the tokens around it as well.",
            MemoryAttention,
            rows=4,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: query. Column: key; left of the border the memory, right of it the prompt.",
            "The attention weights of one head over the memory and the prompt; each row sums to 1. There is nothing above the diagonal of "
            "the prompt: no token sees the future, and each one sees the whole memory.",
            AttentionMap,
        ),
        PanelCard(
            "memory_curve",
            "Loss or recall against memory",
            "Held-out loss, or words recalled, with memories of different lengths.",
            "The same weights are evaluated with several memory lengths, up to twice the one that is set. A text's loss falls with every "
            "useful token of memory, and rises again at distances that did not occur in training. Recall is chance until the memory "
            "reaches back to the words.",
        ),
        PanelCard(
            "effective_context",
            "Attention distance",
            "The share of attention that goes at least so many tokens back, over held-out data.",
            "One head, chosen by layer and head, and the mean of all. Beyond the length of a segment all keys are in the memory. The curve "
            "of a head that attends to the previous token falls at once; that of a head that searches stays high.",
            AttentionHead,
        ),
        PanelCard(
            "prompt_tokens",
            "Prompt, token by token",
            "Each token's probability, given all before it.",
            "The prompt as the model reads it, one segment at most. A surprising token has a low probability. Select one to see its "
            "attention to the memory.",
            PromptToken,
            selects="token",
            rows=4,
        ),
        PanelCard(
            "passage",
            "Passage",
            "The prompt continued; the shade of a token is its probability when it was sampled.",
            "Tokens are sampled from the softmax with the chosen temperature, top-k and top-p. Sampling has a random generator of its own: "
            "the same sampling seed gives the same passage. A full segment becomes memory, and the next one starts.",
            Passage,
        ),
        PanelCard(
            "evaluation_speed",
            "Speed against context",
            "Tokens per second with a memory, a key-value cache, or recomputed windows.",
            "Measured on this device with this model when the option measurement is set to another number (about four seconds, for which "
            "training waits). Every prediction sees at least that many tokens. The paper compares the first with the last and reports up "
            "to 1,800 times the speed, for 3,800 tokens of context on a GPU. A decoder with relative positions that caches keys and values "
            "(as is usual now) recomputes no window either, and is the fastest: a memory holds the inputs of each layer, which are "
            "projected again for every segment. What the memory adds is that the model is trained with it.",
            Speed,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The tokens whose embeddings have the highest cosine similarity.",
            "Tokens that are used alike get similar embeddings; for recall the words of a kind cluster. Before training the neighbours are "
            "random.",
            Neighbours,
        ),
        DECODER_HEADS,
        attribution(Attribution),
        PanelCard(
            "patching",
            "Activation patching",
            "Layer by position: how much of the clean answer comes back. 0: as corrupted, 1: as clean.",
            "The model reads the corrupted text, with one activation at a time replaced by the one from the clean text (Meng et al., "
            "2022). What was read before and the prompt are read at once here. Shown is the share of the difference between two logits, of "
            "the clean answer and of the corrupted one (Wang et al., 2022), that this restores: so one sees where the word that was "
            "replaced matters, and where that is moved to. Patched can be the residual stream, each head or each feed-forward layer. "
            "Without a corrupted text one token is replaced.",
            PatchedText,
        ),
        PanelCard(
            "norms",
            "Gradient and weight norms",
            "For each part: the norms of its last gradient and of its weights, on a log scale.",
            "This is the gradient after clipping, as the last step used it; before the first step there is none.",
        ),
    ),
    stage=stages.Prompt(panel="next_token", option="prompt", generate="passage", before="read_before", below=("forward", "memory_used")),
    presets=PRESETS,
    search=("lr=1e-4..1e-2:log", "memory=0,16,48"),
)
