#!/usr/bin/env bash
# Installs what building and testing Berth needs from Debian or Ubuntu, and only what is missing.
# It needs no standard input. It changes nothing on a machine that has everything.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing=()

# need COMMAND PACKAGE...: the packages are installed when the command is not there.
need() {
    local command=$1
    shift
    have "$command" || missing+=("$@")
}

# Whether C programs can be compiled and linked: the crates ring and libsqlite3-sys bring C sources. A compiler without
# the C library's headers is a common half-installation, hence a trial instead of a look for the command.
c_works() { echo 'int main(void) { return 0; }' | cc -x c -include stdio.h -o /dev/null - 2>/dev/null; }

c_works || missing+=(gcc libc6-dev)
# The demo fetches pages from its pods; kubectl.sh and rustup download over https.
need curl curl ca-certificates
# The network tests ask these, as witnesses of their own, what the kernel was told.
need ip iproute2
PATH="$PATH:/usr/sbin:/sbin" need nft nftables
# kubectl's own dependency for `kubectl diff`.
need diff diffutils
need git git
need tar tar
need gzip gzip

if [ ${#missing[@]} -gt 0 ]; then
    apt_install "${missing[@]}"
    c_works || die "C programs cannot be compiled although gcc and libc6-dev are installed; try: cc --version"
fi

# The test images are made of a static busybox. The package busybox-static would replace the user's busybox.
static_busybox() { have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }
[ -x "$TOOLS/busybox" ] || {
    mkdir -p "$TOOLS"
    if static_busybox; then
        ln -sf "$(readlink -f "$(command -v busybox)")" "$TOOLS/busybox"
    else
        unpack_deb busybox-static bin/busybox busybox
    fi
}
# The pull tests run a registry of their own. The package docker-registry would start one as a service.
[ -x "$TOOLS/docker-registry" ] || unpack_deb docker-registry usr/bin/docker-registry docker-registry

say "packages: ready"
