# SPDX-License-Identifier: GPL-2.0-or-later
"""How usb4rdmactl looks: plain functions from Describe()'s data to text. Pure.

Colour is never the only sign of a state: there is always its word, and a glyph.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GLYPHS = {
    "active": ("●", "*", "32"),
    "degraded": ("◐", "!", "33"),
    "configuring": ("◌", "~", "36"),
    "authorizing": ("◌", "~", "36"),
    "handshaking": ("◌", "~", "36"),
    "discovered": ("◌", "~", "36"),
    "pairing": ("▲", "^", "33"),
    "waiting-approval": ("▲", "^", "33"),
    "blocked": ("✖", "x", "31"),
    "failed": ("✖", "x", "31"),
    "incompatible": ("✖", "x", "31"),
}

_WHY = {
    "kernel-handshake": "the kernels are getting to know each other",
    "protocol-version": "no common protocol version: install the same version on both hosts",
    "peer-silent": "usb4rdmad of the other host does not answer: is it running there?",
    "peer-invalid": "usb4rdmad of the other host answers nonsense",
    "cluster-secret": "only one of the two hosts has a cluster secret, or theirs differ",
    "unknown-peer": "the host is not known",
    "policy-off": "unknown hosts are not admitted (policy off)",
    "peer-blocked": "the host is blocked",
    "key-changed": "A KNOWN HOST NAME WITH ANOTHER KEY: installed anew, or an impostor",
    "own-key": "the cable leads to this very host",
    "deauthorized": "closed by an administrator",
    "peer-refused": "the other host does not let this one in",
    "compare-code": "compare the code on both hosts",
    "waiting-confirmation": "waiting for the confirmation on the other host",
    "pairing-rejected": "the pairing was rejected",
    "pairing-timeout": "the pairing took too long",
    "pairing-mismatch": "the pairing broke its own rules: somebody may be in between",
    "waiting-peer": "open here, waiting for the other host",
    "waiting-addresses": "agreeing on addresses",
    "waiting-port": "waiting for the RDMA port and its GIDs",
    "authorize-failed": "the driver refused to open the link",
    "configure-failed": "the interface could not be set up",
    "data-path": "the driver could not open the data path, and tries again",
}


@dataclass(frozen=True)
class Style:
    """What the terminal can show."""

    colour: bool = False
    unicode: bool = True
    width: int = 100

    def glyph(self, state: str) -> str:
        """A state's sign."""
        fancy, ascii_sign, colour = _GLYPHS.get(state, ("?", "?", "0"))
        sign = fancy if self.unicode else ascii_sign
        return f"\033[{colour}m{sign}\033[0m" if self.colour else sign

    def bold(self, text: str) -> str:
        """Stressed."""
        return f"\033[1m{text}\033[0m" if self.colour else text


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def speed(link: Mapping[str, Any]) -> str:
    """40 Gb/s (2x20)."""
    if not link["Speed"]:
        return ""
    lanes = max(1, link["Lanes"])
    return f"{link['Speed'] / 1e9:g} Gb/s ({lanes}x{link['Speed'] / lanes / 1e9:g})"


def ago(since: int, now: float | None = None) -> str:
    """How long ago, the two largest units."""
    seconds = max(0, int((time.time() if now is None else now) - since / 1e6))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length or (unit == "s" and not parts):
            parts.append(f"{seconds // length} {unit}")
            seconds %= length
        if len(parts) == 2:
            break
    return " ".join(parts)


def who(link: Mapping[str, Any]) -> str:
    """The peer's name; in brackets while it has not proved its key."""
    return link["PeerName"] or f"({link['RemoteName'] or 'unknown host'})"


def why(reason: str) -> str:
    """A reason for people."""
    return _WHY.get(reason, reason)


def status(found: Mapping[str, Any], style: Style) -> str:
    """The overview."""
    manager, links = found["manager"], found["links"]
    active = sum(1 for link in links if link["State"] == "active")
    driver = manager["DriverVersion"] or "not loaded"
    lines = [
        f"{style.bold('usb4rdma')}  {len(links)} link{'' if len(links) == 1 else 's'}, "
        f"{active} active   driver {driver}   policy {manager['DefaultPolicy']}"
    ]
    if not manager["DriverVersion"]:
        lines.append("the driver is not loaded: modprobe usb4_rdma")
    for link in links:
        lines += ["", *_link_lines(found, link, style)]
    if not links and manager["DriverVersion"]:
        lines += ["", "no cable to a host that speaks usb4rdma is plugged"]
    return "\n".join(lines)


def _link_lines(found: Mapping[str, Any], link: Mapping[str, Any], style: Style) -> list[str]:
    statistics = link["Statistics"]
    head = f"{style.glyph(link['State'])} {link['Name']:<6} {who(link):<16} {link['State']:<16} "
    if link["RdmaDevice"]:
        head += f"{link['RdmaDevice']}/{link['RdmaPort']}  {link['NetworkInterface']}  "
    head += f"{speed(link)}"
    lines = [head.rstrip()]
    if link["StateReason"]:
        lines.append(f"  {why(link['StateReason'])}")
    if link["Addresses"]:
        lines.append(
            f"  {', '.join(link['Addresses'])}  mtu {link['Mtu']}"
            f"  rx {size(statistics['RxBytes'])}  tx {size(statistics['TxBytes'])}"
            f"  for {ago(link['Since'])}"
        )
    for pairing in found["pairings"]:
        if pairing["Link"] == link["Path"] and pairing["Code"]:
            lines.append(
                f"  code {style.bold(pairing['Code'])}: the same on both hosts? then on both: "
                f"usb4rdmactl confirm {link['Name']}"
            )
    if link["StateReason"] == "unknown-peer":
        lines.append(f"  to pair: usb4rdmactl pair {link['Name']}")
    return lines


