//! Layers are applied on top of the file system so far: an entry's path leads through the links of the layers below, and
//! what a container sees is what it would be if all layers had been unpacked into one directory.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;

use common::*;
use tar::EntryType;

/// Imports layers, and says what a container sees.
fn stacked(layers: &[Tar]) -> Result<String, String> {
    let store = Store::new();
    let layers: Vec<Vec<u8>> = layers.iter().map(|layer| layer.clone().build()).collect();
    import(&store, "t", &layers).map(|image| listing(&image))
}

/// A base with merged `/usr`, as every distribution has it today.
fn base() -> Tar {
    Tar::new()
        .dir("usr/")
        .dir("usr/lib/")
        .file("usr/lib/old.so", b"old")
        .symlink("lib", "usr/lib")
        .symlink("lib64", "/lib")
        .dir("opt/")
        .dir("opt/app/")
        .file("opt/app/a", b"a")
}

const BASE: &str =
    "lib -> usr/lib\nlib64 -> /lib\nopt/\nopt/app/\nopt/app/a = a\nusr/\nusr/lib/\nusr/lib/old.so = old\n";

/// The base with these lines more, sorted.
fn with(lines: &[&str]) -> String {
    let mut all: Vec<&str> = BASE.lines().chain(lines.iter().copied()).collect();
    // As `sort` sees the names.
    all.sort_by_key(|line| line.split([' ', '\n']).next().unwrap().trim_end_matches('/').to_owned());
    all.join("\n") + "\n"
}

#[test]
fn entries_go_through_links_of_lower_layers() {
    for (kind, top, added) in [
        ("a link below", Tar::new().file("lib/new.so", b"new"), vec!["usr/lib/new.so = new"]),
        ("a link to a link", Tar::new().file("lib64/new.so", b"new"), vec!["usr/lib/new.so = new"]),
        (
            "a directory below a link",
            Tar::new().dir("lib/sub/").file("lib/sub/x", b"x"),
            vec!["usr/lib/sub/", "usr/lib/sub/x = x"],
        ),
        (
            "a link of its own to a directory below",
            Tar::new().symlink("app", "/opt/app").file("app/x", b"x"),
            vec!["app -> /opt/app", "opt/app/x = x"],
        ),
        (
            "a link with dots",
            Tar::new().symlink("opt/up", "../../../usr/./lib/../lib").file("opt/up/x", b"x"),
            vec!["opt/up -> ../../../usr/./lib/../lib", "usr/lib/x = x"],
        ),
        (
            "dots after a link mean what the link leads to",
            Tar::new().symlink("l", "lib/../x").file("l/y", b"y"),
            vec!["l -> lib/../x", "usr/x/", "usr/x/y = y"],
        ),
        (
            "a link to what is nowhere yet",
            Tar::new().symlink("srv", "/data/srv").file("srv/x", b"x"),
            vec!["data/", "data/srv/", "data/srv/x = x", "srv -> /data/srv"],
        ),
        (
            "a link through a link",
            Tar::new().symlink("lib/inner", "../../opt/app").file("lib64/inner/x", b"x"),
            vec!["opt/app/x = x", "usr/lib/inner -> ../../opt/app"],
        ),
        ("a hard link to a file below", Tar::new().hard_link("copy", "usr/lib/old.so"), vec!["copy = old"]),
        (
            "a hard link through links",
            Tar::new().hard_link("opt/copy", "lib64/old.so").hard_link("lib/again", "/lib/old.so"),
            vec!["opt/copy = old", "usr/lib/again = old"],
        ),
        ("a hard link to a link", Tar::new().hard_link("copy", "lib"), vec!["copy -> usr/lib"]),
    ] {
        assert_eq!(stacked(&[base(), top]).unwrap(), with(&added), "{kind}");
    }
}

