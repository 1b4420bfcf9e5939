# SPDX-License-Identifier: GPL-2.0-or-later
"""The pyudev adapter and the driver adapter on umockdev's fake sysfs and uevents."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PYTHON = "/usr/bin/python3"
PROGRAM = """
import asyncio, json, os
from pathlib import Path
import gi
gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev
bed = UMockdev.Testbed.new()
from usb4rdmad.driver import SysfsDriver
from usb4rdmad.udev import Udev

ATTRIBUTES = ["state", "handshake", "instance", "0", "route", "0x3"]
domain = bed.add_device("thunderbolt", "domain0", None, [], ["DEVTYPE", "thunderbolt_domain"])
xdomain = bed.add_device("thunderbolt", "0-3", domain, ["device_name", "mars"],
                         ["DEVTYPE", "thunderbolt_xdomain"])
service = bed.add_device("thunderbolt", "0-3.0", xdomain, [], ["DEVTYPE", "thunderbolt_service"])

async def story():
    seen = []
    got = asyncio.Event()
    def note(what):
        def heard(*name):
            seen.append([what, *name])
            got.set()
        return heard
    async def until(entry):
        async with asyncio.timeout(60):
            while entry not in seen:
                got.clear()
                await got.wait()
    udev = Udev(note("changed"), note("removed"), note("resync"),
                note("routers"))
    udev.start()
    driver = SysfsDriver(Path("/sys"))
    link = bed.add_device("usb4rdma", "link0", service, ATTRIBUTES, [])
    await until(["changed", "link0"])
    read = driver.read("link0")
    out = {"names": driver.names(), "place": read.place, "remote": read.remote_name,
           "state": read.state.value}
    seen.clear()
    bed.set_attribute(link, "state", "ready")
    bed.set_attribute(link, "instance", "7")
    bed.uevent(link, "change")
    await until(["changed", "link0"])
    out["instance"] = driver.read("link0").instance
    bed.set_attribute(xdomain, "device_name", "venus")
    bed.uevent(xdomain, "change")
    await until(["routers"])
    out["routers"] = True
    other = bed.add_device("block", "sdx", None, [], [])
    bed.uevent(link, "remove")
    await until(["removed", "link0"])
    bed.remove_device(link)
    out["gone"] = driver.read("link0") is None
    out["foreign"] = [s for s in seen if "sdx" in s]
    udev.stop()
    print(json.dumps(out))

asyncio.run(story())
"""


def test_links_are_followed_from_the_first_uevent_to_the_last() -> None:
    wrapper = shutil.which("umockdev-wrapper")
    probe = "import gi; gi.require_version('UMockdev', '1.0'); from gi.repository import UMockdev"
    if wrapper is None or not Path(PYTHON).exists():
        pytest.skip("umockdev is not installed")
    if subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("gir1.2-umockdev-1.0 or python3-gi is not installed")
    paths = f"{TOP}:{sysconfig.get_path('purelib')}"
    done = subprocess.run(
        [wrapper, PYTHON, "-c", PROGRAM],
        env=dict(os.environ, PYTHONPATH=paths, PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "names": ["link0"],
        "place": "0-3",
        "remote": "mars",
        "state": "handshake",
        "instance": 7,
        "gone": True,
        "routers": True,
        "foreign": [],
    }
