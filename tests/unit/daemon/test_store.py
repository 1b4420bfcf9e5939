# SPDX-License-Identifier: GPL-2.0-or-later
"""The state directory, whole and garbled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from usb4rdmad.errors import BadState, StoreInvalid, StoreTooNew
from usb4rdmad.events import AdminLabel
from usb4rdmad.machine import step
from usb4rdmad.model import Peer, Policy, State, Subnets, Trust, fingerprint
from usb4rdmad.orders import SavePeer
from usb4rdmad.pairing import noise
from usb4rdmad.store import Store

from .helpers import OWN, peer

SUBNETS = Subnets(IPv4Network("169.254.3.2/31"), IPv6Network("fd00:1:2:3::/64"))
PEER = replace(peer(), subnets=SUBNETS, label='a "b" \\ c', first_seen=1, last_seen=2, paired_by=3)


@pytest.fixture(autouse=True, scope="module")
def quick_disk() -> Iterator[None]:
    """Nobody pulls the plug of a test; one looks at what would be synced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


def opened(path: Path) -> Store:
    store = Store(path)
    store.open()
    return store


def test_peers_come_back_as_they_were_saved(tmp_path: Path) -> None:
    opened(tmp_path).save(PEER)
    assert opened(tmp_path).load() == {PEER.identity: PEER}


def test_a_record_is_on_the_disk_before_it_gets_its_name_and_the_name_right_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    done: list[tuple[str, str]] = []
    rename = Path.rename

    def synced(fd: int) -> None:
        done.append(("sync", Path(f"/proc/self/fd/{fd}").readlink().name))

    def renamed(source: Path, target: Path) -> Path:
        done.append(("rename", target.name))
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    store.save(PEER)
    name = f"{PEER.identity.hex()}.toml"
    assert done == [("sync", f".{name}.new"), ("rename", name), ("sync", "peers")]


def test_saving_again_replaces_and_deleting_removes(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.save(PEER)
    store.save(replace(PEER, trust=Trust.BLOCKED))
    assert store.load()[PEER.identity].trust is Trust.BLOCKED
    store.delete(PEER.identity)
    store.delete(PEER.identity)
    assert store.load() == {}


def test_key_is_made_once_and_readable_by_nobody_else(tmp_path: Path) -> None:
    key = opened(tmp_path).key()
    assert opened(tmp_path).key() == key
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "identity.pub").read_text().strip() == noise.public_key(key).hex()


def test_key_of_a_credential_wins(tmp_path: Path) -> None:
    credentials = tmp_path / "cred"
    credentials.mkdir()
    (credentials / "usb4rdma.identity").write_text("ab" * 32 + "\n")
    assert Store(tmp_path, credentials).key() == b"\xab" * 32


@pytest.mark.parametrize("text", ["", "xyz", "ab" * 31, "AB" * 32, "ab" * 33])
def test_garbled_key_is_fatal_and_kept(tmp_path: Path, text: str) -> None:
    store = opened(tmp_path)
    (tmp_path / "identity.key").write_text(text)
    with pytest.raises(StoreInvalid, match="does not hold a key"):
        store.key()
    assert (tmp_path / "identity.key").read_text() == text


def test_directory_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("3\n")
    with pytest.raises(StoreTooNew):
        Store(tmp_path).open()


def test_directory_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    """Written out as version 1 wrote it: no mtu, no policy."""
    key = bytes(range(32))
    folder = tmp_path / "peers"
    folder.mkdir(mode=0o700)
    (tmp_path / "version").write_text("1\n")
    record = folder / f"{fingerprint(key).hex()}.toml"
    record.write_text(
        f'public_key = "{key.hex()}"\ntrust = "confirmed"\nname = "mars"\nlabel = "rack 2"\n'
        'first_seen = 5\nlast_seen = 7\npaired_by = 1000\nipv4 = "169.254.3.4/31"\nipv6 = ""\n'
    )
    (folder / "garbled.toml").write_text("?")
    store = opened(tmp_path)
    assert (tmp_path / "version").read_text() == "2\n"
    assert "mtu = 0\n" in record.read_text()
    (peer,) = store.load().values()
    assert (peer.name, peer.label, peer.paired_by, peer.mtu) == ("mars", "rack 2", 1000, 0)
    assert (tmp_path / "quarantine" / "garbled.toml").exists()
    before = record.stat().st_mtime_ns
    opened(tmp_path)
    assert record.stat().st_mtime_ns == before, "once is enough"


