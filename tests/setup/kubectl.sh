#!/usr/bin/env bash
# Prints the path of a real, unmodified kubectl for the tests and the demo, and makes one where there is none.
#
#   KUBECTL=$(tests/setup/kubectl.sh)
#   KUBECTL=$(tests/setup/kubectl.sh oldest)    or newest: the ends of what is promised, never taken from the PATH
#
# Taken in this order: the one on the PATH, if it is new enough; the one made earlier; one built from tests/kubectl with
# the Go that is here, each module checked against go.sum; the Kubernetes project's own binary, checked against its
# published digest; one built with a Go that is fetched for the purpose.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The oldest kubectl that Berth's users are promised works.
oldest=1.35
# The versions of its modules: go.mod, or oldest.mod or newest.mod beside it.
end=${1:-}
modules="${end:-go}.mod"
# One version for every way of getting it: k8s.io/kubectl v0.37.1 is kubectl v1.37.1.
module_version=$(sed -n 's/^[[:space:]]*k8s.io\/kubectl v0\./1./p' "$REPO/tests/kubectl/$modules")
kubectl="$TOOLS/kubectl${end:+-$end}"

# The first Go that downloads the toolchain a module asks for by itself.
go_oldest=1.21
# What go.mod asks for at least; fetched where Debian's Go is older than that.
go_toolchain=go1.26.8
# Compiling takes 3 minutes on two cores; past this, something on the way swallows the connection.
download_timeout_s=600

# Prints a kubectl's version, as 1.37.1 or 1.38.0-beta.0; nothing when it cannot be run. A "dispatcher" (Google Cloud's
# package) is not the client that it says it is: it starts another version, chosen by the server it meets.
version_of() {
    "$1" version --client -o json 2>/dev/null | sed -n '/dispatcher/d; s/.*"gitVersion": *"v\([^"+]*\).*/\1/p' | head -n 1
}

new_enough() {
    local version
    version=$(version_of "$1")
    [ -n "$version" ] && at_least "$version" "$oldest"
}

# build_with GO: compiles tests/kubectl and puts it in place in one step, so that a broken build leaves nothing.
build_with() {
    local go=$1 version=$module_version stamp=k8s.io/component-base/version toolchain=auto needed
    # Go looks for the toolchain that is asked for in go.mod only, not in the file that -modfile names.
    needed=$(sed -n 's/^go //p' "$REPO/tests/kubectl/$modules")
    at_least "$("$go" env GOVERSION | sed 's/^go//')" "$needed" || toolchain=go$needed+auto
    say "building kubectl $version with $("$go" version | cut -d ' ' -f 3) (once; some minutes)"
    # -s -w leave the debug tables out, which halves the binary. The stamps are what the release process sets: the
    # version is shown, and kubectl derives from it which servers it is compatible with.
    (cd "$REPO/tests/kubectl" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=$toolchain \
        quietly timeout "$download_timeout_s" "$go" build -modfile="$modules" -trimpath -buildvcs=false \
            -o "$kubectl.new" -ldflags "-s -w \
            -X $stamp.gitVersion=v$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d . -f 2 <<<"$version") \
            -X $stamp.gitTreeState=clean" .) || return 1
    mv "$kubectl.new" "$kubectl"
}

go_fits() { have "$1" && at_least "$("$1" env GOVERSION | sed 's/^go//')" "$go_oldest"; }

machine() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }

download() {
    local url
    url="https://dl.k8s.io/release/v$module_version/bin/linux/$(machine)/kubectl"
    have curl || return 1
    say "downloading kubectl $module_version from dl.k8s.io"
    curl -fsSL --connect-timeout 10 --max-time "$download_timeout_s" -o "$kubectl.new" "$url" 2>/dev/null || return 1
    local digest
    digest=$(curl -fsSL --connect-timeout 10 --max-time 60 "$url.sha256") || return 1
    echo "$digest  $kubectl.new" | sha256sum --check --status || die "$url does not have its published digest"
    chmod 0755 "$kubectl.new"
    mv "$kubectl.new" "$kubectl"
}

# Debian's and Ubuntu's Go, and, where that is older than $go_oldest, the toolchain that it can fetch for itself as a
# module, checked by Go's checksum database as any module is. Prints the path of a go command.
fetched_go() {
    have go || apt_install golang-go
    go_fits go && { echo go; return; }
    local module root
    module="golang.org/toolchain@v0.0.1-$go_toolchain.linux-$(machine)"
    say "fetching $go_toolchain as a Go module"
    (cd "$TOOLS" && quietly timeout "$download_timeout_s" go mod download "$module") || return 1
    root=$(go env GOMODCACHE)/$module
    # The module cache holds files without their execute bits, and read-only: the toolchain is used from a copy.
    rm -rf "$TOOLS/go"
    cp -r "$root" "$TOOLS/go"
    chmod -R u+w "$TOOLS/go"
    chmod +x "$TOOLS"/go/bin/* "$TOOLS"/go/pkg/tool/*/*
    echo "$TOOLS/go/bin/go"
}

make_kubectl() {
    go_fits go && build_with go && return
    download && return
    local go
    go=$(fetched_go) && build_with "$go" && return
    die "no kubectl $oldest or newer: put one on the PATH (https://kubernetes.io/docs/tasks/tools/) and run this again"
}

if [ -z "$end" ] && have kubectl && new_enough kubectl; then
    command -v kubectl
    exit 0
fi
mkdir -p "$TOOLS"
# Two callers at once must not both build.
exec 9>"$TOOLS/kubectl.lock"
flock 9
[ "$(version_of "$kubectl")" = "$module_version" ] || make_kubectl
[ "$(version_of "$kubectl")" = "$module_version" ] || die "$kubectl was made but does not run: try '$kubectl version --client'"
echo "$kubectl"
