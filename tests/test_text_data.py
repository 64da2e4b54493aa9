"""Reading, splitting and numbering texts: what a person's own file may do, and what must come back."""

from __future__ import annotations

import math
import os
import re
import sys
import unicodedata
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlplay.data import bounded, text
from dlplay.data.subwords import BytePairs
from dlplay.data.tokens import UNKNOWN, Characters, Tokenizer, Words, choose_vocabulary, number
from dlplay.engine.errors import DataError
from dlplay.exports.source import Source
from dlplay.parts.language import TokenScores, held_out_metrics, ngram_baselines
from dlplay.parts.prompt_options import Prompt
from dlplay.parts.prompts import read_prompt


def corpus(content: str, kind: str = "word", **changes: int) -> text.Corpus:
    given = {"vocab_size": 1000, "min_count": 1, "minimum": 10} | changes
    return text.read_corpus(text.Text("a text", content, "0"), kind, **given)


# --- words ------------------------------------------------------------------------------------------------------------------------


def test_words_numbers_and_punctuation_are_tokens_in_lower_case() -> None:
    assert list(Words.split("It's 42, isn’t it? “Yes” (so_called) [x]: a+b")) == [
        *["it's", "42", ",", "isn't", "it", "?", '"', "yes", '"', "(", "so", "called", ")", "[", "x", "]", ":", "a", "b"]
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "the value of x is 3, or less.",
        "it's said: \"no such name\" (see above) isn't an error; why?",
        "call f (x) [1] 'quoted words' and \"more\". then stop!",
    ],
)
def test_running_text_comes_back_as_it_was(sentence: str) -> None:
    tokenizer = Words([UNKNOWN, *dict.fromkeys(Words.split(sentence))])
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence


def test_any_sequence_of_tokens_survives_the_round_trip() -> None:
    tokenizer = Words([UNKNOWN, "a", "don't", "7", *".,;:!?()[]\"'"])
    rng = np.random.default_rng(0)
    for _ in range(300):
        ids = rng.integers(0, len(tokenizer.vocabulary), size=20).tolist()
        assert tokenizer.encode(tokenizer.decode(ids)) == ids
        assert tokenizer.encode(tokenizer.decode(ids[:10]) + tokenizer.decode(ids[10:], after=ids[:10])) == ids


def test_unknown_words_become_unk_and_unk_can_be_typed() -> None:
    tokenizer = Words([UNKNOWN, "the", "value"])
    assert tokenizer.encode("The wombat VALUE <unk>") == [1, 0, 2, 0]
    assert tokenizer.decode([1, 0]) == "the <unk>"


@pytest.mark.parametrize(
    "sentence",
    [
        "किताब मेज़ पर है",  # Devanagari
        "বাংলা ভাষা সুন্দর",  # Bengali
        "தமிழ் மொழி பழமையானது",  # Tamil
        "తెలుగు భాష తీయనిది",  # Telugu
        "ಕನ್ನಡ ಭಾಷೆ ಹಳೆಯದು",  # Kannada
        "മലയാളം ഭാഷ പഴയതു",  # Malayalam
        "ශ්‍රී ලංකාව දූපතකි",  # Sinhala, with U+200D
        "می‌خواهم کتابِ خوب بخوانم",  # Persian, with U+200C and a vowel sign
        "שָׁלוֹם עוֹלָם",  # Hebrew with points
        "ትግርኛ ቋንቋ ነው",  # Ethiopic
        "тёплый дом й",  # Cyrillic
        "r̃ȷ̈ x̱ tiếng việt",  # Latin letters that have no composed form
        "i̇stanbul",  # the lower case of İ has a mark
    ],
)
def test_the_words_of_every_script_stay_whole(sentence: str) -> None:
    sentence = unicodedata.normalize("NFC", sentence)
    assert list(Words.split(sentence)) == sentence.split()
    tokenizer = Words([UNKNOWN, *dict.fromkeys(Words.split(sentence))])
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence
    assert [sentence[start:end] for _, start, end in Words.spans(sentence)] == sentence.split()


