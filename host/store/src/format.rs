//! The format number of a store, and how an old one becomes a new one: forward only, after a backup.

use std::path::Path;

use berth_state::StoreError;
use sqlx::{Connection, SqliteConnection};

use crate::location::beside;

/// Marks the file as berth's (`PRAGMA application_id`): "BRTH".
const APPLICATION_ID: i64 = 0x4252_5448;

/// What leads from format n to n+1 (`PRAGMA user_version`); the first one makes a new store. Never changed once
/// released, only added to.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE objects (
        resource TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (resource, namespace, name)
    ) STRICT;
    CREATE TABLE blobs (
        digest TEXT NOT NULL PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE head (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        revision INTEGER NOT NULL
    ) STRICT;
    INSERT INTO head VALUES (1, 0);
    ", // Blobs are files beside the database: see `blobs::move_out`.
    "DROP TABLE blobs;",
];

/// The format up to which blobs are rows.
const BLOBS_ARE_ROWS: usize = 1;

/// A file that cannot be used as a store.
#[derive(Debug, thiserror::Error)]
enum FormatError {
    #[error("it belongs to another program")]
    Foreign,
    #[error("it has format {found}, this berth knows formats up to {known}; use the newer berth")]
    Newer { found: usize, known: usize },
}

/// Makes a new store, or brings an old one to the newest format.
pub(crate) async fn check_and_migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    migrations: &[&'static str],
) -> Result<(), StoreError> {
    let refused = |error| StoreError::new(format!("the store {} cannot be opened", path.display()), error);
    let failed =
        |error| StoreError::new(format!("reading the format of the store {}", path.display()), error);
    let found = pragma(connection, "user_version").await.map_err(failed)?;
    let application = pragma(connection, "application_id").await.map_err(failed)?;
    let objects = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_schema");
    let is_new = objects.fetch_one(&mut *connection).await.map_err(failed)? == 0;

    if !is_new && application != APPLICATION_ID {
        return Err(refused(FormatError::Foreign));
    }
    let found = usize::try_from(found).map_err(|_| refused(FormatError::Foreign))?;
    let known = migrations.len();
    if found > known {
        return Err(refused(FormatError::Newer { found, known }));
    }
    if !is_new && found < known {
        back_up(connection, path, found).await?;
    }
    for (format, migration) in migrations.iter().enumerate().skip(found) {
        if format == BLOBS_ARE_ROWS {
            crate::blobs::move_out(connection, path).await?;
        }
        let step = migrate(connection, migration, format + 1).await;
        let context = || format!("bringing the store {} to format {}", path.display(), format + 1);
        step.map_err(|error| StoreError::new(context(), error))?;
    }
    Ok(())
}

async fn migrate(
    connection: &mut SqliteConnection,
    step: &'static str,
    to: usize,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(step).execute(&mut *transaction).await?;
    let mark = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {to}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Copies the store to `<file>.format-<n>`. A copy that is there already was made by a migration that did not finish:
/// the store is still what it was, so the copy stays good.
async fn back_up(connection: &mut SqliteConnection, path: &Path, format: usize) -> Result<(), StoreError> {
    let copy = beside(path, &format!(".format-{format}"));
    if copy.exists() {
        return Ok(());
    }
    let partial = beside(&copy, ".partial");
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::new(format!("backing the store up to {}", copy.display()), error)
    };
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(|error| failed(error.into()))?;
    }
    let statement = sqlx::query("VACUUM INTO ?").bind(partial.to_string_lossy().into_owned());
    statement.execute(connection).await.map_err(|error| failed(error.into()))?;
    crate::location::prepare(&partial)?;
    let synced = std::fs::File::open(&partial).and_then(|file| file.sync_all());
    synced.and_then(|()| std::fs::rename(&partial, &copy)).map_err(|error| failed(error.into()))
}

async fn pragma(connection: &mut SqliteConnection, name: &str) -> Result<i64, sqlx::Error> {
    let statement = format!("PRAGMA {name}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteStore;
    use berth_state::Store;
    use sqlx::ConnectOptions;

    const NEXT: [&str; 3] = [MIGRATIONS[0], MIGRATIONS[1], "ALTER TABLE objects ADD COLUMN extra TEXT"];

    async fn raw(path: &Path) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        options.connect().await.unwrap()
    }

    #[tokio::test]
    async fn an_old_store_is_backed_up_and_migrated_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        SqliteStore::open(path.to_str().unwrap()).await.unwrap().close().await.unwrap();

        let mut connection = raw(&path).await;
        check_and_migrate(&mut connection, &path, &NEXT).await.unwrap();
        assert_eq!(pragma(&mut connection, "user_version").await.unwrap(), 3);
        sqlx::query("SELECT extra FROM objects").fetch_all(&mut connection).await.unwrap();
        check_and_migrate(&mut connection, &path, &NEXT).await.unwrap();

        let mut backup = raw(&beside(&path, ".format-2")).await;
        assert_eq!(pragma(&mut backup, "user_version").await.unwrap(), 2);
        sqlx::query("SELECT extra FROM objects").fetch_all(&mut backup).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_failed_migration_leaves_the_store_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        SqliteStore::open(path.to_str().unwrap()).await.unwrap().close().await.unwrap();
        let broken = [MIGRATIONS[0], MIGRATIONS[1], "CREATE TABLE more (a); SELECT nonsense FROM nowhere"];

        let mut connection = raw(&path).await;
        let error = check_and_migrate(&mut connection, &path, &broken).await.unwrap_err();
        assert!(error.to_string().contains("to format 3"), "{error}");
        drop(connection);
        SqliteStore::open(path.to_str().unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn blobs_that_were_rows_become_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        crate::location::prepare(&path).unwrap();
        let mut connection = raw(&path).await;
        check_and_migrate(&mut connection, &path, &MIGRATIONS[..1]).await.unwrap();
        let insert = sqlx::query("INSERT INTO blobs VALUES ('sha256:ab', x'0102'), ('sha256:cd', x'')");
        insert.execute(&mut connection).await.unwrap();
        drop(connection);

        let store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
        let blobs = store.blobs();
        assert_eq!(blobs.get("sha256:ab").await.unwrap().as_deref(), Some(&[1, 2][..]));
        assert_eq!(blobs.get("sha256:cd").await.unwrap().as_deref(), Some(&[][..]));
        assert_eq!(blobs.get("sha256:ef").await.unwrap(), None);
        blobs.get("../state.db").await.unwrap_err();
        store.close().await.unwrap();
        let mut backup = raw(&beside(&path, ".format-1")).await;
        sqlx::query("SELECT digest FROM blobs").fetch_all(&mut backup).await.unwrap();
    }
}
