# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of rdma-core, qperf and libfabric between two hosts, with data checked where they can.

rsockets and libfabric's reliable datagrams are here as well; mckey is in test_multicast.py.
"""

from __future__ import annotations

from typing import Any

import pairs
import pytest
from compat import Compatibility
from lab.api import Lab
from pairs import Pair

pytestmark = pytest.mark.timeout(900)

CM_PORT = 7471
RPING_PORT = 7174
RCOPY_PORT = 7427
QPERF_PORT = 19765
FABRIC_PORT = 47592
PINGPONG_PORT = 18515

NO_XRC = "no XRC: librxe, the user-space driver that we share with Soft-RoCE, has none"
NO_GRH = (
    "qperf sets no global route header without rdma_cm, and uses rdma_cm for RC alone; "
    "RoCE has no addresses without that header"
)
NO_RAW = "no raw packet queue pairs: librxe has none"


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return pairs.lab_options()


def both(
    program: str,
    options: str = "",
    at: str = "{address}",
    bind: str = "-b",
    port: int = CM_PORT,
    shown: str = "",
    **more: Any,
) -> Pair:
    """A program of the connection manager that takes the same options on both sides; its client
    is told the server's address by -s, its server by `bind`."""
    how = shown or f"{program} {options}".strip()
    server = f"{program} {options} {bind} {at}" if bind else f"{program} {options}"
    return Pair(how, server, f"{program} {options} -s {at}", {"cm": port}, **more)


def rping(options: str, at: str = "{address}", shown: str = "") -> Pair:
    words = f"-a {at} -V -C 10 {options}"
    return Pair(
        shown or f"rping -V {options}".strip(),
        f"rping -s {words}",
        f"rping -c {words}",
        {"cm": RPING_PORT},
    )


def pingpong(kind: str, options: str, gid: str = "gid", **more: Any) -> Pair:
    """ibv_KIND_pingpong by one of the GIDs; the server checks the data where it is asked to."""
    names = {"gid": "IPv4", "gid_ll": "fe80::", "gid6": "IPv6"}
    words = f"ibv_{kind}_pingpong -d {{device}} -g {{{gid}}} {options}"
    return Pair(
        f"ibv_{kind}_pingpong {options} -g {names[gid]}",
        words,
        f"{words} {{address}}",
        {"tcp": PINGPONG_PORT},
        never="invalid data",
        **more,
    )


PINGPONG = [
    *(
        pingpong(kind, options, gid)
        for kind in ("rc", "uc", "ud", "srq")
        for options, gids in (("-c -n 100", ("gid", "gid_ll", "gid6")), ("-c -e -n 100", ("gid",)))
        for gid in gids
    ),
    pingpong("rc", "-c -s 1048576 -n 10"),
    pingpong("rc", "-N -n 10"),
    pingpong("srq", "-c -q 16 -n 160"),
    pingpong("rc", "-o -n 10", fails=pairs.NO_ODP, error="isn't ODP capable"),
    pingpong("rc", "-t -n 10", fails="no time stamps of completions", error="timestamp capable"),
    pingpong("rc", "-j -n 10", fails="no memory on the device", error="support dm allocation"),
    pingpong("xsrq", "-n 10", fails=NO_XRC, error="Couldn't Open the XRC Domain"),
]
RPING = [
    rping("", shown="rping -V (IPv4)"),
    rping("", "{address6}", shown="rping -V (IPv6)"),
    rping("-S 65000"),
    rping("-q"),
    Pair(
        "rping -P (two clients, one after the other)",
        "rping -s -P -a {address} -V",
        "for i in 1 2; do rping -c -a {address} -V -C 5 || exit 1; done",
        {"cm": RPING_PORT},
        kill=True,
    ),
]
CM = [
    both("ucmatose"),
    both("ucmatose", "-c 16 -C 20 -S 1000"),
    both("ucmatose", "-f ipv6", "{address6}"),
    both("ucmatose", "-m"),
    both("ucmatose", "-t 8 -a 16"),
    both("udaddy", port=RPING_PORT),
    both("udaddy", "-c 16 -C 20 -S 1000", port=RPING_PORT),
    both("udaddy", "-f ipv6", "{address6}", port=RPING_PORT),
    both("cmtime", "-c 20"),
    Pair("rdma_server, rdma_client", "rdma_server", "rdma_client -s {address}", {"cm": CM_PORT}),
    Pair(
        "rdma_xserver, rdma_xclient -c r",
        "rdma_xserver -c r",
        "rdma_xclient -c r -s {address}",
        {"cm": CM_PORT},
    ),
    Pair(
        "rdma_xserver, rdma_xclient -c x",
        "",
        "rdma_xclient -c x -s {address}",
        fails=NO_XRC,
        error="rdma_create_ep: Operation not supported",
    ),
]


