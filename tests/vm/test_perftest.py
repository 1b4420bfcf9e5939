# SPDX-License-Identifier: GPL-2.0-or-later
"""perftest's whole family between two hosts, with the options that touch the device.

The exit codes count: perftest's figures mean nothing on an emulated clock. Its out-of-band TCP
goes over the cable's own interface, so nothing else joins the hosts. Debian's perftest is 25.01.
"""

from __future__ import annotations

from typing import Any

import pairs
import pytest
from compat import Compatibility
from lab.api import Lab
from pairs import Pair
from scenario import PATIENT, PERFTEST_PORT

pytestmark = pytest.mark.timeout(900)

# The multicast group 239.1.2.3 as perftest wants a GID to be written.
MGID = "0:0:0:0:0:0:0:0:0:0:255:255:239:1:2:3"
BW = "-s 65536 -n 20"
LAT = "-s 64 -n 20"
NO_XRC = "no XRC: librxe, the user-space driver that we share with Soft-RoCE, has none"
NO_DC = "DC queue pairs are a vendor's own"
NO_NULL_MR = "no null memory regions"
NO_UC_CM = "perftest itself refuses UC with rdma_cm"
NO_UC_CM_ERROR = "UC is not supported in librdmacm"
# With -R a perftest server closes one listening id and opens another; its client does not wait
# for that, is told that nobody listens, and crashes.
LISTENS_TWICE = r"RDMA_CM_EVENT_(REJECTED; error: 8|UNREACHABLE; error: 1)\b"


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return pairs.lab_options()


def pair(program: str, options: str, at: str = "{address}", before: str = "", **more: Any) -> Pair:
    """A row for a perftest program with these options, to the server `at` an address; size and
    number are small unless they say so. `before` is run before either."""
    words = f"{before}{program} -d {{device}} -F -u {PATIENT} {options}"
    default = LAT if program.endswith("_lat") else BW
    if "atomic" in program:
        default = "-n 20"
    for word in default.split()[::2]:
        if f"{word} " not in options and not (word == "-s" and "-a" in options.split()):
            words += f" {word} {default.split()[default.split().index(word) + 1]}"
    if "-x " not in options:
        words += " -x {gid}"
    by_cm = "-R" in options.split() or "-z" in options.split()
    ready = {"cm": PERFTEST_PORT} if by_cm else {"tcp": PERFTEST_PORT}
    if "-R" in options.split():
        more["again"] = LISTENS_TWICE
    how = f"{program} {options}".strip()
    for name, shown in (("{gid_ll}", "fe80::"), ("{gid6}", "IPv6"), ("{gid}", "IPv4")):
        how = how.replace(name, shown)
    return Pair(how, words, f"{words} {at}", ready, **more)


def with_options(program: str, *options: str) -> list[Pair]:
    return [
        pair(program, one, fails=NO_UC_CM, error=NO_UC_CM_ERROR)
        if "-c UC -R" in one
        else pair(program, one)
        for one in options
    ]


