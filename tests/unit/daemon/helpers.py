# SPDX-License-Identifier: GPL-2.0-or-later
"""Builders of the core's data for tests."""

from __future__ import annotations

from typing import Any

from usb4rdmad.model import (
    Interface,
    KernelLink,
    KernelState,
    LinkState,
    Peer,
    Policy,
    Port,
    Settings,
    State,
    Trust,
    fingerprint,
)

OWN_KEY, PEER_KEY, OTHER_KEY = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
OWN, PEER, OTHER = fingerprint(OWN_KEY), fingerprint(PEER_KEY), fingerprint(OTHER_KEY)


def kernel(state: KernelState = KernelState.READY, **fields: Any) -> KernelLink:
    values: dict[str, Any] = {
        "instance": 1,
        "host_id": b"p" * 16,
        "local_host_id": b"o" * 16,
        "epoch": 5,
        "local_epoch": 6,
        "mtu": 65520,
    } | fields
    return KernelLink("link0", state, **values)


def state(policy: Policy = Policy.TOFU, *peers: Peer) -> State:
    return State(OWN, Settings(policy=policy), {}, {p.identity: p for p in peers})


def peer(key: bytes = PEER_KEY, trust: Trust = Trust.CONFIRMED, name: str = "mars") -> Peer:
    return Peer(fingerprint(key), key, trust, name)


__all__ = [
    "OTHER",
    "OTHER_KEY",
    "OWN",
    "OWN_KEY",
    "PEER",
    "PEER_KEY",
    "Interface",
    "KernelState",
    "LinkState",
    "Policy",
    "Port",
    "Trust",
    "kernel",
    "peer",
    "state",
]
