"""What the seq2seq Transformer learns from: generated pairs, dates, the user's own file; and the baselines."""

from __future__ import annotations

import datetime
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from dlplay.architectures.seq2seq import card
from dlplay.architectures.seq2seq import task as task_module
from dlplay.architectures.seq2seq.model import EOS, PAD, SPECIALS
from dlplay.architectures.seq2seq.problems import baselines, dates
from dlplay.architectures.seq2seq.problems.batches import make_batch
from dlplay.architectures.seq2seq.problems.problem import Problem, open_problem
from dlplay.architectures.seq2seq.settings import Seq2SeqSettings, Source
from dlplay.architectures.seq2seq.task import Seq2SeqTask
from dlplay.data.pairs import Pair, PairCorpus, read_pairs, uniform_hash
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking

CPU = torch.device("cpu")


def problem(**changes: Any) -> Problem:
    return open_problem(make(Seq2SeqSettings, changes))


def write_file(folder: Path, lines: list[str], name: str = "pairs.tsv") -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


# --- generated pairs ------------------------------------------------------------------------------------------------------------------

GENERATED: list[dict[str, Any]] = [
    {"task": "reverse"},
    {"task": "copy", "length": 3, "symbols": 5},
    {"task": "sort"},
    {"task": "addition"},
    {"task": "addition", "digits": 1, "sum_order": "units-first"},
    {"task": "dates"},
]


@pytest.mark.parametrize("changes", GENERATED)
def test_no_held_out_source_is_ever_trained_on(changes: dict[str, Any]) -> None:
    posed = problem(**changes)
    held_out = {pair.source for pair in posed.held_out}
    assert len(held_out) == len(posed.held_out) > 0
    trained = posed.draw(5000, random.Random(1))
    assert not held_out & {pair.source for pair in trained}
    assert posed.draw(50, random.Random(2)) == posed.draw(50, random.Random(2)) != posed.draw(50, random.Random(3))
    assert [pair.source for pair in problem(**changes, seed=5).held_out] == [pair.source for pair in posed.held_out]
    for pair in [*posed.held_out, *trained]:
        assert posed.target(pair.source) == pair.target
        for text, longest in ((pair.source, posed.source_length), (pair.target, posed.target_length)):
            ids = posed.tokenizer.encode(text)
            assert 0 not in ids
            assert 1 <= len(ids) < longest
            assert posed.tokenizer.decode(ids) == text


def test_about_a_tenth_of_all_sources_is_held_out() -> None:
    shares = [uniform_hash(f"{number}") for number in range(10_000)]
    assert 0.09 < sum(one < 0.1 for one in shares) / 10_000 < 0.11
    assert min(shares) >= 0
    assert max(shares) < 1
    assert (uniform_hash("abc"), uniform_hash("407+95")) == (uniform_hash("abc"), uniform_hash("407+95"))


def test_reverse_copy_and_sort_come_in_every_length() -> None:
    for task, right in (("reverse", lambda text: text[::-1]), ("copy", str), ("sort", lambda text: "".join(sorted(text)))):
        pairs = problem(task=task, length=6).draw(600, random.Random(0))
        assert {len(pair.source) for pair in pairs} == {1, 2, 3, 4, 5, 6}
        assert all(pair.target == right(pair.source) for pair in pairs)


def test_sums_are_sums_in_the_order_that_is_set() -> None:
    for pair in problem(task="addition").draw(500, random.Random(0)):
        one, other = map(int, pair.source.split("+"))
        assert max(one, other) < 1000
        assert int(pair.target) == one + other
    posed = problem(task="addition", sum_order="units-first")
    assert all(int(pair.target[::-1]) == sum(map(int, pair.source.split("+"))) for pair in posed.draw(500, random.Random(0)))
    assert posed.target(posed.tidy("407 + 95 ")) == "205"
    assert [posed.target(text) for text in ("", "1", "1+", "a+1", "1+2+3", "-1+2")] == [None] * 6
    assert "units said first" in posed.dataset.words


def test_too_small_a_task_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match="--length 1 leaves too few different sources to hold some out") as refused:
        problem(length=1, symbols=2)
    assert refused.value.field == "length"


# --- dates --------------------------------------------------------------------------------------------------------------------------


