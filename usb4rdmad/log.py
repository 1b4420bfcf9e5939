# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal: one message id for each event that a user may look up.

Only this module imports systemd-python; without it (tests, other init systems)
lines go to standard error, with a priority prefix when the journal reads them.
packaging/common/usb4rdmad.catalog explains each id to `journalctl -x`.
"""

from __future__ import annotations

import logging
import os
import sys
from enum import Enum
from typing import Any, TextIO

try:
    from systemd import journal as _journal
except ImportError:
    _journal = None

log = logging.getLogger("usb4rdmad")

SYSLOG_IDENTIFIER = "usb4rdmad"


class MessageId(Enum):
    """Stable ids. Value: id, priority, text of the line."""

    STARTED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d01", logging.INFO, "started")
    STOPPED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d02", logging.INFO, "stopped, links stay as they are")
    CONFIG_INVALID = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d03", logging.ERROR, "configuration refused")
    STORE_QUARANTINED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d04", logging.WARNING, "record quarantined")
    STORE_UPGRADED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d05", logging.INFO, "state brought up to date")
    POLICY_SET = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d06", logging.NOTSET + 25, "policy was set")
    KEY_REFUSED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d07", logging.WARNING, "pre-placed key refused")
    LINK_DISCOVERED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d10", logging.INFO, "cable with a host")
    LINK_GONE = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d11", logging.INFO, "cable is gone")
    LINK_ADOPTED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d12", logging.INFO, "open already, taken over")
    LINK_INCOMPATIBLE = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d13",
        logging.WARNING,
        "no common protocol version",
    )
    LINK_WAITING_APPROVAL = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d14",
        logging.NOTSET + 25,
        "waits for approval",
    )
    LINK_ACTIVE = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d15", logging.NOTSET + 25, "is active")
    LINK_DEGRADED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d16", logging.WARNING, "is degraded")
    LINK_BLOCKED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d17", logging.WARNING, "is blocked")
    LINK_FAILED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d18", logging.ERROR, "failed")
    AUTHORIZE_FAILED = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d19",
        logging.ERROR,
        "the driver refused to open the link",
    )
    CONFIGURE_FAILED = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d1a",
        logging.ERROR,
        "the interface could not be set up",
    )
    MESSAGE_INVALID = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d1b",
        logging.WARNING,
        "the peer's daemon sent nonsense",
    )
    KEY_CHANGED = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d1c",
        logging.WARNING,
        "A HOST THAT GIVES A KNOWN NAME HAS ANOTHER KEY",
    )
    SELF_TEST_PASSED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d1d", logging.INFO, "self-test passed")
    SELF_TEST_FAILED = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d1e",
        logging.WARNING,
        "self-test failed: RDMA does not work on this link",
    )
    PEER_PAIRED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d20", logging.NOTSET + 25, "peer is trusted now")
    PEER_FORGOTTEN = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d21", logging.NOTSET + 25, "peer is forgotten")
    PEER_PLACED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d25", logging.INFO, "pre-placed key is trusted")
    PEER_BLOCKED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d24", logging.NOTSET + 25, "peer is shut out")
    PAIRING_CODE = (
        "a1b9e0c6f2d94d6d8a4b0f5c3f7e1d22",
        logging.NOTSET + 25,
        "compare the code on both hosts",
    )
    PAIRING_ENDED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d23", logging.INFO, "pairing ended")
    EFFECT_FAILED = ("a1b9e0c6f2d94d6d8a4b0f5c3f7e1d30", logging.ERROR, "something went wrong")

    @property
    def id(self) -> str:
        """128 bits in hex, as journalctl has it."""
        return self.value[0]

    @property
    def level(self) -> int:
        """Level of the standard library; 25 is the journal's NOTICE."""
        return self.value[1]

    @property
    def text(self) -> str:
        """What the line says about its object."""
        return self.value[2]


_PRIORITY = {10: 7, 20: 6, 25: 5, 30: 4, 40: 3, 50: 2}


class _Stderr(logging.StreamHandler[TextIO]):
    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._prefix = "JOURNAL_STREAM" in os.environ

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and log.isEnabledFor(logging.DEBUG):
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        if self._prefix:
            return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"
        return f"{record.levelname.lower()}: {text}"


def setup(level: str) -> None:
    """Send the package's log to the journal, or to standard error."""
    logging.addLevelName(25, "NOTICE")
    handler: logging.Handler = _Stderr()
    if _journal is not None and "JOURNAL_STREAM" in os.environ:
        handler = _journal.JournalHandler(SYSLOG_IDENTIFIER=SYSLOG_IDENTIFIER)
        # The handler knows no NOTICE of its own.
        handler.map_priority = lambda number: _PRIORITY.get(number, 6)  # type: ignore[attr-defined]
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level.upper())
    logging.getLogger().handlers[:] = [logging.NullHandler()]  # dbus_next logs to the root


def note(message: MessageId, text: str, **fields: str) -> None:
    """One line under a message id, with structured fields in capitals."""
    extra: dict[str, Any] = {"MESSAGE_ID": message.id}
    extra.update({f"USB4RDMA_{key.upper()}": value for key, value in fields.items() if value})
    log.log(message.level, "%s", text, extra=extra)
