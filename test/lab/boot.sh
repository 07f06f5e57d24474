#!/bin/bash
# Boots systemd on a root that is an overlay of the host's:
#
#	boot.sh DIR CGROUP
#
# DIR has the folders upper, work, root and share; the last one is /srv of the
# machine. The network namespace is the caller's; all other namespaces are new,
# and end with systemd.
set -euo pipefail
dir=$1 cgroup=$2

if [[ ${3:-} != inside ]]; then
	mkdir -p "$cgroup"
	echo $$ >"$cgroup/cgroup.procs"
	exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child --propagation private "$BASH" "$0" "$dir" "$cgroup" inside
fi

root=$dir/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup" || true # there is no such folder where cgroups are not mounted
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/net"
for node in null zero full random urandom tty net/tun; do
	: >"$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mount --bind "$dir/share" "$root/srv"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target --log-level=notice