def listing(found: Mapping[str, Any], style: Style) -> str:
    """One line a link and a peer."""
    rows: list[tuple[str, ...]] = [("LINK", "PEER", "STATE", "DEVICE", "INTERFACE", "SPEED")]
    for link in found["links"]:
        device = f"{link['RdmaDevice']}/{link['RdmaPort']}" if link["RdmaDevice"] else "-"
        rows.append(
            (
                link["Name"],
                who(link),
                link["State"],
                device,
                link["NetworkInterface"] or "-",
                speed(link) or "-",
            )
        )
    text = _table(rows)
    rows = [("PEER", "TRUST", "ONLINE", "LABEL", "FINGERPRINT")]
    for peer in found["peers"]:
        rows.append(
            (
                peer["Name"] or "-",
                peer["Trust"],
                "yes" if peer["Online"] else "no",
                peer["Label"] or "-",
                peer["Fingerprint"][:16],
            )
        )
    return text + ("\n\n" + _table(rows) if len(rows) > 1 else "")


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


_ROWS = (
    ("State", "State"),
    ("Peer", "PeerName"),
    ("Fingerprint", "PeerFingerprint"),
    ("Remote device", "RemoteName"),
    ("Remote vendor", "RemoteVendor"),
    ("Remote UUID", "RemoteUuid"),
    ("RDMA device", "RdmaDevice"),
    ("Interface", "NetworkInterface"),
    ("Addresses", "Addresses"),
    ("Peer addresses", "PeerAddresses"),
    ("MTU", "Mtu"),
    ("MTU wanted", "RequestedMtu"),
    ("Self-test", "SelfTest"),
    ("Kernel state", "KernelState"),
    ("Protocol versions", "ProtocolVersions"),
    ("Peer's versions", "PeerProtocolVersions"),
)


def details(link: Mapping[str, Any], style: Style) -> str:
    """Everything about one link."""
    lines = [f"{style.glyph(link['State'])} {style.bold(link['Name'])} {who(link)}"]
    for title, key in _ROWS:
        value = link[key]
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if value not in ("", 0):
            lines.append(f"{title:>18}: {value}")
        if key == "State" and link["StateReason"]:
            lines.append(f"{'Reason':>18}: {link['StateReason']}: {why(link['StateReason'])}")
    if speed(link):
        lines.append(f"{'Speed':>18}: {speed(link)}")
    if link["LatencyNanoseconds"]:
        lines.append(f"{'Latency':>18}: {link['LatencyNanoseconds'] / 1000:.1f} us one way")
    lines.append(f"{'Since':>18}: {ago(link['Since'])} ago")
    for index, gid in link["Gids"]:
        lines.append(f"{'GID ' + str(index):>18}: {gid}")
    statistics = link["Statistics"]
    lines.append(
        f"{'Received':>18}: {size(statistics['RxBytes'])}, {statistics['RxPackets']} IP packets"
    )
    lines.append(
        f"{'Sent':>18}: {size(statistics['TxBytes'])}, {statistics['TxPackets']} IP packets"
    )
    for name, value in sorted(statistics["Counters"].items()):
        lines.append(f"{name:>18}: {value}")
    return "\n".join(lines)


def peer_details(peer: Mapping[str, Any], style: Style) -> str:
    """Everything about one peer."""
    online = "yes" if peer["Online"] else f"no, last seen {ago(peer['LastSeen'])} ago"
    return "\n".join(
        (
            style.bold(peer["Name"] or peer["Fingerprint"][:16]),
            f"{'Label':>18}: {peer['Label'] or '-'}",
            f"{'Fingerprint':>18}: {peer['Fingerprint']}",
            f"{'Trust':>18}: {peer['Trust']} (by user {peer['PairedBy']})",
            f"{'Online':>18}: {online}",
            f"{'Links':>18}: {len(peer['Links'])}",
        )
    )


def event(name: str, member: str, details: Mapping[str, str], now: float, style: Style) -> str:
    """One line of the monitor."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    extra = " ".join(f"{k}={v}" for k, v in details.items() if k not in ("link", "peer", "reason"))
    reason = why(details.get("reason", ""))
    state = member.removeprefix("link-")
    return f"{clock}  {style.glyph(state)} {name:<6} {state:<18} {reason} {extra}".rstrip()


def configuration(found: Mapping[str, Any]) -> str:
    """What is in force, as usb4rdmad.toml would have it."""
    lines: list[str] = []
    for section, values in found.items():
        lines += [f"[{section}]"] if not lines else ["", f"[{section}]"]
        for key, value in values.items():
            if key == "policy_set_at_run_time":
                lines += ["# policy was set by usb4rdmactl policy"] if value else []
            elif key == "cluster_secret":
                lines.append(f"# cluster secret: {'there' if value else 'none'}")
            else:
                shown = str(value).lower() if isinstance(value, bool) else value
                lines.append(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {shown}")
    return "\n".join(lines)


def identity(value: Mapping[str, str]) -> str:
    """A file for authorized_peers.d."""
    return (
        f"# /etc/usb4rdma/authorized_peers.d/{value['name']}.toml\n"
        f"# fingerprint {value['fingerprint']}\n"
        f'name = "{value["name"]}"\npublic_key = "{value["public_key"]}"'
    )
