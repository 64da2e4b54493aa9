"""Seq2seq: the encoder-decoder Transformer as first published. Its card; imports no torch."""

from __future__ import annotations

from dlplay.architectures.seq2seq.options import Alignment, AttentionMap, Beam, HeadsOff, HeldOut, Source
from dlplay.architectures.seq2seq.settings import Seq2SeqSettings
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset

card = Card(
    name="seq2seq",
    title="Seq2seq",
    summary="Learn to turn one sequence into another with the encoder-decoder Transformer as first published.",
    settings=Seq2SeqSettings,
    task="dlplay.architectures.seq2seq.task:Seq2SeqTask",
    metric="exact_match",
    better="higher",
    order=60,
    charts=(
        ChartCard("Loss (nats a token)", train=("train_loss",), held_out=("val_loss",), log=True),
        ChartCard("Held-out outputs right as a whole", held_out=("exact_match",), percent=True),
        ChartCard("Held-out tokens right, freely and teacher-forced", held_out=("token_accuracy", "teacher_forced_accuracy"), percent=True),
        ChartCard(
            "Held-out outputs right, by beam search", held_out=("beam_exact_match",), percent=True, when=lambda it: it["eval_beams"] > 1
        ),
        ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True),
    ),
    panels=(
        PanelCard(
            "translation",
            "Output",
            "What the model says to the source, each token shaded by its probability.",
            "The likeliest token each time, given the source and the tokens said before. Look at one of them to see what else the model "
            "thought of; pick another one and the model goes on from there by itself. Tokens that you chose have no shade; their note "
            "tells the probability they had. Switch a head off to see what it does.",
            Source,
            selects="place",
            rows=6,
        ),
        PanelCard(
            "alignment",
            "Alignment",
            "Row: the word that is said. Column: the source word it looks at. Rows come as they are said.",
            "Cross attention of the last layer, as the mean over its heads or one of them (aligned head). A clean diagonal is a copy in "
            "order, an antidiagonal a reversal. In translation it shows which word answers to which. Nobody told the model: it is learnt.",
            Alignment,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: the token that looks. Column: the token looked at. Each row sums to 1.",
            "One head's weights, computed again from its queries and keys: the source on itself (encoder), the output on what was said "
            "before (decoder, nothing above the diagonal), or the output on the source (cross). In the encoder look for heads that look at "
            "a fixed distance or at equal tokens.",
            AttentionMap,
        ),
        PanelCard(
            "beam_candidates",
            "Beam search",
            "The outputs that a beam search ends with, the best score first.",
            "Instead of the likeliest token alone, the likeliest few outputs are carried on side by side. The score is the log-probability "
            "over ((5 + length) / 6)^alpha, since every further token can only lower a probability (Wu et al., 2016). When the greedy "
            "output is not the first, the search paid.",
            Beam,
        ),
        PanelCard(
            "heads_off",
            "What each head is worth",
            "Exact match on held-out pairs with one head switched off. Dark: without it nothing works.",
            "Each head of every kind and layer is switched off in turn (its part of the output projection is zero) and the same held-out "
            "pairs are decoded. Most heads can go without harm, a few carry the task (Michel et al., Are Sixteen Heads Really Better than "
            "One?, 2019).",
            HeadsOff,
        ),
        PanelCard(
            "held_out",
            "Held-out pairs",
            "Pairs whose sources were never trained on, and what the model says to them; wrong ones first.",
            "Decoded freely, the likeliest token each time. A source is held out by a hash of its text, so that it is never among the "
            "training pairs. Switch a head off to see which pairs need it.",
            HeldOut,
        ),
        PanelCard(
            "alternatives",
            "What else might be said",
            "The softmax at one place of the output, after the tokens before it.",
            "A sharp distribution means that the model knows. Where two candidates share the probability, it hesitates: force the other "
            "one and watch what follows.",
            Source,
            rows=10,
        ),
        PanelCard(
            "norms",
            "Gradients and weights",
            "For each part: norm of the last step's gradient, and of its weights, on a log scale.",
            "With norms after each addition (post) the gradients near the output are large at the start, which is why the paper needs its "
            "warm-up (Xiong et al., 2020). The gradient is the clipped one that the last step used.",
        ),
    ),
    stage=stages.TokenLine(panel="translation", option="source", place="place", changes="output", plays="words"),
    presets={
        "reverse": Preset({}, "The defaults: up to ten letters backwards, 0.24 M parameters; every held-out word comes out right."),
        "copy": Preset({"task": "copy"}, "Up to ten letters as they stand: the easiest, and the alignment is a clean diagonal."),
        "sort": Preset(
            {"task": "sort", "steps": 6000},
            "Up to ten letters in the order of the alphabet: which letter comes next depends on all of them.",
        ),
        "addition": Preset(
            {"task": "addition", "batch": 64, "steps": 4000, "eval_every": 250},
            "Sums of numbers up to three digits, said as they are written: above 99 % of sums that it never saw.",
        ),
        "dates": Preset(
            {"task": "dates"},
            "Dates in words, in 14 forms, to ISO dates. Your own pairs go the same way: --data FILE, and --tokens word for sentences.",
        ),
        "published": Preset(
            {
                "norm": "post",
                "schedule": "paper",
                "warmup": 1000,
                "dropout": 0.1,
                "label_smoothing": 0.1,
                "steps": 3000,
                "eval_every": 250,
            },
            "Reversing as published: norms after each addition, the paper's warm-up, dropout and label smoothing; 97.7 % (seed 0).",
        ),
    },
)
