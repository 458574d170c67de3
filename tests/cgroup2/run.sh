#!/bin/sh
# Runs the container tests on a real cgroup v2 machine: Debian's cloud kernel in an emulator.
#
# Machines for development often still have cgroup v1; users have v2. A fake tree of files would only show what its
# author believed. The kernel's package is downloaded and unpacked, never installed. Needs qemu-system-x86_64
# (Debian: qemu-system-x86), apt-get, dpkg-deb, cargo and /bin/busybox (busybox-static). Takes a few minutes: the
# emulator does without KVM.
#
# usage: tests/cgroup2/run.sh [TEST-NAME-FILTER]
set -eu

cd "$(dirname "$0")/../.."
filter=${1:-}
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(realpath "$target")
work=$target/cgroup2
seconds_max=1500

for tool in qemu-system-x86_64 apt-get dpkg-deb cargo /bin/busybox; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: see the head of $0" >&2; exit 2; }
done

# The kernel, once.
if [ ! -e "$work/kernel/boot" ]; then
    rm -rf "$work/kernel" "$work/package"
    mkdir -p "$work/package"
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    (cd "$work/package" && apt-get download -q "$package")
    dpkg-deb -x "$work"/package/*.deb "$work/kernel.part"
    mv "$work/kernel.part" "$work/kernel"
fi
kernel=$(echo "$work"/kernel/boot/vmlinuz-*)
modules=$(echo "$work"/kernel/lib/modules/*)

# The tests, and the shim at the path that is compiled into them.
tests=$(CARGO_TARGET_DIR=$target cargo test -q -p berth-runtime --test containers --no-run --message-format=json \
    | sed -n 's/.*"executable":"\([^"]*containers[^"]*\)".*/\1/p' | tail -n 1)
shim=$target/debug/berth-shim
if [ ! -x "$tests" ] || [ ! -x "$shim" ]; then
    echo "the tests were not built" >&2
    exit 1
fi

# The machine's disk: busybox, the libraries the tests are linked to, and the overlay file system.
root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/modules" "$root/new" "$root/proc" "$root/sys" "$root/dev" "$root/etc"
cp /bin/busybox "$root/bin/busybox"
for file in "$tests" "$shim" $(ldd "$tests" "$shim" | grep -o '/[^ :]*' | sort -u); do
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
done
cp "$modules/kernel/fs/overlayfs/overlay.ko" "$root/modules/"

cat >"$root/init" <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
insmod /modules/overlay.ko
# A root of another kind: the kernel's first one cannot be left by pivot_root.
mount -t tmpfs -o size=1500m tmpfs /new
cp -a /bin /etc /modules /usr /lib /lib64 /work /root /home /opt /new/ 2>/dev/null
for path in "$tests" "$shim"; do
    mkdir -p "/new\$(dirname "\$path")"
    cp "\$path" "/new\$path"
done
mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/new
cp /second /new/second
umount /proc
exec switch_root /new /second
END

cat >"$root/second" <<END
#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
echo "Linux \$(uname -r), cgroup v2: \$(cat /sys/fs/cgroup/cgroup.controllers)"
"$tests" --test-threads 2 $filter
echo "cgroup2-tests-exit=\$?"
poweroff -f
END
chmod +x "$root/init" "$root/second"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initramfs.gz"

timeout "$seconds_max" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nographic -no-reboot \
    -kernel "$kernel" -initrd "$work/initramfs.gz" \
    -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all rdinit=/init" </dev/null | tee "$work/console.log"

grep -q 'cgroup2-tests-exit=0' "$work/console.log"
