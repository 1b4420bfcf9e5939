# SPDX-License-Identifier: GPL-2.0-or-later
"""Cables and hosts from options and from topology files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from lab import topology
from lab.errors import UsageError


def test_two_hosts_are_joined_by_one_cable_by_default() -> None:
    layout = topology.from_options(2, [])
    assert layout.names == ["a", "b"]
    assert layout.cables == ("a:1-b:1",)


def test_the_generated_file_says_what_the_options_said() -> None:
    layout = topology.from_options(3, ["a:1-b:1", "b:2-c:1"])
    data = tomllib.loads(layout.text)
    assert [host["name"] for host in data["host"]] == ["a", "b", "c"]
    assert [cable["ends"] for cable in data["cable"]] == [["a:1", "b:1"], ["b:2", "c:1"]]
    assert all(cable["plugged"] for cable in data["cable"])


def test_cable_none_means_no_usb4_at_all() -> None:
    layout = topology.from_options(2, ["none"])
    assert (layout.text, layout.cables) == ("", ())


def test_a_single_host_has_a_router_but_no_cable() -> None:
    layout = topology.from_options(1, [])
    assert layout.cables == ()
    assert "[[host]]" in layout.text


@pytest.mark.parametrize("count", [0, -1, 27])
def test_absurd_numbers_of_hosts_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 26"):
        topology.from_options(count, [])


@pytest.mark.parametrize(
    "cable",
    [
        "",
        "a",
        "a:1",
        "a:1-",
        "-b:1",
        "a:0-b:1",
        "a:1-b:x",
        "A:1-b:1",
        "a:1-b:1-c:1",
        "a:1 b:1",
        "a.0:1-b:1",
    ],
)
def test_what_is_no_cable_is_refused(cable: str) -> None:
    with pytest.raises(UsageError, match="not a cable"):
        topology.parse_cable(cable)


def test_a_cable_end_may_name_a_second_router() -> None:
    assert topology.parse_cable("a.2:1-b:1") == ("a.2:1", "b:1")
    assert topology.host_of("a.2:1") == "a"


def test_a_cable_to_an_unknown_host_is_refused() -> None:
    with pytest.raises(UsageError, match="no host 'c'"):
        topology.from_options(2, ["a:1-c:1"])


def test_a_port_takes_one_cable() -> None:
    with pytest.raises(UsageError, match="a:1 has a cable already"):
        topology.from_options(3, ["a:1-b:1", "a:1-c:1"])


def write(folder: Path, text: str) -> Path:
    path = folder / "topology.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_routers_and_cables(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[host]]\nname = "x"\n[[host.router]]\n[[host.router]]\nversion = 2\n'
        '[[host]]\nname = "y"\n[[cable]]\nends = ["x.2:1", "y:1"]\nplugged = false\n',
    )
    layout = topology.from_file(path)
    assert [(host.name, host.routers) for host in layout.hosts] == [("x", 2), ("y", 1)]
    assert layout.cables == ("x.2:1-y:1",)


def test_a_scripted_host_is_not_booted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[host]]\nname = "a"\n[[host]]\nname = "p"\nkind = "script"\n'
        '[[cable]]\nends = ["a:1", "p:1"]\n',
    )
    layout = topology.from_file(path)
    assert layout.names == ["a"]
    assert layout.cables == ("a:1-p:1",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no \\[\\[host\\]\\]"),
        ("host = 1", "not a list of tables"),
        ("[host]\nname = 'a'", "not a list of tables"),
        ("[[host]]\nname = 7", "cannot name a host"),
        ("[[host]]\nname = 'A B'", "cannot name a host"),
        ("[[host]]", "cannot name a host"),
        ("[[host]]\nname = 'a'\n[[host]]\nname = 'a'", "same name"),
        ("[[host]]\nname = 'a'\nrouter = 3", "not a list of tables"),
        ("[[host]]\nname = 'a'\n[[cable]]", "needs ends"),
        ("[[host]]\nname = 'a'\n[[cable]]\nends = ['a:1']", "needs ends"),
        ("[[host]]\nname = 'a'\n[[cable]]\nends = ['a:1', 'b:1']", "no such host"),
        ("[[host]]\nname = 'a'\n[[cable]]\nends = ['a:1', 'a']", "not an end"),
        ("[[host", "topology.toml"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        topology.from_file(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        topology.from_file(tmp_path / "none.toml")
