"""Contiguous streams: chunks that continue each other, and held-out rows in which every step is predicted once."""

from __future__ import annotations

import pytest
import torch

from dlplay.engine.errors import DataError
from dlplay.parts.streams import HeldOutRows, Streams


def test_every_stream_continues_where_its_last_chunk_ended() -> None:
    streams = Streams(torch.arange(115), 4, 5, torch.Generator().manual_seed(0), carries="state")
    for _ in range(3):
        last = None
        for number in range(5):
            inputs, targets = streams.next()
            assert (streams.carried is None) == (number == 0), "at the start of the streams nothing is carried"
            assert targets.equal(inputs + 1)
            assert inputs[:, 1:].equal(inputs[:, :-1] + 1)
            assert last is None or inputs[:, 0].equal(last + 1)
            last = inputs[:, -1]
            streams.carry([torch.ones(1, 4, 2, requires_grad=True)])
            assert streams.carried is not None
            assert not streams.carried[0].requires_grad


def test_the_position_and_what_is_carried_are_saved_under_the_name_that_was_given() -> None:
    streams = Streams(torch.arange(200), 4, 5, torch.Generator(), carries="memory")
    for _ in range(3):
        streams.next()
        streams.carry([torch.rand(4, 2), torch.rand(4, 3)])
    saved = streams.extra_state()
    assert saved.keys() == {"shift", "position", "memory"}
    other = Streams(torch.arange(200), 4, 5, torch.Generator(), carries="memory")
    other.load_extra_state(saved)
    assert other.next()[0].equal(streams.next()[0])
    assert [part.tolist() for part in other.carried or ()] == [part.tolist() for part in streams.carried or ()]


def test_a_sequence_that_is_too_short_is_refused_with_the_length_it_needs() -> None:
    with pytest.raises(DataError, match="length 30 does not fill 4 streams of 10 steps; it needs at least 51: .* smaller --batch"):
        Streams(torch.arange(30), 4, 10, torch.Generator(), carries="state")
    Streams(torch.arange(51), 4, 10, torch.Generator(), carries="state")


@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize(("warm_up", "length"), [(0, 8), (32, 8), (256, 64), (10_000, 64)])
def test_every_held_out_step_is_scored_once_after_the_warm_up(rows: int, warm_up: int, length: int) -> None:
    held_out = HeldOutRows(torch.arange(1500), torch.arange(1500, 2000), warm_up=warm_up, rows=rows)
    assert held_out.rows == rows
    assert held_out.warm_up == min(warm_up, 1499)
    seen: list[int] = []
    steps = torch.zeros(rows, dtype=torch.int64)  # that each row has read
    for inputs, targets, scored in held_out.chunks(length):
        assert targets[scored].equal(inputs[scored] + 1)
        assert not scored[:, : max(0, held_out.warm_up - int(steps[0]))].any()
        steps += inputs.shape[1]
        seen += targets[scored].tolist()
    assert sorted(seen) == list(range(1500, 2000))
