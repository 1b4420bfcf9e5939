#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Build a sanitizer kernel: runs in the build root, sources below /source, results go to /out
# (vmlinux, modules/, headers/, version). Debian's own configuration is the start; what the
# lab's hosts cannot use is left out, so that it takes minutes, not hours.
set -eu
: "${KDIR:?headers of the Debian kernel whose configuration is the start}"
: "${LABEL:?debug or kcsan, see debug_kernel.py}"
jobs=$(nproc)
mkdir -p /out/tree
cd /out/tree
[ -e .unpacked ] || { tar -xf /source/usr/src/linux-source-*.tar.xz --strip-components=1 && touch .unpacked; }

cp "$KDIR/.config" .config
# localmodconfig keeps what a running host has loaded; this is the list of an imagined one.
printf '%s 16384 0\n' Module $MODULES >lsmod
make LSMOD=lsmod localmodconfig </dev/null >config.log 2>&1 || { yes '' | make LSMOD=lsmod localmodconfig >config.log 2>&1; }

on() { for option; do ./scripts/config --enable "$option"; done; }
off() { for option; do ./scripts/config --disable "$option"; done; }
on DEBUG_KERNEL SLUB_DEBUG MAGIC_SYSRQ IKCONFIG
case $LABEL in
debug)
    on KASAN KASAN_GENERIC KASAN_INLINE KASAN_VMALLOC UBSAN UBSAN_BOUNDS UBSAN_SHIFT UBSAN_BOOL UBSAN_ENUM
    on PROVE_LOCKING PROVE_RCU DEBUG_LOCK_ALLOC DEBUG_ATOMIC_SLEEP DEBUG_SPINLOCK DEBUG_MUTEXES
    on DEBUG_KMEMLEAK DEBUG_OBJECTS DEBUG_OBJECTS_FREE DEBUG_OBJECTS_TIMERS DEBUG_OBJECTS_WORK
    on DEBUG_OBJECTS_RCU_HEAD DMA_API_DEBUG DEBUG_SG DEBUG_LIST DEBUG_NOTIFIERS DEBUG_NET
    on FAULT_INJECTION FAILSLAB FAULT_INJECTION_DEBUG_FS
    ./scripts/config --set-val DEBUG_KMEMLEAK_MEM_POOL_SIZE 64000 --set-val LOCKDEP_CHAINS_BITS 18
    wanted='PVH KASAN UBSAN PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_KMEMLEAK DEBUG_OBJECTS DMA_API_DEBUG'
    instrumented=
    ;;
kcsan)
    # Of the kernel nothing is instrumented, so that each report is about an access of a module
    # that is built against it, and those are looked at often.
    off KASAN
    on KCSAN KCSAN_INTERRUPT_WATCHER KCSAN_REPORT_RACE_UNKNOWN_ORIGIN
    ./scripts/config --set-val KCSAN_SKIP_WATCH 200 --set-val KCSAN_REPORT_ONCE_IN_MS 0
    wanted='PVH KCSAN KCSAN_INTERRUPT_WATCHER'
    instrumented=KCSAN_SANITIZE=n
    ;;
esac
off KFENCE SLUB_DEBUG_ON RANDOMIZE_BASE DEBUG_INFO_BTF DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT DEBUG_INFO_DWARF5 \
    MODULE_SIG SECURITY_LOCKDOWN_LSM RUST GCC_PLUGINS DRM SOUND MODULE_COMPRESS HIBERNATION_DEF \
    KASAN_KUNIT_TEST IMA EVM DEBUG_OBJECTS_SELFTEST
# A third of the build: other hypervisors, boards, policies and tracers.
off XEN HYPERV LIVEPATCH DAMON KEXEC KEXEC_FILE SECURITY_SELINUX SECURITY_TOMOYO SECURITY_APPARMOR SECURITY_IPE \
    BPF_LSM CPU_MITIGATIONS FUNCTION_TRACER KPROBES CXL_BUS ACPI_APEI CPU_FREQ MPTCP EDAC RAS PINCTRL GPIOLIB \
    FB I2C SPI REGULATOR CHROME_PLATFORMS X86_PLATFORM_DEVICES CRYPTO_HW CRYPTO_SELFTESTS FUSION AGP \
    USB_SUPPORT HID_SUPPORT MICROCODE X86_MCE POWERCAP PM_DEVFREQ STAGING MAILBOX
# How the hosts are booted.
on HYPERVISOR_GUEST PVH
# Drivers of adapters, kept because they use libiscsi, as does iSER.
off SCSI_CXGB3_ISCSI SCSI_CXGB4_ISCSI SCSI_BNX2_ISCSI BE2ISCSI SCSI_QLA_ISCSI QEDI ISCSI_TCP BNX2 CNIC \
    CHELSIO_T3 CHELSIO_T4 QED
on DEBUG_INFO_NONE
./scripts/config --set-str SYSTEM_TRUSTED_KEYS '' --set-str SYSTEM_REVOCATION_KEYS '' --set-str MODULE_SIG_KEY '' \
    --set-str LOCALVERSION "-usb4rdma-$LABEL" --set-val FRAME_WARN 4096
make olddefconfig >>config.log 2>&1
for option in $wanted; do
    grep -q "^CONFIG_$option=y" .config || { echo "the configuration lost $option" >&2; exit 1; }
done

# shellcheck disable=SC2086 # nothing, or a variable
make -j"$jobs" $instrumented vmlinux modules >build.log 2>&1 || { grep -n -m 20 -E 'error|Error' build.log >&2; tail -n 5 build.log >&2; exit 1; }
version=$(make -s kernelrelease)
rm -rf /out/modules /out/headers
mkdir -p /out/modules/usr /out/headers
make INSTALL_MOD_PATH=/out/modules/usr DEPMOD=true modules_install >install.log 2>&1
rm -f "/out/modules/usr/lib/modules/$version/build" "/out/modules/usr/lib/modules/$version/source"
depmod -b /out/modules/usr "$version"
# What modules are built against, as Debian's linux-headers packages have it.
make run-command KBUILD_RUN_COMMAND='$(srctree)/scripts/package/install-extmod-build /out/headers' \
    >>install.log 2>&1 || { tail -n 5 install.log >&2; exit 1; }
test -e /out/headers/Module.symvers
strip -o /out/vmlinux vmlinux
echo "$version" >/out/version
