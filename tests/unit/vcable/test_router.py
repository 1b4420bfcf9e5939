# SPDX-License-Identifier: GPL-2.0-or-later
"""What the router answers to control packets, and XDomain packets through a cable."""

from __future__ import annotations

import pytest
from vcable import confspace as cs
from vcable.packets import REPLY, Address, Error, Kind, PacketError, Space, describe, pack, unpack
from vcable_bench import Bench, Pair

XDOMAIN = [0x8, 0x0ED738B6, 0xBB40FF42, 0xE290C297, 0x07FFB2C0, 12]


def test_the_router_shows_version_ids_and_its_upstream_adapter(bench: Bench) -> None:
    a, b = bench.host("a"), bench.host("b")
    words = a.read(Space.SWITCH, 0, 0, 9)
    assert words[1] >> 8 & 0x3F == 5
    assert words[4] >> 24 == 0x20
    assert words[7:9] != b.read(Space.SWITCH, 0, 7, 2)


def test_the_router_id_is_the_same_in_every_run(bench: Bench) -> None:
    words = bench.host("a").read(Space.SWITCH, 0, 7, 2)
    assert words == [0x677E5B7E, 0x22EE7181]


def test_identification_words_are_read_only(bench: Bench) -> None:
    a = bench.host("a")
    before = a.read(Space.SWITCH, 0, 0, 2) + a.read(Space.SWITCH, 0, 7, 2)
    a.write(Space.SWITCH, 0, 0, [0, 0])
    a.write(Space.SWITCH, 0, 7, [0, 0])
    assert a.read(Space.SWITCH, 0, 0, 2) + a.read(Space.SWITCH, 0, 7, 2) == before


def test_the_capability_list_of_a_port_leads_to_lane_usb4_and_tmu(bench: Bench) -> None:
    a = bench.host("a")
    found = []
    offset = a.read(Space.PORT, 1, 1, 1)[0] & 0xFF
    while offset:
        word = a.read(Space.PORT, 1, offset, 1)[0]
        found.append(word >> 8 & 0xFF)
        offset = word & 0xFF
    assert found == [1, 6, 3]


@pytest.mark.parametrize(
    ("space", "port", "offset", "length"),
    [
        (Space.SWITCH, 0, 0x5F, 2),
        (Space.PORT, 1, 0x50, 1),
        (Space.PORT, 6, 0, 1),
        (Space.PORT, 63, 0, 1),
        (Space.HOPS, 1, 64, 2),
        (Space.HOPS, 9, 0, 2),
        (Space.COUNTERS, 1, 0, 1),
        (Space.SWITCH, 0, 0, 0),
        (Space.SWITCH, 0, 0x1FFF, 63),
    ],
)
@pytest.mark.parametrize("kind", [Kind.READ, Kind.WRITE])
def test_words_that_do_not_exist_are_an_error(
    bench: Bench, kind: Kind, space: Space, port: int, offset: int, length: int
) -> None:
    a = bench.host("a")
    values = [0] * length if kind == Kind.WRITE and length < 60 else []
    address = Address(offset, length, port, space, 1)
    answer, words = a.request(kind, [0, 0, address.encode(), *values])
    assert answer == Kind.ERROR
    assert words[2] & 0xFF == Error.INVALID_SPACE


def test_a_write_with_fewer_words_than_it_says_is_an_error(bench: Bench) -> None:
    a = bench.host("a")
    address = Address(cs.CS_DATA, 4, 0, Space.SWITCH, 0)
    answer, _words = a.request(Kind.WRITE, [0, 0, address.encode(), 1, 2])
    assert answer == Kind.ERROR


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0" * 4,
        b"\0" * 8,
        b"\0" * 12,
        pack([0, 0, 0])[:-1],
        pack([0, 0, 0])[:-4] + b"\0\0\0\0",
        pack([0] * 64),
    ],
)
def test_damaged_control_frames_are_counted_and_get_no_answer(bench: Bench, frame: bytes) -> None:
    a = bench.host("a")
    if frame:
        a.control_tx.queue(frame, 1, 1)
    else:
        bench.world.routers["a", 1].router.control(frame, 1)
    assert bench.world.stat()["routers"]["a"]["control"]["control_bad"] == 1
    assert a.read(Space.SWITCH, 0, 0, 1)


@pytest.mark.parametrize("kind", range(16))
@pytest.mark.parametrize("words", [[0, 0], [0, 0, 0], [0xFFFFFFFF] * 3, [0xFFFFFFFF] * 63])
def test_any_packet_type_with_any_words_leaves_the_router_working(
    bench: Bench, kind: int, words: list[int]
) -> None:
    a = bench.host("a")
    a.send_control(kind, words)
    assert a.read(Space.SWITCH, 0, 0, 1)
    assert describe(kind, words)


def test_answers_have_sof_zero_since_the_kernel_warns_otherwise(bench: Bench) -> None:
    a = bench.host("a")
    address = Address(0, 1, 0, Space.SWITCH, 2)
    a.send_control(Kind.READ, [0, 0, address.encode()])
    (frame,) = [frame for frame in a.control_rx.poll() if frame.eof == Kind.READ]
    words = unpack(frame.data)
    assert frame.sof == 0
    assert words[0] == REPLY
    assert Address.decode(words[2]) == Address(0, 1, 5, Space.SWITCH, 2)


