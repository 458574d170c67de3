//! What a SQLite store promises beyond the conformance suite: one user, private, clear errors, bounded.
#![allow(clippy::unwrap_used)] // a test may

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use berth_json::json;
use berth_state::{Change, Draft, Key, Revision, Store, Stored, conformance};
use berth_store::{SqliteStore, Transform};
use bytes::Bytes;

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(&format!("sqlite:{}", path.display())).await.unwrap()
}

async fn error_of(path: &Path) -> String {
    let error = SqliteStore::open(path.to_str().unwrap()).await.err().expect("opening is refused");
    error.to_string()
}

fn put(revision: u64, name: &str, text: &str) -> Arc<Change> {
    let key = Key::new("things.example.com", "default", name);
    let object = json!({"metadata": {"name": name}, "text": text});
    let draft = Draft::encode(&conformance::resource(), &object, None).unwrap();
    let new = Some(Arc::new(Stored::new(key.clone(), Revision(revision), draft)));
    Arc::new(Change { revision: Revision(revision), key, old: None, new })
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    conformance::all(|| open(&path)).await;
}

#[tokio::test]
async fn a_second_berth_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let first = open(&path).await;
    assert_eq!(
        error_of(&path).await,
        format!("the store {} cannot be opened: another berth is using it", path.display())
    );
    first.close().await.unwrap();
    open(&path).await;
}

#[tokio::test]
async fn only_the_owner_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/state.db");
    let mut store = open(&path).await;
    store.commit(Revision(0), &[put(1, "a", "")]).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let modes: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|f| mode(&f.unwrap().path())).collect();
    assert!(modes.len() >= 3 && modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn files_that_are_no_store_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.txt");
    let content = "buy milk, buy bread\n".repeat(500);
    fs::write(&text, &content).unwrap();
    assert!(
        error_of(&text).await.contains("is not a database; give another path"),
        "{}",
        error_of(&text).await
    );
    assert_eq!(fs::read_to_string(&text).unwrap(), content);

    let path = directory.path().join("state.db");
    open(&path).await.close().await.unwrap();
    set_pragma(&path, 68, 7);
    assert!(error_of(&path).await.contains("it belongs to another program"), "{}", error_of(&path).await);
}

#[tokio::test]
async fn a_store_of_a_newer_berth_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    open(&path).await.close().await.unwrap();
    set_pragma(&path, 60, 99);
    let error = error_of(&path).await;
    assert!(error.contains("it has format 99, this berth knows formats up to 2"), "{error}");
}

/// Writes a big-endian number of the SQLite header: 60 is `user_version`, 68 `application_id`.
fn set_pragma(path: &Path, offset: usize, value: u32) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut store = open(&path).await;
    let changes: Vec<_> = (1..=500).map(|n| put(n, &format!("o{n}"), &"x".repeat(1000))).collect();
    store.commit(Revision(0), &changes).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[8192..half].fill(0xa5);
    fs::write(&path, bytes).unwrap();

    let mut store = open(&path).await;
    let error = store.load(&mut |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("it is damaged, restore a backup of it"), "{error}");
}

#[tokio::test]
async fn rewriting_the_same_objects_does_not_grow_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut store = open(&path).await;
    let text = "x".repeat(3000);
    let mut revision = 0;
    for _ in 0..200 {
        let head = Revision(revision);
        let changes = (0..200).map(|n| {
            revision += 1;
            put(revision, &format!("o{n}"), &text)
        });
        store.commit(head, &changes.collect::<Vec<_>>()).await.unwrap();
    }
    let bytes: u64 =
        fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 32 << 20, "120 MB were written over 0.6 MB of objects, {bytes} bytes are on disk");
}

struct Xor;

impl Transform for Xor {
    fn seal(&self, _: &Key, value: &Bytes) -> Bytes {
        value.iter().map(|byte| byte ^ 0x55).collect()
    }

    fn open(&self, key: &Key, sealed: Bytes) -> Result<Bytes, String> {
        Ok(self.seal(key, &sealed))
    }
}

#[tokio::test]
async fn values_pass_the_transform_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut store = SqliteStore::open_with(path.to_str().unwrap(), Box::new(Xor)).await.unwrap();
    let change = put(1, "a", "a very secret text");
    store.commit(Revision(0), std::slice::from_ref(&change)).await.unwrap();
    store.close().await.unwrap();
    let disk = fs::read(&path).unwrap();
    assert!(!disk.windows(11).any(|window| window == b"very secret"), "the text is on disk as it was");

    let mut store = SqliteStore::open_with(path.to_str().unwrap(), Box::new(Xor)).await.unwrap();
    let mut read = vec![];
    store.load(&mut |record| read.push(record.bytes)).await.unwrap();
    assert_eq!(read, [change.latest().bytes().clone()]);
}
