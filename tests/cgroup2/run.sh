#!/bin/sh
# Runs the node's tests, of the runtime and of the agent, on a real cgroup v2 machine: Debian's cloud kernel in an
# emulator.
#
# Machines for development often still have cgroup v1; users have v2. A fake tree of files would only show what its
# author believed. Kernel and emulator are downloaded as packages and unpacked, never installed. Needs apt-get, dpkg-deb,
# cargo, and what `make setup` makes. Takes half an hour or so for everything: the emulator does without KVM.
#
# usage: tests/cgroup2/run.sh [runtime|agent] [TEST-NAME-FILTER]
set -eu

cd "$(dirname "$0")/../.."
case ${1:-} in
    runtime | agent) crates=$1 && shift ;;
    *) crates='runtime agent' ;;
esac
filter=${1:-}
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(realpath "$target")
work=$target/cgroup2
busybox=$PWD/target/tools/busybox
seconds_max=3600

for tool in apt-get dpkg-deb cargo "$busybox"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: see the head of $0" >&2; exit 2; }
done

# unpack DIRECTORY PACKAGE...: the packages' files, once.
unpack() {
    directory=$1
    shift
    [ ! -e "$directory" ] || return 0
    rm -rf "$directory.part" "$directory.packages"
    mkdir -p "$directory.part" "$directory.packages"
    (cd "$directory.packages" && apt-get download -q "$@")
    for package in "$directory.packages"/*.deb; do dpkg-deb -x "$package" "$directory.part"; done
    rm -rf "$directory.packages"
    mv "$directory.part" "$directory"
}

# shellcheck disable=SC2046 # the names are words
unpack "$work/kernel" $(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
kernel=$(echo "$work"/kernel/boot/vmlinuz-*)
release=$(basename "$work"/kernel/lib/modules/*)
if command -v qemu-system-x86_64 >/dev/null; then
    emulator=qemu-system-x86_64
else
    # shellcheck disable=SC2046
    unpack "$work/qemu" $(apt-get -s install --no-install-recommends qemu-system-x86 | awk '/^Inst/ { print $2 }')
    unpacked=$work/qemu/usr
    emulator="env LD_LIBRARY_PATH=$unpacked/lib/x86_64-linux-gnu:$work/qemu/lib/x86_64-linux-gnu \
        $unpacked/bin/qemu-system-x86_64 -L $unpacked/share/qemu -L $unpacked/share/seabios"
fi

# executable TEST PACKAGES: the test's program, built with the features that these packages have together.
executable() {
    # shellcheck disable=SC2086
    CARGO_TARGET_DIR=$target cargo test -q $2 --test "$1" --no-run --message-format=json \
        | sed -n "s|.*\"executable\":\"\([^\"]*/$1-[^\"]*\)\".*|\1|p" | tail -n 1
}

# The tests; for those of the runtime also the shim, at the path that is compiled into them.
programs='' commands=''
for crate in $crates; do
    case $crate in
        runtime) tests=$(executable containers '-p berth-runtime') others=$target/debug/berth-shim arguments='--test-threads 2' ;;
        agent) tests=$(executable node --workspace) others='' arguments='' ;;
    esac
    for program in $tests $others; do
        [ -x "$program" ] || { echo "the tests of berth-$crate were not built" >&2; exit 1; }
        programs="$programs $program"
    done
    commands="$commands
\"$tests\" $arguments $filter
echo \"cgroup2-$crate-exit=\$?\""
done

# The machine's disk: busybox, the tests with the libraries they are linked to and the images, the kernel's modules.
root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/sbin" "$root/new" "$root/proc" "$root/sys" "$root/dev" "$root/etc" \
    "$root$PWD/host/agent" "$root$PWD/host/runtime" "$root$PWD/target/tools"
cp "$busybox" "$root/bin/busybox"
cp "$busybox" "$root$PWD/target/tools/busybox"
cp -r "$PWD/target/images" "$root$PWD/target/images"
# shellcheck disable=SC2086
for file in $programs $(ldd $programs | grep -o '/[^ :]*' | sort -u); do
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
done
modules=lib/modules/$release
mkdir -p "$root/$modules/kernel/fs" "$root/$modules/kernel/drivers/net"
cp "$work/kernel/$modules"/modules.* "$root/$modules/"
for part in fs/overlayfs drivers/net/veth.ko lib net crypto; do
    cp -r "$work/kernel/$modules/kernel/$part" "$root/$modules/kernel/$part"
done
"$busybox" depmod -b "$root" "$release"

cat >"$root/init" <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
/bin/busybox --install -s /sbin
# A root of another kind: the kernel's first one cannot be left by pivot_root.
mount -t tmpfs -o size=2000m tmpfs /new
for directory in /*; do
    case \$directory in /new | /dev | /proc | /sys) ;; *) cp -a "\$directory" /new/ ;; esac
done
mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/new
exec switch_root /new /second
END

cat >"$root/second" <<END
#!/bin/busybox sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in overlay bridge veth nf_tables nft_chain_nat nft_masq nft_nat nft_ct nft_fib_ipv4; do modprobe \$module; done
ip link set lo up
# A way to the world that leads nowhere: a node has an address.
ip link add uplink type veth peer name world
ip address add 192.0.2.10/24 dev uplink
ip link set world up
ip link set uplink up
ip route add default via 192.0.2.1
echo "Linux \$(uname -r), cgroup v2: \$(cat /sys/fs/cgroup/cgroup.controllers)"
$commands
poweroff -f
END
chmod +x "$root/init" "$root/second"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initramfs.gz"

# shellcheck disable=SC2086 # the emulator's command is words
timeout "$seconds_max" $emulator -accel tcg,thread=multi -cpu max -smp 2 -m 4096 -nographic -no-reboot -nic none \
    -kernel "$kernel" -initrd "$work/initramfs.gz" \
    -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all rdinit=/init" </dev/null | tee "$work/console.log"

for crate in $crates; do
    grep -q "cgroup2-$crate-exit=0" "$work/console.log" || { echo "the tests of berth-$crate failed" >&2; exit 1; }
done
