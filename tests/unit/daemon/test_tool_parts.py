# SPDX-License-Identifier: GPL-2.0-or-later
"""The pure parts of usb4rdmactl: rates, charts, redaction, text."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from usb4rdmad.cli import render
from usb4rdmad.cli.measure import rate
from usb4rdmad.cli.plot import Curve, Series, bytes_label, ceiling, draw
from usb4rdmad.cli.report import Redactor, said
from usb4rdmad.cli.top import Rates, frame, sparkline

SVG = "{http://www.w3.org/2000/svg}"


def look(rx: int, tx: int, **fields: Any) -> dict[str, Any]:
    link = {
        "Path": "/l1",
        "Name": "0-1",
        "PeerName": "mars",
        "RemoteName": "mars",
        "State": "active",
        "Statistics": {"RxBytes": rx, "TxBytes": tx},
    } | fields
    return {"links": [link]}


def test_rates_come_from_two_looks_and_survive_a_device_made_anew() -> None:
    rates = Rates()
    rates.look(look(1000, 0), 10.0)
    assert rates.values()[0]["RxBytesPerSecond"] == 0
    rates.look(look(3000, 500), 12.0)
    (value,) = rates.values()
    assert (value["RxBytesPerSecond"], value["TxBytesPerSecond"]) == (1000, 250)
    rates.look(look(0, 0), 13.0)
    assert rates.values()[0]["RxBytesPerSecond"] == 0
    rates.look({"links": []}, 14.0)
    assert rates.values() == []
    assert "no links" in frame(rates, 0.0, render.Style())


def test_frame_fits_the_terminal_and_does_without_unicode() -> None:
    rates = Rates()
    for second in range(60):
        rates.look(look(second * second * 10**6, second * 10**6), float(second))
    for unicode in (True, False):
        text = frame(rates, 0.0, render.Style(unicode=unicode, width=80))
        assert all(len(line) <= 80 for line in text.splitlines())
        assert text.isascii() is not unicode
        assert "mars" in text


def test_sparkline_scales_to_the_top() -> None:
    assert sparkline([0, 5, 10], 10, render.Style()) == "▁▅█"
    assert sparkline([0, 0], 0, render.Style()) == "▁▁"


@pytest.mark.parametrize(
    ("bits", "text"), [(5, "5 bit/s"), (1.5e3, "1.5 kbit/s"), (3.8e10, "38 Gbit/s")]
)
def test_rates_are_for_people(bits: float, text: str) -> None:
    assert rate(bits) == text


def test_chart_is_svg_with_every_point_where_it_belongs() -> None:
    points = [(8, 2.0), (64, 4.0), (4096, 8.0)]
    text = draw("usb4rdma <mars>", (Curve("Latency", "us", (Series("median", points),)),))
    tree = ElementTree.fromstring(text)
    circles = list(tree.iter(f"{SVG}circle"))
    assert [c.find(f"{SVG}title").text for c in circles] == [  # type: ignore[union-attr]
        "8 bytes: 2 us",
        "64 bytes: 4 us",
        "4096 bytes: 8 us",
    ]
    xs = [float(c.get("cx", "")) for c in circles]
    ys = [float(c.get("cy", "")) for c in circles]
    assert xs[1] - xs[0] == pytest.approx((xs[2] - xs[0]) / 3, abs=0.2), "logarithmic"
    bottom = float(tree.findall(f".//{SVG}line")[0].get("y1", ""))
    assert bottom - ys[2] == pytest.approx(4 * (bottom - ys[0]), abs=0.2), "linear from zero"
    assert "usb4rdma <mars>" in {t.text for t in tree.iter(f"{SVG}text")}


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.9, 1), (1.1, 2), (2.2, 2.5), (38, 50), (100, 100)]
)
def test_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert ceiling(value) == top


def test_sizes_have_short_names() -> None:
    assert [bytes_label(n) for n in (8, 512, 1536, 4096, 1 << 20)] == [
        "8",
        "512",
        "1536",
        "4K",
        "1M",
    ]


SECRETS = """\
nova usb4rdmad[5]: 0-1: is active (mars)
fingerprint 3fb2a1c4d5e6f708192a3b4c5d6e7f80 and mars.example.org, Mars, marshal
uuid 7d2ebd8f-1234-5678-9abc-def012345678, again 7D2EBD8F-1234-5678-9ABC-DEF012345678
/home/alice/x 52:54:00:12:34:56 code: 482 913
"""


def test_report_names_nobody_and_keeps_what_belongs_together() -> None:
    text = Redactor(["nova", "mars"])(SECRETS)
    for secret in ("nova", "mars.example", "Mars,", "alice", "52:54", "482 913", "1234-5678"):
        assert secret not in text, secret
    assert "4b4c5d" not in text and "3fb2a1c4..." in text
    assert "marshal" in text, "only whole names"
    assert text.count("uuid-1") == 2
    assert re.search(r"host-1 usb4rdmad\[5\]: 0-1: is active \(host-2\)", text)


def test_names_are_found_in_the_journal_when_the_daemon_does_not_run() -> None:
    assert said(SECRETS) == ["mars"]
    assert Redactor([])("mars") == "mars"


def test_configuration_is_shown_as_a_file() -> None:
    text = render.configuration(
        {
            "pairing": {"policy": "off", "policy_set_at_run_time": True, "cluster_secret": False},
            "network": {"mtu": 4192, "ipv4": True},
        }
    )
    assert text.splitlines() == [
        "[pairing]",
        'policy = "off"',
        "# policy was set by usb4rdmactl policy",
        "# cluster secret: none",
        "",
        "[network]",
        "mtu = 4192",
        "ipv4 = true",
    ]
