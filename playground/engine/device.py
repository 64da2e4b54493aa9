"""The device a run computes on: choosing it, making it deterministic, describing it, measuring its load."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dlplay.engine import precision
from dlplay.engine.settings import Settings, SettingsError


def choose(name: str, local_rank: int | None = None) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device that is available. Raises `SettingsError` when it is not.

    `auto` is the freest card where there are several, and the first one where the `nvidia` extra, which tells, is missing. Of several ranks
    each has the card of its own number on its machine.
    """
    if local_rank is not None:
        return _of_rank(name, local_rank)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", _freest_card())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            why = f"torch {torch.__version__} is built without CUDA" if torch.version.cuda is None else "no NVIDIA GPU was found"
            raise SettingsError(f"--device {name}: {why}; use --device cpu or --device auto", "device")
        index = int(name.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise SettingsError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, numbered from cuda:0", "device")
        return torch.device("cuda", index)
    if name == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("--device mps: this machine has no Apple GPU that torch can use; use --device cpu or --device auto", "device")
    return torch.device(name)


def _of_rank(name: str, local_rank: int) -> torch.device:
    if name.partition(":")[2] or name == "mps":
        raise SettingsError(f"--device {name} is one device, and each rank needs one of its own; use --device cuda, cpu or auto", "device")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if torch.cuda.is_available() and local_rank >= (count := torch.cuda.device_count()):
        raise SettingsError(
            f"--device {name}: rank {local_rank} of this machine has no card, since there are {count}; "
            f"use torchrun --nproc-per-node {count}, or --device cpu",
            "device",
        )
    return choose(f"cuda:{local_rank}")


def prepare(settings: Settings, name: str = "", local_rank: int | None = None) -> torch.device:
    """The device of that name, by default that of the settings, in a process made deterministic: thread count, precision, deterministic
    kernels, every global generator seeded. Raises `SettingsError`."""
    device = choose(name or settings.device, local_rank)
    precision.prepare(settings.precision, device)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(settings.threads)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import the compiler, for seconds
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a safety net for bugs that costs time
    torch.backends.cudnn.benchmark = False
    seed_everything(settings.seed)
    return device


def seed_everything(seed: int) -> None:
    """Seed torch (every device), numpy and Python."""
    import random

    import numpy as np
    import rich.style  # noqa: F401  # draws from Python's generator when it is imported, which not every run does before

    torch.manual_seed(seed)
    np.random.seed(seed)  # environments and libraries draw from the legacy generator
    random.seed(seed)


def describe(device: torch.device) -> str:
    """The device in words, such as `NVIDIA H200` or `x86_64, 2 cores`."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "mps":
        return "Apple GPU"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{platform.machine()}, {cores} cores"


class Meter:
    """Measures the load of a device: utilisation (0 to 1, None where it cannot be measured) and memory in use (bytes)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._nvidia = driver_of(device)
        self._last = (time.monotonic(), time.process_time())

    def read(self) -> tuple[float | None, int | None]:
        """Utilisation since the last call (on a CPU, of the cores that training may use) and bytes in use."""
        if self.device.type == "cuda":
            if self._nvidia is not None:
                module, handle = self._nvidia
                with contextlib.suppress(Exception):  # the driver raises errors of many kinds, and none may stop a run
                    rates, memory = module.nvmlDeviceGetUtilizationRates(handle), module.nvmlDeviceGetMemoryInfo(handle)
                    return rates.gpu / 100, int(memory.used)
            return None, torch.cuda.memory_allocated(self.device)
        if self.device.type == "mps":
            return None, torch.mps.current_allocated_memory()
        now, used = time.monotonic(), time.process_time()
        (then, before), self._last = self._last, (now, used)
        share = (used - before) / max(now - then, 1e-9) / torch.get_num_threads()
        return min(share, 1.0), resident_bytes()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def forget_peak(device: torch.device) -> None:
    """`peak_bytes` begins anew, where device and system keep it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The most bytes that tensors took on a CUDA device and, on a CPU, this process; what an Apple GPU takes now."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "cpu":
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "VmHWM":
                    return int(value.split()[0]) * 1024
    return int(torch.mps.driver_allocated_memory()) if device.type == "mps" else resident_bytes()


def resident_bytes() -> int:
    """Resident memory of this process in bytes (the peak where the system reports no other)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated: on the card; elsewhere of the machine or, if that is less, of this process's control group.
    None where the system does not tell."""
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError, AssertionError):  # a driver that does not answer
            return int(torch.cuda.mem_get_info(device)[0])
        return None
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))))
    return min([*found, *_left_in_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))], default=None)


def _left_in_groups(own: Path, root: Path) -> Iterator[int]:
    """Bytes that this process's control group and each of those around it may still take, in either version of them."""
    try:
        groups = [line.split(":", 2)[1:] for line in own.read_text().splitlines()]
    except (OSError, ValueError):
        return
    for controllers, path in (group for group in groups if len(group) == 2):
        if controllers not in ("", "memory"):
            continue
        base, names = (root, ("memory.max", "memory.current"))
        if controllers:
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # "max" where there is no bound
                bound, used = (int((folder / name).read_text()) for name in names)
                yield bound - used
            if folder == base:
                break


def _freest_card() -> int:
    """The card with the most free memory, in steps of a tenth of its own; of several the one that is used least, of these the first.

    The driver is asked, which knows of every process; `CUDA_VISIBLE_DEVICES` decides which cards there are.
    """
    free: list[tuple[int, float, int]] = []
    for index in range(torch.cuda.device_count()) if torch.cuda.device_count() > 1 else ():
        if (found := driver_of(torch.device("cuda", index))) is None:
            return 0
        module, handle = found
        try:
            memory, rates = module.nvmlDeviceGetMemoryInfo(handle), module.nvmlDeviceGetUtilizationRates(handle)
            free.append((-round(10 * memory.free / memory.total), rates.gpu, index))
        except Exception:  # the driver raises errors of many kinds, and a choice can be made without its answer
            return 0
    return min(free, default=(0, 0.0, 0))[-1]


def driver_of(device: torch.device) -> tuple[Any, Any] | None:
    """The NVML module and its handle of a card."""
    if device.type != "cuda":
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        bus = torch.cuda.get_device_properties(device).uuid
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{bus}".encode())
    except Exception:  # the extra is missing or the driver does not answer: only memory is shown
        return None
