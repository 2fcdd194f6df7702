//! The SQLite file under the journal: its pragmas, its tables, and single operations on them.
//!
//! Source: SQLite's WAL mode with `synchronous=FULL`, one exclusive connection.
//! Always true: the settings that durability rests on were read back from the database before a
//! `Store` exists; a second opener of the same file is refused while it lives.
//!
//! Not here: when to commit and what becomes visible then (the parent module), what keys and values mean.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::JournalFault;

/// First SQLite without the WAL-reset bug of 3.7.0 to 3.51.2.
const MIN_SQLITE: i32 = 3_051_003;
/// `application_id` of a node journal: "DVMj".
const APPLICATION_ID: i64 = 0x4456_4d6a;
/// Layout of the tables; another one is refused, never guessed at.
const SCHEMA_VERSION: i64 = 1;

/// One key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The tables of the node's store: a closed list, each one a map from bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Singletons: boot generation, cluster manifest, versions.
    Meta,
    /// Canonical intents and the idempotency map.
    Intents,
    /// State of executions.
    Executions,
    /// Admission, permit and publication receipts by CID.
    Receipts,
    /// This node's gapless chain of receipts.
    Chain,
    /// Approvals and denials.
    Approvals,
    /// Reserved and committed limits.
    Ledger,
    /// The cluster's event log.
    GovLog,
    /// Content-addressed blocks.
    Blocks,
    /// Events of VM runs, in order.
    TraceEvents,
    /// What still has to be delivered: frames and rail continuations.
    Outbox,
    /// Facts about keys and epochs.
    Keys,
    /// Hashes of bearer tokens.
    Tokens,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 13] = [
        Self::Meta,
        Self::Intents,
        Self::Executions,
        Self::Receipts,
        Self::Chain,
        Self::Approvals,
        Self::Ledger,
        Self::GovLog,
        Self::Blocks,
        Self::TraceEvents,
        Self::Outbox,
        Self::Keys,
        Self::Tokens,
    ];

    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Intents => "intents",
            Self::Executions => "executions",
            Self::Receipts => "receipts",
            Self::Chain => "chain",
            Self::Approvals => "approvals",
            Self::Ledger => "ledger",
            Self::GovLog => "gov_log",
            Self::Blocks => "blocks",
            Self::TraceEvents => "trace_events",
            Self::Outbox => "outbox",
            Self::Keys => "keys",
            Self::Tokens => "tokens",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key, whether or not it was there.
    Put {
        /// Where.
        table: Table,
        /// Which key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Sets a key that must not be there: the lock behind sign-once rules. A second insert is a
    /// fault of the whole journal, because whoever queued it believed the slot to be free.
    Insert {
        /// Where.
        table: Table,
        /// Which key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Removes a key if it is there.
    Delete {
        /// Where.
        table: Table,
        /// Which key.
        key: Vec<u8>,
    },
}

/// The open database.
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens or creates the file and takes its exclusive lock.
    pub(super) fn open(path: &Path) -> Result<Self, JournalFault> {
        if rusqlite::version_number() < MIN_SQLITE {
            return Err(JournalFault::SqliteTooOld { found: rusqlite::version_number() });
        }
        create_private(path)?;
        let connection = Connection::open(path)?;
        // A second opener is an operator's mistake: say so at once instead of waiting for the lock.
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.set_prepared_statement_cache_capacity(Table::ALL.len() * 6 + 2);
        set_pragmas(&connection)?;
        create_tables(&connection)?;
        // The file's name must survive a power cut as surely as its contents.
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(JournalFault::File)?;
        }
        Ok(Self { connection })
    }

    pub(super) fn begin(&self) -> Result<(), JournalFault> {
        self.run("BEGIN IMMEDIATE")
    }

    pub(super) fn commit(&self) -> Result<(), JournalFault> {
        self.run("COMMIT")
    }

    /// A statement that is parsed once for the life of the store.
    fn run(&self, sql: &str) -> Result<(), JournalFault> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    pub(super) fn apply(&self, write: &Write) -> Result<(), JournalFault> {
        match write {
            Write::Put { table, key, value } => {
                let sql = format!(
                    "INSERT INTO {} (key, value) VALUES (?1, ?2) \
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    table.name()
                );
                self.connection.prepare_cached(&sql)?.execute(params![key, value])?;
            }
            Write::Insert { table, key, value } => {
                let sql = format!(
                    "INSERT INTO {} (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING",
                    table.name()
                );
                if self.connection.prepare_cached(&sql)?.execute(params![key, value])? != 1 {
                    return Err(JournalFault::AlreadyPresent { table: *table, key: key.clone() });
                }
            }
            Write::Delete { table, key } => {
                let sql = format!("DELETE FROM {} WHERE key = ?1", table.name());
                self.connection.prepare_cached(&sql)?.execute(params![key])?;
            }
        }
        Ok(())
    }

    pub(super) fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, JournalFault> {
        let sql = format!("SELECT value FROM {} WHERE key = ?1", table.name());
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params![key], |row| row.get(0)).optional()?)
    }

    /// Shows the rows whose key starts with `prefix`, in key order, until told to stop.
    pub(super) fn visit(
        &self,
        table: Table,
        prefix: &[u8],
        mut see: impl FnMut(Vec<u8>, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), JournalFault> {
        let sql = format!(
            "SELECT key, value FROM {} WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key",
            table.name()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![prefix, after_prefix(prefix)])?;
        while let Some(row) = rows.next()? {
            if see(row.get(0)?, row.get(1)?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Creates the file so that only this user can read it; SQLite gives the WAL the same mode.
///
/// A file that is there is never opened here: closing a descriptor drops every POSIX lock this process
/// holds on the file, and so would unlock a journal that is already open.
fn create_private(path: &Path) -> Result<(), JournalFault> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(JournalFault::File(error)),
        _ => Ok(()),
    }
}

/// The least key greater than every key with this prefix; none if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bound = prefix.to_vec();
    while let Some(last) = bound.pop() {
        if let Some(next) = last.checked_add(1) {
            bound.push(next);
            return Some(bound);
        }
    }
    None
}

/// Sets what durability rests on, and believes only what the database says afterwards.
fn set_pragmas(connection: &Connection) -> Result<(), JournalFault> {
    // locking_mode first: entering WAL while exclusive keeps the WAL index in this process's memory.
    let settings: [(&'static str, &str, &str); 5] = [
        ("locking_mode", "EXCLUSIVE", "exclusive"),
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", "2"),
        ("fullfsync", "ON", "1"),
        ("trusted_schema", "OFF", "0"),
    ];
    for (pragma, wanted, read_back) in settings {
        connection.pragma_update_and_check(None, pragma, wanted, |_| Ok(())).or_else(|error| {
            // Pragmas without an answer row report that no row came back.
            match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                other => Err(other),
            }
        })?;
        let found: rusqlite::types::Value =
            connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        let found = match found {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            _ => String::new(),
        };
        if found != read_back {
            return Err(JournalFault::PragmaNotTaken { pragma });
        }
    }
    Ok(())
}

/// Makes the tables of a new file; checks the marks of an old one.
fn create_tables(connection: &Connection) -> Result<(), JournalFault> {
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    let mark = |pragma| -> Result<i64, JournalFault> {
        Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
    };
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let marks = (mark("application_id")?, mark("user_version")?);
    if objects == 0 && marks == (0, 0) {
        for table in Table::ALL {
            connection.execute_batch(&format!(
                "CREATE TABLE {} (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) \
                 STRICT, WITHOUT ROWID",
                table.name()
            ))?;
        }
        connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
        ))?;
    } else if marks != (APPLICATION_ID, SCHEMA_VERSION) {
        return Err(JournalFault::NotAJournal { application_id: marks.0, version: marks.1 });
    }
    Ok(connection.execute_batch("COMMIT")?)
}

impl From<rusqlite::Error> for JournalFault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            _ => Self::Sqlite(error),
        }
    }
}
