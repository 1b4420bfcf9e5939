# SPDX-License-Identifier: GPL-2.0-or-later
"""Our Noise against the published vector, another implementation, and spoiled messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from usb4rdmad.errors import HandshakeInvalid
from usb4rdmad.pairing import noise

DOCUMENT = Path(__file__).parents[3] / "docs" / "pairing-protocol.md"
KEY_A, KEY_B = bytes(range(32)), bytes(range(32, 64))
SECRET = bytes([5]) * 32


@pytest.mark.parametrize("we_start", [True, False])
def test_our_noise_and_the_noiseprotocol_library_understand_each_other(we_start: bool) -> None:
    library = pytest.importorskip("noise.connection")
    Keypair = library.Keypair
    ours = noise.Handshake(we_start, KEY_A, b"prologue")
    theirs = library.NoiseConnection.from_name(noise.NAME)
    theirs.set_prologue(b"prologue")
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, KEY_B)
    if we_start:
        theirs.set_as_responder()
        theirs.start_handshake()
        assert theirs.read_message(ours.write1(b"1")) == b"1"
        assert ours.read2(bytes(theirs.write_message(b"2"))) == b"2"
        assert theirs.read_message(ours.write3(b"3")) == b"3"
    else:
        theirs.set_as_initiator()
        theirs.start_handshake()
        assert ours.read1(bytes(theirs.write_message(b"1"))) == b"1"
        assert theirs.read_message(ours.write2(b"2")) == b"2"
        assert ours.read3(bytes(theirs.write_message(b"3"))) == b"3"
    keys = ours.split()
    assert keys.remote_static == noise.public_key(KEY_B)
    assert keys.hash == theirs.get_handshake_hash()
    assert theirs.decrypt(keys.send.seal(0, b"hello")) == b"hello"
    assert keys.receive.open(0, bytes(theirs.encrypt(b"hi"))) == b"hi"


def test_the_published_vector_of_our_pattern_comes_out() -> None:
    """Of the vectors that implementations of Noise test each other with (cacophony's)."""
    vector = json.loads(Path(__file__).with_name("noise_xx_vector.json").read_text())
    fixed = {k: bytes.fromhex(v) for k, v in vector.items() if isinstance(v, str) and k != "name"}
    said = [
        (bytes.fromhex(one["payload"]), bytes.fromhex(one["ciphertext"]))
        for one in vector["messages"]
    ]
    assert vector["name"].encode() == noise.NAME
    i = noise.Handshake(True, fixed["init_static"], fixed["prologue"], fixed["init_ephemeral"])
    r = noise.Handshake(False, fixed["resp_static"], fixed["prologue"], fixed["resp_ephemeral"])
    for write, read, (payload, message) in zip(
        (i.write1, r.write2, i.write3), (r.read1, i.read2, r.read3), said, strict=False
    ):
        assert write(payload) == message
        assert read(message) == payload
    ends = (r.split(), i.split())
    assert {one.hash for one in ends} == {fixed["handshake_hash"]}
    for number, (payload, message) in enumerate(said[3:]):
        sender, receiver = ends[number % 2], ends[1 - number % 2]
        assert sender.send.seal(number // 2, payload) == message
        assert receiver.receive.open(number // 2, message) == payload


def test_handshake_with_fixed_keys_gives_the_documented_vector() -> None:
    i = noise.Handshake(True, KEY_A, b"usb4rdma test", bytes([7]) * 32)
    r = noise.Handshake(False, KEY_B, b"usb4rdma test", bytes([9]) * 32)
    one = i.write1()
    r.read1(one)
    two = r.write2(b"\x01mars")
    assert i.read2(two) == b"\x01mars"
    three = i.write3(b"\x01nova")
    assert r.read3(three) == b"\x01nova"
    assert i.split().hash == r.split().hash
    assert [len(one), len(two), len(three)] == [32, 101, 69]
    text = DOCUMENT.read_text(encoding="utf-8")
    for part in (one.hex(), two.hex(), three.hex(), i.split().hash.hex()):
        assert part in text


@pytest.mark.parametrize("message", [1, 2, 3])
@pytest.mark.parametrize("where", [0, 20, 40, -1])
def test_each_changed_byte_of_the_handshake_is_noticed(message: int, where: int) -> None:
    i = noise.Handshake(True, KEY_A, b"p")
    r = noise.Handshake(False, KEY_B, b"p")

    def spoil(data: bytes, number: int) -> bytes:
        if number != message:
            return data
        raw = bytearray(data)
        raw[min(where, len(raw) - 1)] ^= 1
        return bytes(raw)

    with pytest.raises(HandshakeInvalid):
        r.read1(spoil(i.write1(), 1))
        i.read2(spoil(r.write2(b"x"), 2))
        r.read3(spoil(i.write3(b"y"), 3))


@pytest.mark.parametrize("size", [0, 1, 31])
def test_short_messages_are_refused(size: int) -> None:
    with pytest.raises(HandshakeInvalid):
        noise.Handshake(False, KEY_B, b"").read1(bytes(size))


def test_a_key_of_small_order_is_refused() -> None:
    r = noise.Handshake(False, KEY_B, b"")
    r.read1(bytes(32))
    with pytest.raises(HandshakeInvalid):
        r.write2()


@pytest.mark.parametrize("we_start", [True, False])
def test_our_psk3_and_the_noiseprotocol_librarys_understand_each_other(we_start: bool) -> None:
    library = pytest.importorskip("noise.connection")
    ours = noise.Handshake(we_start, KEY_A, b"prologue", psk=SECRET)
    theirs = library.NoiseConnection.from_name(noise.NAME_PSK)
    theirs.set_psks(psk=SECRET)
    theirs.set_prologue(b"prologue")
    theirs.set_keypair_from_private_bytes(library.Keypair.STATIC, KEY_B)
    if we_start:
        theirs.set_as_responder()
        theirs.start_handshake()
        assert theirs.read_message(ours.write1(b"1")) == b"1"
        assert ours.read2(bytes(theirs.write_message(b"2"))) == b"2"
        assert theirs.read_message(ours.write3(b"3")) == b"3"
    else:
        theirs.set_as_initiator()
        theirs.start_handshake()
        assert ours.read1(bytes(theirs.write_message(b"1"))) == b"1"
        assert theirs.read_message(ours.write2(b"2")) == b"2"
        assert ours.read3(bytes(theirs.write_message(b"3"))) == b"3"
    assert ours.split().hash == theirs.get_handshake_hash()
