"""Datasets that are downloaded once, verified with their published checksums, and kept in the user's cache folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from dlplay.data.bounded import MIB, named, open_regular, size
from dlplay.data.catalogue import IMAGE_SIDES
from dlplay.data.idx import read_idx_folder
from dlplay.engine.errors import DataError

TIMEOUT = 30.0
"""Seconds without data after which a download fails."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """One file to download."""

    name: str
    md5: str
    """As published with the dataset."""
    limit: int = 16 * MIB
    """Most bytes that are downloaded."""


@dataclasses.dataclass(frozen=True)
class RemoteSet:
    """A dataset: its files, and the addresses that have all of them."""

    mirrors: tuple[str, ...]
    files: tuple[Remote, ...]
    classes: tuple[str, ...]


Split = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]

_CIFAR = "cifar-10-binary.tar.gz"

SETS: dict[str, RemoteSet] = {
    "mnist": RemoteSet(
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        files=(
            Remote("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            Remote("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            Remote("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            Remote("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
        classes=tuple("0123456789"),
    ),
    "fashion-mnist": RemoteSet(
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        files=(
            Remote("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 40 * MIB),
            Remote("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            Remote("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            Remote("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        classes=("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
    ),
    "cifar10": RemoteSet(  # the binary version: the Python version is pickled
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        files=(Remote(_CIFAR, "c32a1d4ab5d03f1284b67883e8d87530", 200 * MIB),),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
}


def download_set(name: str, remote: RemoteSet | None = None, cache: Path | None = None) -> Split:
    """Training images (count, channels, height, width), their labels, held-out images and labels of the dataset called `name`.

    Files in the cache are not downloaded again. Raises `DataError`.
    """
    remote = remote or SETS[name]
    folder = (cache or platformdirs.user_cache_path("dlplay")) / name
    for file in remote.files:
        fetch(file, remote.mirrors, folder)
    if remote.files[0].name == _CIFAR:
        return read_cifar(folder / _CIFAR)
    idx = read_idx_folder(folder)
    if idx.test_images is None or idx.test_labels is None:
        raise DataError(f"{named(folder)} lacks its held-out images; delete the folder, so that it is downloaded again")
    return idx.images, idx.labels, idx.test_images, idx.test_labels


def fetch(file: Remote, mirrors: tuple[str, ...], folder: Path) -> Path:
    """The file in `folder`: there already, or downloaded from the first mirror that has it intact. Raises `DataError`."""
    path = folder / file.name
    if path.is_file() and _md5(path, file.limit) == file.md5:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot create the cache folder {named(folder)}: {error.strerror}; set XDG_CACHE_HOME to a folder you may write to"
        ) from None
    partial = folder / f".{file.name}.part-{os.getpid()}"
    problems: list[str] = []
    for mirror in mirrors:
        try:
            found = _download(mirror + file.name, partial, file.limit)
            if found == file.md5:
                partial.replace(path)
                return path
            problems.append(f"{mirror}{file.name} does not match its checksum (MD5 {found}, not {file.md5})")
        except (OSError, ValueError) as error:  # URLError, timeouts and full disks are OSErrors
            problems.append(f"{mirror}{file.name}: {getattr(error, 'reason', None) or error}")
        finally:
            partial.unlink(missing_ok=True)
    raise DataError(f"cannot download {file.name}: {'; '.join(problems)}; check the network, or put the file into {named(folder)} yourself")


def _download(url: str, partial: Path, limit: int) -> str:
    """Download `url` to the file `partial`; returns its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "dlplay"})
    received = 0
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response, partial.open("wb") as target:
        while block := response.read(1 << 18):
            received += len(block)
            if received > limit:
                raise ValueError(f"the server sent more than {size(limit)}")
            digest.update(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _md5(path: Path, limit: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open_regular(path) as file:
        for _ in range(limit // (1 << 18) + 1):
            block = file.read(1 << 18)
            if not block:
                break
            digest.update(block)
    return digest.hexdigest()


def read_cifar(path: Path) -> Split:
    """CIFAR-10's binary archive: records of one label byte and 3x32x32 bytes, five training files and one of held-out images."""
    side = IMAGE_SIDES["cifar10"]
    record = 1 + 3 * side * side
    parts: dict[str, NDArray[np.uint8]] = {}
    wanted = {f"data_batch_{number}.bin" for number in range(1, 6)} | {"test_batch.bin"}
    try:
        with open_regular(path) as raw, tarfile.open(fileobj=raw, mode="r|gz") as archive:
            for member in archive:
                name = Path(member.name).name
                if name not in wanted or not member.isreg() or member.size > 10_000 * record or member.size % record:
                    continue
                stream = archive.extractfile(member)
                data = stream.read(member.size) if stream is not None else b""
                parts[name] = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{named(path)} is not a valid tar archive: {error}; delete it, so that it is downloaded again") from None
    if missing := sorted(wanted - parts.keys()):
        raise DataError(f"{named(path)} lacks {missing[0]} in the format of CIFAR-10; delete it, so that it is downloaded again")
    train = np.concatenate([parts[name] for name in sorted(wanted - {"test_batch.bin"})])
    test = parts["test_batch.bin"]

    def images(records: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, side, side)

    return images(train), train[:, 0].astype(np.int64), images(test), test[:, 0].astype(np.int64)
