# SPDX-License-Identifier: GPL-2.0-or-later
"""The code that two humans compare, with commitment.

Runs inside the encrypted channel; h is the handshake's hash. The committing
side B sends HMAC(h, "commit" Nb), A answers with Na, B reveals Nb, A checks.
Both then show HMAC(h, "sas" Na Nb) as six digits. B fixed Nb before it saw Na
and A gave Na before it saw Nb, so an interposer, who has two channels with two
hashes, cannot search for nonces that make the two codes equal: it has one guess
in a million a run.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

from ..errors import HandshakeInvalid

COMMIT, NONCE, REVEAL = 0x10, 0x11, 0x12
DIGITS = 1_000_000


class Comparison:
    """One run. `start` and `receive` give the message to send, if any."""

    def __init__(
        self, initiator: bool, handshake_hash: bytes, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._initiator = initiator
        self._hash = handshake_hash
        self._mine = random(32)
        self._commitment = b""
        self._done = False
        self.code = ""
        """Six digits as "123 456" once both nonces are known."""

    def _mac(self, label: bytes, data: bytes) -> bytes:
        return hmac.digest(self._hash, label + data, "sha256")

    def start(self) -> bytes | None:
        """The first message: the commitment, from the side that commits."""
        if self._initiator:
            return None
        return bytes([COMMIT]) + self._mac(b"commit", self._mine)

    def receive(self, message: bytes) -> bytes | None:
        """Take the next message; HandshakeInvalid on any that is out of order."""
        kind, body = message[0], message[1:]
        if self._initiator and kind == COMMIT and not self._commitment:
            self._commitment = body
            return bytes([NONCE]) + self._mine
        if not self._initiator and kind == NONCE and not self._done:
            self._finish(body, self._mine)
            return bytes([REVEAL]) + self._mine
        if self._initiator and kind == REVEAL and self._commitment and not self._done:
            if not hmac.compare_digest(self._mac(b"commit", body), self._commitment):
                raise HandshakeInvalid("the commitment was broken")
            self._finish(self._mine, body)
            return None
        raise HandshakeInvalid("comparison out of order")

    def _finish(self, na: bytes, nb: bytes) -> None:
        number = int.from_bytes(self._mac(b"sas", na + nb)[:8], "big") % DIGITS
        self.code = f"{number // 1000:03d} {number % 1000:03d}"
        self._done = True