def test_dates_in_words_are_the_days_that_python_knows() -> None:
    rng = random.Random(0)
    seen = set()
    for _ in range(3000):
        text, iso = dates.draw(rng)
        date = datetime.date.fromisoformat(iso)
        assert dates.FIRST <= date <= dates.LAST
        assert f"{date:%B}".lower()[:3] in text
        assert f"{date.day}" in text
        assert f"{date.year}" in text
        for weekday in dates.WEEKDAYS:
            if weekday in text:
                assert weekday == f"{date:%A}".lower()
        assert dates.read(text) == iso
        seen.add(text.translate(str.maketrans("0123456789", "0" * 10)))
    assert len(seen) > 100


def test_every_form_of_a_date() -> None:
    texts = [dates.write(datetime.date(2021, 3, 3), form) for form in dates.FORMS]
    assert {"3 march 2021", "march 3rd, 2021", "the 3rd of march, 2021", "3-mar-2021", "wed, mar 3rd, 2021"} <= set(texts)
    assert len(set(texts)) == len(dates.FORMS)
    assert [dates.ordinal(day) for day in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 31)] == [
        "st", "nd", "rd", "th", "th", "th", "th", "st", "nd", "rd", "th", "st",
    ]  # fmt: skip
    for text in (
        "",
        "31 february 2020",
        "3 march",
        "march 2021",
        "2021-03-03",
        "3 march april 2021",
        "3 4 march 2021",
        "9999999 march 2021",
    ):
        assert dates.read(text) is None
    posed = problem(task="dates")
    assert posed.target(posed.tidy(" Tuesday 3 Mar 2021")) == "2021-03-03"  # the weekday is wrong, the date is plain


# --- the user's own pairs -----------------------------------------------------------------------------------------------------------

HOSTILE: dict[str, tuple[bytes, str]] = {
    "no tab": (b"a\tb\nno tab here\n", "line 2 has 0 tabs; write a source, one tab and a target on each line"),
    "too many fields": (b"a\tb\n\nc\td\te\n", "line 3 has 2 tabs"),
    "nothing before the tab": (b"a\tb\n \td\n", "line 2 has nothing before its tab"),
    "nothing after the tab": (b"a\t\n", "line 1 has nothing after its tab"),
    "NUL": (b"a\tb\nc\0\td\n", "is not text: byte 5 is NUL"),
    "bad UTF-8": (b"a\tb\nc\xff\td\n", "is not UTF-8: byte 5 is 0xff"),
    "UTF-16": ("a\tb\n".encode("utf-16"), "is not text: byte 3 is NUL"),
    "empty": (b"", "is empty; write a source"),
    "blank lines": (b"\n \n\r\n", "is empty"),
    "one line only": (b"a\tb\n", "holds 1 different sources; at least 20 are needed"),
    "one source again and again": (b"a\tb\n" * 100, "holds 1 different sources"),
    "a huge side": (b"a\tb\nc\t" + b"d" * 5000, "line 2 has a source or target of 5,000 characters; at most 4,000"),
    "more tokens than can be read": (b"a\tb\nc\t" + b"d" * 300, "in pair 2 has 300 characters; 1 to 256 can be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_one_line(name: str, tmp_path: Path) -> None:
    content, words = HOSTILE[name]
    path = tmp_path / "own.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        problem(data=str(path))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_regular_file_or_too_large_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    for name, words in (
        ("pipe", "not a regular file"),
        ("huge", "larger than 64 MiB"),
        ("gone", "cannot read"),
        (".", "not a regular file"),
    ):
        with pytest.raises(DataError, match=words):
            problem(data=str(tmp_path / name))


def test_words_that_are_no_words_are_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path, [*(f"a{number}\tb" for number in range(30)), "+-*\tplus"])
    with pytest.raises(DataError, match=r"'\+-\*' in pair 31 has 0 words; 1 to 256"):
        problem(data=path, tokens="word")


def test_own_pairs_are_split_by_their_sources(tmp_path: Path) -> None:
    lines = [f"source {number % 60}\ttarget {number}" for number in range(120)]
    posed = problem(data=write_file(tmp_path, lines))
    assert isinstance(posed.dataset, PairCorpus)
    held_out, train = {pair.source for pair in posed.held_out}, {pair.source for pair in posed.dataset.train}
    assert len(held_out) == len(posed.held_out) == 6
    assert not held_out & train
    assert len(held_out | train) == 60
    assert len(posed.dataset.train) == 108  # each source has two targets
    shuffled = problem(data=write_file(tmp_path, lines[::-1], "other.tsv"))
    assert {pair.source for pair in shuffled.held_out} == held_out


