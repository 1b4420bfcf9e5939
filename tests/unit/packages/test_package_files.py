# SPDX-License-Identifier: GPL-2.0-or-later
"""What the packages say agrees with the tree: versions, file lists, the module's name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import versions

TOP = Path(__file__).resolve().parents[3]
DEBIAN = TOP / "packaging/debian"


def dkms_settings() -> dict[str, str]:
    """dkms.conf as DKMS reads it: by a shell, with DKMS's own variables set."""
    script = (
        "dkms_tree=/var/lib/dkms kernel_source_dir=/headers kernelver=6.12.0 parallel_jobs=2\n"
        f". {TOP}/dkms.conf\n"
        "for name in PACKAGE_NAME PACKAGE_VERSION BUILT_MODULE_NAME BUILT_MODULE_LOCATION "
        "DEST_MODULE_LOCATION MAKE PRE_BUILD AUTOINSTALL "
        "BUILD_EXCLUSIVE_KERNEL_MIN BUILD_EXCLUSIVE_CONFIG "
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
    found = versions.everywhere()
    assert set(found.values()) == {changelog_version()}, found
    assert dkms_settings()["PACKAGE_VERSION"] == changelog_version()


def test_a_copy_of_the_tree_gets_another_version(tmp_path: Path) -> None:
    for name in versions.PLACES:
        path = tmp_path / name.replace("packaging/debian/", "debian/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((TOP / name).read_bytes())
    versions.rewrite(tmp_path, "9.8.7")
    for name in versions.PLACES:
        before = (TOP / name).read_text(encoding="utf-8")
        after = (tmp_path / name.replace("packaging/debian/", "debian/")).read_text("utf-8")
        assert after != before, name
        assert after.replace("9.8.7", versions.current(), 1) == before, name


def test_a_module_that_does_not_compile_is_skipped(tmp_path: Path) -> None:
    """Whatever make says: DKMS takes 77 for "not for this kernel"; only a package test fails."""
    (tmp_path / "driver").mkdir()
    prebuild = tmp_path / "driver/dkms-prebuild"
    prebuild.write_bytes((TOP / "driver/dkms-prebuild").read_bytes())
    (tmp_path / "headers").mkdir()
    makefile = tmp_path / "headers/Makefile"
    words = ["sh", str(prebuild), "9.9.9", str(tmp_path / "headers"), "1"]

    def run(rule: str, **env: str) -> int:
        makefile.write_text(f"modules:\n\t@{rule}\n")
        done = subprocess.run(
            words, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, check=False
        )
        return done.returncode

    assert run('test "$(M)" = ' + f'"{tmp_path}/driver" -a "$(KERNELRELEASE)" = 9.9.9') == 0
    assert run("false") == 77
    assert run("false", AUTOPKGTEST_TMP="/tmp") == 1


def test_dkms_runs_what_says_so() -> None:
    program, *arguments = dkms_settings()["PRE_BUILD"].split()
    assert (TOP / program).stat().st_mode & 0o111
    assert arguments == ["6.12.0", "/headers", "2"]


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
        TOP / "driver/dkms-prebuild",
        DEBIAN / "rules",
        DEBIAN / "tests/installed-files",
        DEBIAN / "tests/daemon-on-bus",
    ):
        assert script.stat().st_mode & 0o111, script


def test_the_catalogue_of_software_centres_knows_the_drivers_alias() -> None:
    """The alias that the module has for a host that offers our service."""
    source = (TOP / "driver/link/service.c").read_text()
    key, protocol = re.findall(r'TB_SERVICE\("(\w+)", (\d+)\)', source)[0]
    tree = ElementTree.parse(TOP / "packaging/common/org.usb4rdma.usb4rdma.metainfo.xml")
    provided = [element.text for element in tree.iterfind("provides/modalias")]
    assert provided == [f"tbsvc:k{key}p{int(protocol):08X}v*r*"]


def test_every_package_test_is_there() -> None:
    names = re.findall(r"^Tests: (.+)$", (DEBIAN / "tests/control").read_text(), re.M)
    assert names
    scripts = {path.name for path in (DEBIAN / "tests").iterdir()} - {"control"}
    assert set(names) == scripts


@pytest.mark.parametrize(
    "script",
    sorted(p.name for p in DEBIAN.glob("*.p*") if p.suffix in (".postinst", ".prerm", ".postrm")),
)
def test_maintainer_scripts_stop_at_the_first_error(script: str) -> None:
    text = (DEBIAN / script).read_text()
    assert "\nset -e\n" in text
    assert "\n#DEBHELPER#\n" in text
