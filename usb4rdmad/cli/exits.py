# SPDX-License-Identifier: GPL-2.0-or-later
"""The exit codes of usb4rdmactl, a contract with scripts."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    DENIED = 4
    NOT_FOUND = 5
    TIMED_OUT = 6
    REFUSED = 7


_BY_ERROR = {
    "ServiceUnknown": Exit.UNREACHABLE,
    "NameHasNoOwner": Exit.UNREACHABLE,
    "NoReply": Exit.UNREACHABLE,
    "AccessDenied": Exit.DENIED,
    "InteractiveAuthorizationRequired": Exit.DENIED,
    "NoSuchLink": Exit.NOT_FOUND,
    "NoSuchPeer": Exit.NOT_FOUND,
    "UnknownObject": Exit.NOT_FOUND,
    "PairingTimeout": Exit.TIMED_OUT,
    "PeerRefused": Exit.REFUSED,
    "CodeMismatch": Exit.REFUSED,
}


class Leave(Exception):
    """Ends the program with a code and a line for standard error."""

    def __init__(self, code: Exit, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def for_error(name: str) -> Exit:
    """The code for a D-Bus error's full name."""
    last = name.rsplit(".", 1)[-1]
    if name.startswith("org.freedesktop.systemd1."):
        return Exit.UNREACHABLE
    return _BY_ERROR.get(last, Exit.FAILED)
