"""BERT: an encoder that finds masked words from both sides. Its card; imports no torch."""

from __future__ import annotations

from dlplay.architectures.bert.options import AttentionHead, Contexts, Example, Fill, Place, Sentence, WordNeighbours
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset, Variant

LOSS = ChartCard("Loss (nats)", train=("train_loss",))
GRADIENT = ChartCard("Gradient norm before clipping", train=("grad_norm",), log=True)

card = Card(
    name="bert",
    title="BERT",
    summary="Learn to find masked words from both sides with BERT's encoder; fine-tune it on your own classes.",
    settings=BERTSettings,
    task="dlplay.architectures.bert.task:BERTTask",
    hf="dlplay.architectures.bert.hf:MaskedLM",
    metric="masked_accuracy",
    better="higher",
    order=80,
    charts=(
        LOSS,
        ChartCard("Held-out masked words found", held_out=("masked_accuracy",), percent=True),
        ChartCard("Held-out loss (nats a masked word)", held_out=("masked_loss",)),
        ChartCard(
            "Pairs of text told apart", held_out=("next_sentence_accuracy",), percent=True, when=lambda it: bool(it["next_sentence"])
        ),
        GRADIENT,
    ),
    panels=(
        PanelCard(
            "fill",
            "Fill in the blanks",
            "Shaded blanks: how sure the likeliest word is. Below: what else may stand at the chosen place.",
            "The sentence as it is read, word by word, with [MASK] for each blank. The candidates are the softmax over the whole "
            "vocabulary at the chosen place, seen from both sides; where no blank is, the word there is masked for the moment. Pick "
            "one to put it there. All blanks at once are filled the surest first, and each is seen by those that come after it.",
            Fill,
            selects="place",
            rows=12,
        ),
        PanelCard(
            "masked_words",
            "Each blank's candidates",
            "The likeliest words of every [MASK], with their probabilities.",
            "All blanks are asked at the same time, so none of them knows what the others will be: two blanks side by side can be "
            "filled with words that do not go together. <unk> and the special tokens are not listed.",
            Fill,
            rows=7,
        ),
        PanelCard(
            "pseudo_likelihood",
            "How likely is each word",
            "Every word is masked in turn: the probability of what stands there, given all the others.",
            "The sum of the logarithms is the pseudo-log-likelihood (Salazar and others, 2020). It ranks sentences, but it is the "
            "probability of none: every word is told by words that it helps to tell. So no perplexity comes of it.",
            Place,
            selects="place",
            rows=4,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Row: the word that looks. Column: the word looked at, on either side. Each row sums to 1.",
            "The attention weights of one head, computed again from its queries and keys. A blank looks both ways. Look for heads that "
            "look one place to the left or to the right, and for rows that rest on [SEP], where a head has nothing to say.",
            AttentionHead,
            rows=11,
        ),
        PanelCard(
            "contexts",
            "One word, two contexts",
            "Cosine of one word's hidden states in two sentences, layer by layer, and of two words in one sentence.",
            "Before the first layer a word is the same in every sentence but for its place. Each layer mixes in what stands around it, "
            "so that the two drift apart, while it comes nearer to its neighbour. Write the word into another sentence to compare.",
            Contexts,
            rows=10,
        ),
        PanelCard(
            "neighbours",
            "Embedding neighbours",
            "The words whose embeddings point most nearly the same way (cosine).",
            "Words that fit into the same blanks get embeddings alike. Before training the neighbours are chance.",
            WordNeighbours,
        ),
        PanelCard(
            "held_out",
            "Held-out blanks",
            "Text it never trained on, masked as in every evaluation: what stood there, and what it says.",
            "One row of the held-out tenth in the first of its masks, which are the same in every run. The rank says how many words it "
            "held for at least as likely; a cross marks a wrong guess. The n-grams of the charts see the same rows.",
            Example,
        ),
        PanelCard(
            "classes",
            "Which class",
            "The sentence's class, with probabilities, once it was fine-tuned on texts with classes.",
            "A dense layer with tanh and a linear map read the hidden state of [CLS]. Fine-tuning (--from bert-reference --data "
            "FILE.tsv --preset classify) trains them together with the whole encoder.",
            Sentence,
            rows=4,
        ),
        PanelCard(
            "follows",
            "Does the next follow",
            "Whether the other sentence follows the first, for a model that was trained with --next-sentence.",
            "Both are read in one row, in two segments. Half of the pairs in training follow each other; the others are from anywhere.",
            Contexts,
            rows=3,
        ),
        PanelCard(
            "norms",
            "Gradients and weights",
            "For each part: norm of the last step's gradient, and of its weights, on a log scale.",
            "Gradients that vanish or explode show here first. The gradient is the clipped one that the last step used; before the "
            "first step there is none.",
        ),
    ),
    variants={
        "data": Variant(
            metric="test_accuracy",
            better="higher",
            charts=(
                ChartCard("Held-out texts classified right", held_out=("test_accuracy",), percent=True),
                LOSS,
                ChartCard("Held-out loss (nats a text)", held_out=("test_loss",)),
                GRADIENT,
            ),
            answers="classes",
        )
    },
    stage=stages.TokenLine(panel="fill", option="sentence", place="place", changes="sentence"),
    presets={
        "reference": Preset({}, "The defaults: the language reference of Python, short rows and two layers."),
        "pairs": Preset({"next_sentence": True}, "Each row holds two pieces of text, and it learns as well whether they belong together."),
        "classify": Preset(
            {"lr": 5e-4, "warmup": 20, "steps": 300, "eval_every": 50, "weight_decay": 0.01, "dropout": 0.1, "batch": 16},
            "For fine-tuning with --from bert-reference --data FILE.tsv: a small step size, and few steps.",
        ),
        "char": Preset(
            {"tokens": "char", "block_size": 128, "layers": 4, "width": 128, "lr": 1e-3},
            "Blanks of one letter each; a word's other letters tell it.",
        ),
    },
)
