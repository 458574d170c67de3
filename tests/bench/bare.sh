#!/usr/bin/env bash
# bare.sh RUNTIME ARCHIVE SCRATCH COUNT COMMAND...: prints for each of COUNT containers, one after the other, how many
# microseconds an OCI runtime alone takes for `create` and `start`. Wants a mount namespace of its own (unshare --mount).
#   ARCHIVE   an image as `docker save` writes it        SCRATCH   an empty directory, removed by the caller
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

runtime=$1 archive=$2 scratch=$3 count=$4
shift 4
command -v "$runtime" >/dev/null || { echo "$runtime is not installed" >&2; exit 1; }

# crun takes a v1 host with the unified hierarchy beside it for a mistake of its caller's: hide that hierarchy from it.
if mountpoint -q /sys/fs/cgroup/unified; then
    umount /sys/fs/cgroup/unified
fi

bundle=$scratch/bundle
mkdir -p "$bundle/rootfs" "$scratch/image" "$scratch/state"
tar -xf "$archive" -C "$scratch/image"
grep -o '"Layers":\[[^]]*\]' "$scratch/image/manifest.json" | grep -o '[^"[]*\.tar' | while read -r layer; do
    tar -xf "$scratch/image/$layer" -C "$bundle/rootfs"
done
# What `spec` writes wants a terminal and runs "sh": the one word by itself is its whole command.
printf -v words ', "%s"' "$@"
(cd "$bundle" && "$runtime" spec)
sed -i -e 's/"terminal": true/"terminal": false/' -e "s|\"sh\"|${words#, }|" "$bundle/config.json"

oci() { "$runtime" --root "$scratch/state" "$@"; }
container=
trap '[ -z "$container" ] || oci delete --force "$container" >/dev/null 2>&1' EXIT

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }
for number in $(seq "$count"); do
    container=berth-bench-$$-$number
    before=$(now_us)
    oci create --bundle "$bundle" "$container" </dev/null >/dev/null
    oci start "$container"
    after=$(now_us)
    echo $((after - before))
    oci delete --force "$container"
    container=
done