# librdmacm/examples/common.c, do_poll(): POLLHUP is an error, also beside POLLIN. The other side
# hangs up right after its last message.
HUNG_UP = "client, code 16"
HANGS_UP = "rstream takes the other side's hang-up, that comes with its last message, for an error"
RSOCKETS = [
    both("rstream", "-T v -S 4096 -C 20"),
    both("rstream", "-S 64 -I 100 -C 1"),
    both("rstream", "-S 65536 -I 1 -C 20 -T b"),
    both("rstream", "-S 64 -I 100 -C 1 -T n"),
    both("rstream", "-S 64 -I 100 -C 1 -T a", again=HUNG_UP, excuse=HANGS_UP),
    both("rstream", "-T v -S 1048576 -C 5"),
    both("riostream", "-T v -S 4096 -C 20"),
    both("riostream", "-S 65536 -I 1 -C 20"),
]
RCOPY = [
    Pair(
        "rcopy (the copy compared)",
        "rcopy",
        "head -c 1000000 /dev/urandom >/tmp/sent && rcopy /tmp/sent {address}:/tmp/received",
        {"cm": RCOPY_PORT},
        kill=True,
    )
]
# qperf tells its client the port before it listens there.
LISTENS_LATE = "Event rejected"


def qperf(how: str, **more: Any) -> Pair:
    client = f"qperf {{address}} -t 1 {how}"
    return Pair(
        f"qperf {how}", "qperf", client, {"tcp": QPERF_PORT}, kill=True, again=LISTENS_LATE, **more
    )


QPERF = [
    *(
        qperf(f"-cm 1 {name}")
        for name in (
            *("rc_lat", "rc_bw", "rc_bi_bw", "rc_rdma_read_bw", "rc_rdma_read_lat"),
            *("rc_rdma_write_bw", "rc_rdma_write_lat", "rc_rdma_write_poll_lat"),
            *("rc_compare_swap_mr", "rc_fetch_add_mr", "ver_rc_compare_swap", "ver_rc_fetch_add"),
        )
    ),
    qperf("rc_lat", fails=NO_GRH, error="failed to modify QP to RTR: Invalid argument"),
    qperf("uc_lat", fails=NO_GRH, error="failed to modify QP to RTR: Invalid argument"),
    qperf("ud_lat", fails=NO_GRH, error="failed to create address handle: Invalid argument"),
]


def fabric(provider: str, endpoint: str, domain: str = "{device}", size: str = "-S 4096") -> Pair:
    options = f"-p '{provider}' -e {endpoint} -c {size}".strip()
    words = f"fi_pingpong {options} -d {domain} -I 20"
    return Pair(
        f"fi_pingpong {options}", words, f"{words} {{address}}", {"tcp": FABRIC_PORT}, timeout=120
    )


FABRIC = [
    Pair("fi_info -p verbs", "", "fi_info -p verbs", says="provider: verbs"),
    fabric("verbs", "msg", size=""),
    fabric("verbs", "dgram", "{device}-dgram", size=""),
    fabric("verbs", "rdm"),
    fabric("verbs;ofi_rxm", "rdm", size="-S 65536"),
    fabric("verbs;ofi_rxd", "rdm", "{device}-dgram"),
]
RAW = [
    Pair(
        "raw_ethernet_bw",
        "",
        "raw_ethernet_bw -d {device} --client -F -n 20 -s 64 "
        "-B 02:00:00:00:00:01 -E 02:00:00:00:00:02",
        fails=NO_RAW,
        error="(?i)create QP|raw",
    )
]


@pytest.mark.parametrize(
    ("area", "table"),
    [
        ("rdma-core", PINGPONG),
        ("rdma-core", RPING),
        ("rdma-core", CM),
        ("rdma-core", RSOCKETS),
        ("qperf", QPERF),
        ("libfabric", FABRIC),
        ("perftest", RAW),
    ],
    ids=["pingpong", "rping", "cm", "rsockets", "qperf", "libfabric", "raw"],
)
def test_programs_between_two_hosts(
    lab: Lab, compat: Compatibility, area: str, table: list[Pair]
) -> None:
    pairs.check(lab, compat, area, table)


def test_a_file_copied_by_rcopy_is_the_same(lab: Lab, compat: Compatibility) -> None:
    pairs.check(lab, compat, "rdma-core", RCOPY)
    sums = [
        host.run(f"sha256sum </tmp/{name}", check=True).out
        for host, name in ((lab["a"], "received"), (lab["b"], "sent"))
    ]
    assert sums[0] == sums[1]
