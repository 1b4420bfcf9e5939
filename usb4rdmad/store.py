# SPDX-License-Identifier: GPL-2.0-or-later
"""What survives a restart: the host's key and the peers' records.

One file a peer, written whole, fsynced and renamed into place. A record that
cannot be read is moved to quarantine/ and reported, never fatal; a key that
cannot be read is fatal, since making a new one would lose the host's identity.
A directory of a later version is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from .addressing import MTU_MAX, acceptable
from .errors import StoreInvalid, StoreTooNew
from .log import MessageId, log, note
from .model import Identity, Peer, Policy, Subnets, Trust, fingerprint
from .naming import NAME_PATTERN, is_label
from .pairing import noise

VERSION = 2
"""1: as first released. 2: records have an mtu; the file policy."""
RECORD_MAX = 4096
SECRET_MIN = 16

Microseconds = Annotated[int, Field(ge=0, lt=2**63)]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A peer's file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    public_key: Hex32
    trust: str
    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = ""
    label: str = ""
    first_seen: Microseconds = 0
    last_seen: Microseconds = 0
    paired_by: Annotated[int, Field(ge=0, lt=2**32)] = 0
    ipv4: str = ""
    ipv6: str = ""
    mtu: Annotated[int, Field(ge=0, le=MTU_MAX)] = 0

    def peer(self) -> Peer:
        """The record as the core has it; ValueError for what it never has."""
        if not is_label(self.label):
            raise ValueError("bad label")
        subnets = Subnets(
            IPv4Network(self.ipv4) if self.ipv4 else None,
            IPv6Network(self.ipv6) if self.ipv6 else None,
        )
        if not acceptable(subnets):
            raise ValueError("networks that no peer may propose")
        key = bytes.fromhex(self.public_key)
        return Peer(
            identity=fingerprint(key),
            public_key=key,
            trust=Trust(self.trust),
            name=self.name,
            label=self.label,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            paired_by=self.paired_by,
            subnets=subnets,
            mtu=self.mtu,
        )


class Store:
    """The state directory."""

    def __init__(self, root: Path, credentials: Path | None = None) -> None:
        self._root = root
        self._peers = root / "peers"
        self._credentials = credentials

    def open(self) -> None:
        """Make or check the directory; bring one of an earlier version up to date."""
        self._peers.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._root / "version"
        try:
            version = int(path.read_text().strip())
        except FileNotFoundError:
            version = VERSION
            _write(path, f"{VERSION}\n".encode(), 0o644)
        except ValueError:
            log.warning("%s is garbled; taken as version %d", path, VERSION)
            version = VERSION
            _write(path, f"{VERSION}\n".encode(), 0o644)
        if version > VERSION:
            raise StoreTooNew(
                f"{self._root} was written by a later version ({version}, this is {VERSION})",
                "install that version again, or move the directory away and pair anew",
            )
        if version < VERSION:
            self._upgrade(version)

    def _upgrade(self, version: int) -> None:
        """Rewrite what an earlier version wrote; the version file last.

        So an upgrade that is cut short is done again. Records of version 1 lack
        the key mtu, which is then 0; writing them anew makes them whole.
        """
        for peer in self.load().values():
            self.save(peer)
        _write(self._root / "version", f"{VERSION}\n".encode(), 0o644)
        note(MessageId.STORE_UPGRADED, f"{self._root}: from version {version} to {VERSION}")

    def key(self) -> bytes:
        """The host's private key: from a credential, the directory, or made now."""
        if self._credentials is not None:
            path = self._credentials / "usb4rdma.identity"
            if path.exists():
                return self._read_key(path)
        path = self._root / "identity.key"
        if path.exists():
            return self._read_key(path)
        private = noise.generate()
        _write(path, private.hex().encode() + b"\n", 0o600)
        _write(self._root / "identity.pub", noise.public_key(private).hex().encode() + b"\n", 0o644)
        return private

    def cluster_key(self) -> bytes | None:
        """The key that follows from the cluster's secret; None without one."""
        if self._credentials is None:
            return None
        try:
            secret = (self._credentials / "usb4rdma.cluster").read_bytes().strip()
        except FileNotFoundError:
            return None
        if len(secret) < SECRET_MIN:
            raise StoreInvalid(
                f"the credential usb4rdma.cluster has {len(secret)} bytes",
                f"at least {SECRET_MIN} are needed: openssl rand -hex 32",
            )
        return hashlib.sha256(b"usb4rdma cluster 1\0" + secret).digest()

    @staticmethod
    def _read_key(path: Path) -> bytes:
        text = path.read_bytes()[:256].strip()
        if not re.fullmatch(rb"[0-9a-f]{64}", text):
            raise StoreInvalid(
                f"{path} does not hold a key (64 hex digits)",
                "restore it from a backup; or remove it: this host then is a new one to its peers",
            )
        return bytes.fromhex(text.decode())

    def load(self) -> dict[Identity, Peer]:
        """All records that can be read; the others go to quarantine."""
        found: dict[Identity, Peer] = {}
        for path in sorted(self._peers.glob("*.toml")):
            try:
                peer = _parse(path)
            except (StoreInvalid, OSError) as error:
                self._quarantine(path, str(error))
                continue
            found[peer.identity] = peer
        return found

    def _quarantine(self, path: Path, why: str) -> None:
        folder = self._root / "quarantine"
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            path.rename(folder / path.name)
        except OSError as error:
            why = f"{why}; {error}"
        note(MessageId.STORE_QUARANTINED, f"{path.name} moved to quarantine: {why}")

    def save(self, peer: Peer) -> None:
        """Write one record, durably."""
        v4, v6 = peer.subnets.ipv4, peer.subnets.ipv6
        fields: dict[str, str | int] = {
            "public_key": peer.public_key.hex(),
            "trust": peer.trust.value,
            "name": peer.name,
            "label": peer.label,
            "first_seen": peer.first_seen,
            "last_seen": peer.last_seen,
            "paired_by": peer.paired_by,
            "ipv4": str(v4) if v4 else "",
            "ipv6": str(v6) if v6 else "",
            "mtu": peer.mtu,
        }
        text = "".join(f"{key} = {_toml(value)}\n" for key, value in fields.items())
        _write(self._path(peer.identity), text.encode(), 0o600)

    def delete(self, identity: Identity) -> None:
        """Remove one record."""
        self._path(identity).unlink(missing_ok=True)
        _sync_folder(self._peers)

    def policy(self) -> Policy | None:
        """The policy that was set at run time; None when there is none."""
        path = self._root / "policy"
        try:
            return Policy(path.read_text().strip())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            self._quarantine(path, str(error))
            return None

    def save_policy(self, policy: Policy | None) -> None:
        """Remember the policy set at run time; None forgets it."""
        path = self._root / "policy"
        if policy is None:
            path.unlink(missing_ok=True)
            _sync_folder(self._root)
        else:
            _write(path, f"{policy.value}\n".encode(), 0o644)

    def _path(self, identity: Identity) -> Path:
        return self._peers / f"{identity.hex()}.toml"


def _parse(path: Path) -> Peer:
    raw = path.read_bytes()
    if len(raw) > RECORD_MAX:
        raise StoreInvalid(f"{len(raw)} bytes, at most {RECORD_MAX}")
    try:
        peer = Record.model_validate(tomllib.loads(raw.decode())).peer()
    except ValidationError as error:
        where = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_url=False))
        raise StoreInvalid(f"bad or missing: {where}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise StoreInvalid(str(error)) from None
    except RecursionError:
        raise StoreInvalid("nested too deeply") from None
    if path.stem != peer.identity.hex():
        raise StoreInvalid("the file's name is not the fingerprint of its key")
    return peer


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = "".join(
        f"\\u{ord(c):04x}" if c in '"\\' or ord(c) < 32 or ord(c) == 127 else c for c in value
    )
    return f'"{escaped}"'


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
