"""Seq2seq's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.seq2seq.presets import PRESETS
from dlplay.architectures.seq2seq.settings import (
    Alignment,
    AllHeads,
    AttentionMap,
    AttributedToken,
    Beam,
    HeldOut,
    PatchedSource,
    Seq2SeqSettings,
    Source,
)
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard

card = Card(
    name="seq2seq",
    title="Seq2seq",
    summary="Learn to turn one sequence into another with the encoder-decoder Transformer.",
    settings=Seq2SeqSettings,
    task="dlplay.architectures.seq2seq.task:Seq2SeqTask",
    metric="exact_match",
    better="higher",
    order=60,
    charts=(
        ChartCard("Loss (nats per token)", train=("train_loss",), held_out=("val_loss",), log=True, per_token=True),
        ChartCard("Exact match (held-out)", held_out=("exact_match",), percent=True),
        ChartCard(
            "Token accuracy, greedy and teacher-forced",
            held_out=("token_accuracy", "teacher_forced_accuracy"),
            percent=True,
            per_token=True,
        ),
        ChartCard("Exact match by beam search", held_out=("beam_exact_match",), percent=True, when=lambda it: it["eval_beams"] > 1),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "translation",
            "Output",
            "The model's output to the source, each token shaded by its probability.",
            "Greedy decoding: the most likely token each time, given the source and the tokens before it. Select a token to see the other "
            "candidates; pick one of them and the model continues from there. Tokens that you chose have no shade; their note tells their "
            "probability. Ablate a head to see what it does.",
            Source,
            selects="place",
            rows=6,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the source through the encoder's states and the cross-attention to the next output token.",
            "The encoder's states: a row for each source token. The decoder's last layer weighs them for the selected output token.",
            Source,
            rows=8,
        ),
        PanelCard(
            "alignment",
            "Alignment",
            "Row: output token. Column: source token.",
            "The cross-attention of the last layer, averaged over its heads, or one head of it (aligned head). A clean diagonal is a copy, "
            "an antidiagonal a reversal; in translation it shows which word corresponds to which. There is no supervision for it.",
            Alignment,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: query. Column: key. Each row sums to 1.",
            "One head's attention weights, recomputed from its queries and keys: of the encoder's self-attention, the decoder's (causal: "
            "nothing above the diagonal), or the cross-attention from the output to the source. In the encoder look for heads that attend "
            "to a fixed distance or to equal tokens.",
            AttentionMap,
        ),
        PanelCard(
            "beam_candidates",
            "Beam search",
            "The hypotheses of a beam search, the best score first.",
            "Instead of the most likely token alone, beam search keeps the few most likely outputs at every step. The score is the "
            "log-probability over ((5 + length) / 6)^alpha, because every further token can only lower a probability (Wu et al., 2016). If "
            "the greedy output does not come first, the search was worth it.",
            Beam,
        ),
        PanelCard(
            "heads_off",
            "Head ablation",
            "Exact match on held-out pairs with one head ablated. Dark: the task fails without it.",
            "Each head is ablated in turn (its part of the output projection is set to zero), and the same held-out pairs are decoded. "
            "Most heads can be removed without loss, a few carry the task (Michel et al., Are Sixteen Heads Really Better than One?, "
            "2019).",
            AllHeads,
        ),
        PanelCard(
            "held_out",
            "Held-out pairs",
            "Held-out pairs with the model's outputs; wrong ones first.",
            "Decoded greedily. A source is held out by a hash of its text, so that it is never among the training pairs. Ablate a head to "
            "see which pairs need it.",
            HeldOut,
        ),
        PanelCard(
            "alternatives",
            "Candidates",
            "The softmax at one position of the output, after the tokens before it.",
            "A sharp distribution means that the model is confident. Where two candidates share the probability, force the second one and "
            "watch how the output continues.",
            Source,
            rows=10,
        ),
        PanelCard(
            "heads",
            "Heads",
            "Every head: by how much the held-out loss rises when it is mean-ablated, and where its attention goes.",
            "Each head is replaced by its mean over held-out pairs, one at a time, and the loss of the target's tokens is measured; other "
            "heads may stand in for it, so that a small change does not say that it does nothing. Mean attention in the encoder, and in "
            "the decoder to what is written: to the previous and the next token, the first one, and copies of the same token. In the "
            "cross-attention, same token is the source token that is written next. The last row is attention spread evenly. A head's name "
            "is its address: it can be typed into an intervention.",
        ),
        PanelCard(
            "attribution",
            "Logit attribution",
            "What every head, feed-forward layer and embedding of the decoder adds to the logit of one output token.",
            "The decoder's stream is a sum of what all parts wrote into it, each passed through the norms behind it (scales kept) "
            "and the output head: so the logit of a token is a sum over the parts (Wang et al., 2022). What a part adds by way of later "
            "layers counts as theirs; what the encoder found out arrives by the cross heads. All logits together can be shifted without "
            "an effect: compare with the mean logit in the caption.",
            AttributedToken,
            rows=10,
        ),
        PanelCard(
            "patching",
            "Activation patching",
            "Layer by position: how much of the clean answer comes back. 0: as corrupted, 1: as clean.",
            "The model reads the corrupted source, with one activation at a time replaced by the one from the clean source (Meng et al., "
            "2022). The decoder reads the output to the clean source; it is patched as well, and left of it stand the places of the "
            "encoder. Shown is the share of the difference between two logits, of the clean answer and of the corrupted one (Wang et al., "
            "2022), that this restores: so one sees where the word that was replaced matters, and where that is moved to. Patched can be "
            "the residual stream, each head or each feed-forward layer. Without a corrupted source one token is replaced.",
            PatchedSource,
        ),
        PanelCard(
            "norms",
            "Gradient and weight norms",
            "For each part: the norms of its last gradient and of its weights, on a log scale.",
            "In a post-norm model the gradients near the output are large at the start, which is why the paper needs its warm-up (Xiong et "
            "al., 2020). This is the gradient after clipping, as the last step used it; before the first step there is none.",
        ),
    ),
    stage=stages.TokenLine(
        panel="translation", option="source", place="place", changes="output", plays="words", below=("forward", "alignment")
    ),
    presets=PRESETS,
    search=("lr=1e-4..1e-2:log", "width=32,64,128"),
)
