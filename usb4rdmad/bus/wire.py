# SPDX-License-Identifier: GPL-2.0-or-later
"""Between our own types and dbus_next's: calls in, replies and signals out.

dbus_next is used as a wire library only (authentication, marshalling, asyncio
reader); its service layer is not. Whoever replaces the library edits this file
and connection.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbus_next import Message, MessageFlag, MessageType, Variant

Value = Any
"""str, int, bool, list, dict: what the signature beside it says."""

ERROR_PREFIX = "org.usb4rdma1.Error."
STANDARD_PREFIX = "org.freedesktop.DBus.Error."
STANDARD_ERRORS = frozenset(
    {
        "AccessDenied",
        "InvalidArgs",
        "InteractiveAuthorizationRequired",
        "UnknownObject",
        "UnknownInterface",
        "UnknownMethod",
        "UnknownProperty",
        "PropertyReadOnly",
        "LimitsExceeded",
    }
)


@dataclass(frozen=True, slots=True)
class Call:
    """A method call that came in."""

    sender: str
    path: str
    interface: str
    member: str
    signature: str
    body: Sequence[Value]
    wants_reply: bool
    interactive: bool
    message: Message

    @classmethod
    def of(cls, message: Message) -> Call | None:
        """The call in a message; None when it is something else."""
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        return cls(
            message.sender or "",
            message.path or "",
            message.interface or "",
            message.member or "",
            message.signature or "",
            message.body,
            not message.flags & MessageFlag.NO_REPLY_EXPECTED,
            bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION),
            message,
        )


def reply(call: Call, signature: str, body: Sequence[Value]) -> Message:
    """The answer to a call."""
    return Message.new_method_return(call.message, signature, list(body))


def error(call: Call, name: str, text: str) -> Message:
    """An error as answer: a standard one by its last part, else one of ours."""
    prefix = STANDARD_PREFIX if name in STANDARD_ERRORS else ERROR_PREFIX
    return Message.new_error(call.message, prefix + name, text)


def signal(
    path: str, interface: str, member: str, signature: str, body: Sequence[Value]
) -> Message:
    """A signal for everybody."""
    return Message.new_signal(path, interface, member, signature, list(body))


def variant(signature: str, value: Value) -> Variant:
    """A value with its type."""
    return Variant(signature, value)


def variants(signatures: Mapping[str, str], values: Mapping[str, Value]) -> dict[str, Variant]:
    """A dictionary a{sv} of named values."""
    return {name: Variant(signatures[name], value) for name, value in values.items()}


def plain(value: Value) -> Value:
    """Variants taken off, all the way down."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    return value
