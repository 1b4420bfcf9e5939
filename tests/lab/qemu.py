# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line for one host of a plan. Pure: nothing is started or looked up here."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from . import debug_kernel, disk
from .plan import HostPlan, Plan

AGENT_PORT = "usb4rdma-lab"


def vfio_socket(run_dir: Path, host: str, router: int) -> Path:
    """Where the cable's process serves a host router, counted from 1."""
    return run_dir / f"{host}-{router}.vfio"


def agent_socket(run_dir: Path, host: str) -> Path:
    """Where the supervisor waits for a host's agent port."""
    return run_dir / f"{host}.agent"


def net_socket(run_dir: Path) -> Path:
    """Where the supervisor's Ethernet hub waits for hosts."""
    return run_dir / "net"


def share_dir(run_dir: Path, host: str) -> Path:
    """The folder that is /run/usb4rdma-lab/share in the host."""
    return run_dir / f"{host}.share"


def kept_dir(run_dir: Path, host: str) -> Path:
    """What the host finds again after a reboot; QEMU keeps owners and modes beside the files."""
    return run_dir / f"{host}.kept"


def console_log(run_dir: Path, host: str) -> Path:
    """The host's console output, all boots."""
    return run_dir / f"{host}.console"


def plugin_socket(run_dir: Path, host: str) -> Path:
    """Where the host's QEMU plugin, if there is one, answers."""
    return run_dir / f"{host}.plugin"


def kernel_arguments(plan: Plan, host: HostPlan) -> str:
    """The kernel command line of a host."""
    options = plan.options
    disks = ",".join(f"vd{chr(ord('a') + i)}" for i in range(len(plan.layers)))
    words = [
        "console=hvc0 panic=-1 mitigations=off nokaslr net.ifnames=0 log_buf_len=4M",
        f"lab.host={host.name} lab.index={host.index}",
        f"lab.hosts={','.join(one.name for one in plan.hosts)}",
        f"lab.layers={disks} lab.install={options.install}",
    ]
    if options.disk:
        words.append(f"lab.disk=vd{chr(ord('a') + len(plan.layers))}")
    if plan.accel == "tcg" and plan.tsc_khz:
        # A starved host would calibrate its TSC wrongly, or take it for unstable and go over to
        # the ACPI timer, which is slow, and wrong as well once it has missed a turn.
        words.append(f"tsc_early_khz={plan.tsc_khz} tsc=reliable")
    if options.kernel in debug_kernel.LABELS:
        # So slow that a task of low priority is let go on once in minutes: no stall.
        words.append(
            "rcupdate.rcu_cpu_stall_timeout=300 sysctl.kernel.hung_task_timeout_secs=600 "
            "sysctl.kernel.watchdog_thresh=60"
        )
    if plan.has_cable:
        words.append("lab.cable=1")
    if options.net:
        words.append("lab.net=1")
    if options.iommu == "strict":
        words.append("intel_iommu=on iommu.strict=1")
    if options.init == "systemd":
        machine = uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.usb4rdma.lab").hex
        words.append(f"init=/sbin/init systemd.hostname={host.name} systemd.machine_id={machine}")
        words.append("systemd.show_status=0 systemd.firstboot=0 quiet")
    else:
        words.append("init=/usr/lib/usb4rdma-lab/init")
    if options.append:
        words.append(options.append)
    return " ".join(words)


def command(plan: Plan, host: HostPlan, run_dir: Path) -> list[str]:
    """The whole command line."""
    options = plan.options
    machine = "q35,memory-backend=mem,vmport=off,hpet=off"
    if plan.accel == "kvm":
        machine += ",kernel-irqchip=split"
        acceleration = ["-accel", "kvm", "-cpu", "host"]
    else:
        acceleration = ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"]
    words = [*plan.qemu, "-name", f"{options.name}-{host.name}", "-nodefaults", "-no-user-config"]
    words += ["-display", "none", "-machine", machine, *acceleration, "-smp", str(options.cpus)]
    words += ["-m", f"{options.mem}M"]
    words += ["-object", f"memory-backend-memfd,id=mem,size={options.mem}M,share=on"]
    if options.iommu == "strict":
        # It must come before the devices it is to translate for.
        words += ["-device", "intel-iommu,caching-mode=on"]
    for number, layer in enumerate(plan.layers):
        words += [
            "-drive",
            f"if=none,id=l{number},format=raw,readonly=on,file.locking=off,file={layer}",
        ]
        words += ["-device", f"virtio-blk-pci,drive=l{number}"]
    if options.disk:
        own = disk.path(run_dir, host.name)
        words += ["-drive", f"if=none,id=disk,format=raw,cache=unsafe,file.locking=off,file={own}"]
        words += ["-device", "virtio-blk-pci,drive=disk"]
    words += ["-device", "virtio-serial-pci"]
    log = console_log(run_dir, host.name)
    words += [
        "-chardev",
        f"file,id=console,append=on,path={log}",
        "-device",
        "virtconsole,chardev=console",
    ]
    agent = agent_socket(run_dir, host.name)
    words += ["-chardev", f"socket,id=agent,path={agent},server=off"]
    words += ["-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"]
    share = share_dir(run_dir, host.name)
    words += ["-fsdev", f"local,id=share,path={share},security_model=none,multidevs=remap"]
    words += ["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]
    kept = kept_dir(run_dir, host.name)
    words += ["-fsdev", f"local,id=kept,path={kept},security_model=mapped-file,multidevs=remap"]
    words += ["-device", "virtio-9p-pci,fsdev=kept,mount_tag=kept"]
    words += [
        "-object",
        "rng-random,id=rng,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=rng",
    ]
    words += ["-qmp", f"unix:{run_dir / (host.name + '.qmp')},server=on,wait=off"]
    if options.net:
        words += [
            "-netdev",
            f"stream,id=net,server=off,addr.type=unix,addr.path={net_socket(run_dir)}",
        ]
        mac = f"52:54:00:12:00:{host.index:02x}"
        words += ["-device", f"virtio-net-pci,netdev=net,mac={mac},host_mtu=4500"]
    if options.plugin:
        words += ["-plugin", f"file={options.plugin},socket={plugin_socket(run_dir, host.name)}"]
    if plan.has_cable:
        for router in range(1, host.routers + 1):
            path = str(vfio_socket(run_dir, host.name, router))
            device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": path}}
            words += ["-device", json.dumps(device)]
    words += ["-kernel", plan.vmlinux, "-initrd", plan.initrd]
    return [*words, "-append", kernel_arguments(plan, host)]