def test_beyond_an_up_port_is_locked_and_beyond_a_free_one_not_connected(pair: Pair) -> None:
    for route, code in ((1, Error.LOCKED), (3, Error.NOT_CONNECTED), (2, Error.NO_SUCH_PORT)):
        address = Address(0, 1, 0, Space.SWITCH, 0)
        kind, words = pair.a.request(Kind.READ, [0, route, address.encode()])
        assert (kind, words[2] & 0xFF) == (Kind.ERROR, code)
        assert words[1] == route


@pytest.mark.parametrize("kind", [Kind.XDOMAIN_REQUEST, Kind.XDOMAIN_RESPONSE])
def test_xdomain_packets_reach_the_peer_with_the_receiving_port_as_route(
    pair: Pair, kind: Kind
) -> None:
    pair.a.send_control(kind, [0, 1, *XDOMAIN])
    pair.bench.wait(lambda: bool(pair.b.xdomain))
    assert pair.b.xdomain.popleft() == (kind, [REPLY, 1, *XDOMAIN])


def test_an_xdomain_request_into_nothing_is_answered_and_a_response_is_not(pair: Pair) -> None:
    kind, words = pair.a.request(Kind.XDOMAIN_REQUEST, [0, 3, *XDOMAIN])
    assert (kind, words[2] & 0xFF) == (Kind.ERROR, Error.NOT_CONNECTED)
    pair.a.send_control(Kind.XDOMAIN_RESPONSE, [0, 3, *XDOMAIN])
    kind, _words = pair.a.request(Kind.READ, [0, 0, Address(0, 1, 0, Space.SWITCH, 0).encode()])
    assert kind == Kind.READ


def test_a_host_without_driver_swallows_xdomain_requests(bench: Bench) -> None:
    a = bench.host("a")
    bench.host("b", start=False)
    bench.linked()
    a.send_control(Kind.XDOMAIN_REQUEST, [0, 1, *XDOMAIN])
    assert bench.world.stat()["routers"]["b"]["other"]["control_no_ring"] == 1


def test_buffer_allocation_succeeds_and_other_operations_are_unsupported(bench: Bench) -> None:
    a = bench.host("a")
    a.write(Space.SWITCH, 0, cs.CS_OPERATION, [cs.OPERATION_PENDING | 0x33])
    assert a.read(Space.SWITCH, 0, cs.CS_OPERATION, 1) == [0x33]
    count = a.read(Space.SWITCH, 0, cs.CS_METADATA, 1)[0]
    assert 5 in [word & 0xFFFF for word in a.read(Space.SWITCH, 0, cs.CS_DATA, count)]
    a.write(Space.SWITCH, 0, cs.CS_OPERATION, [cs.OPERATION_PENDING | 0x25])
    assert a.read(Space.SWITCH, 0, cs.CS_OPERATION, 1) == [cs.OPERATION_UNSUPPORTED | 0x25]


def test_a_sideband_request_ends_at_once_without_response(bench: Bench) -> None:
    a = bench.host("a")
    a.write(Space.PORT, 1, cs.SIDEBAND, [cs.SIDEBAND_PENDING | 0x123])
    assert a.read(Space.PORT, 1, cs.SIDEBAND, 1) == [cs.SIDEBAND_NO_RESPONSE | 0x123]


def test_control_packets_wait_for_a_descriptor(bench: Bench) -> None:
    a = bench.host("a")
    a.control_rx.stop()
    a.control_rx.start()
    for _ in range(3):
        a.send_control(Kind.READ, [0, 0, Address(0, 1, 0, Space.SWITCH, 0).encode()])
    assert a.control_rx.poll() == []
    a.control_rx.post(2)
    assert len(a.control_rx.poll(repost=False)) == 2
    a.control_rx.post(1)
    assert len(a.control_rx.poll()) == 1


def test_a_driver_that_never_takes_its_answers_is_bounded(bench: Bench) -> None:
    a = bench.host("a")
    a.control_rx.stop()
    a.control_rx.start()
    for _ in range(300):
        a.send_control(Kind.READ, [0, 0, Address(0, 1, 0, Space.SWITCH, 0).encode()])
        a.control_tx.completed()
    assert bench.world.stat()["routers"]["a"]["other"]["control_overflow"] == 300 - 256


def test_packing_is_undone_by_unpacking() -> None:
    words = [0x80000001, 2, 0xDEADBEEF]
    assert unpack(pack(words)) == words
    with pytest.raises(PacketError):
        unpack(pack(words)[:-4] + b"abcd")


def test_the_trace_names_what_a_person_wants_to_know() -> None:
    read = describe(Kind.READ, [0, 0, Address(5, 1, 3, Space.PORT, 2).encode()])
    assert read == "READ route=0 PORT port=3 off=0x5 len=1 seq=2"
    uuid = describe(Kind.XDOMAIN_REQUEST, [0, 1, *XDOMAIN])
    assert "UUID_REQUEST" in uuid and "route=1" in uuid
    assert "unplug port=1" in describe(Kind.EVENT, [REPLY, 0, REPLY | 1])
    foreign = describe(7, [0, 1, 8, 1, 2, 3, 4, 5])
    assert "01000000-0200-0000-0300-000004000000" in foreign
