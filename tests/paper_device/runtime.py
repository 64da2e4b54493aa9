"""Builds and loads `runtime.cpp`. Imports no torch: the library must be there before torch is."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs

SOURCE = Path(__file__).with_name("runtime.cpp")
COMPILER = shutil.which("g++")


def missing() -> str:
    """Why there can be no paper device here; empty when there can."""
    if COMPILER is None:
        return "there is no g++"
    if not (_torch() / "lib" / "libtorch_cpu.so").exists():
        return "this is not PyTorch for Linux"
    if any((_torch() / "lib").glob("libtorch_cuda*")):
        return "this PyTorch has a CUDA runtime of its own"
    return ""


def load() -> None:
    """Give PyTorch, which must not be imported yet, a CUDA runtime of paper."""
    lib = _torch() / "lib"
    for library in (lib / "libc10.so", lib / "libtorch_cpu.so", _built()):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _torch() -> Path:
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _built() -> Path:
    """The library for this version of PyTorch; compiled in two seconds where it is not yet."""
    folder = platformdirs.user_cache_path("dlplay") / "paper_device"
    library = folder / f"runtime-{importlib.metadata.version('torch')}.so"
    if not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime:
        assert COMPILER is not None
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{library.name}.{os.getpid()}"
        flags = ["-std=c++20", "-fPIC", "-shared", f"-I{_torch() / 'include'}", f"-L{_torch() / 'lib'}"]
        subprocess.run([COMPILER, *flags, str(SOURCE), "-o", str(draft), "-ltorch_cpu", "-lc10"], check=True)
        draft.replace(library)
    return library