def test_a_capital_whose_lower_case_is_longer_keeps_its_word_whole() -> None:
    assert list(Words.split("İSTANBUL")) == ["i̇stanbul"]
    assert list(Words.spans("in İSTANBUL")) == [("in", 0, 2), ("i̇stanbul", 3, 11)]


def test_controls_of_direction_and_marks_without_a_letter_are_dropped() -> None:
    assert list(Words.split("\u202bשלום\u202c \u2067a\u2069 \u200f7\u0301 \u0301 \u200d b\u200e.")) == ["שלום", "a", "7", "b", "."]


def test_a_pile_of_marks_is_cut() -> None:
    assert list(Words.split("q" + "\u0323" * 1000 + " b")) == ["q" + "\u0323" * 8, "b"]


@given(st.text(st.characters() | st.sampled_from("ab'7. \u0301\u200d<unk>"), max_size=300))
def test_a_text_without_marks_has_the_tokens_that_the_pattern_with_marks_finds(content: str) -> None:
    normal = unicodedata.normalize("NFC", content).translate(Words._straight).lower()
    assert list(Words.split(content)) == [match.group() for match in Words._pattern(marked=True).finditer(normal)]


def test_joiners_come_back_as_characters() -> None:
    sentence = "می\u200cخواهم ශ්\u200dරී"
    tokenizer = Characters([UNKNOWN, *dict.fromkeys(sentence)])
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence


def test_the_words_of_the_reference_are_those_of_shipped_checkpoints() -> None:
    vocabulary = Source("gpt-reference", Path("/nowhere")).task()[1].tokenizer.vocabulary  # type: ignore[attr-defined]
    content = text.reference().content
    plain = re.findall(r"<unk>|[^\W\d_]{1,40}(?:'[^\W\d_]{1,40}){0,3}|\d{1,40}|[.,;:!?()\[\]\"']", normal(content))
    assert list(Words.split(content)) == plain
    assert Words(vocabulary).vocabulary == vocabulary


def normal(content: str) -> str:
    """Composed, in lower case and with straight quotes."""
    return unicodedata.normalize("NFC", content).translate(str.maketrans("’‘“”", "''\"\"")).lower()


def test_one_endless_word_is_cut_into_tokens() -> None:
    assert max(map(len, Words.split("a" * 10_000 + "'b" * 10_000))) <= 200


# --- characters -------------------------------------------------------------------------------------------------------------------


def test_characters_come_back_as_they_were() -> None:
    sentence = "Def f(x):\n\treturn “x”  # Ünïcode\n"
    tokenizer = Characters([UNKNOWN, *dict.fromkeys(sentence)])
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence
    assert tokenizer.encode("z") == [0]


def test_characters_that_steer_a_terminal_are_never_shown() -> None:
    tokenizer = Characters([UNKNOWN, "\x1b", "\x07", "\u202e", "\ud800", "\n", " ", "a"])
    shown = "".join(tokenizer.label(token) for token in range(8)) + tokenizer.decode(range(8))
    assert not any(char in shown for char in "\x1b\x07\u202e\ud800")
    assert shown.encode()
    assert tokenizer.label(5) == "↵"
    assert tokenizer.label(6) == "␣"


# --- vocabulary -------------------------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_made_of_the_training_part_alone() -> None:
    made = corpus("seen words here . " * 45 + "held secret held secret " * 5)
    assert len(made.held_out) == 20
    assert "secret" not in made.tokenizer.vocabulary
    assert (made.held_out == 0).all()
    assert made.tokenizer.decode(made.train[:4].tolist()) == "seen words here."


def test_rare_words_are_left_out_and_the_size_is_kept() -> None:
    ids, words = number(["a"] * 5 + ["b"] * 4 + ["c"] * 4 + ["d"])
    assert choose_vocabulary(ids, words, size=10, min_count=2) == [UNKNOWN, "a", "b", "c"]
    assert choose_vocabulary(ids, words, size=3, min_count=1) == [UNKNOWN, "a", "b"]


