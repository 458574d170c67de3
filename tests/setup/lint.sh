#!/usr/bin/env bash
# Format, lints and shell scripts, as CI checks them.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$REPO"
cargo fmt --version >/dev/null 2>&1 || quietly rustup component add rustfmt || die "cargo has no rustfmt, and rustup cannot add it"
cargo clippy --version >/dev/null 2>&1 || quietly rustup component add clippy || die "cargo has no clippy, and rustup cannot add it"
have shellcheck || apt_install shellcheck

cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck -x
