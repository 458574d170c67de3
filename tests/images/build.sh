#!/usr/bin/env bash
# tests/images/build.sh OUTDIR: makes the images of the tests and the demo, offline, out of a static busybox.
#
#   my-app-v1.tar     my-app:latest and my-app:v1, as `docker save` writes it
#   my-app-v2.tar     my-app:v2, likewise; the lower layer is the same one
#   busybox.tar       busybox:latest, as `docker save` wrote it before Docker 25
#   busybox-oci.tar   busybox:oci, an OCI image layout with a gzipped layer
#
# Times, owners and order are fixed: the same busybox gives the same digests on every machine and in every run.
set -euo pipefail
# What the caller's shell is set to must not show in the archives.
export LC_ALL=C
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
busybox=${BUSYBOX:-$here/../../target/tools/busybox}
created=2025-01-01T00:00:00Z

[ $# -eq 1 ] || { echo "usage: tests/images/build.sh OUTDIR" >&2; exit 2; }
[ -x "$busybox" ] || { echo "images: error: no busybox at $busybox: run 'make setup' first" >&2; exit 1; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac

# pack DIRECTORY FILE: a tar archive that depends on nothing but the names, modes and contents in the directory.
pack() {
    tar --create --file "$2" --directory "$1" --format=ustar --sort=name --mtime="$created" \
        --owner=0 --group=0 --numeric-owner .
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }
size() { stat -c %s "$1"; }

# Puts a file into the content store of the layout $1 under its digest, and prints the digest.
add_blob() {
    local sha
    sha=$(digest "$2")
    mkdir -p "$1/blobs/sha256"
    cp "$2" "$1/blobs/sha256/$sha"
    echo "$sha"
}

base_layer() {
    local root=$work/base applet
    mkdir -p "$root"/{bin,dev,etc,home,proc,root,run,sys,usr,var}
    mkdir -m 1777 "$root/tmp" "$root/var/tmp"
    install -m 0755 "$busybox" "$root/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'app:x:1000:1000:app:/home:/bin/sh' \
        'nobody:x:65534:65534:nobody:/:/bin/false' >"$root/etc/passwd"
    printf '%s\n' 'root:x:0:' 'app:x:1000:' 'nobody:x:65534:' >"$root/etc/group"
    chmod -R u=rwX,go=rX "$root/etc"
    pack "$root" "$work/base.tar"
}

app_layer() {
    local version=$1 root=$work/app-$1
    mkdir -p "$root"
    cp -r "$here/app" "$root/app"
    echo "$version" >"$root/app/version"
    # The modes come from here, not from the umask under which the sources were checked out.
    chmod -R u=rwX,go=rX "$root"
    pack "$root" "$work/app-$version.tar"
}

# config RUNTIME-JSON LAYER...: prints an image configuration.
config() {
    local runtime=$1 layer ids=()
    shift
    for layer in "$@"; do ids+=("\"sha256:$(digest "$layer")\""); done
    printf '{"architecture":"%s","os":"linux","created":"%s","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$architecture" "$created" "$runtime" "$(comma "${ids[@]}")"
}

comma() {
    local IFS=,
    echo "$*"
}

app_runtime='{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["/app/serve"],"Cmd":["8080"],"ExposedPorts":{"8080/tcp":{}},"WorkingDir":"/app"}'
busybox_runtime='{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"]}'

oci=application/vnd.oci.image

# layout DIRECTORY LAYER-TYPE NAMES CONFIG-FILE LAYER...: makes an OCI image layout with one manifest, which the index
# names as NAMES (image references, apart by spaces). Sets `config_sha` and `layer_shas`.
layout() {
    local root=$1 layer_type=$2 names=$3 config_file=$4 layer descriptors=() entries=() manifest_sha name
    shift 4
    layer_shas=()
    config_sha=$(add_blob "$root" "$config_file")
    for layer in "$@"; do
        layer_shas+=("$(add_blob "$root" "$layer")")
        descriptors+=("{\"mediaType\":\"$layer_type\",\"digest\":\"sha256:${layer_shas[-1]}\",\"size\":$(size "$layer")}")
    done
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"sha256:%s","size":%d},"layers":[%s]}' \
        "$oci.manifest.v1+json" "$oci.config.v1+json" "$config_sha" "$(size "$config_file")" \
        "$(comma "${descriptors[@]}")" >"$work/manifest.json"
    manifest_sha=$(add_blob "$root" "$work/manifest.json")
    for name in $names; do
        entries+=("$(printf '{"mediaType":"%s","digest":"sha256:%s","size":%d,"annotations":{"io.containerd.image.name":"docker.io/library/%s","org.opencontainers.image.ref.name":"%s"}}' \
            "$oci.manifest.v1+json" "$manifest_sha" "$(size "$work/manifest.json")" "$name" "${name#*:}")")
    done
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$oci.index.v1+json" "$(comma "${entries[@]}")" \
        >"$root/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$root/oci-layout"
}

# quoted WORD...: the words as the items of a JSON list.
quoted() {
    local word items=()
    for word in "$@"; do items+=("\"$word\""); done
    comma "${items[@]}"
}

# Today's `docker save`: an OCI layout, and beside its index the manifest.json that older readers look for.
docker_archive() {
    local file=$1 names=$2 root=$work/docker-$1
    shift 2
    layout "$root" "$oci.layer.v1.tar" "$names" "$@"
    # shellcheck disable=SC2086 # the names are words
    printf '[{"Config":"blobs/sha256/%s","RepoTags":[%s],"Layers":[%s]}]' "$config_sha" "$(quoted $names)" \
        "$(quoted "${layer_shas[@]/#/blobs/sha256/}")" >"$root/manifest.json"
    pack "$root" "$work/$file"
}

# `docker save` before Docker 25: manifest.json, the configuration by its digest, and a directory for each layer.
docker_archive_before_25() {
    local file=$1 name=$2 config_file=$3 root=$work/docker-$1 layer sha layers=()
    shift 3
    mkdir -p "$root"
    config_sha=$(digest "$config_file")
    cp "$config_file" "$root/$config_sha.json"
    for layer in "$@"; do
        sha=$(digest "$layer")
        mkdir -p "$root/$sha"
        cp "$layer" "$root/$sha/layer.tar"
        layers+=("$sha/layer.tar")
    done
    printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":[%s]}]' "$config_sha" "$name" "$(quoted "${layers[@]}")" \
        >"$root/manifest.json"
    pack "$root" "$work/$file"
}

oci_archive() {
    local file=$1 name=$2 config_file=$3 root=$work/oci-$1 layer zipped=()
    shift 3
    for layer in "$@"; do
        gzip --no-name -9 <"$layer" >"$layer.gz"
        zipped+=("$layer.gz")
    done
    layout "$root" "$oci.layer.v1.tar+gzip" "$name" "$config_file" "${zipped[@]}"
    pack "$root" "$work/$file"
}

base_layer
config "$busybox_runtime" "$work/base.tar" >"$work/busybox.json"
docker_archive_before_25 busybox.tar busybox:latest "$work/busybox.json" "$work/base.tar"
oci_archive busybox-oci.tar busybox:oci "$work/busybox.json" "$work/base.tar"
for version in v1 v2; do
    app_layer "$version"
    config "$app_runtime" "$work/base.tar" "$work/app-$version.tar" >"$work/my-app-$version.json"
done
docker_archive my-app-v1.tar "my-app:latest my-app:v1" "$work/my-app-v1.json" "$work/base.tar" "$work/app-v1.tar"
docker_archive my-app-v2.tar "my-app:v2" "$work/my-app-v2.json" "$work/base.tar" "$work/app-v2.tar"

# In place only when all of them are made, and one by one in one step: a reader never sees half an archive.
for file in busybox.tar busybox-oci.tar my-app-v1.tar my-app-v2.tar; do
    mv "$work/$file" "$out/.$file.new"
    mv "$out/.$file.new" "$out/$file"
done
echo "images: $out: $(cd "$out" && echo ./*.tar | sed 's/\.\///g')"
