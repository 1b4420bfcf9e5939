#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Uses storage of storage_target.sh: storage_initiator.sh nvme|iser|nfs up|down ADDRESS
# The NVMe namespace is /dev/nvme0n1, the iSCSI disk /dev/sda; NFS is at /mnt/nfs3 and /mnt/nfs4.
# Times between attempts are short, so that a test that pulls the cable is short too.
set -eu
what=$1
way=$2
address=$3
iqn=iqn.2026-11.lab:disk

wait_for() {
    for _ in $(seq 100); do
        [ ! -b "$1" ] || return 0
        sleep 0.1
    done
    echo "no $1" >&2
    return 1
}

nvme_up() {
    modprobe nvme-rdma
    nvme connect -t rdma -a "$address" -s 4420 -n lab -i 1 -Q 16 --reconnect-delay=2
    wait_for /dev/nvme0n1
}

nvme_down() {
    nvme disconnect -n lab
    modprobe -r nvme-rdma
}

iser_up() {
    modprobe -a ib_iser sd_mod
    echo InitiatorName=iqn.2026-11.lab:host >/etc/iscsi/initiatorname.iscsi
    iscsid
    iscsiadm -m node -T $iqn -p "$address" -I iser -o new
    iscsiadm -m node -T $iqn -o update -n 'node.conn[0].timeo.login_timeout' -v 5
    iscsiadm -m node -T $iqn --login
    wait_for /dev/sda
}

iser_down() {
    iscsiadm -m node -T $iqn --logout
    iscsiadm -m node -T $iqn -o delete
    iscsiadm -k 0
    while pgrep -x iscsid >/dev/null; do sleep 0.1; done
    modprobe -r ib_iser sd_mod
}

nfs_up() {
    modprobe -a nfs rpcrdma
    mkdir -p /mnt/nfs3 /mnt/nfs4 /run/rpc_pipefs
    mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
    often=timeo=50,retrans=10
    mount -t nfs -o "vers=3,proto=rdma,port=20049,nolock,mountproto=tcp,$often" \
        "$address:/srv/lab/tree" /mnt/nfs3
    mount -t nfs -o "vers=4.2,proto=rdma,port=20049,$often" "$address:/" /mnt/nfs4
}

nfs_down() {
    umount /mnt/nfs3 /mnt/nfs4 /run/rpc_pipefs
    modprobe -r rpcrdma nfsv3 nfsv4 nfs
}

"${what}_$way"
