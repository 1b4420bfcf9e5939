# SPDX-License-Identifier: GPL-2.0-or-later
"""What one end of a test tells the other: each field that a hostile end could spoil."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usb4rdmad.model import ENDPOINT_MAX
from usb4rdmad.selftest.endpoint import SIZE, Endpoint, EndpointInvalid

GOOD = Endpoint(17, 0x123456, IPv6Address("::ffff:169.254.7.8"), 5, 1 << 40, 0xABCD, 65536)


def test_an_endpoint_survives_the_way_and_fits_into_a_message() -> None:
    assert Endpoint.parse(GOOD.pack()) == GOOD
    assert SIZE <= ENDPOINT_MAX


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, mtu=0),
        replace(GOOD, mtu=6),
        replace(GOOD, qpn=0),
        replace(GOOD, qpn=1),
        replace(GOOD, qpn=1 << 24),
        replace(GOOD, psn=1 << 24),
        replace(GOOD, gid=IPv6Address("::")),
        replace(GOOD, gid=IPv6Address("::1")),
        replace(GOOD, gid=IPv6Address("ff02::1")),
        replace(GOOD, gid=IPv6Address("::ffff:224.0.0.1")),
        replace(GOOD, gid=IPv6Address("::ffff:127.0.0.1")),
        replace(GOOD, gid=IPv6Address("::ffff:0.0.0.0")),
    ],
)
def test_an_endpoint_that_no_honest_end_has_is_refused(bad: Endpoint) -> None:
    with pytest.raises(EndpointInvalid):
        Endpoint.parse(bad.pack())


@pytest.mark.parametrize("at", [0, 2, 3, SIZE - 1])
def test_another_version_and_bytes_that_must_be_zero_are_refused(at: int) -> None:
    data = bytearray(GOOD.pack())
    data[at] ^= 0x80
    with pytest.raises(EndpointInvalid):
        Endpoint.parse(bytes(data))


@settings(deadline=None)
@given(st.binary(max_size=96))
def test_any_bytes_are_an_endpoint_or_refused(data: bytes) -> None:
    try:
        assert Endpoint.parse(data).pack() == data
    except EndpointInvalid:
        pass