def test_a_given_vocabulary_numbers_the_text_as_in_its_checkpoint() -> None:
    content = "one two three four " * 20
    made = text.read_corpus(
        text.Text("t", content, "0"), "word", vocab_size=99, min_count=1, minimum=5, vocabulary=[UNKNOWN, "three", "one"]
    )
    assert made.train[:4].tolist() == [2, 0, 1, 0]


@pytest.mark.parametrize(
    "vocabulary",
    [
        [],
        [UNKNOWN],
        ["a", UNKNOWN],
        [UNKNOWN, "a", "a"],
        [UNKNOWN, "two words"],
        [UNKNOWN, ""],
        [UNKNOWN, "\x1b[2J"],
        [UNKNOWN, ["a"]],
        [UNKNOWN, UNKNOWN],
    ],
)
def test_a_damaged_vocabulary_is_refused(vocabulary: list[str]) -> None:
    with pytest.raises(DataError, match="damaged"):
        Words(vocabulary)


def test_the_text_key_tells_texts_and_vocabularies_apart() -> None:
    content = "some words to read . " * 20
    assert corpus(content).key == corpus(content).key
    assert corpus(content).key != corpus(content, vocab_size=3).key


# --- the reference ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "length"), [("word", 20), ("char", 80)])
def test_nothing_of_the_held_out_reference_stands_in_the_training_part(kind: str, length: int) -> None:
    """Characters are compared without indentation."""
    made = text.read_corpus(text.read_text("reference"), kind, vocab_size=8000, min_count=3, minimum=650)
    assert len(made.held_out) / (len(made.train) + len(made.held_out)) == pytest.approx(0.1, abs=0.001)

    def runs(ids: np.ndarray) -> set[tuple[int | str, ...]]:
        tokens = " ".join(made.tokenizer.decode(ids.tolist()).split()) if kind == "char" else ids.tolist()
        return {tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1)}

    assert not runs(made.train) & runs(made.held_out)
    assert made.repeated == 0
    assert "flatter" not in made.words


def test_no_paragraph_is_lost_from_the_reference() -> None:
    """A topic is left out where its paragraphs stand in others, and only there."""
    kept = {" ".join(paragraph.split()) for paragraph in text.read_text("reference").content.split("\n\n")}
    lost = [
        len(topic) for topic in topics.values() if 2 * sum(len(p) for p in topic.split("\n\n") if " ".join(p.split()) in kept) < len(topic)
    ]
    assert not lost


def test_the_reference_and_its_baselines_are_near_the_known_figures() -> None:
    made = text.read_corpus(text.read_text("reference"), "word", vocab_size=8000, min_count=3, minimum=650)
    assert 50_000 < len(made.train) < 200_000
    found = ngram_baselines(made)["val_perplexity"]
    for name, known in {"unigram": 190, "bigram": 94, "trigram": 69.5, "4-gram": 66.3, "5-gram": 64.8}.items():  # on Python 3.11
        assert found[name] == pytest.approx(known, rel=0.25)
    assert found["5-gram"] < found["trigram"] < found["bigram"] < found["unigram"]
    assert "<unk>" in made.words
    characters = text.read_corpus(text.read_text("reference"), "char", vocab_size=8000, min_count=1, minimum=650)
    found = ngram_baselines(characters)["val_loss"]
    assert found["8-gram"] == min(found.values()) == pytest.approx(1.23, rel=0.05)  # on Python 3.11


def test_what_an_own_text_holds_out_and_trains_on_as_well_is_said() -> None:
    rng = np.random.default_rng(0)
    names = [a + b for a in "abcdefg" for b in "hijklmn"]
    words = [names[index] for index in rng.integers(0, len(names), 3000)]
    apart = " ".join(words)
    copied = " ".join([*words[:2700], *words[:100], *words[2800:]])
    assert corpus(apart, min_count=1).repeated == 0
    found = corpus(copied, min_count=1)
    assert found.repeated == pytest.approx(100 / 300, abs=0.002)
    assert "33.3 % of them stand in the training part as well, in runs of 20 or more" in found.words


