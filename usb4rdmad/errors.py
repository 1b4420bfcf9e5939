# SPDX-License-Identifier: GPL-2.0-or-later
"""Every exception of the package: a sentence for the user, and a next step."""

from __future__ import annotations


class Usb4RdmaError(Exception):
    """Base. `hint` is what to do about it; `name` is the D-Bus error's last part."""

    name = "Failed"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigInvalid(Usb4RdmaError):
    """The configuration cannot be used."""

    name = "ConfigInvalid"


class StoreInvalid(Usb4RdmaError):
    """A file of the state directory cannot be used."""


class StoreTooNew(StoreInvalid):
    """The state directory was written by a later version."""


class MessageInvalid(Usb4RdmaError):
    """A peer's daemon sent what no honest one sends."""


class HandshakeInvalid(MessageInvalid):
    """A handshake message does not fit."""


class DriverMissing(Usb4RdmaError):
    """The kernel module is not there."""

    name = "DriverMissing"


class DriverError(Usb4RdmaError):
    """The driver refused; `errno` says why."""

    def __init__(self, message: str, errno: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.errno = errno


class NetworkError(Usb4RdmaError):
    """An address or MTU could not be set."""


class NoSuchLink(Usb4RdmaError):
    """No link of that name."""

    name = "NoSuchLink"


class NoSuchPeer(Usb4RdmaError):
    """No peer of that name."""

    name = "NoSuchPeer"


class BadState(Usb4RdmaError):
    """Not possible in the state that the object is in."""

    name = "BadState"


class AlreadyPaired(Usb4RdmaError):
    """The peer is known already."""

    name = "AlreadyPaired"


class Busy(Usb4RdmaError):
    """Something like it is under way."""

    name = "Busy"


class AlreadyRegistered(Usb4RdmaError):
    """A client has one agent."""

    name = "AlreadyRegistered"


class NoSuchAgent(Usb4RdmaError):
    """No agent of that path."""

    name = "NoSuchAgent"


class TestFailed(Usb4RdmaError):
    """A test over a link came to nothing."""

    name = "TestFailed"
    __test__ = False


class CodeMismatch(Usb4RdmaError):
    """The other host's code, as somebody read it, is not ours."""

    name = "CodeMismatch"


class RateLimited(Usb4RdmaError):
    """Too many tries."""

    name = "RateLimited"


class LimitsExceeded(Usb4RdmaError):
    """Too much of it is under way."""

    name = "LimitsExceeded"


class AccessDenied(Usb4RdmaError):
    """polkit said no."""

    name = "AccessDenied"


class InteractionRequired(Usb4RdmaError):
    """polkit would ask for a password, and the caller did not allow it."""

    name = "InteractiveAuthorizationRequired"


class InvalidArguments(Usb4RdmaError):
    """An argument of a call cannot be used."""

    name = "InvalidArgs"


class BusLost(Usb4RdmaError):
    """The connection to the message bus is gone."""


class CallFailed(Usb4RdmaError):
    """A method call was answered by an error; `error` is its full name."""

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error


class ServiceUnreachable(Usb4RdmaError):
    """usb4rdmactl cannot reach the daemon."""


class TimedOut(Usb4RdmaError):
    """What was waited for did not come in time."""
