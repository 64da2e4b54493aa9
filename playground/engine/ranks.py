"""Several processes that train one model on a part of each batch (data parallelism), as torchrun starts them.

Every rank draws the same global batch and computes the gradient of its share of it; the gradients are summed over the ranks, and each makes
the same update. That is the algorithm of PyTorch's DistributedDataParallel (Li et al., 2020) without its wrapper around the model, which
would stand between it and the hooks and panels.

Rank 0 decides and writes the run: before every step, and whenever it needs the others, it tells them what to do (`Order`). Orders go over
gloo on the CPU, so that nobody waits for a device; gradients go over NCCL between CUDA devices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import math
import os
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from dlplay.engine.events import RankStatus
from dlplay.engine.torchrun import Place, indivisible

BUCKET_BYTES = 25 << 20
"""Gradients that are summed in one go, at most; as in DistributedDataParallel."""

_FIRST = "dlplay rank 0"
_PATIENCE = datetime.timedelta(days=3650)
"""A paused run waits for as long as its person likes. A rank that ends is noticed at once, by its closed connection."""


class RankLost(Exception):
    """Another rank ended or cannot be reached."""


class Order(msgspec.Struct, frozen=True, tag_field="order", tag=str.lower):
    """What rank 0 tells the others."""


class Train(Order, frozen=True):
    """One training step."""


class Begin(Order, frozen=True):
    """Build the task."""

    name: str
    """Of the run."""
    architecture: str
    settings: dict[str, Any]
    assets: dict[str, Any] | None
    launch: str = ""
    """The torchrun that began the run; empty where a person began it."""


class Change(Order, frozen=True):
    """Settings were changed; they take effect from the next step."""

    settings: dict[str, Any]


class SendState(Order, frozen=True):
    """Send what the next step depends on, for a checkpoint."""


class Report(Order, frozen=True):
    """Send utilisation, memory and the time spent waiting."""

    whole: bool = False
    """Of all of this process, instead of since the last report."""


class End(Order, frozen=True):
    """The run has ended."""

    status: int


AnyOrder = Train | Begin | Change | SendState | Report | End

_encoder = msgspec.msgpack.Encoder()
_orders = msgspec.msgpack.Decoder(AnyOrder)


class Ranks:
    """The ranks, seen from one of them. Its methods are called by all of them in the same order; they raise `RankLost`."""

    def __init__(self, place: Place) -> None:
        self.rank, self.count, self.local_rank = place.rank, place.ranks, place.local_rank
        self.interrupted = False
        """This rank got a signal or, on rank 0, any of them did: the run is to end after this step."""
        self.in_step = False
        """Others may wait for this rank's gradients."""
        self.waited = 0.0
        """Seconds in which this rank waited for others in training steps, what is sent between them included."""
        self._lost = False
        self._began = self._reported = (time.perf_counter(), 0.0)
        """When training began and when this rank last told how it does, each with the seconds that it had waited by then."""
        self.steps = 0
        """Training steps that were ordered."""
        self._rehearses = False
        self._buckets: _Buckets | None = None
        if place.ranks == place.local_ranks:  # nobody else needs to reach them
            for library in ("GLOO", "NCCL"):
                os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        with self._reaching():
            store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
            met = PrefixStore(_meet(store, place.rank, place.ranks), store)
            dist.init_process_group("gloo", store=met, rank=place.rank, world_size=place.ranks, timeout=_PATIENCE)
        self._gradients: dist.ProcessGroup | None = None
        """None: gradients go over gloo as well."""

    def use(self, device: torch.device) -> None:
        """Gradients will be on this device."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
            with self._reaching():
                self._gradients = dist.new_group(backend="nccl", device_id=device)

    def close(self) -> None:
        """Leave the others."""
        if not self._lost:
            dist.destroy_process_group()

    # --- orders -------------------------------------------------------------------------------------------------------------------

    def tell(self, order: AnyOrder) -> None:
        """From rank 0 to all others; each of them takes it by `receive`."""
        began = time.perf_counter()
        trains = isinstance(order, Train)
        self._exchange(b"" if trains else _encoder.encode(order))
        if trains:
            self._step()
            self.waited += time.perf_counter() - began

    def receive(self) -> AnyOrder:
        """What rank 0 tells. How long that takes is no waiting: between two steps rank 0 evaluates, draws, and may be slowed down."""
        payload = self._exchange(b"")
        if not payload:
            self._step()
        return _orders.decode(payload) if payload else Train()

    def _step(self) -> None:
        if not self.steps:
            self._began = self._reported = (time.perf_counter(), self.waited)
        self.steps += 1

    def _exchange(self, payload: bytes) -> bytes:
        """Rank 0's payload to all, and to rank 0 whether a rank was interrupted."""
        head = torch.tensor([len(payload), int(self.interrupted)])
        with self._reaching():
            dist.all_reduce(head, dist.ReduceOp.MAX)
        length, interrupted = head.tolist()
        if interrupted:  # a signal of this rank may have come meanwhile
            self.interrupted = True
        return self._broadcast(payload, length) if length else b""

    def _broadcast(self, payload: bytes, length: int) -> bytes:
        data = torch.frombuffer(bytearray(payload or bytes(length)), dtype=torch.uint8)
        with self._reaching():
            dist.broadcast(data, 0)
        return data.numpy().tobytes()

    # --- messages -----------------------------------------------------------------------------------------------------------------

    def gather(self, message: bytes = b"") -> list[bytes]:
        """The messages of all ranks on rank 0, its own first; nothing on the others."""
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with self._reaching():
            dist.all_gather(lengths, torch.tensor([len(message)]))
            if self.rank:
                self._send(message, 0)
                return []
            return [message, *(self._take(rank, int(lengths[rank])) for rank in range(1, self.count))]

    def scatter(self, messages: Iterable[bytes] = ()) -> bytes:
        """Each rank gets its message of those that rank 0 has for all of them; its own is the first."""
        with self._reaching():
            if self.rank:
                length = torch.zeros(1, dtype=torch.int64)
                dist.recv(length, 0)
                return self._take(0, int(length))
            own = b""
            for rank, message in enumerate(messages):
                if rank == 0:
                    own = message
                    continue
                dist.send(torch.tensor([len(message)]), rank)
                self._send(message, rank)
            return own

    def _send(self, message: bytes, rank: int) -> None:
        if message:
            dist.send(torch.frombuffer(bytearray(message), dtype=torch.uint8), rank)

    def _take(self, rank: int, length: int) -> bytes:
        data = torch.empty(length, dtype=torch.uint8)
        if length:
            dist.recv(data, rank)
        return data.numpy().tobytes()

    def copy_from_first(self, tensors: dict[str, Tensor]) -> None:
        """Rank 0's values of these tensors, of the same names and shapes on all ranks, into them."""
        with torch.no_grad(), self._reaching():
            for name in sorted(tensors):
                values = tensors[name].detach().to("cpu", copy=True).contiguous()
                dist.broadcast(values, 0)
                tensors[name].copy_(values)

    # --- training -----------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Within it this rank makes a step by itself, of its share of a batch, without the others."""
        self._rehearses = True
        try:
            yield
        finally:
            self._rehearses = self.in_step = False

    def share(self, batch: Tensor, dim: int = 0) -> Tensor:
        """This rank's rows of a global batch. Raises `ValueError` for one that cannot be divided."""
        size = batch.shape[dim]
        if why := indivisible(size, self.count):
            raise ValueError(why)
        rows = size // self.count
        return batch.narrow(dim, self.rank * rows, rows)

    def add_up(self, numbers: Tensor) -> Tensor:
        """The sums over the ranks, in place; on the device of the gradients."""
        if self._rehearses:
            return numbers
        with self._waiting():
            dist.all_reduce(numbers, group=self._gradients)
        return numbers

    @contextlib.contextmanager
    def summing(self, parameters: list[Tensor]) -> Iterator[None]:
        """Around a backward pass, after which the gradients of these parameters are those of all ranks together. They are sent while the
        pass goes on. Raises `ValueError` where it reaches other parameters than before, or than on another rank."""
        if self._rehearses:
            yield
            return
        if self._buckets is None or self._buckets.parameters != [id(parameter) for parameter in parameters]:
            self._buckets = _Buckets(parameters, self._gradients)
        buckets = self._buckets
        with self._reaching():
            buckets.begin()
            yield
        with self._waiting():
            buckets.finish()
            reached = [parameter.grad is not None for parameter in parameters]
            if buckets.reached is None:
                counts = torch.tensor(reached, dtype=torch.int64)
                dist.all_reduce(counts)
                buckets.reached = [count > 0 for count in counts.tolist()]
        if reached != buckets.reached:
            raise ValueError("with several ranks the loss of every step must depend on the same parameters; start it without torchrun")

    # --- how they are doing -------------------------------------------------------------------------------------------------------

    def report(self, utilisation: float | None, memory: int | None) -> list[RankStatus]:
        """Of every rank, since the last report."""
        return self._gathered(utilisation, memory, self._reported)

    def summary(self) -> list[RankStatus]:
        """Of every rank, since training began: the share of the time that it waited."""
        return self._gathered(None, None, self._began)

    def _gathered(self, utilisation: float | None, memory: int | None, since: tuple[float, float]) -> list[RankStatus]:
        now = time.perf_counter()
        then, waited = since
        share = (self.waited - waited) / max(now - then, 1e-9)
        self._reported = (now, self.waited)
        own = [math.nan if utilisation is None else utilisation, memory or 0, min(share, 1.0)]
        found = [torch.zeros(3, dtype=torch.float64) for _ in range(self.count)]
        with self._reaching():
            dist.all_gather(found, torch.tensor(own, dtype=torch.float64))
        return [
            RankStatus(None if math.isnan(busy) else busy, int(size) or None, waiting) for busy, size, waiting in map(Tensor.tolist, found)
        ]

    # --- connections --------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        began = time.perf_counter()
        with self._reaching():
            yield
        self.waited += time.perf_counter() - began

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """What PyTorch says of a broken connection is raised as `RankLost`."""
        if self._lost:
            raise RankLost("another rank has ended")
        try:
            yield
        except RuntimeError as error:
            if not is_connection(error):
                raise
            self._lost = True
            raise RankLost(re.sub(r"^(\[.*?\]\s*)+", "", str(error).splitlines()[0])[:300]) from error

    @property
    def lost(self) -> bool:
        """Whether another rank has ended."""
        return self._lost


