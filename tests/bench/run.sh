#!/usr/bin/env bash
# Measures the figures and prints them as one table. Called by `make bench`, which sets:
#   BERTH    the program, in release mode; berth-bench lies beside it        IMAGES    a directory with the test images
#   OPENB    a directory with pod lists of the openb trace, where there is one (default: ../shared/data/openb)
# Further arguments go to berth-bench, such as `--only writes,watch`.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../setup/lib.sh"

: "${BERTH:?}" "${IMAGES:?}"
OPENB=${OPENB:-$REPO/../shared/data/openb}
# All figures together; what takes longer is broken, not slow.
deadline_s=540

# Containers, networks and mounts are root's to make: ask once and be root throughout.
[ "$(id -u)" -eq 0 ] ||
    { as_root env "PATH=$PATH" BERTH="$BERTH" IMAGES="$IMAGES" OPENB="$OPENB" "${BASH_SOURCE[0]}" "$@"; exit; }
export PATH=$PATH:/usr/sbin:/sbin

# Beside the build: on a disk, which /tmp need not be.
work=$(mktemp -d "$REPO/target/bench-XXXXXX")

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    local status=$? data pid
    trap '' INT TERM
    # What berth-bench did not take down itself, because it was killed.
    for data in "$work"/cluster-*/data; do
        [ -d "$data" ] || continue
        while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done < <(pgrep -f -- "up --data-dir $data ")
        "$BERTH" down --data-dir "$data" || true
    done
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

trace=()
[ ! -d "$OPENB" ] || trace=(--openb "$OPENB")

load() { cut -d ' ' -f 1 /proc/loadavg; }
load_before=$(load)
kernel=$(uname -r) cores=$(nproc) file_system=$(df --output=fstype "$work" | tail -n 1)

status=0
BERTH="$BERTH" IMAGES="$IMAGES" timeout --foreground --kill-after=20 "$deadline_s" "$(dirname "$BERTH")/berth-bench" \
    --bare "$REPO/tests/bench/bare.sh" --work "$work" "${trace[@]}" "$@" || status=$?
[ "$status" -ne 124 ] || echo "not finished within $deadline_s s"
echo "Linux $kernel, $cores cores, $file_system; load before $load_before, after $(load)"
exit "$status"
