#!/usr/bin/env bash
# Installs the container runtimes that `make bench` measures Berth against.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing=()
for runtime in crun runc; do
    have "$runtime" || [ -x "/usr/sbin/$runtime" ] || missing+=("$runtime")
done
[ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"

say "benchmark packages: ready"
