# SPDX-License-Identifier: GPL-2.0-or-later
"""Which host a name means: an administrator's word goes before what hosts say of themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from usb4rdmad import events as ev
from usb4rdmad.bus.methods import find_link
from usb4rdmad.errors import BadState, NoSuchLink, Usb4RdmaError
from usb4rdmad.machine import step
from usb4rdmad.model import KernelLink, KernelState, State
from usb4rdmad.naming import LABEL_MAX, is_label, is_name

from .helpers import OTHER_KEY, PEER, PEER_KEY, Policy, peer, state

THIRD_KEY = b"\x04" * 32


def plugged(start: State, number: int, key: bytes, name: str) -> State:
    """A cable more, to a host that has proved this key and gives this name."""
    kernel = KernelLink(f"link{number}", KernelState.READY, instance=1, route=number, mtu=65520)
    start, _ = step(start, ev.KernelSeen(kernel), 1)
    start, _ = step(start, ev.SessionUp(kernel.name, 1, key, name), 2)
    return start


def known(**fields: str) -> State:
    return state(Policy.CONFIRM, replace(peer(), **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["0-2", "mars", "the rack", PEER.hex()[:8], PEER.hex()])
def test_a_link_is_found_by_place_name_label_and_fingerprint(name: str) -> None:
    s = plugged(plugged(known(label="the rack"), 1, OTHER_KEY, "nova"), 2, PEER_KEY, "mars")
    assert find_link(s, name).name == "link2"


def test_a_stranger_that_calls_itself_by_a_label_is_not_meant() -> None:
    s = plugged(known(label="rack1"), 1, OTHER_KEY, "rack1")
    with pytest.raises(NoSuchLink, match="no cable to 'rack1'"):
        find_link(s, "rack1")
    assert find_link(plugged(s, 2, PEER_KEY, "mars"), "rack1").name == "link2"


def test_a_name_that_several_hosts_go_by_is_refused_with_their_places() -> None:
    s = plugged(plugged(known(), 1, OTHER_KEY, "twin"), 2, THIRD_KEY, "twin")
    with pytest.raises(Usb4RdmaError, match=r"several hosts \(give the link: 0-1 or 0-2\)"):
        find_link(s, "twin")
    assert find_link(s, "0-2").name == "link2"


def test_a_stranger_that_has_the_name_of_a_known_host_is_not_meant_by_it() -> None:
    s = plugged(known(), 1, OTHER_KEY, "mars")
    with pytest.raises(Usb4RdmaError, match=r"several hosts \(give the link: 0-1\)"):
        find_link(s, "mars")


def test_two_cables_to_one_host_are_no_two_hosts() -> None:
    s = plugged(plugged(known(), 1, PEER_KEY, "mars"), 2, PEER_KEY, "mars")
    assert find_link(s, "mars").name == "link1"


@pytest.mark.parametrize("name", ["", "nobody", PEER.hex()[:7], "x" * 100_000])
def test_what_nobody_is_called_is_refused(name: str) -> None:
    with pytest.raises(NoSuchLink):
        find_link(plugged(known(), 1, PEER_KEY, ""), name)


@pytest.mark.parametrize("name", ["", "mars", "a.b_c-D9", "m" * 63])
def test_names_that_a_host_may_give(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["m" * 64, "mars\n", "m\u00e4rs", "a b", "a/b", "\0"])
def test_names_that_no_host_may_give(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("label", ["a\0b", "a\nb", "\x1b[1m", "a\u0085b", "a" * (LABEL_MAX + 1)])
def test_labels_that_no_administrator_may_give(label: str) -> None:
    assert not is_label(label)
    with pytest.raises(BadState, match="printable"):
        step(known(), ev.AdminLabel(PEER, label), 1)
