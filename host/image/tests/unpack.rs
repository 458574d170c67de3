//! Layers on disk: attributes, whiteouts in overlayfs' form, and archives that mean harm.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use common::*;
use tar::{EntryType, Header};

/// A file capability as `setcap cap_net_raw+ep` writes it (revision 2).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let (path, name) =
        (std::ffi::CString::new(path.to_str().unwrap()).unwrap(), std::ffi::CString::new(name).unwrap());
    let mut value = vec![0; 64];
    // SAFETY: the strings are terminated and the buffer is as long as stated.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

#[test]
fn owners_modes_times_links_nodes_and_capabilities_arrive() {
    let store = Store::new();
    let mut device = Header::new_gnu();
    device.set_path("dev/null").unwrap();
    device.set_entry_type(EntryType::Char);
    device.set_mode(0o666);
    device.set_uid(0);
    device.set_gid(0);
    device.set_mtime(1);
    device.set_size(0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    let layer = Tar::new()
        .entry(EntryType::Directory, "./", "", 0o711, b"")
        .dir("bin/")
        .entry(EntryType::Regular, "bin/su", "", 0o4755, b"su")
        .pax(&[("SCHILY.xattr.security.capability", &CAPABILITY), ("mtime", b"5.25"), ("uid", b"70000")])
        .file("bin/ping", b"ping")
        .pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
        .file("bin/plain", b"")
        .hard_link("bin/su2", "bin/su")
        .hard_link("bin/su3", "/bin/su")
        .symlink("sh", "/bin/busybox")
        .entry(EntryType::Fifo, "pipe", "", 0o600, b"")
        .raw(device, b"")
        .file("implied/deep/file", b"x")
        .file("late", b"first")
        .file("late", b"second")
        .build();
    let root = unpack(&store, layer).unwrap();
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(stat("").mode() & 0o7777, 0o711);
    let su = stat("bin/su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 12, 34, 1_000_000_000));
    assert_eq!((su.nlink(), su.ino()), (3, stat("bin/su2").ino()));
    let ping = stat("bin/ping");
    assert_eq!((ping.uid(), ping.mtime(), ping.mtime_nsec()), (70000, 5, 250_000_000));
    assert_eq!(xattr(&root.join("bin/ping"), "security.capability").as_deref(), Some(&CAPABILITY[..]));
    assert_eq!(xattr(&root.join("bin/plain"), "trusted.overlay.redirect"), None, "not an image's to set");
    assert_eq!(stat("bin").mtime(), 1_000_000_000, "also after its entries were made");
    assert_eq!(fs::read_link(root.join("sh")).unwrap(), Path::new("/bin/busybox"));
    assert!(stat("pipe").file_type().is_fifo());
    assert!(stat("dev/null").file_type().is_char_device());
    assert_eq!(stat("dev/null").rdev(), nix::sys::stat::makedev(1, 3));
    assert_eq!(stat("implied/deep").mode() & 0o7777, 0o755);
    assert_eq!(read(root.join("late")), "second");
}

#[test]
fn whiteouts_work_in_a_real_overlay() {
    let store = Store::new();
    let base = Tar::new()
        .file("gone", b"x")
        .file("stays", b"x")
        .file("both", b"old")
        .dir("opaque/")
        .file("opaque/old", b"x")
        .dir("replaced/")
        .file("replaced/old", b"x")
        .build();
    let top = Tar::new()
        .file(".wh.gone", b"")
        .file("both", b"new")
        .file(".wh.both", b"")
        .dir("opaque/")
        .file("opaque/new", b"x")
        .file("opaque/.wh..wh..opq", b"")
        .dir("replaced/")
        .file("replaced/new", b"x")
        .file(".wh.replaced", b"")
        .file(".wh..wh.plnk", b"")
        .build();
    let layers = vec![base, top];
    store.store.import_reader(docker_archive(&["t"], &layers, &layers).as_slice()).unwrap();
    let image = store.store.resolve("t").unwrap().unwrap();
    let seen = seen(&image, "find . | sort && cat both");
    assert_eq!(seen, ".\n./both\n./opaque\n./opaque/new\n./replaced\n./replaced/new\n./stays\nnew");
}

#[test]
fn directories_without_an_entry_keep_what_lower_layers_say() {
    let store = Store::new();
    let base =
        Tar::new().entry(EntryType::Directory, "tmp/", "", 0o1777, b"").dir("home/").dir("home/app/").build();
    let other = Tar::new().entry(EntryType::Directory, "tmp/", "", 0o700, b"").build();
    let top = Tar::new().file("tmp/x", b"x").file("home/app/y/z", b"z").build();
    for (name, base, mode) in [("one", base, 0o1777), ("two", other, 0o700)] {
        let layers = vec![base, top.clone()];
        store.store.import_reader(docker_archive(&[name], &layers, &layers).as_slice()).unwrap();
        let dir = store.store.resolve(name).unwrap().unwrap().layer_dirs.remove(0);
        assert_eq!(fs::metadata(dir.join("tmp")).unwrap().mode() & 0o7777, mode, "{name}");
        let (app, new) =
            (fs::metadata(dir.join("home/app")).unwrap(), fs::metadata(dir.join("home/app/y")).unwrap());
        assert_eq!((app.uid(), new.uid()), if name == "one" { (12, 0) } else { (0, 0) }, "{name}");
    }
    store.store.remove("two").unwrap();
    assert_eq!(store.store.gc(&Default::default()).unwrap().layers, 2, "each image had its own");
    assert!(store.store.resolve("one").unwrap().is_some());
}

#[test]
fn hostile_entries_are_refused_by_name() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "dots",
            Tar::new().file("../../outside", b"x").build(),
            "entry \"../../outside\": the path contains \"..\"",
        ),
        ("inner dots", Tar::new().file("a/../../outside", b"x").build(), "the path contains \"..\""),
        (
            "hard link out",
            Tar::new().hard_link("passwd", "../../../../etc/passwd").build(),
            "the target \"../../../../etc/passwd\" of the hard link: the path contains \"..\"",
        ),
        (
            "hard link to nothing",
            Tar::new().hard_link("a", "etc/passwd").build(),
            "which neither this layer nor those below it hold",
        ),
        (
            "hard link through a symlink",
            Tar::new().symlink("out", "/etc").hard_link("passwd", "out/passwd").build(),
            "which neither this layer nor those below it hold",
        ),
        (
            "file under a file",
            Tar::new().file("a", b"").file("a/b", b"").build(),
            "entry \"a/b\": its path leads through what is a file",
        ),
        (
            "symlink loop",
            Tar::new().symlink("l", "l").file("l/x", b"").build(),
            "entry \"l/x\": its path leads through more than 40 symbolic links, or through a link to itself",
        ),
        (
            "hard link to a directory",
            Tar::new().dir("d/").hard_link("l", "d").build(),
            "entry \"l\": a hard link to \"d\", which is a directory",
        ),
        ("symlink to nothing", Tar::new().symlink("l", "").build(), "entry \"l\": a link without a target"),
        (
            "deep directories",
            Tar::new().dir(&"d/".repeat(45)).build_with(|tar| {
                // Each link leads 45 directories deeper than the one before.
                (0..5).fold(tar, |tar, n| {
                    let name = format!("l{n}");
                    tar.symlink(
                        &name,
                        &if n == 0 { "d/".repeat(45) } else { format!("l{}/{}", n - 1, "d/".repeat(40)) },
                    )
                    .file(&format!("{name}/x"), b"")
                })
            }),
            "is larger than the limit of 200 directories inside each other",
        ),
        (
            "sparse in PAX",
            Tar::new().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]).file("s", b"").build(),
            "entry \"s\": a sparse file in the form of PAX is not supported: write the layer without --sparse",
        ),
        (
            "unknown type",
            Tar::new().entry(EntryType::new(b'Z'), "z", "", 0o644, b"").build(),
            "unsupported entry type",
        ),
        ("memory bomb", Tar::new().long_name(64 << 20).build(), "an entry's headers are larger than"),
        ("ends early", Tar::new().file("a", &[1; 600]).build()[..700].to_vec(), "truncated"),
    ];
    for (kind, layer, expected) in cases {
        let store = Store::new();
        let error = unpack(&store, layer).unwrap_err();
        assert!(error.contains(expected), "{kind}: {error}");
        assert_eq!((store.count("layers"), store.count("tmp")), (0, 0), "{kind}: nothing is left");
    }
}