def test_sources_that_the_model_cannot_tell_apart_stay_on_one_side(tmp_path: Path) -> None:
    lines = [f"{'THE CAT' if upper else 'the  cat'} {number}\tx" for number in range(40) for upper in (False, True)]
    posed = problem(data=write_file(tmp_path, lines), tokens="word")
    assert isinstance(posed.dataset, PairCorpus)
    assert not {tuple(posed.tokenizer.encode(p.source)) for p in posed.held_out} & {
        tuple(posed.tokenizer.encode(p.source)) for p in posed.dataset.train
    }


def test_words_are_learnt_from_own_pairs_and_asked_without_the_file(tmp_path: Path) -> None:
    nouns, verbs = ["cat", "dog", "bird", "fish", "cow", "hen"], ["sees", "likes", "fears", "hears"]
    lines = [f"The {a} {v} the {b}.\tthe {b} is {v[:-1]}ed by the {a}." for a in nouns for v in verbs for b in nouns]
    path = write_file(tmp_path, lines)
    values = {"data": path, "tokens": "word", "layers": 1, "width": 32, "batch": 32, "steps": 250, "lr": 0.01, "warmup": 20}
    torch.manual_seed(0)
    task = Seq2SeqTask(make(Seq2SeqSettings, values), CPU)
    assert "130 pairs to train on, 14 held out" in task.data
    while task.step < 250:
        task.train_step()
        task.step += 1
    with looking(task):
        assert task.evaluate()["exact_match"] > 0.8 > task.baselines()["exact_match"]["fixed-position copier"]
    again = Seq2SeqTask(make(Seq2SeqSettings, values | {"data": "/no/such/file"}), CPU, task.assets())
    again.load_weights(task.weights())
    assert "cannot read" in again.data
    with looking(again):
        answer = again.panel("translation", Source(source="the hen likes the zebra."))
        assert answer.text  # type: ignore[union-attr]
        assert "read as <unk>: zebra" in answer.caption
        assert again.panel("translation", Source()).caption
        with pytest.raises(DataError, match="cannot read /no/such/file"):
            again.evaluate()
    with pytest.raises(DataError, match="cannot read /no/such/file"):
        again.train_step()


@pytest.mark.parametrize(
    "assets",
    [
        {"tokens": "x", "vocabulary": ["<unk>", "a"], "source_length": 3, "target_length": 3},
        {"tokens": "char", "vocabulary": ["<unk>", "ab"], "source_length": 3, "target_length": 3},
        {"tokens": "char", "vocabulary": ["<unk>", "a"], "source_length": 10**9, "target_length": 3},
        {"tokens": "char", "vocabulary": ["<unk>", "a"], "source_length": 3},
    ],
)
def test_damaged_assets_are_refused(assets: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="damaged"):
        open_problem(make(Seq2SeqSettings, {"data": "/no/such/file"}), assets)


def test_generated_pairs_give_no_vocabulary_for_a_file(tmp_path: Path) -> None:
    own = write_file(tmp_path, [f"{number}\t{number}" for number in range(40)])
    with pytest.raises(DataError, match=r"generated pairs and has no vocabulary for .*pairs.tsv; leave out --data, or"):
        open_problem(make(Seq2SeqSettings, {"data": own}), Seq2SeqTask(make(Seq2SeqSettings, {}), CPU).assets())


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_checkpoint_goes_on_with_longer_pairs_where_it_has_places_for_them(positions: str, tmp_path: Path) -> None:
    small = {"layers": 1, "width": 8, "heads": 2, "batch": 4, "positions": positions}
    short = write_file(tmp_path, [f"{number}\t{number}" for number in range(10, 60)], "short.tsv")
    start = Seq2SeqTask(make(Seq2SeqSettings, small | {"data": short}), CPU)
    longer = write_file(tmp_path, [f"{number}\t{str(number) * (100 if number == 30 else 1)}" for number in range(10, 60)])
    task = Seq2SeqTask(make(Seq2SeqSettings, small | {"data": longer}), CPU, start.assets())
    task.load_weights(start.weights())
    if positions == "sinusoidal":
        task.train_step()
        with looking(task):
            assert task.evaluate()["val_loss"] > 0
        return
    with looking(task):
        assert task.panel("translation", card.panel("translation").options()).caption
    for do in (task.train_step, task.evaluate, task.baselines):
        with pytest.raises(DataError, match=r"pairs.tsv: '3030.*' has 200 characters, .* room for 2; give shorter pairs"):
            do()


