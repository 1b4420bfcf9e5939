# SPDX-License-Identifier: GPL-2.0-or-later
"""What dpkg does with the packages: nothing is left behind, nothing is lost, nothing blocks apt.

In a Debian root without a kernel of its own. With USB4RDMA_LONG=1 DKMS compiles the module at
each step; else only where the step is about that.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import build_debs
import build_repo
import pytest
from lab import images, kernels
from lab.kernels import Kernel
from lifefacts import Facts
from rooms import APT, Room

TOP = Path(__file__).resolve().parents[2]
DIST = TOP / "dist"
OTHER = TOP / "build/other-version"
OLD, NEW = "0.1.0", "0.1.1"
LONG = os.environ.get("USB4RDMA_LONG") == "1"
MODULES = "find /usr/lib/modules -name 'usb4_rdma.ko*'"
INSTALL = f"{APT} install --no-install-recommends --allow-downgrades"
KEY = "/var/lib/usb4rdma/identity"

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return kernels.ensure(kernels.DEFAULT)


@pytest.fixture(scope="module")
def packages() -> None:
    """The packages, and the same of another version."""
    build_debs.build(DIST)
    build_debs.build(OTHER, version=NEW)
    assert build_debs.versions.current() == OLD, "the tests of packages want another NEW"


def room(root: Path, *binds: tuple[Path, str]) -> Iterator[Room]:
    with tempfile.TemporaryDirectory(prefix="room-", ignore_cleanup_errors=True) as scratch:
        made = Room(root, Path(scratch) / "s", ((DIST, "/packages/old"), *binds))
        made.scratch.mkdir()
        try:
            yield made
        finally:
            made.remove()


@pytest.fixture
def bare(kernel: Kernel, packages: None) -> Iterator[Room]:
    """A root with DKMS and headers, without us."""
    yield from room(
        images.dkms_root(kernel, images.extended_root(()), ""), (OTHER, "/packages/new")
    )


@pytest.fixture
def installed(kernel: Kernel, packages: None) -> Iterator[Room]:
    """The same with our packages installed."""
    yield from room(
        images.installed_root(kernel, images.extended_root(()), ""), (OTHER, "/packages/new")
    )


def state(here: Room) -> str:
    """The versions that dpkg and DKMS have, and whose source is there."""
    return here.out(
        "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n' 'usb4rdma*' | grep -v un;"
        "dkms status usb4rdma | sed 's|[,:].*||'; ls -d /usr/src/usb4rdma-* 2>/dev/null || true"
    )


def of_version(version: str, dkms: bool = True) -> str:
    """What state() is when this version is installed; without `dkms`, DKMS was kept out of it."""
    packages = ("usb4rdma", "usb4rdma-dkms", "usb4rdmad")
    listed = "".join(f"{name} {version} ii \n" for name in packages)
    known = f"usb4rdma/{version}\n" if dkms else ""
    return f"{listed}{known}/usr/src/usb4rdma-{version}"


def test_two_builds_are_the_same_bytes(packages: None) -> None:
    """In another folder, at another time and place, by somebody with another umask."""
    with tempfile.TemporaryDirectory(prefix="again-") as work:
        again = Path(work) / "out"
        again.mkdir()
        build_debs.compile_to(
            again,
            Path(work) / "log",
            folder="/tmp/some/where/else",
            umask="077",
            clock="1000000000",
        )
        made = sorted(p.name for p in again.iterdir() if p.suffix in (".deb", ".dsc", ".xz"))
        assert len(made) == 5, made
        different = [n for n in made if (again / n).read_bytes() != (DIST / n).read_bytes()]
    assert not different


def test_upgrade_downgrade_remove_reinstall_purge(
    installed: Room, bare: Room, kernel: Kernel
) -> None:
    facts = Facts("Debian 13 root entered by chroot, compiled at the machine's own speed")
    if not LONG:
        installed.run("touch /etc/dkms/no-autoinstall")
    built = f"{MODULES} | grep -c {kernel.version}/updates/dkms/" if LONG else "echo 1"
    installed.run(
        "echo '# mine' >> /etc/usb4rdma/usb4rdmad.toml; mkdir -p /etc/usb4rdma/usb4rdmad.toml.d;"
        f"echo '[pairing]' > /etc/usb4rdma/usb4rdmad.toml.d/mine.toml; echo secret > {KEY};"
        f"chown usb4rdma:usb4rdma {KEY}; chmod 600 {KEY}"
    )
    kept = f"tail -n 1 /etc/usb4rdma/usb4rdmad.toml; stat -c %U:%a {KEY}; cat {KEY}"
    mine = "# mine\nusb4rdma:600\nsecret"

    with facts.timed("upgrade to another version"):
        installed.run(f"{INSTALL} /packages/new/*.deb")
    assert state(installed) == of_version(NEW, LONG)
    assert installed.out(built) == "1" and installed.out(kept) == mine
    assert installed.out("usb4rdmad --version").endswith(NEW)

    with facts.timed("downgrade"):
        installed.run(f"{INSTALL} /packages/old/*.deb")
    assert state(installed) == of_version(OLD, LONG)
    assert installed.out(built) == "1" and installed.out(kept) == mine

    with facts.timed("remove"):
        installed.run(f"{APT} remove usb4rdma usb4rdmad usb4rdma-dkms")
    assert not installed.out(MODULES)
    assert not installed.out("dkms status usb4rdma")
    assert installed.out(kept) == mine, "removal is not purge: keys and settings stay"
    assert not installed.out("ls -d /usr/src/usb4rdma-* 2>/dev/null || true")

    with facts.timed("install again"):
        installed.run(f"{INSTALL} /packages/old/*.deb")
    assert state(installed) == of_version(OLD, LONG) and installed.out(kept) == mine
    assert installed.out(built) == "1"

    with facts.timed("purge"):
        installed.run(
            f"{APT} purge usb4rdma usb4rdmad usb4rdma-dkms; rm -f /etc/dkms/no-autoinstall"
        )
    # What stays on purpose: the system user's entry, DKMS's own key, logs. What dpkg and depmod
    # write anew at each run is not ours to judge.
    own = re.compile(
        r"/var/lib/dkms/(mok\.(key|pub)|dkms_dbversion)$|/var/lib/systemd/(catalog|deb-systemd)|"
        r"/etc/(passwd|group|shadow|gshadow)-$|/__pycache__|/etc/dkms|/lib/modules/[^/]+/updates$|"
        r"/etc/systemd/system/[^/]+\.target\.wants$"
    )
    left = {name for name in installed.files() - bare.files() if not own.search(name)}
    assert not left, sorted(left)
    assert not installed.out(
        "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' | grep usb4 || true"
    )
    facts.add(
        "files left after purge", remark="none but the system user's entry and DKMS's own key"
    )
    if LONG:
        facts.write("chroot")


def test_a_module_that_does_not_compile_does_not_break_apt(bare: Room, kernel: Kernel) -> None:
    """Neither our installation nor a kernel's, and the cure works when there is one."""
    headers = f"/usr/src/linux-headers-{kernel.version.removesuffix('-amd64')}-common"
    header = f"{headers}/include/linux/thunderbolt.h"
    bare.run(f"mv {header} {header}.away")
    said = bare.out(f"{INSTALL} /packages/old/*.deb 2>&1")
    assert "error processing package" not in said, said
    assert state(bare) == of_version(OLD)
    assert not bare.out(MODULES)
    # dpkg has nothing left to do, and the next kernel's own hook ends well.
    bare.run(f"dpkg --audit; apt-get check; {APT} -f install; dpkg --configure -a")
    said = bare.out(f"/etc/kernel/postinst.d/dkms {kernel.version} /boot/vmlinuz 2>&1")
    assert "skipped for module(s) usb4rdma" in said, said
    log = bare.out("cat /var/lib/dkms/usb4rdma/*/build/make.log")
    assert f"usb4_rdma cannot be built for Linux {kernel.version}" in log
    doctor = bare.out("usb4rdmactl doctor --json || true")
    assert "module-not" in doctor or "headers-missing" in doctor, doctor
    # A package test wants to see it fail.
    assert bare.run(
        f"dkms build -m usb4rdma -v {OLD} -k {kernel.version}", check=False, AUTOPKGTEST_TMP="/tmp"
    ).returncode not in (0, 77)
    # The header is back: what the next boot or `dkms autoinstall` does.
    bare.run(f"mv {header}.away {header}")
    if LONG:
        bare.run(f"dkms autoinstall -k {kernel.version}")
        assert bare.out(f"modinfo -k {kernel.version} -F version usb4_rdma") == OLD
    bare.run(f"{APT} purge usb4rdma usb4rdmad usb4rdma-dkms")
    assert not bare.out("dkms status usb4rdma")


