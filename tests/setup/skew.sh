#!/usr/bin/env bash
# Runs the tests that drive Berth with kubectl, with the oldest and the newest one that Berth's users are promised works.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for end in oldest newest; do
    KUBECTL=$("$REPO/tests/setup/kubectl.sh" "$end")
    export KUBECTL
    say "the $end kubectl: $("$KUBECTL" version --client -o json | sed -n 's/.*"gitVersion": *"\([^"]*\)".*/\1/p')"
    "$REPO/tests/setup/test.sh" --test kubectl
    # What goes over a connection of its own has changed most between versions.
    "$REPO/tests/setup/test.sh" --test containers streams::
done
