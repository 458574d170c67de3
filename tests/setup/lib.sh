# shellcheck shell=bash
# What the set-up scripts share: where things are kept, how they speak, and how they become root. Sourced, never run.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Programs that the tests and the demo use and that are not installed system-wide. `make clean` removes them.
TOOLS="$REPO/target/tools"

# Progress goes to standard error: standard output belongs to what a script was asked for.
say() { echo "setup: $*" >&2; }
die() { echo "setup: error: $*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or through sudo, which asks for a password only where it can be answered.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! have sudo; then
        die "'$*' needs root: run make as root, or install sudo"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# Runs a command with its output kept aside, and shows that output only when the command fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# Package lists are fetched only when something is missing, and once for all the scripts of a run.
apt_lists_fresh_min=60

apt_update() {
    local stamp=$TOOLS/apt-updated
    have apt-get || die "something is missing and there is no apt-get here: Berth's set-up knows Debian and Ubuntu only"
    [ -z "$(find "$stamp" -mmin "-$apt_lists_fresh_min" 2>/dev/null)" ] || return 0
    say "fetching the package lists (apt-get update)"
    mkdir -p "$TOOLS"
    # A dead third-party source must not stop us: what matters is whether the packages can be installed afterwards.
    if quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq; then
        touch "$stamp"
    else
        say "apt-get update failed; going on with the package lists that are here"
    fi
}

# apt_install PACKAGE...: without the recommended packages, which the build and the tests do not need.
apt_install() {
    apt_update
    say "installing $*"
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" || die "apt-get could not install: $*"
}

# unpack_deb PACKAGE PATH NAME: puts one file of a package at $TOOLS/NAME without installing the package, for programs
# whose installation would start a service or replace a package of the user's.
unpack_deb() {
    local package=$1 path=$2 name=$3 scratch
    apt_update
    say "unpacking $name from the package $package"
    scratch=$(mktemp -d)
    (cd "$scratch" && quietly apt-get download -qq -o APT::Sandbox::User=root "$package") ||
        die "apt-get could not download the package $package"
    dpkg-deb -x "$scratch"/*.deb "$scratch/root"
    mkdir -p "$TOOLS"
    install -m 0755 "$scratch/root/$path" "$TOOLS/$name"
    rm -rf "$scratch"
}

# at_least VERSION WANTED: whether the dotted number VERSION is WANTED or newer.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
