# SPDX-License-Identifier: GPL-2.0-or-later
"""The topology file, and each way to get it wrong."""

from __future__ import annotations

import pytest
from vcable.topology import End, RouterSpec, TopologyError, parse

A = '[[host]]\nname = "a"\n'
B = '[[host]]\nname = "b"\n'


def test_a_host_has_one_version_1_router_with_two_ports_unless_told_otherwise() -> None:
    topology = parse(A)
    assert topology.hosts[0].routers == (RouterSpec(1, 2, 2, 12),)
    assert topology.cables == ()


def test_routers_and_cables_are_read() -> None:
    topology = parse(
        A
        + "[[host.router]]\nversion = 2\nrings = 3\n[[host.router]]\nlanes = 1\nports = 1\n"
        + B
        + '[[cable]]\nends = ["a.2:1", "b:2"]\nplugged = false\n'
    )
    assert topology.hosts[0].routers == (RouterSpec(2, 2, 2, 3), RouterSpec(1, 1, 1, 12))
    assert topology.cables[0].ends == (End("a", 2, 1), End("b", 1, 2))
    assert not topology.cables[0].plugged


@pytest.mark.parametrize(
    ("text", "written"), [("a:1", "a:1"), ("a.1:2", "a:2"), ("host_3.2:1", "host_3.2:1")]
)
def test_the_first_router_is_not_written(text: str, written: str) -> None:
    assert str(End.parse(text)) == written


@pytest.mark.parametrize("text", ["", "a", "a:", "a:0", "A:1", "a:1:1", "a.0:1", "1a:1", "a:x", 7])
def test_garbled_ends_are_refused(text: object) -> None:
    with pytest.raises(TopologyError):
        End.parse(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x", "not TOML"),
        ("", "host"),
        ("host = 3", "host"),
        ("[[hosts]]\n", "hosts"),
        ("[[host]]\n", r"host\[1\].name"),
        ("[[host]]\nname = 7\n", r"host\[1\].name"),
        ('[[host]]\nname = "a b"\n', r"host\[1\].name"),
        ('[[host]]\nname = "../x"\n', r"host\[1\].name"),
        (A + A, "host.name"),
        (A + "colour = 1\n", r"host\[1\].colour"),
        (A + 'kind = "cat"\n', r"host\[1\].kind"),
        (A + 'peer = "m:C"\n', r"host\[1\].peer"),
        (A + "router = 1\n", r"host\[1\].router"),
        (A + "[[host.router]]\nversion = 3\n", r"host\[1\].router\[1\].version"),
        (A + "[[host.router]]\nversion = true\n", r"host\[1\].router\[1\].version"),
        (A + "[[host.router]]\nports = 0\n", r"host\[1\].router\[1\].ports"),
        (A + '[[host.router]]\nlanes = "2"\n', r"host\[1\].router\[1\].lanes"),
        (A + "[[host.router]]\nrings = 1\n", r"host\[1\].router\[1\].rings"),
        (A + "[[host.router]]\nrings = 17\n", r"host\[1\].router\[1\].rings"),
        (A + "[[host.router]]\nname = 1\n", r"host\[1\].router\[1\].name"),
        (A + "[[cable]]\n", r"cable\[1\].ends"),
        (A + '[[cable]]\nends = ["a:1"]\n', r"cable\[1\].ends"),
        (A + '[[cable]]\nends = ["a:1", "a:1"]\n', r"cable\[1\].ends"),
        (A + '[[cable]]\nends = ["a:1", "b:1"]\n', r"cable\[1\].ends"),
        (A + '[[cable]]\nends = ["a:1", "a:3"]\n', r"cable\[1\].ends"),
        (A + '[[cable]]\nends = ["a:1", "a.2:1"]\n', r"cable\[1\].ends"),
        (A + B + '[[cable]]\nends = ["a:1", "b:1"]\nplugged = 1\n', r"cable\[1\].plugged"),
        (A + B + '[[cable]]\nends = ["a:1", "b:1"]\nlength = 1\n', r"cable\[1\].length"),
        (A + B + '[[cable]]\nends=["a:1","b:1"]\n[[cable]]\nends=["b:1","a:2"]\n', r"cable\[2\]"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text: str, named: str) -> None:
    with pytest.raises(TopologyError, match=f"^{named}") as caught:
        parse(text)
    assert "\n" not in str(caught.value)
