# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the compressed kernel in a bzImage (Documentation/arch/x86/boot.rst)."""

from __future__ import annotations

import struct

from .errors import BuildError

_MAGIC = {
    b"\x28\xb5\x2f\xfd": ["zstd", "-d", "-q", "-f"],
    b"\xfd7zXZ": ["xz", "-d", "-q", "-f"],
    b"\x1f\x8b": ["gzip", "-d", "-q", "-f"],
}


def payload(image: bytes) -> bytes:
    """The compressed vmlinux, without the length word at its end."""
    if image[0x202:0x206] != b"HdrS":
        raise BuildError("this kernel image is not a bzImage")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start : start + length - 4]


def unpacker(compressed: bytes) -> list[str]:
    """The command that unpacks the payload from standard input to standard output."""
    for magic, words in _MAGIC.items():
        if compressed.startswith(magic):
            return words
    raise BuildError(f"unknown compression of the kernel: {compressed[:6].hex()}")
