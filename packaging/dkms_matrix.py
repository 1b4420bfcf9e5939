#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the module by DKMS for every kernel header package that Debian offers (`make dkms-matrix`).

Each release has a root of its own with its own DKMS and its own compilers. Which packages there
are is asked of apt, every time. A kernel that the driver supports must build, unless it was
configured without what the driver needs; any other kernel must be refused by DKMS itself, by what
dkms.conf says, which is what keeps it from breaking an upgrade. The table goes to
build/results/dkms-matrix.json, `make docs-data` writes docs/kernels.md of it. Rows of the same
sources are not built again, so a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab import cache, chroot, paths, roots, sources  # noqa: E402
from lab.errors import BuildError, LabError  # noqa: E402
from lab.progress import say, step  # noqa: E402

RESULT = TOP / "build/results/dkms-matrix.json"
MODULE = "usb4rdma"
# The newest kernel that the driver was made for; a newer one may fail, but is shown.
NEWEST = (7, 3)
PACKAGE = re.compile(r"^linux-headers-(\d+)\.(\d+)\S*-amd64$")
# Of kernels that are too old, this many of each release show that they are refused.
TOO_OLD = 1

FLAVOURS = ("", "cloud", "rt")

NOT_INSTALLED, META = 90, 91

# In the root: /matrix has dkms.conf and driver/. The last line is for us to read.
_PREPARE = r"""
set -e
printf '%s\n' "$SECURITY" > /etc/apt/sources.list.d/security.list
apt-get update -q
cp -r /matrix "/usr/src/$SOURCE"
"""

_ONE = r"""
kernel=${NAME#linux-headers-}
if ! apt-get install -y --no-install-recommends "$NAME=$VERSION"; then exit 90; fi
if [ ! -d "/usr/src/$NAME" ]; then exit 91; fi
number=${SOURCE#*-}
start=$(date +%s)
dkms add -m "${SOURCE%-*}" -v "$number" || exit 1
# A module that does not compile is a failure here, see driver/dkms-prebuild.
export AUTOPKGTEST_TMP=/tmp
dkms build -m "${SOURCE%-*}" -v "$number" -k "$kernel" -j $(($(nproc) * 2))
code=$?
seconds=$(($(date +%s) - start))
log=/var/lib/dkms/${SOURCE%-*}/$number/build/make.log
if [ $code != 0 ] && [ -e "$log" ]; then tail -n 30 "$log"; fi
built=$(find "/var/lib/dkms/${SOURCE%-*}/$number/$kernel" -name 'usb4_rdma.ko*' 2>/dev/null)
magic=
if [ -n "$built" ]; then magic=$(modinfo -F vermagic "$built"); fi
missing=
for option in $(. "/usr/src/$SOURCE/dkms.conf" 2>/dev/null; echo $BUILD_EXCLUSIVE_CONFIG); do
    grep -q "^$option=[ym]" "/usr/src/$NAME/.config" || missing="$missing $option"
done
cc='s/^CONFIG_CC_VERSION_TEXT="\([^ ]*\) .*) \(.*\)"$/\1 \2/p'
compiler=$(sed -n "$cc" "/usr/src/$NAME/.config")
dkms remove -m "${SOURCE%-*}" -v "$number" --all >/dev/null 2>&1
dpkg=$(dpkg-query -W -f '${Version}' dkms)
printf '\nMATRIX|%s|%s|%s|%s|%s|%s\n' $code $seconds "$magic" "${missing# }" "$compiler" "$dpkg"
"""


@dataclass(frozen=True)
class Release:
    """A Debian release: whose DKMS and compilers, and where its kernels come from."""

    name: str
    suites: tuple[str, ...]
    security: bool = True

    def root(self) -> roots.RootSpec:
        """DKMS and what it needs to build a module."""
        return roots.RootSpec(
            name=f"dkms-matrix-{self.name}",
            packages=("dkms", "gcc", "make", "kmod", "openssl"),
            suites=self.suites,
        )

    def security_line(self) -> str:
        """The security archive stands beside the other on every full mirror."""
        if not self.security:
            return ""
        archive = f"{sources.mirror()}-security"
        return f"deb [signed-by={sources.KEYRING}] {archive} {self.name}-security main"


RELEASES = (
    Release("sid", ("sid", "experimental"), security=False),
    Release("forky", ("forky", "forky-updates")),
    Release("trixie", ("trixie", "trixie-updates", "trixie-backports")),
    Release("bookworm", ("bookworm", "bookworm-updates", "bookworm-backports")),
)


@dataclass(frozen=True)
class Offer:
    """A header package as apt offers it."""

    package: str
    version: str
    suite: str

    @property
    def series(self) -> tuple[int, int]:
        """The kernel's series, like (6, 12)."""
        match = PACKAGE.match(self.package)
        assert match
        return int(match[1]), int(match[2])

    @property
    def flavour(self) -> str:
        """What it was built for: "" for all, or "cloud" or "rt"."""
        match = re.search(r"-(cloud|rt)-amd64$", self.package)
        return match[1] if match else ""

    @property
    def kernel(self) -> str:
        """What `uname -r` says of it."""
        return self.package.removeprefix("linux-headers-")


