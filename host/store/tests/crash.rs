//! Kills a process that commits in a loop, at random moments, and looks for every write it had acknowledged.
#![allow(clippy::unwrap_used)] // a test may

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use berth_json::json;
use berth_state::{Change, Draft, Key, Revision, Store, Stored, conformance};
use berth_store::SqliteStore;

const KILLS: u64 = 8;
const OBJECTS: u64 = 300;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--commit-until-killed") {
        Some(at) => runtime.block_on(commit_until_killed(Path::new(&arguments[at + 1]))),
        None => {
            runtime.block_on(nothing_acknowledged_is_lost());
            println!("test nothing_acknowledged_is_lost ... ok");
        }
    }
}

async fn nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut before = Revision(0);
    for round in 0..KILLS {
        // Prime steps, so that the kill meets another phase of the loop each time.
        let acknowledged = run_and_kill(&path, 3 + round * 7);
        let (revision, objects) = load(&path).await;
        assert!(revision >= acknowledged, "{acknowledged} was acknowledged, the store is at {revision}");
        assert!(acknowledged > before, "round {round} committed nothing");
        assert_eq!(objects, expected(revision), "the store at {revision} is not what was written");
        before = revision;
    }
}

/// Starts the writer, reads `lines` acknowledgements, kills it, and returns the last one it had printed.
fn run_and_kill(path: &Path, lines: u64) -> Revision {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--commit-until-killed")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    for _ in 0..lines {
        last = output.next().expect("the writer runs").unwrap().parse().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had printed before the kill was acknowledged too; a torn last line was not.
    for line in output.map_while(Result::ok) {
        last = line.parse::<u64>().map_or(last, |revision| revision.max(last));
    }
    Revision(last)
}

/// Each commit writes one to seven of the objects; object n at revision r is known from r alone.
async fn commit_until_killed(path: &Path) {
    let mut store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
    let mut revision = store.load(&mut |_| {}).await.unwrap().0;
    let mut out = std::io::stdout();
    loop {
        let count = revision % 7 + 1;
        let changes: Vec<_> = (1..=count).map(|step| change(revision + step)).collect();
        store.commit(Revision(revision), &changes).await.unwrap();
        revision += count;
        writeln!(out, "{revision}").unwrap();
        out.flush().unwrap();
    }
}

fn change(revision: u64) -> Arc<Change> {
    let key = key(revision % OBJECTS);
    let new = (!revision.is_multiple_of(11)).then(|| {
        let object = json!({"metadata": {"name": &*key.name}, "text": text(revision)});
        let draft = Draft::encode(&conformance::resource(), &object, None).unwrap();
        Arc::new(Stored::new(key.clone(), Revision(revision), draft))
    });
    Arc::new(Change { revision: Revision(revision), key, old: None, new })
}

fn text(revision: u64) -> String {
    format!("{revision} ").repeat(100 + (revision % 900) as usize)
}

fn key(n: u64) -> Key {
    Key::new("things.example.com", "default", format!("o{n}"))
}

fn expected(revision: Revision) -> BTreeMap<Key, Revision> {
    let mut objects = BTreeMap::new();
    for change in (1..=revision.0).map(change) {
        match &change.new {
            Some(_) => objects.insert(change.key.clone(), change.revision),
            None => objects.remove(&change.key),
        };
    }
    objects
}

async fn load(path: &Path) -> (Revision, BTreeMap<Key, Revision>) {
    let mut store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
    let mut objects = BTreeMap::new();
    let mut take = |record: berth_state::Record| {
        let whole = text(record.revision.0);
        assert!(String::from_utf8_lossy(&record.bytes).contains(&whole), "{} is torn", record.key);
        objects.insert(record.key, record.revision);
    };
    let revision = store.load(&mut take).await.unwrap();
    store.close().await.unwrap();
    (revision, objects)
}