#[test]
fn links_of_lower_layers_are_replaced_or_removed_themselves() {
    let without_lib = BASE.replace("lib -> usr/lib\n", "");
    for (kind, top, expected) in [
        (
            "by a directory",
            Tar::new().dir("lib/").file("lib/new.so", b"new"),
            BASE.replace("lib -> usr/lib\n", "lib/\nlib/new.so = new\n"),
        ),
        ("by a file", Tar::new().file("lib", b"f"), BASE.replace("lib -> usr/lib", "lib = f")),
        ("by another link", Tar::new().symlink("lib", "opt").file("lib/x", b"x"), {
            BASE.replace("lib -> usr/lib", "lib -> opt")
                .replace("opt/app/a = a\n", "opt/app/a = a\nopt/x = x\n")
        }),
        ("by a whiteout", Tar::new().file(".wh.lib", b""), without_lib.clone()),
        (
            "by a whiteout, and then a directory is made",
            Tar::new().file(".wh.lib", b"").file("lib/new.so", b"new"),
            BASE.replace("lib -> usr/lib\n", "lib/\nlib/new.so = new\n"),
        ),
    ] {
        assert_eq!(
            stacked(&[base(), top]).unwrap(),
            expected.replace("lib64 -> /lib\nlib/\n", "lib/\n"),
            "{kind}"
        );
    }
    let error = stacked(&[base(), Tar::new().file("lib", b"f").file("lib/x", b"x")]).unwrap_err();
    assert!(
        error.contains("entry \"lib/x\": its path leads through what is a file, in this layer or below"),
        "{error}"
    );
    let error = stacked(&[base(), Tar::new().file("opt/app/a/x", b"x")]).unwrap_err();
    assert!(error.contains("entry \"opt/app/a/x\": its path leads through what is a file"), "{error}");
}

#[test]
fn whiteouts_go_through_links_and_leave_no_trace() {
    let bare = BASE.replace("usr/lib/old.so = old\n", "");
    for (kind, top, expected) in [
        ("a file through a link", Tar::new().file("lib/.wh.old.so", b""), bare.clone()),
        ("all through a link", Tar::new().file("lib64/.wh..wh..opq", b""), bare.clone()),
        (
            "all, and something new, in any order",
            Tar::new().file("lib/.wh.old.so", b"").file("lib/new", b"n").file("lib/.wh..wh..opq", b""),
            BASE.replace("old.so = old", "new = n"),
        ),
        (
            "a directory, and something in it",
            Tar::new().file(".wh.opt", b"").file("opt/.wh.app", b"").file("opt/app/.wh.a", b""),
            BASE.replace("opt/\nopt/app/\nopt/app/a = a\n", ""),
        ),
        (
            "a directory that is made again is empty",
            Tar::new().file(".wh.opt", b"").dir("opt/").file("opt/new", b"n"),
            BASE.replace("opt/app/\nopt/app/a = a\n", "opt/new = n\n"),
        ),
        (
            "a directory that is used again is empty",
            Tar::new().file(".wh.opt", b"").file("opt/new", b"n"),
            BASE.replace("opt/app/\nopt/app/a = a\n", "opt/new = n\n"),
        ),
        (
            "a directory that was a file in between is empty",
            Tar::new().file("opt", b"f").dir("opt/"),
            BASE.replace("opt/app/\nopt/app/a = a\n", ""),
        ),
        (
            "what is not there",
            Tar::new().file("none/at/all/.wh.x", b"").file("none/.wh..wh..opq", b""),
            BASE.to_owned(),
        ),
        (
            "what is not there in a new directory",
            Tar::new().file("made/here/x", b"x").file("made/.wh.y", b"").file("made/here/.wh.z", b""),
            with(&["made/", "made/here/", "made/here/x = x"]),
        ),
        (
            "what is not there in a directory with an entry of its own",
            Tar::new().dir("made/").file("made/.wh.y", b"").dir("opt/").file("opt/.wh.app", b""),
            with(&["made/"]).replace("opt/app/\nopt/app/a = a\n", ""),
        ),
        ("everything", Tar::new().file("new", b"n").file(".wh..wh..opq", b""), "new = n\n".to_owned()),
    ] {
        assert_eq!(stacked(&[base(), top]).unwrap(), expected, "{kind}");
    }
}

#[test]
fn a_third_layer_sees_what_the_second_has_hidden() {
    let hides = Tar::new().file(".wh.lib", b"").file("opt/.wh..wh..opq", b"").file("usr/lib/.wh.old.so", b"");
    let uses = Tar::new().file("lib/x", b"x").file("opt/app/x", b"x").file("usr/lib/y", b"y");
    assert_eq!(
        stacked(&[base(), hides.clone(), uses]).unwrap(),
        "lib/\nlib/x = x\nlib64 -> /lib\nopt/\nopt/app/\nopt/app/x = x\nusr/\nusr/lib/\nusr/lib/y = y\n"
    );
    let error = stacked(&[base(), hides, Tar::new().hard_link("l", "usr/lib/old.so")]).unwrap_err();
    assert!(
        error.contains("entry \"l\": a hard link to \"usr/lib/old.so\", which neither this layer nor those"),
        "{error}"
    );
    let everything = Tar::new().file(".wh..wh..opq", b"");
    assert_eq!(stacked(&[base(), everything, Tar::new().file("lib/x", b"x")]).unwrap(), "lib/\nlib/x = x\n");
}