# --- byte pairs that are learned from the text --------------------------------------------------------------------------------------


MIXED = "\n".join(
    f"The value of naïve {word}s is {index}; 世界 says “{word}” 🙂." for index, word in enumerate(["object", "class", "name"] * 60)
)


def test_byte_pairs_give_every_text_back() -> None:
    made = corpus(MIXED, "bpe", vocab_size=400, min_count=2)
    assert made.tokenizer.decode([*made.train.tolist(), *made.held_out.tolist()]) == MIXED
    other = "Ünknown 🦀 text,\tof Ελληνικά and عربي"
    assert made.tokenizer.decode(made.tokenizer.encode(other)) == other.replace("\t", "\t")
    assert 256 < len(made.tokenizer.vocabulary) <= 400
    assert len(made.train) < 0.5 * len(MIXED)  # pairs were merged


def test_byte_pairs_and_characters_hold_out_the_same_text() -> None:
    pieces, characters = corpus(MIXED, "bpe", vocab_size=400, min_count=2), corpus(MIXED, "char", min_count=1)
    held_out = characters.tokenizer.decode(characters.held_out.tolist())
    assert pieces.tokenizer.decode(pieces.held_out.tolist()) == held_out
    assert pieces.held_out_bytes == characters.held_out_bytes == len(held_out.encode())
    assert corpus(MIXED).held_out_bytes is None


def test_a_checkpoint_s_byte_pairs_read_the_text_as_the_run_did() -> None:
    made = corpus(MIXED, "bpe", vocab_size=400, min_count=2)
    again = text.encode_corpus(text.Text("a text", MIXED, "0"), BytePairs.from_assets(made.assets), minimum=10)
    assert (again.key, again.train.tolist(), again.held_out.tolist()) == (made.key, made.train.tolist(), made.held_out.tolist())


def test_the_held_out_text_teaches_no_byte_pairs() -> None:
    held_out = "zyzzyva " * 20
    made = corpus("some words of a text to read . " * 60 + held_out, "bpe", vocab_size=400, min_count=2)
    assert not any("zyz" in piece for piece in made.tokenizer.vocabulary)


def test_byte_pairs_need_room_for_the_bytes() -> None:
    with pytest.raises(DataError, match="256, so use a --vocab-size above"):
        corpus(MIXED, "bpe", vocab_size=256)


def test_byte_pairs_without_their_library_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"pip install 'dlplay\[hf\]'"):
        corpus(MIXED, "bpe", vocab_size=400)


# --- what is measured on them -------------------------------------------------------------------------------------------------------


def uniform(made: text.Corpus) -> dict[str, float]:
    scores = TokenScores(torch.device("cpu"), made.tokenizer.unknown)
    targets = torch.from_numpy(made.held_out)
    scores.add(torch.zeros(len(targets), len(made.tokenizer.vocabulary)), targets)
    return held_out_metrics(scores, made)


def test_bits_per_byte_compare_whatever_the_tokens_are() -> None:
    for kind in ("char", "bpe"):
        made = corpus(MIXED, kind, vocab_size=400, min_count=2)
        size = len(MIXED[int(0.9 * len(MIXED)) :].encode())
        bits = math.log2(len(made.tokenizer.vocabulary)) * len(made.held_out) / size
        assert uniform(made)["val_bits_per_byte"] == pytest.approx(bits, rel=1e-6)
        found = ngram_baselines(made)
        assert found["val_bits_per_byte"]["5-gram"] == pytest.approx(
            found["val_loss"]["5-gram"] / math.log(2) * len(made.held_out) / size, rel=1e-6
        )
    assert "val_bits_per_byte" not in uniform(corpus(MIXED))


