"""BERT's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.bert.presets import PRESETS
from dlplay.architectures.bert.settings import (
    AttentionHead,
    BERTSettings,
    Contexts,
    Fill,
    HeldOutRow,
    PatchedSentence,
    Sentence,
    WordNeighbours,
    WordOfSentence,
)
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Variant

LOSS = ChartCard("Loss (nats)", train=("train_loss",))
GRADIENT = ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True)

card = Card(
    name="bert",
    title="BERT",
    summary="Predict masked words from both sides with BERT's encoder; fine-tune it on your own classes.",
    settings=BERTSettings,
    task="dlplay.architectures.bert.task:BERTTask",
    tokens=lambda it: 0 if it["data"] else int(it["block_size"]),
    hf="dlplay.architectures.bert.hf:MaskedLM",
    metric="masked_accuracy",
    better="higher",
    order=80,
    charts=(
        LOSS,
        ChartCard("Masked-word accuracy (held-out)", held_out=("masked_accuracy",), percent=True, per_token=True),
        ChartCard("Masked-word loss (held-out, nats)", held_out=("masked_loss",), per_token=True),
        ChartCard("Next-sentence accuracy", held_out=("next_sentence_accuracy",), percent=True, when=lambda it: bool(it["next_sentence"])),
        GRADIENT,
    ),
    panels=(
        PanelCard(
            "fill",
            "Fill the masks",
            "The shade of a [MASK]: the probability of its most likely word. Below: the candidates for the selected word.",
            "The sentence word by word, as the model reads it. The candidates are the softmax over the whole vocabulary at the selected "
            "word, from the words on both sides; if that word is not masked, it is masked for this prediction. Pick a candidate to put it "
            "into the sentence. To fill all masks, the most confident one is filled first, and the later ones see its word.",
            Fill,
            selects="place",
            rows=12,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the sentence, the selected word masked, through each layer's best guesses to the word.",
            "The hidden state of the mask after each layer, through the masked-word head. Words on both sides count.",
            WordOfSentence,
            rows=8,
        ),
        PanelCard(
            "masked_words",
            "Candidates of every mask",
            "The most likely words for every [MASK], with their probabilities.",
            "All masks are predicted independently: two adjacent masks can get words that do not go together. <unk> and the special tokens "
            "are not listed.",
            Fill,
            rows=7,
        ),
        PanelCard(
            "pseudo_likelihood",
            "Probability of each word",
            "Each word is masked in turn: its probability, given all the others.",
            "The sum of the logarithms is the pseudo-log-likelihood (Salazar and others, 2020). It ranks sentences, but it is not the "
            "probability of the sentence: each word is predicted from words that it helps to predict. So there is no perplexity.",
            WordOfSentence,
            selects="place",
            rows=4,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: query. Column: key. Each row sums to 1.",
            "The attention weights of one head, recomputed from its queries and keys. A [MASK] attends to both sides. Look for heads that "
            "attend to the previous or the next word, and for rows that attend mostly to [SEP], where the head has nothing to do.",
            AttentionHead,
            rows=11,
        ),
        PanelCard(
            "contexts",
            "One word, two contexts",
            "Cosine similarity by layer: a word in two sentences, two neighbours in one.",
            "Before the first layer a word is the same in every sentence except for its position; then each layer mixes in its context. In "
            "a large BERT the two grow apart from layer to layer (Ethayarajh, 2019). In the shipped one, of two layers, they do so in the "
            "first and come closer again in the second, where a word grows more like its neighbour. Write it into another sentence.",
            Contexts,
            rows=10,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The words whose embeddings have the highest cosine similarity.",
            "Words that fit the same contexts get similar embeddings. Before training the neighbours are random.",
            WordNeighbours,
        ),
        PanelCard(
            "held_out",
            "Held-out masks",
            "Held-out text, masked as in every evaluation: the targets and the predictions.",
            "One row of the held-out tenth with its first set of masks, which are the same in every run. Rank 1: the target is the most "
            "likely word; a cross marks a wrong prediction. The n-grams in the charts see the same rows.",
            HeldOutRow,
        ),
        PanelCard(
            "classes",
            "Class",
            "The class of the sentence after fine-tuning.",
            "The hidden state of [CLS] goes through the pooler (a dense layer with tanh) and a linear classifier. Fine-tuning (--from "
            "bert-reference --data FILE.tsv --preset classify) trains them together with the whole encoder.",
            Sentence,
            rows=4,
        ),
        PanelCard(
            "follows",
            "Next sentence",
            "Does the other sentence follow the first?",
            "Both are read in one row, as two segments. In training, half of the pairs follow each other; in the others the second segment "
            "is a random one.",
            Contexts,
            rows=3,
            when=lambda it: bool(it.get("next_sentence")),
        ),
        PanelCard(
            "heads",
            "Heads",
            "Every head: by how much the held-out loss rises when it is mean-ablated, and where its attention goes.",
            "Each head is replaced by its mean over held-out data, one at a time; other heads may stand in for it, so that a small change "
            "does not say that it does nothing. Mean attention over held-out rows, of which nothing is masked: to the previous and the "
            "next word, to the first token ([CLS]), and to other copies of the same token. The last row is attention spread evenly. A "
            "head's name is its address: it can be typed into an intervention.",
        ),
        PanelCard(
            "patching",
            "Activation patching",
            "Layer by position: how much of the clean answer comes back. 0: as corrupted, 1: as clean.",
            "The model reads the corrupted sentence, with one activation at a time replaced by the one from the clean one (Meng et al., "
            "2022). Shown is the share of the difference between two logits, of the clean answer and of the corrupted one (Wang et al., "
            "2022), that this restores: so one sees where the word that was replaced matters, and where that is moved to. Patched can be "
            "the residual stream, each head or each feed-forward layer. Without a corrupted sentence one word is replaced.",
            PatchedSentence,
        ),
        PanelCard(
            "norms",
            "Gradient and weight norms",
            "For each layer: the norms of its last gradient and of its weights, on a log scale.",
            "Vanishing or exploding gradients show here first. This is the gradient after clipping, as the last step used it; before "
            "the first step there is none.",
        ),
    ),
    variants={
        "data": Variant(
            metric="test_accuracy",
            better="higher",
            charts=(
                ChartCard("Accuracy (held-out)", held_out=("test_accuracy",), percent=True),
                LOSS,
                ChartCard("Loss (held-out, nats)", held_out=("test_loss",)),
                GRADIENT,
            ),
            answers="classes",
        )
    },
    stage=stages.TokenLine(panel="fill", option="sentence", place="place", changes="sentence", below=("forward", "attention")),
    presets=PRESETS,
    search=("lr=1e-4..1e-2:log", "width=48,96,192"),
)
