# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian 13 root with the programs that judge and publish packages.

It is apart from the lab's build root, which leaves out documentation and lintian's own files.
"""

from __future__ import annotations

from pathlib import Path

from lab import roots

CHECK = roots.RootSpec(
    name="check",
    packages=(
        "apt-utils",
        "appstream",
        "autodep8",
        "autopkgtest",
        "desktop-file-utils",
        "diffoscope-minimal",
        "dpkg-dev",
        "gpg",
        "gpg-agent",
        "gpgv",
        "libxml2-utils",
        "lintian",
        "man-db",
        "reuse",
        "shellcheck",
        "systemd",
        "udev",
    ),
    excluded_paths=("/usr/share/locale/*", "/usr/share/info/*"),
)


def ensure() -> Path:
    """The root's folder, made first if it is not there."""
    return roots.ensure(CHECK)
