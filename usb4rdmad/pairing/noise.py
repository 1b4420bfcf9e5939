# SPDX-License-Identifier: GPL-2.0-or-later
"""Noise_XX_25519_ChaChaPoly_SHA256 and its psk3 form, exactly these and nothing else.

Follows the Noise Protocol Framework, revision 34. A handshake with a pre-shared
key is psk3: whoever has read the third message knows that its sender has the
key; the sender knows it of the other side after the first transport message. One handshake object a
handshake; after its third message both ends have a pair of transport keys and
the same handshake hash. A message that does not fit raises HandshakeInvalid
and leaves the object unusable.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ..errors import HandshakeInvalid

NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
NAME_PSK = b"Noise_XXpsk3_25519_ChaChaPoly_SHA256"
KEY_LEN = 32
TAG_LEN = 16


def generate() -> bytes:
    """A new private key."""
    return os.urandom(KEY_LEN)


def public_key(private: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _dh(private: bytes, public: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:  # a point of small order
        raise HandshakeInvalid("unusable public key") from None


def _hkdf(chaining: bytes, material: bytes) -> tuple[bytes, bytes, bytes]:
    temp = hmac.digest(chaining, material, "sha256")
    one = hmac.digest(temp, b"\x01", "sha256")
    two = hmac.digest(temp, one + b"\x02", "sha256")
    return one, two, hmac.digest(temp, two + b"\x03", "sha256")


class Cipher:
    """ChaCha20-Poly1305 under one key, with a counter as nonce."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)

    def seal(self, counter: int, plain: bytes, extra: bytes = b"") -> bytes:
        """Encrypt; a counter is used once."""
        return self._aead.encrypt(self._nonce(counter), plain, extra)

    def open(self, counter: int, sealed: bytes, extra: bytes = b"") -> bytes:
        """Decrypt, or HandshakeInvalid."""
        try:
            return self._aead.decrypt(self._nonce(counter), sealed, extra)
        except InvalidTag:
            raise HandshakeInvalid("authentication failed") from None

    @staticmethod
    def _nonce(counter: int) -> bytes:
        return bytes(4) + counter.to_bytes(8, "little")


@dataclass(frozen=True)
class Keys:
    """What a finished handshake leaves."""

    send: Cipher
    receive: Cipher
    remote_static: bytes
    hash: bytes


class Handshake:
    """One run of XX: -> e, <- e ee s es, -> s se."""

    def __init__(
        self,
        initiator: bool,
        static: bytes,
        prologue: bytes,
        ephemeral: bytes | None = None,
        psk: bytes | None = None,
    ) -> None:
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral or generate()
        self._psk = psk
        self._h = NAME if psk is None else hashlib.sha256(NAME_PSK).digest()
        self._ck = self._h
        self._cipher: Cipher | None = None
        self._counter = 0
        self._re = b""
        self._rs = b""
        self._mix_hash(prologue)

    def _mix_hash(self, data: bytes) -> None:
        self._h = hashlib.sha256(self._h + data).digest()

    def _mix_key(self, material: bytes) -> None:
        self._ck, key, _ = _hkdf(self._ck, material)
        self._cipher = Cipher(key)
        self._counter = 0

    def _mix_ephemeral(self, public: bytes) -> None:
        self._mix_hash(public)
        if self._psk is not None:
            self._mix_key(public)

    def _mix_psk(self) -> None:
        if self._psk is not None:
            self._ck, mixed, key = _hkdf(self._ck, self._psk)
            self._mix_hash(mixed)
            self._cipher = Cipher(key)
            self._counter = 0

    def _seal(self, plain: bytes) -> bytes:
        sealed = plain
        if self._cipher is not None:
            sealed = self._cipher.seal(self._counter, plain, self._h)
            self._counter += 1
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        plain = sealed
        if self._cipher is not None:
            plain = self._cipher.open(self._counter, sealed, self._h)
            self._counter += 1
        self._mix_hash(sealed)
        return plain

    def write1(self, payload: bytes = b"") -> bytes:
        """Initiator: -> e."""
        public = public_key(self._ephemeral)
        self._mix_ephemeral(public)
        return public + self._seal(payload)

    def read1(self, message: bytes) -> bytes:
        """Responder: the payload of the first message."""
        self._re, rest = _take(message, KEY_LEN)
        self._mix_ephemeral(self._re)
        return self._open(rest)

    def write2(self, payload: bytes = b"") -> bytes:
        """Responder: <- e, ee, s, es."""
        public = public_key(self._ephemeral)
        self._mix_ephemeral(public)
        self._mix_key(_dh(self._ephemeral, self._re))
        static = self._seal(public_key(self._static))
        self._mix_key(_dh(self._static, self._re))
        return public + static + self._seal(payload)

    def read2(self, message: bytes) -> bytes:
        """Initiator: the payload of the second message; the peer's key is known after."""
        self._re, rest = _take(message, KEY_LEN)
        self._mix_ephemeral(self._re)
        self._mix_key(_dh(self._ephemeral, self._re))
        static, rest = _take(rest, KEY_LEN + TAG_LEN)
        self._rs = self._open(static)
        self._mix_key(_dh(self._ephemeral, self._rs))
        return self._open(rest)

    def write3(self, payload: bytes = b"") -> bytes:
        """Initiator: -> s, se."""
        static = self._seal(public_key(self._static))
        self._mix_key(_dh(self._static, self._re))
        self._mix_psk()
        return static + self._seal(payload)

    def read3(self, message: bytes) -> bytes:
        """Responder: the payload of the third message; the peer's key is known after."""
        static, rest = _take(message, KEY_LEN + TAG_LEN)
        self._rs = self._open(static)
        self._mix_key(_dh(self._ephemeral, self._rs))
        self._mix_psk()
        return self._open(rest)

    def split(self) -> Keys:
        """The keys, after the third message."""
        one, two, _ = _hkdf(self._ck, b"")
        if not self._initiator:
            one, two = two, one
        return Keys(Cipher(one), Cipher(two), self._rs, self._h)


def _take(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise HandshakeInvalid("message too short")
    return message[:size], message[size:]
