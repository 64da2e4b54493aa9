"""GPT's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.gpt.presets import PRESETS
from dlplay.architectures.gpt.settings import AttentionHead, GPTSettings
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard
from dlplay.parts.circuit_cards import DECODER_HEADS, attribution
from dlplay.parts.prompt_options import Neighbours, NextAnswer, NextWord, Passage, PatchedPrompt, TokenOfPrompt

card = Card(
    name="gpt",
    title="GPT",
    summary="Predict the next word of a text with a decoder in GPT-2's form.",
    settings=GPTSettings,
    task="dlplay.architectures.gpt.task:GPTTask",
    tokens=lambda it: int(it["block_size"]),
    hf="dlplay.architectures.gpt.hf:GPT2",
    no_script=lambda it: "it is trained beside a pretrained model, which a script has not; use --to hf" if it["lora"] else "",
    metric="val_perplexity",
    better="lower",
    order=70,
    charts=(
        ChartCard("Loss (nats per token)", train=("train_loss",), held_out=("val_loss",), per_token=True),
        ChartCard("Perplexity (held-out)", held_out=("val_perplexity",), log=True, per_token=True),
        ChartCard(
            "Perplexity of known words (held-out)",
            held_out=("val_perplexity_known",),
            log=True,
            per_token=True,
            when=lambda it: it["tokens"] == "word",
        ),
        ChartCard("Bits per byte (held-out)", held_out=("val_bits_per_byte",), when=lambda it: it["tokens"] != "word"),
        ChartCard("Next-word accuracy", held_out=("val_top1",), percent=True, per_token=True),
        ChartCard(
            "Induction and previous-token score (best head)",
            held_out=("induction_score", "previous_token_score"),
            percent=True,
            when=lambda it: it["text"] == "repeats",
        ),
        ChartCard(
            "In-context score (nats; 50th minus 5th token)",
            held_out=("in_context_score",),
            when=lambda it: it["text"] == "repeats" and it["block_size"] >= 49,
        ),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "next_word",
            "Next word",
            "The most likely words after the prompt, with their probabilities.",
            "The softmax over the whole vocabulary after the last word of the prompt. A low temperature sharpens it, a high one "
            "flattens it; top-k and top-p drop unlikely words. Pick a candidate to append it. Words that are not in the vocabulary "
            "are read as <unk>.",
            NextWord,
            rows=10,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the words through each layer's best guesses to the next word.",
            "The residual stream after each layer, through the final norm and the output head: the guesses sharpen from layer to layer.",
            TokenOfPrompt,
            rows=8,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: query. Column: key. Each row sums to 1.",
            "The attention weights of one head, recomputed from its queries and keys. There is nothing above the diagonal: no word "
            "sees the future. The caption says what the head does on this prompt. In small models of the reference no head does one "
            "thing alone; with the preset induction, heads of the second layer find what followed an earlier copy of the token.",
            AttentionHead,
        ),
        PanelCard(
            "layer_lens",
            "Logit lens",
            "The most likely next words if the model ended after each layer.",
            "The residual stream after each layer, through the final norm and the output head (nostalgebraist, 2020). Early layers "
            "predict from the word alone, later ones from its context.",
            TokenOfPrompt,
            rows=7,
        ),
        PanelCard(
            "prompt_tokens",
            "Prompt, word by word",
            "Each word's probability, given those before.",
            "The prompt as the model reads it. A surprising word has a low probability; the first word has none, because nothing "
            "comes before it.",
            TokenOfPrompt,
            selects="token",
            rows=4,
        ),
        PanelCard(
            "passage",
            "Passage",
            "The prompt continued; a word's shade is its probability.",
            "Words are sampled from the softmax with the chosen temperature, top-k and top-p. Sampling has a random generator of its "
            "own: training is not disturbed, and the same sampling seed gives the same passage. <unk> is never sampled. Temperature 0 "
            "always takes the most likely word.",
            Passage,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The words whose embeddings have the highest cosine similarity.",
            "Words that are used alike get similar embeddings. Before training the neighbours are random.",
            Neighbours,
        ),
        DECODER_HEADS,
        attribution(NextAnswer),
        PanelCard(
            "patching",
            "Activation patching",
            "Layer by position: how much of the clean answer comes back. 0: as corrupted, 1: as clean.",
            "The model reads the corrupted prompt, with one activation at a time replaced by the one from the clean prompt (Meng et al., "
            "2022). Shown is the share of the difference between two logits, of the clean answer and of the corrupted one (Wang et al., "
            "2022), that this restores: so one sees where the word that was replaced matters, and where that is moved to. Patched can be "
            "the residual stream, each head or each feed-forward layer. Without a corrupted prompt one word is replaced.",
            PatchedPrompt,
        ),
        PanelCard(
            "norms",
            "Gradient and weight norms",
            "For each layer: the norms of its last gradient and of its weights, on a log scale.",
            "Vanishing or exploding gradients show here first. This is the gradient after clipping, as the last step used it; before "
            "the first step there is none.",
        ),
    ),
    stage=stages.Prompt(panel="next_word", option="prompt", generate="passage", below=("forward", "attention")),
    presets=PRESETS,
    search=("lr=1e-4..1e-2:log", "width=32,64,128"),
)
