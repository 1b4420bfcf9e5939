# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the objects of slab caches are, by the kernel's traces of their making."""

from __future__ import annotations

import subprocess
from pathlib import Path

import holdings

END = ["do_syscall_64+0xea/0x640", "entry_SYSCALL_64_after_hwframe+0x76/0x7e"]
INIT = ["do_one_initcall+0x5c/0x300", "do_init_module+0x60/0x250", *END]
PROBE = ["really_probe+0xde/0x340", "driver_probe_device+0x1e/0x90"]
OURS = "u4_qp_create+0x2b/0x340 [usb4_rdma]"


def told(tmp_path: Path, *traces: tuple[int, list[str]], wanted: str = "") -> str:
    """What the script says of these objects: (how many, their calls, the innermost first)."""
    text = ""
    for number, (first, *calls) in traces:
        lines = [f"{number:7} {first} waste=8/8 age=1 pid=1", *(" " * 8 + call for call in calls)]
        text += "\n".join(lines) + "\n\n"
    (tmp_path / "alloc_traces").write_text(text, encoding="utf-8")
    script = holdings._SLAB.replace("WANTED", wanted).replace("echo 2 >", "true ")
    script = script.replace("/sys/kernel/debug/slab/kmalloc*", str(tmp_path))
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


def count(tmp_path: Path, *traces: tuple[int, list[str]]) -> dict[str, int]:
    """How many of them it counts, by name."""
    lines = told(tmp_path, *traces).splitlines()
    return {name: int(number) for name, number in map(str.split, lines)}


def test_an_object_is_the_innermost_function_of_ours(tmp_path: Path) -> None:
    within = ["kmalloc_array+0x1/0x2", OURS, "u4_other+0x1/0x2 [usb4_rdma]", *END]
    assert count(tmp_path, (3, [OURS, *END]), (4, within)) == {"slab:u4_qp_create": 7}


def test_others_are_not_counted(tmp_path: Path) -> None:
    theirs = ["ib_alloc+0x1/0x2 [ib_core]", *END]
    assert count(tmp_path, (3, theirs), (2, ["ib_mad_post_receive+0x1/0x2", OURS, *END])) == {}


def test_who_is_bound_to_us_is_the_cores_and_what_our_probe_makes_is_ours(tmp_path: Path) -> None:
    binding = ["kmalloc+0x1/0x2", *PROBE, "0xffffffffc0518044", *INIT]
    assert count(tmp_path, (3, binding), (1, [OURS, *PROBE, *END])) == {"slab:u4_qp_create": 1}


def test_a_function_that_is_gone_is_unknown(tmp_path: Path) -> None:
    gone = ["kmalloc+0x1/0x2", "0xffffffffc0518044", *END]
    assert count(tmp_path, (5, gone)) == {"slab:unknown": 5}


def test_what_inits_made_is_one_count_whatever_lies_there_now(tmp_path: Path) -> None:
    traces = [
        (number, ["alloc_workqueue+0x57/0x80", there, *INIT])
        for number, there in [(1, "0xffffffffc0518044"), (2, OURS), (4, "nfs_x+0x1/0x2 [nfs]")]
    ]
    deeper = ["iwpm_init+0x23/0xd0 [iw_cm]", "0xffffffffc0518024", *INIT]
    assert count(tmp_path, *traces, (8, deeper)) == {"slab:init": 15}
    # The kernel's own inits are none of a module's.
    assert count(tmp_path, (9, ["x+0x1/0x2", "do_one_initcall+0x5c/0x300", "kernel_init"])) == {}


def test_the_traces_of_a_count_are_told(tmp_path: Path) -> None:
    text = told(tmp_path, (3, ["kmalloc+0x1/0x2", OURS, *END]), wanted="slab:u4_qp_create")
    assert OURS in text and END[1] in text
