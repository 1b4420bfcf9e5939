# SPDX-License-Identifier: GPL-2.0-or-later
"""What the packages say agrees with the tree: versions, file lists, the module's name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
DEBIAN = TOP / "packaging/debian"


def dkms_settings() -> dict[str, str]:
    """dkms.conf as DKMS reads it: by a shell, with DKMS's own variables set."""
    script = (
        "dkms_tree=/var/lib/dkms kernel_source_dir=/headers kernelver=6.12.0 parallel_jobs=2\n"
        f". {TOP}/dkms.conf\n"
        "for name in PACKAGE_NAME PACKAGE_VERSION BUILT_MODULE_NAME BUILT_MODULE_LOCATION "
        "DEST_MODULE_LOCATION MAKE AUTOINSTALL BUILD_EXCLUSIVE_KERNEL_MIN BUILD_EXCLUSIVE_CONFIG "
        'CLEAN REMAKE_INITRD; do echo "$name=${!name:-}"; done'
    )
    output = subprocess.run(
        ["bash", "-uc", script], check=True, capture_output=True, text=True
    ).stdout
    return dict(line.split("=", 1) for line in output.splitlines())


def changelog_version() -> str:
    match = re.match(r"usb4rdma \(([^)]+)\)", (DEBIAN / "changelog").read_text())
    assert match
    return match[1]


def test_dkms_builds_the_module_in_the_driver_folder() -> None:
    settings = dkms_settings()
    assert settings["BUILT_MODULE_NAME"] == "usb4_rdma"
    assert (TOP / settings["BUILT_MODULE_LOCATION"] / "Kbuild").is_file()
    assert "M=/var/lib/dkms/usb4rdma/" in settings["MAKE"]
    assert "-C /headers" in settings["MAKE"]


def test_kbuild_names_the_module_that_dkms_installs() -> None:
    kbuild = (TOP / "driver/Kbuild").read_text()
    assert re.search(r"^obj-\S+\s*:?\+?=\s*usb4_rdma\.o", kbuild, re.MULTILINE)


def test_unsuitable_kernels_are_skipped_not_failed() -> None:
    settings = dkms_settings()
    assert settings["AUTOINSTALL"] == "yes"
    assert settings["BUILD_EXCLUSIVE_KERNEL_MIN"] == "6.12"
    assert {"CONFIG_USB4", "CONFIG_INFINIBAND", "CONFIG_INFINIBAND_USER_ACCESS"} <= set(
        settings["BUILD_EXCLUSIVE_CONFIG"].split()
    )


@pytest.mark.parametrize("name", ["CLEAN", "REMAKE_INITRD"])
def test_no_deprecated_dkms_setting(name: str) -> None:
    assert dkms_settings()[name] == ""


def test_one_version_everywhere() -> None:
    source = (TOP / "usb4rdmad/__init__.py").read_text()
    match = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    assert match
    assert match[1] == changelog_version() == dkms_settings()["PACKAGE_VERSION"]


def test_every_common_file_is_installed(tmp_path: Path) -> None:
    subprocess.run([TOP / "packaging/install-common", tmp_path], check=True)
    installed = {path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    common = [path for path in (TOP / "packaging/common").rglob("*") if path.is_file()]
    assert common
    for path in common:
        if path.name != "README.md":
            assert path.read_bytes() in installed, path.name


def test_every_listed_source_exists() -> None:
    for listing in DEBIAN.glob("*.install"):
        for line in listing.read_text().splitlines():
            source = line.split()[0]
            if source not in ("usr", "etc"):  # these the build makes
                assert list(TOP.glob(source)), f"{listing.name}: {source}"


def test_binary_packages_depend_on_each_other_in_one_version() -> None:
    control = (DEBIAN / "control").read_text()
    for package in ("usb4rdma-dkms", "usb4rdmad"):
        assert f"{package} (= ${{source:Version}})" in control


def test_shell_scripts_are_executable() -> None:
    for script in (
        TOP / ".ci/run",
        TOP / ".ci/bootstrap",
        TOP / "packaging/install-common",
        DEBIAN / "rules",
    ):
        assert script.stat().st_mode & 0o111, script
