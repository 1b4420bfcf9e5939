#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Storage that the kernel serves over RDMA: storage_target.sh nvme|iser|nfs up|down ADDRESS
# What it serves is kept in memory below /srv/lab.
set -eu
what=$1
way=$2
address=$3
nvmet=/sys/kernel/config/nvmet
target=/sys/kernel/config/target
iqn=$target/iscsi/iqn.2026-11.lab:disk
file=$target/core/fileio_0/disk

memory() {
    mkdir -p /srv/lab
    mountpoint -q /srv/lab || mount -t tmpfs lab /srv/lab
}

nvme_up() {
    modprobe nvmet-rdma
    truncate -s 32M /srv/lab/nvme
    subsystem=$nvmet/subsystems/lab
    mkdir "$subsystem" "$subsystem/namespaces/1" $nvmet/ports/1
    echo 1 >"$subsystem/attr_allow_any_host"
    echo /srv/lab/nvme >"$subsystem/namespaces/1/device_path"
    echo 1 >"$subsystem/namespaces/1/buffered_io"
    echo 1 >"$subsystem/namespaces/1/enable"
    cd $nvmet/ports/1
    echo rdma >addr_trtype
    echo ipv4 >addr_adrfam
    echo "$address" >addr_traddr
    echo 4420 >addr_trsvcid
    ln -s "$subsystem" subsystems/lab
}

nvme_down() {
    rm $nvmet/ports/1/subsystems/lab
    rmdir $nvmet/ports/1 $nvmet/subsystems/lab/namespaces/1 $nvmet/subsystems/lab
    rm /srv/lab/nvme
    modprobe -r nvmet-rdma
}

iser_up() {
    modprobe -a target_core_mod target_core_file iscsi_target_mod ib_isert
    truncate -s 16M /srv/lab/iser
    mkdir -p "$file" "$iqn/tpgt_1"
    echo fd_dev_name=/srv/lab/iser,fd_dev_size=16777216,fd_buffered_io=1 >"$file/control"
    echo 1 >"$file/enable"
    cd "$iqn/tpgt_1"
    mkdir "np/$address:3260" lun/lun_0
    ln -s "$file" lun/lun_0/disk
    echo 1 >"np/$address:3260/iser"
    echo 0 >attrib/authentication
    echo 1 >attrib/generate_node_acls
    echo 1 >attrib/cache_dynamic_acls
    echo 0 >attrib/demo_mode_write_protect
    echo 1 >enable
}

iser_down() {
    cd "$iqn/tpgt_1"
    echo 0 >enable
    rm lun/lun_0/disk
    rmdir np/* lun/lun_0
    cd /
    rmdir "$iqn/tpgt_1" "$iqn" $target/iscsi "$file" $target/core/fileio_0
    rm /srv/lab/iser
    modprobe -r ib_isert target_core_file
}

# NFS 4 lets nobody in for the time of grace that earlier clients would have; there are none.
# nfsdcld, without which it cannot know that, looks for its pipe below /run.
nfs_up() {
    modprobe -a nfsd rpcrdma
    mkdir -p /srv/lab/tree /run/rpc_pipefs
    mount -t nfsd nfsd /proc/fs/nfsd
    mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
    echo 10 >/proc/fs/nfsd/nfsv4leasetime
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    rpcbind -w
    nfsdcld
    echo '/srv/lab/tree *(rw,async,no_root_squash,no_subtree_check,insecure,fsid=0)' >/etc/exports
    exportfs -ra
    rpc.mountd
    rpc.nfsd --rdma=20049 2
}

nfs_down() {
    rpc.nfsd 0
    exportfs -ua
    killall rpc.mountd nfsdcld rpcbind
    umount /proc/fs/nfsd /run/rpc_pipefs
    rm -r /srv/lab/tree
    modprobe -r rpcrdma nfsd
}

memory
"${what}_$way"