def test_an_evaluation_forms_no_larger_logits_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{number}\t{number} {number + 1} {number + 2}" for number in range(200)]
    values = {"data": write_file(tmp_path, lines), "tokens": "word", "layers": 1, "width": 8, "heads": 2}
    found = []
    for most in (task_module.LOGITS, 4000):
        monkeypatch.setattr(task_module, "LOGITS", most)
        torch.manual_seed(0)
        task = Seq2SeqTask(make(Seq2SeqSettings, values), CPU)
        sizes: list[int] = []
        decode = task.model.decode

        def decoded(*given: Any, decode: Any = decode, sizes: list[int] = sizes, **named: Any) -> torch.Tensor:
            logits: torch.Tensor = decode(*given, **named)
            sizes.append(logits.numel())
            return logits

        monkeypatch.setattr(task.model, "decode", decoded)
        with looking(task):
            found.append(task.evaluate())
        assert max(sizes) <= most
    assert len(sizes) > 1
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_changed_file_is_not_gone_on_with(tmp_path: Path) -> None:
    lines = [f"{number}\t{number}" for number in range(40)]
    values = {"data": write_file(tmp_path, lines), "layers": 1, "width": 8, "heads": 2}
    task = Seq2SeqTask(make(Seq2SeqSettings, values), CPU)
    saved, assets = task.state_dict(), task.assets()
    write_file(tmp_path, [*lines, "41\t41"])
    with pytest.raises(DataError, match="no longer those that this run began with"):
        Seq2SeqTask(make(Seq2SeqSettings, values), CPU, assets).load_state_dict(saved)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes("\ufeffä\tb\r\nc d\te\r\n".encode())
    assert read_pairs(path).pairs == [Pair("ä", "b"), Pair("c d", "e")]


# --- baselines --------------------------------------------------------------------------------------------------------------


def test_copying_from_fixed_positions_solves_copying_and_not_reversing() -> None:
    found = {}
    for task in ("copy", "reverse"):
        posed = problem(task=task, length=4)
        held_out = make_batch(posed, posed.held_out, CPU)
        found[task] = baselines.measure(make_batch(posed, posed.draw(1000, random.Random(0)), CPU), held_out)
    assert found["copy"]["exact_match"]["fixed-position copier"] == 1
    assert found["copy"]["token_accuracy"]["fixed-position copier"] == 1
    assert found["reverse"]["exact_match"]["fixed-position copier"] < 0.5


def test_baselines_by_hand() -> None:
    def batch(*pairs: tuple[str, str]) -> Any:
        posed = problem(symbols=5)
        return make_batch(posed, [Pair(*pair) for pair in pairs], CPU)

    train = batch(("ab", "ba"), ("cd", "dc"), ("cd", "dc"), ("ecd", "dc"))
    held_out = batch(("bc", "cb"), ("cd", "dc"), ("abc", "dca"))
    assert baselines.best_positions(train).tolist() == [1, 0, 2]
    letters = {letter: SPECIALS + 1 + place for place, letter in enumerate("abcde")}
    assert baselines.copied(held_out.source, torch.tensor([1, 0, 2])).tolist() == [
        [letters["c"], letters["b"], EOS],
        [letters["d"], letters["c"], EOS],
        [letters["b"], letters["a"], letters["c"]],
    ]
    assert baselines.most_frequent_output(train.target).tolist() == [[letters["d"], letters["c"], EOS]]
    scores = baselines.measure(train, held_out)
    assert scores["exact_match"] == pytest.approx({"fixed-position copier": 2 / 3, "most common answer": 1 / 3})
    assert scores["token_accuracy"] == pytest.approx({"fixed-position copier": 6 / 10, "most common token at each position": 6 / 10})
    assert baselines.score(torch.tensor([[4, 5, EOS]]), torch.tensor([[4, 6, EOS, PAD]])) == (0, pytest.approx(2 / 3))
    assert baselines.cut(torch.tensor([[4, EOS, 5, EOS]])).tolist() == [[4, EOS, PAD, PAD]]
