//! The statements: many rows each, so that a commit of hundreds of objects costs a few of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use berth_state::{Change, Key, Record, Revision, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::transform::Transform;

/// Rows of one statement: beyond 64 nothing is won, and five parameters a row stay far below SQLite's 32,766.
/// Fewer rows go in powers of two, so that what is prepared stays within the connection's cache of statements: one text
/// for each number of rows below this, and a few more.
const ROWS_MAX: usize = 64;

/// What went wrong, before it is known where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error(transparent)]
    Sqlite(#[from] sqlx::Error),
    #[error("{key}: {why}")]
    Sealed { key: Key, why: String },
    #[error("a revision in it is negative")]
    Revision,
}

/// SQLite's code for an empty value where none may be.
const NOT_NULL: &str = "1299";

impl RowError {
    /// Whether the head was not the expected one.
    pub(crate) fn is_behind(&self) -> bool {
        let Self::Sqlite(sqlx::Error::Database(error)) = self else { return false };
        error.code().as_deref() == Some(NOT_NULL)
    }

    pub(crate) fn in_store(self, doing: &str, path: &Path) -> StoreError {
        let path = path.display();
        let code = match &self {
            Self::Sqlite(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
            _ => String::new(),
        };
        let context = match code.as_str() {
            "13" => format!("{doing} the store {path}: its disk is full, make room"),
            "11" => format!("{doing} the store {path}: it is damaged, restore a backup of it"),
            _ => format!("{doing} the store {path}"),
        };
        StoreError::new(context, self)
    }
}

/// What a batch of changes leaves behind: of an object that is written twice only the last version counts.
pub(crate) struct NetChanges {
    puts: Vec<(Key, Revision, Bytes)>,
    deletes: Vec<Key>,
}

impl NetChanges {
    pub(crate) fn of(changes: &[Arc<Change>], transform: &dyn Transform) -> Self {
        let last: HashMap<&Key, &Arc<Change>> = changes.iter().map(|change| (&change.key, change)).collect();
        let is_last = |change: &&Arc<Change>| Arc::ptr_eq(last[&change.key], change);
        let mut net = Self { puts: Vec::with_capacity(changes.len()), deletes: vec![] };
        for change in changes.iter().filter(is_last) {
            let key = change.key.clone();
            match &change.new {
                Some(new) => {
                    let sealed = transform.seal(&key, new.bytes());
                    net.puts.push((key, change.revision, sealed));
                }
                None => net.deletes.push(key),
            }
        }
        net
    }
}

/// What begins a transaction; put before its first statement, since each trip to SQLite's thread and back costs a small
/// commit as much time as its rows.
const BEGIN: &str = "BEGIN IMMEDIATE;";

/// From which revision to which one a transaction leads.
#[derive(Clone, Copy)]
struct Step {
    from: Revision,
    to: Revision,
}

/// One transaction: all rows, and the revision of the last one, if the one before is `from`. A small one is a single trip to
/// SQLite's thread.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    net: NetChanges,
    from: Revision,
    to: Revision,
) -> Result<(), RowError> {
    let written = write_all(connection, &net, Step { from, to }).await;
    if written.is_err() {
        // It fails when SQLite has rolled back by itself, or nothing was begun.
        let _ = sqlx::raw_sql("ROLLBACK").execute(connection).await;
    }
    Ok(written?)
}

async fn write_all(
    connection: &mut SqliteConnection,
    net: &NetChanges,
    step: Step,
) -> Result<(), sqlx::Error> {
    let mut begin = BEGIN;
    let (whole, rest) = net.puts.split_at(net.puts.len() - net.puts.len() % ROWS_MAX);
    for rows in whole.chunks(ROWS_MAX) {
        put(connection, std::mem::take(&mut begin), rows, None).await?;
    }
    for keys in chunks(&net.deletes) {
        delete(connection, std::mem::take(&mut begin), keys).await?;
    }
    put(connection, begin, rest, Some(step)).await
}