#[test]
fn what_a_layer_uses_of_those_below_keeps_owner_mode_time_and_links() {
    let store = Store::new();
    let below = Tar::new()
        .entry(EntryType::Directory, "data/", "", 0o2750, b"")
        .entry(EntryType::Regular, "data/su", "", 0o4755, b"su")
        .symlink("d", "data");
    let top = Tar::new().file("d/new", b"n").hard_link("a", "d/su").hard_link("b", "data/su");
    let image = import(&store, "t", &[below.build(), top.build()]).unwrap();
    let stat = |name: &str| fs::symlink_metadata(image.layer_dirs[0].join(name)).unwrap();
    let data = stat("data");
    assert_eq!((data.mode() & 0o7777, data.uid(), data.gid(), data.mtime()), (0o2750, 12, 34, 1_000_000_000));
    let su = stat("a");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.mtime(), su.nlink()), (0o4755, 12, 1_000_000_000, 3));
    assert_eq!((stat("b").ino(), stat("data/su").ino()), (su.ino(), su.ino()), "one file, three names");
}

#[test]
fn hard_links_may_come_before_their_targets() {
    let links = Tar::new()
        .hard_link("c", "b")
        .hard_link("b", "a")
        .hard_link("taken", "a")
        .file("taken", b"t")
        .file("a", b"x");
    assert_eq!(stacked(&[links]).unwrap(), "a = x\nb = x\nc = x\ntaken = t\n");
    let itself = Tar::new().file("a", b"x").hard_link("a", "a").hard_link("./a", "/a");
    assert_eq!(stacked(&[itself]).unwrap(), "a = x\n");
}

#[test]
fn a_layer_is_shared_only_where_it_means_the_same() {
    let store = Store::new();
    let other = Tar::new().dir("lib/").file("lib/mine", b"m").build();
    let leans = Tar::new().file("lib/x", b"x").build();
    let whole = Tar::new().dir("srv/").file("srv/y", b"y").build();
    let one = import(&store, "one", &[base().build(), leans.clone(), whole.clone()]).unwrap();
    let two = import(&store, "two", &[other, leans.clone(), whole]).unwrap();
    let alone = import(&store, "alone", &[leans]).unwrap();
    assert_eq!(one.layer_dirs[0], two.layer_dirs[0], "it says everything about its own directories");
    assert_ne!(one.layer_dirs[1], two.layer_dirs[1]);
    assert_eq!(listing(&two), "lib/\nlib/mine = m\nlib/x = x\nsrv/\nsrv/y = y\n");
    assert_eq!(listing(&one), with(&["srv/", "srv/y = y", "usr/lib/x = x"]));
    assert_eq!(listing(&alone), "lib/\nlib/x = x\n");
    assert_eq!(store.count("layers"), 6);
}

#[test]
fn what_an_earlier_berth_unpacked_serves_until_the_image_comes_again() {
    let store = Store::new();
    let layers = [base().build(), Tar::new().file("lib/new.so", b"new").build()];
    let image = import(&store, "t", &layers).unwrap();
    // As it was: each layer by itself, named by its digest or chain.
    let dir = store.dir.path().join("images/layers");
    for path in &image.layer_dirs {
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::rename(path, dir.join(name.split_once('-').unwrap().1)).unwrap();
    }
    let old = store.store.resolve("t").unwrap().unwrap();
    assert!(old.layer_dirs.iter().all(|dir| !dir.to_str().unwrap().contains("images/layers/a")));
    let digests = std::collections::BTreeSet::from([old.digest]);
    store.store.gc(&Default::default()).unwrap();
    assert_eq!(store.count("layers"), 2, "there is nothing else to run it from");

    let new = import(&store, "t", &layers).unwrap();
    assert_eq!(new.layer_dirs, image.layer_dirs);
    store.store.gc(&digests).unwrap();
    assert_eq!(store.count("layers"), 4, "containers run from the old ones");
    store.store.gc(&Default::default()).unwrap();
    assert_eq!(store.count("layers"), 2);
    assert_eq!(listing(&new), with(&["usr/lib/new.so = new"]));
}
