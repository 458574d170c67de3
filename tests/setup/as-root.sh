#!/usr/bin/env bash
# as-root.sh COMMAND...: runs a command as root with this environment, asking for sudo where needed. cargo runs test
# programs through it, so that they are root (namespaces, mounts, cgroups) while everything that is built stays the user's.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(id -u)" -ne 0 ] || exec "$@"
have sudo || die "'$*' needs root: run make as root, or install sudo"
ask=()
[ -t 0 ] || ask=(-n)
# sudo puts a PATH of its own in place of the caller's, which is the one that has cargo.
exec sudo "${ask[@]}" -E env "PATH=$PATH" "$@"