WRITE_BW = [
    *with_options(
        "ib_write_bw",
        *("", "-q 16", "-b", "-b -q 16", "-R", "-R -q 16", "-R -b", "-z"),
        *("-I 64 -s 64", "-I 512 -s 512 -q 16", "-c UC", "-c UC -q 16", "-c UC -b", "-c UC -R"),
        *("--write_with_imm", "--write_with_imm -q 16", "--write_with_imm -c UC"),
        *("-l 4 -s 4096", "-Q 5", "-m 1024", "-t 4", "--mr_per_qp -q 4", "--use_old_post_send"),
        *("--reversed", "-D 2 -s 4096", "--report-both -b", "--perform_warm_up", "-x {gid_ll}"),
        *("-s 8388608 -n 5", "-s 1 -q 16"),
    ),
    pair("ib_write_bw", "--ipv6-addr -x {gid6}", at="{address6}"),
    pair("ib_write_bw", "--use_hugepages", before="echo 32 >/proc/sys/vm/nr_hugepages; "),
    pair("ib_write_bw", "-c XRC", fails=NO_XRC, error="Error opening XRC domain"),
    pair("ib_write_bw", "-c DC", fails=NO_DC, error="Unable to create QP"),
    pair("ib_write_bw", "--odp", fails=pairs.NO_ODP, error="does not support On-Demand Paging"),
    pair("ib_write_bw", "--use-null-mr", fails=NO_NULL_MR, error="Couldn't create null MR"),
]
WRITE_LAT = with_options(
    "ib_write_lat",
    *("", "-R", "-I 64", "-I 512 -s 512", "-c UC", "-c UC -R", "-s 65536"),
    *("--write_with_imm", "--write_with_imm -c UC", "-x {gid_ll}"),
)
READ_BW = with_options(
    "ib_read_bw",
    *("", "-q 16", "-b", "-b -q 16", "-R", "-R -q 16", "-e", "-e -q 16", "-o 1", "-o 16 -q 4"),
    *("-l 4 -s 4096", "-m 256 -s 4096", "-D 2 -s 4096", "-s 8388608 -n 5"),
)
READ_LAT = with_options("ib_read_lat", "", "-R", "-e", "-s 65536", "-o 1")
SEND_BW = with_options(
    "ib_send_bw",
    *("", "-q 16", "-b", "-b -q 16", "-R", "-R -q 16", "-R -b", "-a -n 5", "-e", "-e -q 16"),
    *("--use-srq", "--use-srq -q 16", "--use-srq -R -q 4", "--use-srq -e -q 4"),
    *("-I 64 -s 64", "-I 512 -s 512 -q 16", "-r 1 -s 1024", "-l 4 -s 4096", "--reversed"),
    *("-c UC", "-c UC -q 16", "-c UC -b", "-c UC -R", "-c UC -e", "-c UC --use-srq"),
    *("-c UD -s 4096", "-c UD -s 1024 -q 16", "-c UD -s 1024 -b", "-c UD -s 1024 -R"),
    *("-c UD -s 1024 -e", "-c UD -s 256 -I 256", "-c UD -s 1024 --use-srq"),
    *(
        "-c UD -s 1024 -g -x {gid6}",
        f"-c UD -s 1024 -g -x {{gid}} -M {MGID}",
        "-D 2 -s 4096",
        "--recv_post_list 4 -s 4096",
    ),
)
SEND_LAT = with_options(
    "ib_send_lat",
    *("", "-R", "-e", "--use-srq", "-I 64", "-I 512 -s 512", "-s 65536"),
    *("-c UC", "-c UC -R", "-c UC -e", "-c UD", "-c UD -R", "-c UD -e", "-c UD --use-srq"),
    *("-c UD -g -x {gid6}", f"-c UD -g -x {{gid}} -M {MGID}"),
)
ATOMIC_BW = with_options(
    "ib_atomic_bw",
    *("", "-A CMP_AND_SWAP", "-q 16", "-b", "-b -q 16", "-R", "-R -q 16", "-e", "-o 1", "-o 16"),
    *("-A CMP_AND_SWAP -b -q 16", "-A CMP_AND_SWAP -e"),
)
ATOMIC_LAT = with_options(
    "ib_atomic_lat", "", "-A CMP_AND_SWAP", "-R", "-e", "-o 1", "-A CMP_AND_SWAP -R"
)


@pytest.mark.parametrize(
    "table",
    [WRITE_BW, WRITE_LAT, READ_BW, READ_LAT, SEND_BW, SEND_LAT, ATOMIC_BW, ATOMIC_LAT],
    ids=lambda table: table[0].how,
)
def test_every_option_between_two_hosts(lab: Lab, compat: Compatibility, table: list[Pair]) -> None:
    pairs.check(lab, compat, "perftest", table)
