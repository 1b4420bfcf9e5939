# SPDX-License-Identifier: GPL-2.0-or-later
"""The sanitizer kernels: Debian's 7.2 source and configuration without what no host can use.

"debug" has KASAN, UBSAN, lockdep, DEBUG_ATOMIC_SLEEP, KMEMLEAK, DEBUG_OBJECTS and DMA_API_DEBUG;
"kcsan" looks for data races of modules that are built against it. debug-kernel.sh does the work in
the build root. Its result goes into the cache; `make kernel-debug` builds it, `lab up --kernel
debug` boots it.
"""

from __future__ import annotations

from pathlib import Path

from . import cache, chroot, roots
from .progress import step

BASE = "7.2"
DEBUG, KCSAN = "debug", "kcsan"
LABELS = (DEBUG, KCSAN)
SCRIPT = Path(__file__).resolve().with_name("debug-kernel.sh")

# What hosts load; modules that these need come along by themselves.
MODULES = (
    "thunderbolt thunderbolt_net virtio_pci virtio_blk virtio_console virtio_net virtio_rng "
    "virtio_input 9p 9pnet 9pnet_virtio 9pnet_rdma erofs overlay configfs ib_core ib_cm iw_cm "
    "rdma_cm rdma_ucm ib_uverbs ib_umad rdma_rxe ib_ipoib nvme nvme_core nvme_rdma nvme_fabrics "
    "nvmet nvmet_rdma null_blk ib_isert target_core_mod target_core_file iscsi_target_mod ib_iser "
    "libiscsi scsi_transport_iscsi scsi_mod sd_mod sg rpcrdma nfs nfsd nfsv3 nfsv4 lockd sunrpc "
    "auth_rpcgss loop tun veth bridge autofs4 ext4 crc32c_generic libcrc32c nf_tables nls_ascii "
    "fuse dm_mod 8021q macvlan dummy qemu_fw_cfg efi_pstore rng_core"
)

SOURCE = roots.RootSpec(name="source", packages=(f"linux-source-{BASE}",))


def folder(label: str) -> Path:
    """The directory with vmlinux, modules/, headers/ and version; built if it is not there."""
    build_root = roots.ensure(roots.BUILD)
    base = (build_root / "srv/kernels" / BASE / "version").read_text(encoding="ascii").strip()
    # Not the build root's name: a package more in it is no reason to compile for half an hour.
    recipe = SCRIPT.read_text(encoding="utf-8")
    return cache.ensure(
        "sanitizer",
        label,
        [recipe, MODULES, base],
        lambda target: _build(label, build_root, base, recipe, target),
    )


def _build(label: str, build_root: Path, base: str, recipe: str, target: Path) -> None:
    source = roots.ensure(SOURCE)
    target.mkdir()
    with step(f"building the sanitizer kernel {label} (about half an hour on two cores)"):
        chroot.run(
            build_root,
            ["/bin/sh", "-c", recipe],
            binds=[
                chroot.Bind(source, "/source"),
                chroot.Bind(target, "/out", writable=True),
            ],
            env={"KDIR": f"/usr/src/linux-headers-{base}", "MODULES": MODULES, "LABEL": label},
        )
    chroot.remove_tree(target / "tree")
