#!/usr/bin/env bash
# Prints the path of a real, unmodified Helm 4 for the tests, and makes one where there is none.
#
#   HELM=$(tests/setup/helm.sh)
#
# Taken in this order: the one on the PATH, if it is Helm 4; the one made earlier; one built from tests/helm with the Go
# that is here, each module checked against go.sum.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Helm 4 applies on the server's side; Helm 3 does not.
oldest=4.0
module_version=$(sed -n 's/^[[:space:]]*helm.sh\/helm\/v4 v\([^ ]*\).*/\1/p' "$REPO/tests/helm/go.mod")
helm="$TOOLS/helm"
# Compiling takes 4 minutes on two cores and makes 64 MB; past this, something on the way swallows the connection.
build_timeout_s=1200

# Prints a Helm's version, as 4.3.2; nothing when it cannot be run.
version_of() { "$1" version --template '{{.Version}}' 2>/dev/null | sed -n 's/^v\([^+]*\).*/\1/p'; }

new_enough() {
    local version
    version=$(version_of "$1")
    [ -n "$version" ] && at_least "$version" "$oldest"
}

# Compiles tests/helm and puts it in place in one step, so that a broken build leaves nothing. -s -w leave the debug tables
# out, which halves the binary; the stamp is what the release process sets.
build() {
    # The second is what kubectl.sh fetches where there is no Go, or one that is too old.
    local go=go
    have go || go=$TOOLS/go/bin/go
    have "$go" || die "no Helm $oldest or newer on the PATH, and no Go to build one with: install either"
    say "building helm $module_version with $("$go" version | cut -d ' ' -f 3) (once; some minutes)"
    (cd "$REPO/tests/helm" && CGO_ENABLED=0 GOFLAGS=-mod=readonly quietly timeout "$build_timeout_s" \
        "$go" build -trimpath -buildvcs=false -o "$helm.new" \
            -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=v$module_version" helm.sh/helm/v4/cmd/helm) ||
        die "helm could not be built"
    mv "$helm.new" "$helm"
}

if have helm && new_enough helm; then
    command -v helm
    exit 0
fi
mkdir -p "$TOOLS"
# Two callers at once must not both build.
exec 9>"$TOOLS/helm.lock"
flock 9
[ "$(version_of "$helm")" = "$module_version" ] || build
[ "$(version_of "$helm")" = "$module_version" ] || die "$helm was made but does not run: try '$helm version'"
echo "$helm"
