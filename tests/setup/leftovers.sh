#!/usr/bin/env bash
# Lists what Berth left in the kernel: processes, mounts, cgroups, network namespaces, links, nft tables. Prints each
# and exits 1 when there is any. For use after tests, when no Berth is meant to be running.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Other users' processes and the nft rules are root's to see.
[ "$(id -u)" -eq 0 ] || { as_root "${BASH_SOURCE[0]}"; exit; }
PATH="$PATH:/usr/sbin:/sbin"

# Berth itself, and the shims: those run from a sealed copy of whatever program started them, a test's as well, and are
# known by their argument.
processes() {
    local directory program
    for directory in /proc/[0-9]*; do
        program=$(readlink "$directory/exe") || continue
        program=${program% (deleted)}
        [ "${program##*/}" = berth ] || grep -qxz berth-shim "$directory/cmdline" || continue
        echo "process ${directory#/proc/}: $(tr '\0' ' ' <"$directory/cmdline")"
    done
}

# Only the kinds of file system that Berth mounts: a checkout may well lie on a disk that is mounted at a path with this name.
mounts() {
    awk '{ for (i = 7; $i != "-"; i++); kind = $(i + 1) }
        kind ~ /^(overlay|tmpfs|nsfs|proc|sysfs|mqueue|devpts|cgroup2?)$/ && /berth/ { print "mount: " $5 " (" kind ")" }' /proc/self/mountinfo
}

cgroups() { find /sys/fs/cgroup -type d -name '*berth*' -printf 'cgroup: %p\n'; }

namespaces() { find /run/netns -maxdepth 1 -name '*berth*' -printf 'network namespace: %f\n' 2>/dev/null || true; }

# br-ID is a cluster's bridge, vIDADDRESS the host's end of a pod's link. Docker's bridges have longer ids.
links() {
    find /sys/class/net -maxdepth 1 -regextype posix-extended -regex '.*/(br-[0-9a-f]{1,6}|v[0-9a-f]{9,14})' -printf 'link: %f\n'
}

tables() { nft list tables | sed -n 's/^table \(.*berth.*\)$/nft table: \1/p'; }

found=$(processes 2>/dev/null; mounts; cgroups; namespaces; links; tables)
[ -n "$found" ] || { say "nothing left behind"; exit 0; }
echo "$found"
exit 1
