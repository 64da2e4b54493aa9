"""Messages on a run's socket: a 4-byte big-endian length and a msgpack struct of at most 4 MiB; and paths short enough for a socket."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

MESSAGE_LIMIT = 4 << 20
PATH_LIMIT = 100
"""Bytes of a socket's path; kernels allow 103 to 107."""

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


class WireError(ValueError):
    """Bytes that are not a message, or a message that is too large."""


def encode(message: msgspec.Struct) -> bytes:
    """The message with its length before it. Raises `WireError`."""
    body = _encoder.encode(message)
    if len(body) > MESSAGE_LIMIT:
        raise WireError(f"a {type(message).__name__} of {len(body):,} bytes is too large to send; the limit is {MESSAGE_LIMIT:,}")
    return len(body).to_bytes(4, "big") + body


class Decoder(Generic[T]):
    """Decodes a stream of bytes into messages of one type (a tagged union)."""

    def __init__(self, message_type: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(message_type)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """The messages completed by these bytes. Raises `WireError`, after which the stream cannot be read any further."""
        buffer = self._buffer
        buffer += data
        messages: list[T] = []
        at = 0
        while len(buffer) - at >= 4:
            length = int.from_bytes(buffer[at : at + 4], "big")
            if not 0 < length <= MESSAGE_LIMIT:
                raise WireError(f"a message of {length:,} bytes; the limit is {MESSAGE_LIMIT:,}")
            if len(buffer) - at - 4 < length:
                break
            try:
                messages.append(self._decoder.decode(bytes(memoryview(buffer)[at + 4 : at + 4 + length])))
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise WireError(f"a message that cannot be read: {error}") from None
            at += 4 + length
        del buffer[:at]
        return messages


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end of a Unix socket. Raises `OSError`."""
    if sys.platform == "darwin":
        credentials = connection.getsockopt(0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED: struct xucred {version, uid, …}
        return int(struct.unpack_from("II", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # struct ucred {pid, uid, gid}
    return int(struct.unpack("iII", credentials)[1])


@contextlib.contextmanager
def socket_at(path: Path) -> Iterator[str]:
    """`short_path` of a socket to connect to. Raises `FileNotFoundError` when none is there; a link to one is not followed."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise FileNotFoundError(errno.ENOENT, "there is no socket", str(path))
    with short_path(path) as short:
        yield short


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path of at most 100 bytes to the socket: `path` itself, or one through a symbolic link in a temporary folder."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield str(path)
        return
    root = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="dlplay-", dir=root if len(os.fsencode(root)) <= 50 else "/tmp"))  # mode 0700
    try:
        link = folder / "run"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield str(link / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
