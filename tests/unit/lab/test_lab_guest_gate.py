# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate opener speaks the driver's interface as its header defines it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from lab.paths import GUEST_FILES, REPOSITORY

HEADERS = REPOSITORY / "driver/include/uapi"

PROGRAM = r"""
#include <stddef.h>
#include <stdio.h>
#include <rdma/usb4_rdma.h>
#define FIELD(type, name) printf(#type "." #name " %zu\n", offsetof(struct type, name))
int main(void)
{
	printf("IOC_LINK_ID %lu\n", (unsigned long)USB4_RDMA_IOC_LINK_ID);
	printf("IOC_AUTHORIZE %lu\n", (unsigned long)USB4_RDMA_IOC_AUTHORIZE);
	printf("LINK_ID %zu\n", sizeof(struct usb4_rdma_link_id));
	printf("AUTHORIZE %zu\n", sizeof(struct usb4_rdma_authorize));
	printf("GONE %d\n", USB4_RDMA_LINK_GONE);
	printf("READY %d\n", USB4_RDMA_LINK_READY);
	FIELD(usb4_rdma_link_id, epoch);
	FIELD(usb4_rdma_link_id, instance);
	FIELD(usb4_rdma_link_id, state);
	FIELD(usb4_rdma_authorize, epoch);
	FIELD(usb4_rdma_authorize, instance);
	FIELD(usb4_rdma_authorize, peer);
	FIELD(usb4_rdma_authorize, local);
	FIELD(usb4_rdma_authorize, flags);
	return 0;
}
"""


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_guest_gate", GUEST_FILES / "gate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the C compiler makes of the header."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("no C compiler; `make bootstrap` installs one")
    folder = tmp_path_factory.mktemp("gate")
    source, program = folder / "gate.c", folder / "gate"
    source.write_text(PROGRAM, encoding="ascii")
    subprocess.run([compiler, f"-I{HEADERS}", str(source), "-o", str(program)], check=True)
    text = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def test_the_commands_have_the_headers_numbers(header: dict[str, int]) -> None:
    gate = load()
    assert header["IOC_LINK_ID"] == gate.IOC_LINK_ID
    assert header["IOC_AUTHORIZE"] == gate.IOC_AUTHORIZE


def test_the_structures_have_the_headers_layout(header: dict[str, int]) -> None:
    gate = load()
    assert header["LINK_ID"] == gate.LINK_ID.size
    assert header["AUTHORIZE"] == gate.AUTHORIZE.size
    one = gate.AUTHORIZE.pack(b"h" * 16, 1, 2, b"p" * 32, b"l" * 32, 3, 0)
    assert one[header["usb4_rdma_authorize.epoch"]] == 1
    assert one[header["usb4_rdma_authorize.instance"]] == 2
    assert one[header["usb4_rdma_authorize.peer"]] == ord("p")
    assert one[header["usb4_rdma_authorize.local"]] == ord("l")
    assert one[header["usb4_rdma_authorize.flags"]] == 3
    two = gate.LINK_ID.pack(b"", b"", 5, 0, 6, 2, 1)
    assert two[header["usb4_rdma_link_id.epoch"]] == 5
    assert two[header["usb4_rdma_link_id.instance"]] == 6
    assert two[header["usb4_rdma_link_id.state"]] == 2


def test_states_are_counted_as_the_header_counts(header: dict[str, int]) -> None:
    gate = load()
    assert gate.STATES.index("gone") == header["GONE"]
    assert gate.STATES.index("ready") == header["READY"]


def test_an_identity_is_that_of_the_host_and_never_zero() -> None:
    gate = load()
    assert gate.identity("x") == gate.identity("x") != gate.identity("y")
    assert len(gate.identity("")) == 32
    assert any(gate.identity(""))


def test_the_guest_programs_need_no_installed_package() -> None:
    for program in ("agent.py", "gate.py", "wait-links"):
        first = (GUEST_FILES / program).read_text(encoding="utf-8").splitlines()[0]
        assert first == "#!/usr/bin/python3 -IS", Path(program)
