#!/usr/bin/env bash
# Checks that the Rust which is here can build Berth, and says what to do where it cannot.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$REPO/Cargo.toml")

if ! have cargo; then
    [ "$(id -u)" -ne 0 ] || [ -z "${SUDO_USER:-}" ] ||
        die "root does not see cargo: run make as $SUDO_USER, it asks for sudo itself where root is needed"
    die "cargo is not on the PATH: install Rust $wanted or newer from https://rustup.rs"
fi
found=$(cd "$REPO" && rustc --version | cut -d ' ' -f 2)
at_least "$found" "$wanted" ||
    die "Berth needs Rust $wanted or newer and this is $found: run 'rustup update stable'"

say "Rust: $found"
