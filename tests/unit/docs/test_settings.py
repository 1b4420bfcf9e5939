# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of settings call tested only what tests do, and say where nothing was run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_pages import Page

TOP = Path(__file__).resolve().parents[3]
VM = TOP / "tests/vm"


def source(*names: str) -> str:
    """The text of files of tests/vm."""
    return "\n".join((VM / name).read_text(encoding="utf-8") for name in names)


def test_variables_on_the_page_of_mpi_are_those_of_its_tests(pages: dict[Path, Page]) -> None:
    text = pages[TOP / "docs/mpi.md"].text
    named = set(re.findall(r"\b(?:UCX|FI)_[A-Z_]+\b", text))
    tested = source("mpirun.py", "test_mpi.py")
    assert "UCX_IB_GID_INDEX" in named and "FI_VERBS_IFACE" in named
    for name in named:
        assert name in tested, name
    for words in ("--mca pml ucx", "--mca osc ucx", "--mca pml cm --mca mtl ofi", "mpiexec.mpich"):
        assert words in " ".join(text.replace("\\\n", " ").split()) and words in tested, words


def test_commands_on_the_page_of_storage_are_those_of_its_tests(pages: dict[Path, Page]) -> None:
    text = pages[TOP / "docs/storage.md"].text
    tested = source("guest/storage_target.sh", "guest/storage_initiator.sh", "test_storage.py")
    for words in (
        "nvme connect -t rdma -a",
        "nvmet-rdma",
        "attr_allow_any_host",
        "addr_trtype",
        "proto=rdma,port=20049,nolock,mountproto=tcp",
        "vers=4.2,proto=rdma,port=20049",
        "rpc.nfsd --rdma=20049",
        "-I iser -o new",
        "trans=rdma",
        "version=9p2000.L",
    ):
        assert words in text and words in tested, words


@pytest.mark.parametrize("name", ["nccl", "vllm", "pytorch"])
def test_a_page_of_what_no_test_runs_says_so(pages: dict[Path, Page], name: str) -> None:
    """Whoever writes a test of these takes its name out of here."""
    assert re.search(r"^> \*\*Not run", pages[TOP / f"docs/{name}.md"].text, re.MULTILINE)
