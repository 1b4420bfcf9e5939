# SPDX-License-Identifier: GPL-2.0-or-later
"""The trust decision: may a host that proved a key in? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from .model import Identity, Peer, Policy, Reason, Trust

PINNED_MAX = 256
"""Hosts that tofu trusts by itself: whoever can plug a cable can make keys without end."""


class Verdict(Enum):
    """What to do with a peer."""

    ADMIT = "admit"
    PIN = "pin"
    """Admit, and remember the key."""
    ASK = "ask"
    REFUSE = "refuse"


def decide(
    policy: Policy,
    peers: Mapping[Identity, Peer],
    own: Identity,
    identity: Identity,
    name: str,
    cluster: bool = False,
) -> tuple[Verdict, Reason]:
    """Decide about a peer that proved to hold the key of `identity`.

    A key we know decides alone, whatever the policy says about strangers. A
    stranger that gives the name of a host we know is shut out: either that host
    lost its key or somebody plays it, and only a person can tell which (forget
    the old key, then pair again). That is said under `off`, too, which lets no
    stranger in anyhow. Not so under tofu, which lets any other name
    in anyhow, and under cluster, where it proved the secret (`cluster`): there
    it is admitted as the new host it is, with the reason set so that it is
    reported loudly. Once tofu has let in PINNED_MAX hosts, people are asked about
    further ones, as under confirm.
    """
    if identity == own:
        return Verdict.REFUSE, Reason.SELF
    known = peers.get(identity)
    if known is not None:
        if known.trust is Trust.BLOCKED:
            return Verdict.REFUSE, Reason.PEER_BLOCKED
        return Verdict.ADMIT, Reason.NONE
    if policy is Policy.CLUSTER and not cluster:
        return Verdict.REFUSE, Reason.CLUSTER_SECRET
    impostor = bool(name) and any(p.name == name for p in peers.values())
    pinned = sum(1 for p in peers.values() if p.trust is Trust.TOFU)
    if policy is Policy.CLUSTER or (policy is Policy.TOFU and pinned < PINNED_MAX):
        return Verdict.PIN, Reason.KEY_CHANGED if impostor else Reason.NONE
    if impostor:
        return Verdict.REFUSE, Reason.KEY_CHANGED
    if policy is Policy.OFF:
        return Verdict.REFUSE, Reason.POLICY_OFF
    return Verdict.ASK, Reason.UNKNOWN_PEER


def may_adopt(policy: Policy, peers: Mapping[Identity, Peer], identity: Identity) -> bool:
    """May a link that the kernel already has open as `identity` stay open?

    Asked after a restart of the daemon, before the peer proved its key again.
    """
    known = peers.get(identity)
    if known is None:
        return policy is Policy.TOFU and any(identity)
    return known.trust is not Trust.BLOCKED