def test_install_from_the_signed_repository(bare: Room, kernel: Kernel) -> None:
    """`make repo`'s repository, as its README says; one that was tampered with is refused."""
    facts = Facts("Debian 13 root entered by chroot, compiled at the machine's own speed")
    with tempfile.TemporaryDirectory(prefix="repo-") as work:
        repo = Path(work) / "repo"
        build_repo.publish(build_repo.contents(DIST), repo)
        here = Room(bare.root, bare.scratch, (*bare.binds, (repo, "/repository")))
        if not LONG:
            here.run("touch /etc/dkms/no-autoinstall")
        (repo / "usb4rdma.sources").write_text(build_repo.sources("file:/repository"))
        here.run(
            f"cp /repository/{build_repo.KEYRING} /usr/share/keyrings/;"
            "cp /repository/usb4rdma.sources /etc/apt/sources.list.d/;"
            "rm -f /etc/apt/sources.list; find /etc/apt/sources.list.d -name '*.list' -delete"
        )
        with facts.timed("apt-get update && apt-get install usb4rdma, from a signed repository"):
            here.run(f"apt-get -q update; {INSTALL} usb4rdma")
        assert state(here) == of_version(OLD, LONG)
        assert "file:/repository" in here.out("apt-cache policy usb4rdma")
        assert OLD in here.out("cd /tmp; apt-get -q source --download-only usb4rdma; ls *.dsc")
        if LONG:
            assert here.out(f"modinfo -k {kernel.version} -F version usb4_rdma") == OLD
            facts.write("repository")

        release = repo / "InRelease"
        release.write_text(release.read_text().replace("Label: usb4rdma", "Label: usb4rdmx"))
        (repo / "Release").unlink()
        said = here.run("apt-get -q update -o APT::Update::Error-Mode=any", check=False)
        assert said.returncode != 0 and "signature verification failed" in said.stdout