/// Writes rows and, with the last of them, ends the transaction: where the head is not the expected one, it becomes nothing,
/// which it may not be.
async fn put(
    connection: &mut SqliteConnection,
    begin: &str,
    rows: &[(Key, Revision, Bytes)],
    last: Option<Step>,
) -> Result<(), sqlx::Error> {
    let mut sql = begin.to_owned();
    for chunk in chunks(rows) {
        sql.push_str("INSERT INTO objects VALUES ");
        write_tuples(&mut sql, "(?,?,?,?,?)", chunk.len());
        sql.push_str(
            " ON CONFLICT (resource, namespace, name) \
             DO UPDATE SET revision = excluded.revision, value = excluded.value;",
        );
    }
    if last.is_some() {
        sql.push_str("UPDATE head SET revision = CASE revision WHEN ? THEN ? END; COMMIT");
    }
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (key, revision, value) in rows {
        query = query.bind(key.resource.clone()).bind(key.namespace.clone()).bind(key.name.clone());
        query = query.bind(number(*revision)).bind(&value[..]);
    }
    if let Some(Step { from, to }) = last {
        query = query.bind(number(from)).bind(number(to));
    }
    query.execute(connection).await.map(drop)
}

async fn delete(connection: &mut SqliteConnection, begin: &str, keys: &[Key]) -> Result<(), sqlx::Error> {
    let mut sql = begin.to_owned();
    sql.push_str("DELETE FROM objects WHERE (resource, namespace, name) IN (VALUES ");
    write_tuples(&mut sql, "(?,?,?)", keys.len());
    sql.push(')');
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for key in keys {
        query = query.bind(key.resource.clone()).bind(key.namespace.clone()).bind(key.name.clone());
    }
    query.execute(connection).await.map(drop)
}

fn write_tuples(sql: &mut String, tuple: &str, count: usize) {
    for at in 0..count {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(sql, "{comma}{tuple}");
    }
}

/// Cuts into pieces of [`ROWS_MAX`], and the rest into smaller and smaller powers of two.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut size = ROWS_MAX;
    std::iter::from_fn(move || {
        if rows.is_empty() {
            return None;
        }
        while size > rows.len() {
            size /= 2;
        }
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// Hands all rows out, and tells the revision of the last commit.
pub(crate) async fn load(
    connection: &mut SqliteConnection,
    transform: &dyn Transform,
    each: &mut (dyn FnMut(Record) + Send),
) -> Result<Revision, RowError> {
    let mut names = Names::default();
    let mut rows =
        sqlx::query("SELECT resource, namespace, name, revision, value FROM objects").fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let resource = names.shared(row.try_get(0)?);
        let namespace = names.shared(row.try_get(1)?);
        let key = Key::new(resource, namespace, row.try_get::<&str, _>(2)?);
        let revision = revision_of(row.try_get(3)?)?;
        let sealed = Bytes::copy_from_slice(row.try_get::<&[u8], _>(4)?);
        let bytes = transform.open(&key, sealed);
        let bytes = bytes.map_err(|why| RowError::Sealed { key: key.clone(), why })?;
        each(Record { key, revision, bytes });
    }
    drop(rows);
    head(connection).await
}

/// The revision of the last commit.
pub(crate) async fn head(connection: &mut SqliteConnection) -> Result<Revision, RowError> {
    revision_of(sqlx::query_scalar("SELECT revision FROM head").fetch_one(connection).await?)
}

/// Resources and namespaces are few and stand in every key: they are kept once.
#[derive(Default)]
struct Names(HashMap<Box<str>, Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let shared: Arc<str> = name.into();
        self.0.insert(name.into(), shared.clone());
        shared
    }
}

/// Revisions count single writes: 2⁶³ of them are never reached.
fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).expect("fewer than 2^63 writes")
}

fn revision_of(number: i64) -> Result<Revision, RowError> {
    u64::try_from(number).map(Revision).map_err(|_| RowError::Revision)
}

#[cfg(test)]
mod tests {
    #[test]
    fn chunks_are_powers_of_two() {
        let sizes = |count: usize| super::chunks(&vec![(); count]).map(<[()]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), Vec::<usize>::new());
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(64), [64]);
        assert_eq!(sizes(203), [64, 64, 64, 8, 2, 1]);
    }
}