@dataclass(frozen=True)
class Row:
    """What DKMS did with one package. `outcome` is built, excluded, failed or uninstallable."""

    release: str
    suite: str
    package: str
    version: str
    kernel: str
    outcome: str
    seconds: int = 0
    dkms: str = ""
    compiler: str = ""
    missing: str = ""
    note: str = ""

    def key(self) -> tuple[str, str, str]:
        """What names a package of a release."""
        return self.release, self.package, self.version


def supported_from() -> tuple[int, int]:
    """BUILD_EXCLUSIVE_KERNEL_MIN of dkms.conf."""
    text = (TOP / "dkms.conf").read_text(encoding="utf-8")
    match = re.search(r'^BUILD_EXCLUSIVE_KERNEL_MIN="(\d+)\.(\d+)"$', text, re.MULTILINE)
    if match is None:
        raise SystemExit("dkms.conf has no BUILD_EXCLUSIVE_KERNEL_MIN")
    return int(match[1]), int(match[2])


def source_name() -> str:
    """The folder below /usr/src, like usb4rdma-0.1.0."""
    text = (TOP / "dkms.conf").read_text(encoding="utf-8")
    match = re.search(r'^PACKAGE_VERSION="([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise SystemExit("dkms.conf has no PACKAGE_VERSION")
    return f"{MODULE}-{match[1]}"


def export(revision: str, target: Path) -> None:
    """Lay out what DKMS builds, dkms.conf and the driver: of a commit, or as git tracks or would
    track them in the work tree."""
    git = ["git", "-C", str(TOP)]
    if revision:
        archive = [*git, "archive", revision, "dkms.conf", "driver"]
        tar = subprocess.run(archive, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x", "-C", str(target)], input=tar, check=True)
        return
    words = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        [*words, "--", "dkms.conf", "driver"], check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    for name in sorted(set(listed.split("\0"))):
        if name and (TOP / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, target / name)


def parse_madison(text: str) -> list[Offer]:
    """The lines of `apt-cache madison`: each package version once, with its first suite."""
    offers: dict[tuple[str, str], Offer] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 3 or not PACKAGE.match(fields[0]) or "Packages" not in fields[2]:
            continue
        suite = fields[2].split()[1].split("/")[0]
        offers.setdefault((fields[0], fields[1]), Offer(fields[0], fields[1], suite))
    return list(offers.values())


def numbers(version: str) -> tuple[int, ...]:
    """A sort key of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def chosen(offers: list[Offer]) -> list[Offer]:
    """Some kernels that are too old, and all from the oldest supported on: the common flavour
    first, of each the newest first."""
    by_age = sorted(offers, key=lambda offer: numbers(offer.version), reverse=True)
    ordered = sorted(by_age, key=lambda offer: FLAVOURS.index(offer.flavour))
    oldest = supported_from()
    old = [offer for offer in ordered if offer.series < oldest and not offer.flavour]
    return old[:TOO_OLD] + [offer for offer in ordered if offer.series >= oldest]


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A folder of this run; gone afterwards."""
    path = paths.cache_root() / "tmp" / f"dkms-matrix-{name}-{os.getpid()}"
    chroot.remove_tree(path)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        chroot.remove_tree(path)


class Root:
    """A release in whose root packages are tried one after the other; what they leave in it goes
    to a folder of this run."""

    def __init__(self, release: Release, scratch: Path, module: Path) -> None:
        self.release = release
        self.root = roots.ensure(release.root())
        self.scratch = scratch
        self.bind = chroot.Bind(module, "/matrix")

    def shell(self, script: str, **env: str) -> tuple[int, str]:
        """Run a script; exit code and output."""
        done = subprocess.run(
            chroot.command(
                self.root,
                ["/bin/sh", "-c", script],
                binds=[self.bind],
                scratch=self.scratch,
                env={"SOURCE": source_name(), **env},
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout

    def offers(self) -> list[Offer]:
        """What apt offers now."""
        code, output = self.shell(_PREPARE, SECURITY=self.release.security_line())
        if code != 0:
            raise BuildError(f"apt of {self.release.name} failed:\n{output[-2000:]}")
        _, names = self.shell("apt-cache pkgnames linux-headers-")
        packages = sorted({name for name in names.split() if PACKAGE.match(name)})
        return parse_madison(self.shell(f"apt-cache madison {' '.join(packages)}")[1])

    def row(self, offer: Offer) -> Row | None:
        """Try one package; None for one that only depends on another."""
        code, output = self.shell(_ONE, NAME=offer.package, VERSION=offer.version)
        if code == META:
            return None
        common = (self.release.name, offer.suite, offer.package, offer.version, offer.kernel)
        if code == NOT_INSTALLED:
            return Row(*common, outcome="uninstallable", note=last_lines(output))
        match = re.search(r"^MATRIX\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)$", output, re.MULTILINE)
        if match is None:
            return Row(*common, outcome="failed", note=last_lines(output))
        result, seconds, magic, missing, compiler, dkms = match.groups()
        message = refusal(output)
        if result == "0" and magic.split()[:1] == [offer.kernel]:
            outcome, note = "built", ""
        elif result == "77" or (result != "0" and message):
            outcome, note = "excluded", message
        else:
            outcome, note = "failed", last_lines(output)
        return Row(*common, outcome, int(seconds), dkms, compiler, missing, note)


def refusal(output: str) -> str:
    """What DKMS says of a kernel that dkms.conf excludes."""
    pattern = r"The [^\n]*BUILD_EXCLUSIVE directive.*?this kernel/arch/config\."
    match = re.search(pattern, output, re.DOTALL)
    return " ".join(match[0].split()) if match else ""


def last_lines(output: str) -> str:
    """The end of an output, in one line."""
    return " / ".join(line.strip() for line in output.splitlines()[-8:] if line.strip())


def wrong(row: Row) -> str:
    """Why this row is not as it should be, or ""."""
    match = PACKAGE.match(row.package)
    assert match
    series = (int(match[1]), int(match[2]))
    if series < supported_from():
        return "" if row.outcome == "excluded" else "too old, but DKMS did not refuse it"
    if series > NEWEST:
        return ""
    if row.outcome == "excluded":
        return "" if row.missing else "refused, though it has all that the driver needs"
    if row.outcome == "built":
        return f"built without {row.missing}" if row.missing else ""
    return row.outcome


@dataclass
class Table:
    """The rows so far, and how many packages each release that was asked offers."""

    sources: str
    rows: list[Row] = field(default_factory=list)
    offered: dict[str, int] = field(default_factory=dict)


def load(stamp: str) -> Table:
    """What an earlier run of the same sources left."""
    if RESULT.exists():
        known = json.loads(RESULT.read_text(encoding="utf-8"))
        if known["sources"] == stamp:
            return Table(stamp, [Row(**row) for row in known["rows"]], known.get("offered", {}))
    return Table(stamp)


def save(found: Table) -> None:
    """Keep the table."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "sources": found.sources,
        "version": source_name().split("-")[1],
        "date": datetime.now(UTC).date().isoformat(),
        "processors": os.cpu_count(),
        "offered": found.offered,
        "rows": [asdict(row) for row in found.rows],
    }
    RESULT.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def try_release(release: Release, module: Path, table: Table, limit: int | None) -> None:
    """Add the rows of a release, at most `limit`, saving them as they come."""
    with folder(release.name) as scratch:
        place = Root(release, scratch, module)
        wanted = chosen(place.offers())
        table.offered[release.name] = len(wanted)
        known = {row.key() for row in table.rows if row.outcome in ("built", "excluded")}
        keys = {(release.name, offer.package, offer.version) for offer in wanted}
        # What Debian no longer offers is not in the table, what failed is tried again.
        table.rows = [r for r in table.rows if r.release != release.name or r.key() in keys & known]
        new = [o for o in wanted if (release.name, o.package, o.version) not in known]
        for number, offer in enumerate(new[:limit], 1):
            row = place.row(offer)
            if row is None:
                table.offered[release.name] -= 1
                continue
            table.rows.append(row)
            save(table)
            say(
                f"{release.name} {number}/{len(new)} {offer.kernel}: {row.outcome}"
                f" in {row.seconds} s{' (' + row.missing + ' missing)' if row.missing else ''}"
            )
        save(table)


def main() -> int:
    """Entry point of `make dkms-matrix`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [release.name for release in RELEASES]
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=f"of {', '.join(names)}")
    parser.add_argument("--revision", default="", help="the driver of this commit")
    parser.add_argument("--limit", type=int, help="so many more of each release, and no more")
    options = parser.parse_args()
    if unknown := set(options.releases) - set(names):
        parser.error(f"no such release: {', '.join(sorted(unknown))}")
    with cache.locked("dkms-matrix"), folder("module") as module:
        export(options.revision, module)
        files = [path for path in module.rglob("*") if path.is_file()]
        stamp = cache.digest_of_files(files, module)
        table = load(stamp)
        for release in RELEASES:
            if not options.releases or release.name in options.releases:
                with step(f"DKMS on the kernels of {release.name}"):
                    try_release(release, module, table, options.limit)
    rows = table.rows
    complaints = [
        f"{row.release} {row.kernel}: {why}\n  {row.note}" for row in rows if (why := wrong(row))
    ]
    for name in ("built", "excluded", "failed", "uninstallable"):
        say(f"{sum(row.outcome == name for row in rows)} {name}")
    print("\n".join(complaints))
    return 1 if complaints or not rows else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