def _meet(store: Store, rank: int, count: int) -> str:
    """A prefix for what these ranks leave in torchrun's store, each of which has been heard from: the store outlives them, and one that was
    started anew would find the addresses of those before. Rank 0 says it, and greets each that answers."""
    own = uuid.uuid4().hex
    if rank == 0:
        store.set(_FIRST, own)
        for other in range(1, count):
            store.set(f"{own} greets {store.get(f'{own} {other}').decode()}", "")
        return own
    while True:
        first: str = store.get(_FIRST).decode()
        store.set(f"{first} {rank}", own)
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            if store.check([f"{first} greets {own}"]):
                return first
            time.sleep(0.02)


def is_connection(error: RuntimeError) -> bool:
    """Whether it says that a rank cannot be reached: gloo raises plain errors."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "Connection", "Socket"))


@dataclasses.dataclass(eq=False)
class _Bucket:
    parameters: list[Tensor]
    missing: int = 0
    """Gradients that the backward pass has not finished yet."""
    sums: Tensor | None = None
    work: dist.Work | None = None


class _Buckets:
    """Gradients in the order in which a backward pass finishes them, about; a bucket is sent once all of it is there."""

    def __init__(self, parameters: list[Tensor], group: dist.ProcessGroup | None) -> None:
        self.parameters = [id(parameter) for parameter in parameters]
        self.reached: list[bool] | None = None
        """The parameters that get gradients, once the ranks have agreed on them."""
        self._group = group
        self._buckets: list[_Bucket] = []
        self._of: dict[int, _Bucket] = {}
        self._sent = 0
        self._active = False
        size = 0
        for parameter in reversed(parameters):
            last = self._buckets[-1].parameters[-1] if self._buckets else None
            if last is None or last.dtype != parameter.dtype or size + parameter.nbytes > BUCKET_BYTES:
                self._buckets.append(_Bucket([]))
                size = 0
            self._buckets[-1].parameters.append(parameter)
            self._of[id(parameter)] = self._buckets[-1]
            size += parameter.nbytes
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._finished)  # type: ignore[no-untyped-call]

    def begin(self) -> None:
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)
        self._sent, self._active = 0, True

    def _finished(self, parameter: Tensor) -> None:
        """A gradient is there."""
        if not self._active:
            return
        self._of[id(parameter)].missing -= 1
        while self._sent < len(self._buckets) and self._buckets[self._sent].missing == 0:
            self._send()

    def _send(self) -> None:
        """The next bucket: all ranks send them in the same order. Parameters without a gradient count as zeros."""
        bucket = self._buckets[self._sent]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket.parameters]
        bucket.sums = torch.cat(parts)
        bucket.work = dist.all_reduce(bucket.sums, group=self._group, async_op=True)
        self._sent += 1

    def finish(self) -> None:
        self._active = False
        while self._sent < len(self._buckets):
            self._send()
        for bucket in self._buckets:
            assert bucket.work is not None
            assert bucket.sums is not None
            bucket.work.wait()
            parts = torch.split(bucket.sums, [p.numel() for p in bucket.parameters])
            pairs = [(p.grad, part.view_as(p)) for p, part in zip(bucket.parameters, parts, strict=True) if p.grad is not None]
            torch._foreach_copy_([gradient for gradient, _ in pairs], [part for _, part in pairs])
            bucket.work = bucket.sums = None