def test_the_perplexity_of_known_words_leaves_unk_out() -> None:
    made = corpus("the cat sat on a mat . " * 30 + "unseen words here . " * 6, min_count=2)
    unknown = made.held_out == 0
    assert 0 < unknown.mean() < 1
    logits = torch.zeros(len(made.held_out), len(made.tokenizer.vocabulary))
    logits[:, 0] = 5.0
    scores = TokenScores(torch.device("cpu"), made.tokenizer.unknown)
    scores.add(logits, torch.from_numpy(made.held_out))
    nats = -logits.log_softmax(dim=1)[range(len(logits)), made.held_out].numpy()
    found = held_out_metrics(scores, made)
    assert found["val_perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    assert found["val_perplexity_known"] == pytest.approx(math.exp(nats[~unknown].mean()), rel=1e-5)
    assert found["val_perplexity_known"] > 2 * found["val_perplexity"]
    assert "val_perplexity_known" in ngram_baselines(made)


# --- own files --------------------------------------------------------------------------------------------------------------------


def write(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "own.txt"
    path.write_bytes(data)
    return str(path)


def test_an_own_file_is_read_with_its_mark_and_line_ends_put_right(tmp_path: Path) -> None:
    read = text.read_text(write(tmp_path, b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\r\nan alle"))
    assert read.content == "Grüße\nan alle"
    assert read.name == "own.txt"


def test_a_file_that_is_not_utf_8_is_refused_with_the_byte(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own\.txt is not UTF-8: byte 1,003 is 0xff.*iconv"):
        text.read_text(write(tmp_path, b"\xef\xbb\xbf" + b"a" * 1000 + b"\xff"))


def test_a_binary_file_is_refused_with_the_byte(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="byte 3 is NUL"):
        text.read_text(write(tmp_path, b"abc\0def"))


def test_a_file_that_is_too_large_is_refused_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(text.MAX_BYTES + 1)
    with pytest.raises(DataError, match="larger than 64 MiB"):
        text.read_text(str(path))
    assert text.MAX_BYTES == 64 * bounded.MIB


@pytest.mark.parametrize("source", ["/dev/zero", "/", "/no/such/file", "~no_such_user_here/a.txt", "a\0b", "x" * 5000])
def test_what_is_no_regular_file_is_refused_in_words(source: str) -> None:
    with pytest.raises(DataError):
        text.read_text(source)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(DataError, match="not a regular file"):
        text.read_text(str(path))


def test_a_text_that_is_too_short_is_refused_with_the_minimum() -> None:
    with pytest.raises(DataError, match="a text holds 3 words; at least 650 are needed"):
        corpus("only three words", minimum=650)
    with pytest.raises(DataError, match="holds 0 characters"):
        corpus("", kind="char")


@pytest.mark.parametrize("sentence", ["我想喝一杯茶。", "ฉันอยากดื่มชา.", "わたしはおちゃをのみます。"])
def test_a_text_without_spaces_is_told_the_way_out(sentence: str) -> None:
    assert corpus(sentence * 60).words.endswith("; its words are not divided by spaces, so use --tokens char or bpe")
    assert "--tokens" not in corpus(sentence * 60, "char").words
    with pytest.raises(DataError, match="use --tokens char or bpe, since its words are not divided by spaces"):
        corpus(sentence * 60, min_count=1000)


def test_a_text_of_words_that_are_all_rare_is_refused() -> None:
    with pytest.raises(DataError, match="no word occurs 3 times"):
        corpus(" ".join(chr(97 + i % 26) + chr(97 + i // 26) for i in range(400)), min_count=3)


@pytest.mark.parametrize(
    ("kind", "vocabulary", "text", "remark"),
    [
        (Words, ["<unk>", "a", "b"], "a = b @ a @", "left out, since no token has them: = @"),
        (Words, ["<unk>", "a", "b"], "A\u0301 b", "not in the vocabulary, read as <unk>: á"),
        (Characters, ["<unk>", "a", " "], "a \u00e9a \u732b", "not in the vocabulary, read as <unk>: é, 猫"),
        (Words, ["<unk>", "a", "b"], " a\tb\n\u3000 ", ""),
    ],
)
def test_what_of_a_prompt_is_not_read_is_told(kind: type[Tokenizer], vocabulary: list[str], text: str, remark: str) -> None:
    read = read_prompt(kind(vocabulary), Prompt(prompt=text))
    assert read.remark == remark
    assert remark in read.caption()