#[test]
fn links_that_point_out_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    let store = Store::new();
    let layer = Tar::new()
        .symlink("absolute", out)
        .file("absolute/one", b"x")
        .symlink("relative", "../../../../../../../../tmp")
        .file("relative/two", b"x")
        .symlink("self", "/proc/self/root")
        .file("self/three", b"x")
        .symlink("four", &format!("{out}/four"))
        .file("four", b"x")
        .build();
    let root = unpack(&store, layer).unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing was written outside");
    assert!(!Path::new("/tmp/two").exists());
    assert_eq!(read(root.join(&out[1..]).join("one")), "x", "an absolute link begins at the image's root");

    let layer = Tar::new()
        .dir("tmp/")
        .symlink("relative", "../../../../tmp")
        .file("relative/two", b"x")
        .file("/etc/three", b"x")
        .symlink("four", &format!("{out}/four"))
        .file("four", b"x")
        .build();
    let root = unpack(&store, layer).unwrap();
    assert_eq!(read(root.join("tmp/two")), "x", "resolved as a container would");
    assert_eq!(read(root.join("etc/three")), "x", "absolute means the layer's root");
    assert!(
        fs::symlink_metadata(root.join("four")).unwrap().is_file(),
        "the link was replaced, not followed"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_sparse_bomb_takes_no_disk() {
    let store = Store::new();
    let mut header = Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    let size: u64 = 2 << 30;
    let gnu = header.as_gnu_mut().unwrap();
    gnu.realsize.copy_from_slice(format!("{size:011o}\0").as_bytes());
    gnu.sparse[0].offset.copy_from_slice(format!("{size:011o}\0").as_bytes());
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    let root = unpack(&store, Tar::new().raw(header, b"").build()).unwrap();
    let bomb = fs::metadata(root.join("bomb")).unwrap();
    assert_eq!(bomb.len(), size);
    assert!(bomb.blocks() < 64, "{} blocks", bomb.blocks());
}

/// A file system of its own for a store; unmounted when dropped.
struct SmallDisk {
    store: Option<berth_image::ImageStore>,
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(options: &str) -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some(options)).unwrap();
        let store = berth_image::ImageStore::open(dir.path().join("images")).unwrap();
        SmallDisk { store: Some(store), dir }
    }

    fn import(&self, layer: Vec<u8>) -> Result<(), String> {
        let layers = [layer];
        let archive = gzip(&docker_archive(&["t"], &layers, &[gzip(&layers[0])]));
        let store = self.store.as_ref().unwrap();
        store.import_reader(archive.as_slice()).map(drop).map_err(|error| error.to_string())
    }

    fn left(&self) -> usize {
        fs::read_dir(self.dir.path().join("images/tmp")).unwrap().count()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.store = None;
        nix::mount::umount2(self.dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_bomb_leaves_others_a_reserve_of_room_and_inodes() {
    let disk = SmallDisk::mount("size=100m");
    let error = disk.import(Tar::new().file("bomb", &vec![1; 120 << 20]).build()).unwrap_err();
    assert!(error.starts_with("no room for layer sha256:"), "{error}");
    assert!(
        error.contains(" MiB free, and 5 MiB stay in reserve for others; make room there, or remove"),
        "{error}"
    );
    assert_eq!(disk.left(), 0);
    disk.import(Tar::new().file("small", b"x").build()).unwrap();

    let disk = SmallDisk::mount("size=100m,nr_inodes=4000");
    let bomb = (0..6000).fold(Tar::new(), |tar, n| tar.symlink(&format!("l{n}"), "x"));
    let error = disk.import(bomb.build()).unwrap_err();
    assert!(error.starts_with("no room for layer sha256:"), "{error}");
    assert!(error.contains(" inodes free, and 200 stay in reserve for others; make room there"), "{error}");
    assert_eq!(disk.left(), 0);
}
