# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of kmemleak's findings are laid at ib_uverbs' door."""

from __future__ import annotations

import pytest
from vm.scenario import of_lost_task

FOUND = """ 0xffff888012512fe0 (size 8):
  comm "{comm}", pid 249, jiffies 4294970672
  backtrace (crc 4225077d):
    {first}+0x748/0x9f0
    {second}+0x44/0xe0
"""


@pytest.mark.parametrize(
    ("comm", "first", "second", "excused"),
    [
        ("user_fuzz", "__kvmalloc_node_noprof", "groups_alloc", True),
        ("resource_caps", "kmem_cache_alloc_node_noprof", "copy_process", True),
        ("python3", "kmem_cache_alloc_node_noprof", "copy_process", False),
        ("user_fuzz", "__kmalloc_cache_noprof", "ib_uverbs_reg_mr", False),
        ("user_fuzz", "u4_mmap_open [usb4_rdma]", "copy_process", False),
    ],
)
def test_only_tasks_of_the_programs_with_refused_contexts_are_excused(
    comm: str, first: str, second: str, excused: bool
) -> None:
    assert of_lost_task(FOUND.format(comm=comm, first=first, second=second)) is excused
