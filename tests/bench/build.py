# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin and the load, compiled in the build root, kept in the cache."""

from __future__ import annotations

from pathlib import Path

from lab import cache, chroot, roots
from lab.paths import REPOSITORY
from lab.progress import step

HERE = Path(__file__).resolve().parent
PLUGIN = HERE / "plugin/counts.c"
LOAD = HERE / "guest/verbsload.c"

_SCRIPT = r"""
set -e
flags='-std=gnu17 -O2 -Wall -Wextra -Werror'
gcc $flags -fPIC -fvisibility=hidden -shared -o /out/programs/counts.so \
    /src/tests/bench/plugin/counts.c -lpthread
gcc $flags -o /out/programs/verbsload /src/tests/bench/guest/verbsload.c -libverbs
"""


def programs() -> Path:
    """A folder with counts.so (for QEMU) and verbsload (for the hosts)."""
    key = [_SCRIPT, cache.digest_of_files([PLUGIN, LOAD], HERE)]
    return cache.ensure("bench", "programs", key, _build, keep=2)


def _build(target: Path) -> None:
    workshop = target.parent / f"{target.name}.out"
    chroot.remove_tree(workshop)
    (workshop / "programs").mkdir(parents=True)
    with step("building the counting plugin and the load"):
        chroot.run(
            roots.ensure(roots.BUILD),
            ["/bin/sh", "-c", _SCRIPT],
            binds=[chroot.Bind(REPOSITORY, "/src"), chroot.Bind(workshop, "/out", writable=True)],
        )
    (workshop / "programs").rename(target)
    chroot.remove_tree(workshop)
