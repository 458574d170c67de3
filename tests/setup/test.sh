#!/usr/bin/env bash
# Runs the workspace's tests, with root's powers, and closes with their sum on one line:
#
#   N passed, N failed, N skipped
#
# Arguments go to cargo. A test that cannot run here appends a line "NAME: WHY" to the file that BERTH_TEST_SKIPS names
# and returns; cargo counts it as passed, so it is moved over to the skipped ones here, and the reason is shown.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

log="$REPO/target/test.log"
export BERTH_TEST_SKIPS="$REPO/target/test-skips"

cd "$REPO"
mkdir -p target
: >"$BERTH_TEST_SKIPS"

if [ "$(id -u)" -ne 0 ]; then
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${host}_RUNNER=$REPO/tests/setup/as-root.sh"
fi

# The whole-system tests start the program itself, which cargo builds only for its own package's tests.
cargo build --workspace

status=0
cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

read -r passed failed ignored < <(
    awk '/^test result: / { passed += $4; failed += $6; ignored += $8 } END { print passed + 0, failed + 0, ignored + 0 }' "$log"
)
skipped=$(wc -l <"$BERTH_TEST_SKIPS")

echo
[ "$status" -eq 0 ] || grep -E '^(test .* \.\.\. FAILED|error: .*)$' "$log" || true
sed 's/^/skipped: /' "$BERTH_TEST_SKIPS"
echo "$((passed - skipped)) passed, $failed failed, $((ignored + skipped)) skipped" | tee target/test-summary

if [ "$((passed + failed))" -eq 0 ]; then
    die "no test ran"
fi
# A test program that was killed leaves no result line: cargo's own word is what counts.
exit "$status"
