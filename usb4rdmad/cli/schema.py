# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON schema of what `usb4rdmactl VERB --json` prints, one definition a verb. Pure.

Objects of the bus come from the tables of bus/interfaces.py, so the schema knows
a property as soon as the bus does. Programs have to bear more properties than
they know; the schema is strict so that tests notice what it does not say.
"""

from __future__ import annotations

from typing import Any

from .. import __version__
from ..bus.interfaces import INTERFACES, LINK, MANAGER, PAIRING, PEER_OBJECT, PORT, STATISTICS

Schema = dict[str, Any]

_PLAIN: dict[str, Schema] = {
    "s": {"type": "string"},
    "o": {"type": "string", "pattern": "^/"},
    "b": {"type": "boolean"},
    "u": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    "t": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
    "ay": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    "a{st}": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
    "a(us)": {
        "type": "array",
        "items": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": False,
            "minItems": 2,
        },
    },
}
TEXT, COUNT, FLAG = _PLAIN["s"], _PLAIN["t"], _PLAIN["b"]


def of_signature(signature: str) -> Schema:
    """The JSON of a value of this D-Bus type."""
    if signature in _PLAIN:
        return _PLAIN[signature]
    return {"type": "array", "items": of_signature(signature[1:])}


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _optional(schema: Schema, **properties: Schema) -> Schema:
    return schema | {"properties": schema["properties"] | properties}


def _interface(name: str, **more: Schema) -> Schema:
    properties = {
        p.name: {**of_signature(p.signature), "description": p.doc}
        for p in INTERFACES[name].properties
    }
    return _object(**(more | properties))


def _many(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}


def schema() -> Schema:
    """All definitions; a verb's output is valid by $defs/VERB."""
    path = of_signature("o")
    everything = {
        "manager": {"$ref": "#/$defs/manager"},
        "ports": _many("port"),
        "links": _many("link"),
        "peers": _many("peer"),
        "pairings": _many("pairing"),
    }
    event = _object(time={"type": "number"}, path=path, event=TEXT, link=TEXT)
    rate = _object(
        Name=TEXT, PeerName=TEXT, State=TEXT, RxBytesPerSecond=COUNT, TxBytesPerSecond=COUNT
    )
    test = _optional(
        _object(kind={"enum": ["ping", "write", "read"]}, size=COUNT, operations=COUNT),
        latency_ns=COUNT,
        p99_ns=COUNT,
        bits_per_second=COUNT,
    )
    finding = _object(
        id=TEXT, level={"enum": ["ok", "unknown", "warning", "trouble"]}, text=TEXT, cure=TEXT
    )
    definitions: dict[str, Schema] = {
        "manager": _interface(MANAGER),
        "port": _interface(PORT, Path=path),
        "link": _interface(LINK, Path=path, Statistics={"$ref": "#/$defs/statistics"}),
        "statistics": _interface(STATISTICS),
        "peer": _interface(PEER_OBJECT, Path=path),
        "pairing": _interface(PAIRING, Path=path),
        "status": _object(**everything),
        "list": _object(links=_many("link"), peers=_many("peer")),
        "show": {"anyOf": [{"$ref": "#/$defs/link"}, {"$ref": "#/$defs/peer"}]},
        "monitor": {
            "anyOf": [
                _object(event={"const": "status"}, **everything),
                event | {"additionalProperties": TEXT},
            ]
        },
        "top": _object(time={"type": "number"}, links={"type": "array", "items": rate}),
        "pair": {"$ref": "#/$defs/pairing"},
        "mtu": _object(Name=TEXT, Mtu=COUNT, RequestedMtu=COUNT),
        "policy": _object(policy=TEXT, set_at_run_time=FLAG),
        "test": {"anyOf": [test, _object(plot=TEXT, results={"type": "array", "items": test})]},
        "doctor": _object(findings={"type": "array", "items": finding}),
        "config": {
            "anyOf": [
                _object(
                    pairing=_object(
                        policy=TEXT,
                        timeout=COUNT,
                        policy_set_at_run_time=FLAG,
                        cluster_secret=FLAG,
                    ),
                    network=_object(
                        configure=FLAG,
                        mtu=COUNT,
                        ipv4=FLAG,
                        ipv4_pool=TEXT,
                        ipv6=FLAG,
                        self_test=FLAG,
                    ),
                    log=_object(level=TEXT),
                ),
                _object(file=TEXT, faults={"type": "array", "items": TEXT}),
            ]
        },
        "identity": _object(public_key=TEXT, name=TEXT, fingerprint=TEXT),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "SPDX-License-Identifier: GPL-2.0-or-later",
        "title": f"usb4rdmactl {__version__} --json",
        "description": "What each verb prints is described by the definition of its name.",
        "$defs": definitions,
    }
