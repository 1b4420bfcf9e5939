# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmad.toml and its drop-ins: strict, with errors that say where and what.

Read in order: the file, then *.toml of the directory of the same name with
".d", sorted; later values win. A missing file means defaults.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for some costs 0.1 s
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .addressing import MTU_MAX, MTU_MIN, POOLS, usable_pool
from .errors import ConfigInvalid
from .model import Policy, Settings

DEFAULT = Path("/etc/usb4rdma/usb4rdmad.toml")

TIMEOUT_MIN, TIMEOUT_MAX = 10, 600

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class PairingSection(BaseModel):
    """[pairing]"""

    model_config = _STRICT
    policy: Literal["confirm", "tofu", "cluster", "off"] = "confirm"
    timeout: Annotated[int, Field(ge=TIMEOUT_MIN, le=TIMEOUT_MAX)] = 120


class NetworkSection(BaseModel):
    """[network]"""

    model_config = _STRICT
    configure: bool = True
    mtu: Annotated[int, Field(ge=MTU_MIN, le=MTU_MAX)] = 4192
    ipv4: bool = True
    ipv4_pool: str = "169.254.0.0/16"
    ipv6: bool = True
    self_test: bool = True

    @field_validator("ipv4_pool")
    @classmethod
    def _pool(cls, value: str) -> str:
        try:
            network = IPv4Network(value)
        except ValueError:
            raise ValueError('expected an IPv4 network such as "169.254.0.0/16"') from None
        if not usable_pool(network) or network.prefixlen > 28:
            raise ValueError(
                "expected a private IPv4 network of /28 or larger, in one of "
                + ", ".join(map(str, POOLS))
            )
        return value


class LogSection(BaseModel):
    """[log]"""

    model_config = _STRICT
    level: Literal["error", "warning", "info", "debug"] = "info"


class Config(BaseModel):
    """The whole file."""

    model_config = _STRICT
    pairing: PairingSection = PairingSection()
    network: NetworkSection = NetworkSection()
    log: LogSection = LogSection()

    def settings(self) -> Settings:
        """What the core needs of it."""
        return Settings(
            policy=Policy(self.pairing.policy),
            mtu=self.network.mtu,
            ipv4_pool=IPv4Network(self.network.ipv4_pool) if self.network.ipv4 else None,
            ipv6=self.network.ipv6,
            configure=self.network.configure,
            self_test=self.network.self_test,
            pairing_timeout=self.pairing.timeout,
        )


def load(path: Path = DEFAULT) -> Config:
    """The configuration; ConfigInvalid with every fault of the first bad file."""
    merged: dict[str, Any] = {}
    drop_ins = sorted(path.with_name(path.name + ".d").glob("*.toml"))
    for file in [path, *drop_ins]:
        values = _read(file)
        _check(file, values)
        for section, content in values.items():
            merged.setdefault(section, {}).update(content)
    return _check(path, merged)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: {error}", "make it a readable text file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(
            f"{path}: not TOML: {error}", "usb4rdmad.toml(5) has an example"
        ) from None
    except RecursionError:
        raise ConfigInvalid(
            f"{path}: nested too deeply", "usb4rdmad.toml(5) has an example"
        ) from None


def _check(path: Path, values: dict[str, Any]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_say(e, values) for e in error.errors(include_url=False)]
    raise ConfigInvalid(
        "\n".join(f"{path}: {line}" for line in lines), "usb4rdmad.toml(5) lists all settings"
    )


def _say(error: Any, values: dict[str, Any]) -> str:
    """One fault, for people."""
    where = [str(part) for part in error["loc"]]
    given = error.get("input")
    kind, context = error["type"], error.get("ctx", {})
    place = f"[{where[0]}] " + ".".join(where[1:]) if len(where) > 1 else f"[{where[0]}]"
    if kind == "extra_forbidden":
        known = list(Config.model_fields)
        if len(where) > 1 and where[0] in Config.model_fields:
            section = Config.model_fields[where[0]].annotation
            known = list(getattr(section, "model_fields", {}))
        return f"{place.rstrip()}: no such setting{_near(where[-1], known)}"
    shown = f"{place} = {given!r}".replace("'", '"')
    if kind == "literal_error":
        wanted = [w.strip(" '") for w in context["expected"].replace(" or ", ",").split(",")]
        options = ", ".join(f'"{w}"' for w in wanted)
        return f"{shown}: expected one of {options}{_near(str(given), wanted)}"
    if kind == "value_error":
        return f"{shown}: {context['error']}"
    if kind in ("greater_than_equal", "less_than_equal"):
        section = Config.model_fields[where[0]].annotation
        limits = getattr(section, "model_fields", {})[where[1]].metadata
        low, high = (getattr(limit, side) for limit, side in zip(limits, ("ge", "le"), strict=True))
        return f"{shown}: expected {low} to {high}"
    if kind in ("model_type", "dict_type"):
        return f"{place}: expected a section of settings"
    wanted_type = {"bool_type": "true or false", "int_type": "a number", "string_type": "a text"}
    return f"{shown}: expected {wanted_type.get(kind, error['msg'])}"


def _near(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f' (did you mean "{close[0]}"?)' if close else ""
