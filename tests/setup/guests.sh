#!/usr/bin/env bash
# Sees to a toolchain that compiles Rust to Wasm, for the policy plugins: rustup's target where it is there or can be
# downloaded, else Debian's compiler, which brings the standard library's sources for cargo's build-std.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=wasm32-unknown-unknown
# The download is 20 MB. Past this, something on the way swallows the connection.
rustup_timeout_s=180

# Asked of the compiler itself, as a Rust that did not come by rustup may have the target too.
rust_has_target() { [ -d "$(cd "$REPO" && rustc --print sysroot)/lib/rustlib/$target/lib" ]; }
debian_has_target() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -f /usr/src/rustc-"$(debian_version)"/library/std/Cargo.toml ]; }
debian_version() { /usr/bin/rustc --version | cut -d ' ' -f 2; }

if rust_has_target; then
    say "Wasm guests: by rustc's own $target"
    exit 0
fi
if have rustup; then
    say "downloading rustup's target $target"
    if (cd "$REPO" && quietly timeout "$rustup_timeout_s" rustup target add "$target") && rust_has_target; then
        say "Wasm guests: by rustc's own $target"
        exit 0
    fi
    say "rustup cannot download the target here; taking Debian's compiler instead"
fi
debian_has_target || apt_install rustc-web cargo-web rust-web-src
debian_has_target ||
    die "no compiler for $target: run 'rustup target add $target', or install Debian's rustc-web, cargo-web and rust-web-src"
say "Wasm guests: by Debian's rustc $(debian_version) and its sources"
