#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The life of the RPM packages by dnf in this root: install, upgrade, a new release of the same
# version, remove; with DKMS and a kernel's headers that are Debian's. /repos has a folder of
# packages for each step. Each step's claims are checked; the first that does not hold ends it.
set -eu
kernel=$(basename "$(dirname /lib/modules/*-amd64/build)")
version=$1 newer=$2

say() { echo "LIFE $*"; }
fail() { echo "LIFE failed: $*"; exit 1; }
same() { [ "$1" = "$2" ] || fail "$3: '$1', not '$2'"; }
gone() { for path in "$@"; do [ ! -e "$path" ] || fail "$path is still there"; done; }
by_dnf() { # REPOSITORY, dnf's words
    repository=$1; shift
    dnf --assumeyes --releasever=1 --disablerepo='*' --setopt=cachedir=/tmp/dnf \
        --repofrompath="ours,/tmp/repos/$repository" --setopt=ours.gpgcheck=0 \
        --repofrompath=base,/tmp/repos/base --setopt=base.gpgcheck=0 "$@"
}
built() { # VERSION: DKMS has the module for the kernel, in this version alone
    same "$(dkms status -m usb4rdma | sed 's/ *(.*//')" \
        "usb4rdma/$1, $kernel, x86_64: installed" "dkms status"
    same "$(modinfo -k "$kernel" -F vermagic usb4_rdma | cut -d' ' -f1)" "$kernel" "the module"
}

# The names that the packages want of a Fedora host, which Debian's own packages stand for here.
mkdir -p /tmp/repos /tmp/base
cp -r /repos/* /tmp/repos/
mkdir -p /tmp/repos/base
{
    printf '%s\n' 'Name: base' 'Version: 1' 'Release: 1' 'Summary: Debian' 'License: none' \
        'BuildArch: noarch'
    rpm -qp --requires /tmp/repos/*/usb4rdma*.noarch.rpm | grep -v -e '^rpmlib' -e '^usb4rdma' |
        sed 's/ *[<>=].*//' | sort -u | sed 's/^/Provides: /; s/$/ = 999/; s|\(/.*\) = 999|\1|'
    printf '%s\n' '%description' 'What Debian provides.' '%files'
} >/tmp/base/base.spec
sed -i -e 's/^Provides: python(abi) = 999/Provides: python(abi) = 3.13/' /tmp/base/base.spec
rpmbuild -bb --define '_topdir /tmp/base' /tmp/base/base.spec >/tmp/base/log 2>&1 ||
    { cat /tmp/base/log; exit 1; }
cp /tmp/base/RPMS/noarch/*.rpm /tmp/repos/base/
for folder in /tmp/repos/*; do createrepo_c -q "$folder"; done
# Fedora's own rule: what is installed is not enabled.
mkdir -p /etc/systemd/system-preset
echo 'disable *' >/etc/systemd/system-preset/99-default-disable.preset

by_dnf first install usb4rdma
same "$(rpm -qa 'usb4rdma*' --qf '%{NAME}-%{VERSION}-%{RELEASE}\n' | sort | xargs)" \
    "usb4rdma-$version-1 usb4rdma-dkms-$version-1 usb4rdmad-$version-1" "packages"
built "$version"
rpm --verify --nodeps usb4rdma usb4rdma-dkms usb4rdmad || fail "rpm --verify after installing"
same "$(getent passwd usb4rdma | cut -d: -f6)" /var/lib/usb4rdma "the user"
same "$(systemctl is-enabled usb4rdmad || :)" disabled "the unit"
usb4rdmactl --help >/dev/null
say "install: three packages, module built for $kernel, user there, unit as the presets say"

echo '# by the administrator' >>/etc/usb4rdma/usb4rdmad.toml
by_dnf second upgrade
same "$(rpm -q usb4rdma-dkms --qf '%{VERSION}-%{RELEASE}')" "$newer-1" "upgraded"
built "$newer"
gone "/usr/src/usb4rdma-$version" "/var/lib/dkms/usb4rdma/$version"
grep -q 'by the administrator' /etc/usb4rdma/usb4rdmad.toml || fail "the configuration is lost"
say "upgrade to $newer: module of the new version alone, configuration kept"

by_dnf third upgrade
same "$(rpm -q usb4rdma-dkms --qf '%{VERSION}-%{RELEASE}')" "$newer-2" "upgraded"
built "$newer"
say "upgrade to release 2 of $newer: module still there"

by_dnf third remove usb4rdma usb4rdma-dkms usb4rdmad
same "$(rpm -qa 'usb4rdma*')" "" "packages"
same "$(dkms status -m usb4rdma)" "" "dkms status"
gone "/usr/src/usb4rdma-$newer" /var/lib/dkms/usb4rdma /usr/bin/usb4rdmad \
    /usr/lib/systemd/system/usb4rdmad.service /usr/share/usb4rdma
same "$(find /lib/modules/ -name 'usb4_rdma*')" "" "modules"
left=$(find /etc /usr -path '/usr/src/linux-headers-*' -prune -o -name '*usb4*rdma*' -printf '%p ')
same "$left" "/etc/usb4rdma /etc/usb4rdma/usb4rdmad.toml.rpmsave " "what is left"
say "remove: nothing left but the administrator's configuration"
