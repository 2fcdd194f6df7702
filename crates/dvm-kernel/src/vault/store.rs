//! The SQLite file beneath the vault: opening, pragmas, and the table.
//!
//! Always true: a connection is handed out only if every pragma reads back as it was set and SQLite is at least 3.51.3
//! (the WAL-reset bug of 3.7.0 to 3.51.2). Exclusive locking with WAL needs no shared-memory file, and it is the lock
//! that keeps a second process out.
//! Not here: what the rows mean.

use super::{VaultError, VaultRule};
use nix::unistd::geteuid;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{OpenOptions, symlink_metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

const MIN_SQLITE: i32 = 3_051_003;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS record(
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY(kind, id)
) STRICT, WITHOUT ROWID";

pub(super) fn check_directory(dir: &Path) -> Result<(), VaultError> {
    let metadata = symlink_metadata(dir)?;
    let ours = metadata.is_dir() && metadata.uid() == geteuid().as_raw();
    if ours && metadata.mode() & 0o7777 == 0o700 {
        Ok(())
    } else {
        Err(VaultRule::DirectoryExposed.into())
    }
}

pub(super) fn connect(file: &Path) -> Result<Connection, VaultError> {
    let version = rusqlite::version_number();
    if version < MIN_SQLITE {
        return Err(VaultRule::SqliteTooOld { version }.into());
    }
    // Made here and not by SQLite, for its mode. Only if absent: closing a second descriptor of a file that this
    // process has locked would drop the lock (POSIX), and with it the fence against a second process.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(created) => created.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    in_use(set_pragmas(&connection))?;
    in_use(connection.execute_batch(SCHEMA))?;
    Ok(connection)
}

/// A lock held by another process is a refusal, not a fault.
pub(super) fn in_use<T>(outcome: Result<T, impl Into<VaultError>>) -> Result<T, VaultError> {
    outcome.map_err(|error| match error.into() {
        VaultError::Sqlite(rusqlite::Error::SqliteFailure(failure, _))
            if matches!(failure.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) =>
        {
            VaultRule::InUse.into()
        }
        other => other,
    })
}

/// Sets what durability rests on, then reads all of it back: SQLite ignores a pragma it cannot honour.
fn set_pragmas(connection: &Connection) -> Result<(), VaultError> {
    // Locking before journal mode: in this order WAL never makes a shared-memory file. Temporary storage in memory, for
    // the sandbox shows no other directory. secure_delete overwrites what a deleted record leaves in free pages.
    connection.execute_batch(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON; PRAGMA trusted_schema=OFF;",
    )?;
    for (pragma, expected) in [("locking_mode", "exclusive"), ("journal_mode", "wal")] {
        let actual: String = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        if actual != expected {
            return Err(VaultRule::PragmaNotInEffect { pragma }.into());
        }
    }
    let numbers = [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("temp_store", 2),
        ("secure_delete", 1),
        ("trusted_schema", 0),
    ];
    for (pragma, expected) in numbers {
        let actual: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        if actual != expected {
            return Err(VaultRule::PragmaNotInEffect { pragma }.into());
        }
    }
    Ok(())
}
