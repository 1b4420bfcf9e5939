#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a signed apt repository of the packages, in dist/repo (`make repo`).

It is flat: packages, source and indices in one folder, for `apt` by file:, http: or a USB stick.
The key is made once and stays in the cache (repo-key/); nothing of it but its public half, as
usb4rdma-archive-keyring.gpg beside the indices, goes into the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

import build_debs  # noqa: E402
from lab import cache, chroot, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.paths import cache_root  # noqa: E402
from lab.progress import say, step  # noqa: E402

KEYRING = "usb4rdma-archive-keyring.gpg"
INDICES = ("Packages", "Packages.xz", "Sources", "Sources.xz")
OWNER = "usb4rdma archive <maintainers@usb4rdma.org>"

_MAKE_KEY = r"""
set -e
export GNUPGHOME=/keys
chmod 700 /keys
gpg --batch --quiet --passphrase '' --quick-generate-key "$OWNER" rsa3072 sign never
gpgconf --kill all
"""

# The index of packages and of sources; the same packages make the same indices.
_INDEX = r"""
set -e
cd /repo
dpkg-scanpackages --multiversion . /dev/null 2>/tmp/said |
    sed 's|^Filename: \./|Filename: |' > Packages
dpkg-scansources . 2>>/tmp/said > Sources
grep -vE '^dpkg-scan.*: (info|warning: .*(override|missing))' /tmp/said || true
for index in Packages Sources; do xz -9 --keep $index; done
"""

_SIGN = r"""
set -e
export GNUPGHOME=/tmp/keys
cp -r /keys $GNUPGHOME
chmod 700 $GNUPGHOME
cd /repo
gpg --batch --quiet --armor --detach-sign --output Release.gpg Release
gpg --batch --quiet --clear-sign --output InRelease Release
gpg --batch --quiet --export > "$KEYRING"
gpg --batch --quiet --verify Release.gpg Release
gpgconf --kill all
"""

_SOURCES = """\
# Copy to /etc/apt/sources.list.d/usb4rdma.sources, and the keyring to Signed-By.
Types: deb deb-src
URIs: {uri}
Suites: ./
Signed-By: /usr/share/keyrings/{keyring}
"""


def key_folder() -> Path:
    """Where the signing key lives; made the first time."""
    folder = cache_root() / "repo-key"
    with cache.locked("repo-key"):
        if not (folder / "pubring.kbx").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, mode=0o700)
            with step("making the key that signs the repository"):
                chroot.run(
                    roots.ensure(roots.BUILD),
                    ["/bin/sh", "-c", _MAKE_KEY],
                    binds=[chroot.Bind(folder, "/keys", writable=True)],
                    env={"OWNER": OWNER},
                )
    return folder


def sources(uri: str) -> str:
    """What apt is told about a repository that stands at `uri`."""
    return _SOURCES.format(uri=uri, keyring=KEYRING)


def release(folder: Path, suite: str, date: str) -> str:
    """The text of the file that names all indices; `date` in seconds."""
    when = datetime.fromtimestamp(int(date), UTC)
    lines = [
        "Origin: usb4rdma",
        "Label: usb4rdma",
        f"Suite: {suite}",
        f"Date: {when:%a, %d %b %Y %H:%M:%S} +0000",
        "Architectures: all amd64 arm64",
        "SHA256:",
    ]
    for name in INDICES:
        content = (folder / name).read_bytes()
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content):>8} {name}")
    return "\n".join(lines) + "\n"


def publish(packages: list[Path], target: Path, *, suite: str = "trixie") -> None:
    """Make a repository of these files; `target` is replaced only when all went well."""
    keys = key_folder()
    root = roots.ensure(roots.BUILD)
    with step("signing the repository"), tempfile.TemporaryDirectory() as work:
        fresh = Path(work) / "repo"
        fresh.mkdir(mode=0o755)
        for path in packages:
            shutil.copy(path, fresh / path.name)
        binds = [chroot.Bind(fresh, "/repo", writable=True), chroot.Bind(keys, "/keys")]
        chroot.run(root, ["/bin/sh", "-c", _INDEX], binds=binds)
        date = build_debs.source_date()
        (fresh / "Release").write_text(release(fresh, suite, date), encoding="utf-8")
        chroot.run(root, ["/bin/sh", "-c", _SIGN], binds=binds, env={"KEYRING": KEYRING})
        (fresh / "usb4rdma.sources").write_text(sources("https://example.org/usb4rdma"), "utf-8")
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(fresh, target)


def contents(folder: Path) -> list[Path]:
    """What of a folder of built packages goes into a repository."""
    suffixes = {".deb", ".dsc", ".xz"}
    return sorted(p for p in folder.iterdir() if p.suffix in suffixes and p.is_file())


def main() -> int:
    """Entry point of `make repo`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=TOP / "dist/repo")
    arguments = parser.parse_args()
    with cache.locked("packages"):
        build_debs.build(TOP / "dist")
        publish(contents(TOP / "dist"), arguments.output)
    say(f"{arguments.output}: {len(list(arguments.output.iterdir()))} files")
    print(sources(arguments.output.resolve().as_uri()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LabError, subprocess.CalledProcessError) as error:
        sys.exit(f"lab: {error}")
