# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor reads from the daemon: links that are not active, slow, or meddled with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import __version__
from .checks import Finding, Level, ok
from .render import why
from .system import System

FULL_SPEED = 40_000_000_000

_CURES = {
    "protocol-version": "install the same version of usb4rdma-dkms on both hosts",
    "kernel-handshake": "on the other host: systemctl enable --now usb4rdmad",
    "peer-silent": "on the other host: systemctl enable --now usb4rdmad",
    "peer-invalid": "install the same version of usb4rdmad on both hosts",
    "cluster-secret": "put the same secret into /etc/credstore/usb4rdma.cluster of both hosts",
    "unknown-peer": "usb4rdmactl pair {link}",
    "policy-off": "usb4rdmactl policy confirm, then usb4rdmactl pair {link}",
    "peer-blocked": "usb4rdmactl forget {peer}, then usb4rdmactl pair {link}",
    "key-changed": "if the host is genuine: usb4rdmactl forget {peer}, "
    "then usb4rdmactl pair {link}",
    "own-key": "the two hosts have one key: remove /var/lib/usb4rdma/identity.* on one and restart "
    "usb4rdmad there",
    "deauthorized": "usb4rdmactl authorize {link}",
    "peer-refused": "on the other host: usb4rdmactl status",
    "compare-code": "usb4rdmactl confirm {link} on both hosts if the codes are the same",
    "waiting-confirmation": "on the other host: usb4rdmactl confirm",
    "pairing-rejected": "usb4rdmactl pair {link}; if the other host knows this one, first there: "
    "usb4rdmactl forget",
    "pairing-timeout": "usb4rdmactl pair {link}",
    "pairing-mismatch": "plug the cable anew, look at what it leads through, then pair again",
    "waiting-peer": "on the other host: usb4rdmactl status",
    "waiting-addresses": "journalctl -u usb4rdmad -n 20, on both hosts",
    "waiting-port": "rdma link; journalctl -u usb4rdmad -n 20",
    "authorize-failed": "journalctl -u usb4rdmad -n 20",
    "configure-failed": "journalctl -u usb4rdmad -n 20",
    "data-path": "journalctl -k -n 50; plug the cable anew",
}


def cure(link: Mapping[str, Any]) -> str:
    """The command for a link that is not active."""
    peer = link["PeerName"] or link["PeerFingerprint"][:16] or link["Name"]
    text = _CURES.get(link["StateReason"], "usb4rdmactl show {link}")
    return text.format(link=link["Name"], peer=peer)


def links(system: System, found: Mapping[str, Any]) -> Iterable[Finding]:
    """All findings about links and the daemon that answers."""
    version = found["manager"]["Version"]
    if version != __version__:
        yield Finding(
            "daemon-version",
            Level.WARNING,
            f"usb4rdmad {version} runs, {__version__} is installed",
            "systemctl restart usb4rdmad",
        )
    if not found["links"]:
        yield Finding(
            "no-link",
            Level.WARNING,
            "no cable to a host that speaks usb4rdma is plugged",
            "plug one; on the other host: systemctl enable --now usb4rdmad",
        )
    for link in found["links"]:
        yield from _state(link)
        yield from _speed(link)
        if link["NetworkInterface"]:
            yield from _managed(system, link["NetworkInterface"])


def _state(link: Mapping[str, Any]) -> Iterable[Finding]:
    name, state = link["Name"], link["State"]
    if state != "active":
        bad = state in ("blocked", "incompatible", "failed", "degraded")
        yield Finding(
            f"link-{state}",
            Level.TROUBLE if bad else Level.WARNING,
            f"{name} is {state}: {why(link['StateReason'])}",
            cure(link),
        )
    elif link["SelfTest"] == "failed":
        yield Finding(
            "self-test",
            Level.TROUBLE,
            f"{name} is active, but the RDMA ping at link-up failed",
            f"usb4rdmactl test {name}; journalctl -u usb4rdmad -n 20",
        )
    else:
        yield ok("link", f"{name} is active")


def _speed(link: Mapping[str, Any]) -> Iterable[Finding]:
    if not 0 < link["Speed"] < FULL_SPEED:
        return
    lanes = "one lane" if link["Lanes"] == 1 else f"{link['Lanes']} lanes"
    yield Finding(
        "slow-link",
        Level.WARNING,
        f"{link['Name']} was trained at {link['Speed'] / 1e9:g} Gb/s ({lanes})",
        "use a cable marked 40 Gb/s (passive ones up to 0.8 m), plug it anew",
    )


def _managed(system: System, netdev: str) -> Iterable[Finding]:
    """Does another program set up the interface?"""
    state = system.output("nmcli", "-g", "GENERAL.STATE", "device", "show", netdev)
    if state and "unmanaged" not in state:
        yield Finding(
            "networkmanager",
            Level.TROUBLE,
            f"NetworkManager manages {netdev}, and may take its addresses away",
            f"nmcli device set {netdev} managed no; for good: install "
            "/usr/lib/NetworkManager/conf.d/90-u4rdma-networkmanager.conf",
        )
    index = system.text(f"/sys/class/net/{netdev}/ifindex")
    status = system.text(f"/run/systemd/netif/links/{index}") if index else ""
    values = dict(x.split("=", 1) for x in status.splitlines() if "=" in x)
    ours = values.get("NETWORK_FILE", "").endswith("/10-u4rdma.network")
    if values.get("ADMIN_STATE") in ("configured", "configuring") and not ours:
        yield Finding(
            "networkd",
            Level.TROUBLE,
            f"systemd-networkd sets up {netdev} by {values.get('NETWORK_FILE', 'some file')}",
            "give that file a narrower [Match], then networkctl reload",
        )
