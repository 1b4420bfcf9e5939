# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a cpio archive in the "newc" format, which is what the kernel unpacks as an initramfs."""

from __future__ import annotations

import stat

_TRAILER = "TRAILER!!!"


class Archive:
    """Collects entries; bytes() is the archive. Parents must be added before what is in them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 1

    def directory(self, name: str, mode: int = 0o755) -> None:
        """Add an empty directory."""
        self._add(name, stat.S_IFDIR | mode, b"")

    def file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._add(name, stat.S_IFREG | mode, content)

    def symlink(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device node."""
        self._add(name, stat.S_IFCHR | mode, b"", (major, minor))

    def __bytes__(self) -> bytes:
        return b"".join([*self._parts, _entry(0, _TRAILER, 0, b"", (0, 0))])

    def _add(self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._parts.append(_entry(self._inode, name.lstrip("/"), mode, content, device))
        self._inode += 1


def _entry(inode: int, name: str, mode: int, content: bytes, device: tuple[int, int]) -> bytes:
    raw_name = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(raw_name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + raw_name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