def test_an_upgrade_cut_short_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).save(PEER)
    (tmp_path / "version").write_text("1\n")
    monkeypatch.setattr(Store, "save", _full)
    with pytest.raises(OSError):
        Store(tmp_path).open()
    assert (tmp_path / "version").read_text() == "1\n"
    monkeypatch.undo()
    assert list(opened(tmp_path).load().values()) == [PEER]


def _full(store: Store, peer: Peer) -> None:
    raise OSError(28, "No space left on device")


def test_policy_of_the_run_time_is_kept_and_forgotten(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.policy() is None
    store.save_policy(Policy.OFF)
    assert opened(tmp_path).policy() is Policy.OFF
    store.save_policy(None)
    assert opened(tmp_path).policy() is None
    (tmp_path / "policy").write_text("anyone\n")
    assert store.policy() is None
    assert (tmp_path / "quarantine" / "policy").exists()


def test_garbled_version_is_repaired(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("?")
    opened(tmp_path)
    assert (tmp_path / "version").read_text() == "2\n"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: b"",
        lambda t: b"\xff" + t,
        lambda t: t[:-20],
        lambda t: t.replace(b"confirmed", b"friend"),
        lambda t: t.replace(b"public_key", b"key"),
        lambda t: t.replace(b"/31", b"/33"),
        lambda t: t.replace(b"first_seen = 1", b"first_seen = -1"),
        lambda t: t.replace(b"first_seen = 1", b'first_seen = "1"'),
        lambda t: t + b"extra = 1\n",
        lambda t: t + b"#" * 5000,
        lambda t: t.replace(b"first_seen = 1", b"first_seen = 9223372036854775808"),
        lambda t: t.replace(b"last_seen = 2", b"last_seen = 9223372036854775808"),
        lambda t: t.replace(b"paired_by = 3", b"paired_by = 4294967296"),
        lambda t: t.replace(b"mars", b"mars\\n"),
        lambda t: t.replace(b"mars", b"m" * 64),
        lambda t: t.replace(b"mars", "m\u00e4rs".encode()),
        lambda t: t.replace(b'label = "a', b'label = "\\u0000a'),
        lambda t: t.replace(b'label = "a', b'label = "\\u001b[1ma'),
        lambda t: t.replace(b'label = "a', b'label = "' + b"a" * 60),
        lambda t: t.replace(b"169.254.3.2/31", b"8.8.8.8/31"),
        lambda t: t.replace(b"169.254.3.2/31", b"169.254.169.254/31"),
        lambda t: t.replace(b"169.254.3.2/31", b"10.0.0.0/24"),
        lambda t: t.replace(b"fd00:1:2:3::/64", b"2001:db8::/64"),
        lambda t: t + b"x = " + b"[" * 3500,
        lambda t: t.replace(b"0202", b"0203", 1),
    ],
)
def test_garbled_record_is_quarantined_and_the_others_stay(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    store = opened(tmp_path)
    good = peer(b"\x03" * 32)
    store.save(PEER)
    store.save(good)
    path = tmp_path / "peers" / f"{PEER.identity.hex()}.toml"
    before = path.read_bytes()
    path.write_bytes(spoil(before))
    assert path.read_bytes() != before
    assert store.load() == {good.identity: good}
    assert (tmp_path / "quarantine" / path.name).exists() and not path.exists()


@how(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_record_whatsoever_is_fatal(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    root = tmp_path_factory.mktemp("store", numbered=True)
    store = opened(root)
    (root / "peers" / ("ab" * 32 + ".toml")).write_bytes(raw)
    assert store.load() == {}


@how(max_examples=100, deadline=None)
@given(st.text(max_size=64))
def test_a_label_survives_exactly_if_it_may_be_given(
    tmp_path_factory: pytest.TempPathFactory, label: str
) -> None:
    before = State(OWN, peers={PEER.identity: PEER})
    try:
        now, todo = step(before, AdminLabel(PEER.identity, label), 0)
    except BadState:
        return
    (order,) = todo
    assert isinstance(order, SavePeer)
    store = opened(tmp_path_factory.mktemp("store", numbered=True))
    store.save(order.peer)
    assert store.load() == now.peers


def test_cluster_secret_comes_from_the_credential_alone(tmp_path: Path) -> None:
    assert Store(tmp_path).cluster_key() is None
    assert Store(tmp_path, tmp_path).cluster_key() is None
    (tmp_path / "usb4rdma.cluster").write_text("correct horse battery\n")
    key = Store(tmp_path, tmp_path).cluster_key()
    assert key is not None and len(key) == 32
    (tmp_path / "usb4rdma.cluster").write_text("short\n")
    with pytest.raises(StoreInvalid, match="has 5 bytes"):
        Store(tmp_path, tmp_path).cluster_key()
