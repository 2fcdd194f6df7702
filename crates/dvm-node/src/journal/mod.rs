//! The node's journal: durable first, visible second.
//!
//! Source: `vm.md`, "Crash and resume". Everything goes through one first-in-first-out queue: writes,
//! reads, and *releases* (whatever the outside can see: a network send, an API reply). One thread takes
//! what is queued, applies all writes in one transaction, commits, and only then runs the releases.
//!
//! Always true:
//! - a release runs only after every write queued before it is on disk, and releases run in queue order;
//! - a read sees every write queued before it, and its answer is itself a release;
//! - after any failure nothing is written or released again: `on_fatal` is called once and the process
//!   is expected to end. A failed fsync is never retried: what it lost cannot be known.
//!
//! Not here: what keys and values mean, secrets (the kernel's vault), and a bound on the queue: the
//! producer is the engine, which sheds load by [`Journal::backlog`].

mod store;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use store::{Row, Table, Write};

use store::Store;

/// No more is taken into a transaction that has this many items: keeps the first release of a burst
/// from waiting for all of it.
pub const MAX_GROUP: usize = 1024;

/// Writes that become durable together or not at all.
pub type WriteBatch = Vec<Write>;

/// Something the outside can see, held back until the writes before it are durable.
pub type Release = Box<dyn FnOnce() + Send>;

/// Why the journal cannot go on. All are faults of the disk or of its set-up, except
/// `AlreadyPresent`, a broken invariant of this node, and `ReleasePanicked`, a bug.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// The file or its directory could not be opened or synced.
    #[error("journal file: {0}")]
    File(#[source] std::io::Error),
    /// SQLite failed.
    #[error("journal database: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// Another process or connection has the file open.
    #[error("journal is in use by another process")]
    InUse,
    /// SQLite is older than the first version with the WAL-reset fix.
    #[error("SQLite {found} is older than 3.51.3")]
    SqliteTooOld {
        /// What `sqlite3_libversion_number` says.
        found: i32,
    },
    /// A setting that durability rests on did not take.
    #[error("SQLite did not take pragma {pragma}")]
    PragmaNotTaken {
        /// Which one.
        pragma: &'static str,
    },
    /// The file is another program's, or of another layout.
    #[error("not a journal of this version (application_id {application_id}, version {version})")]
    NotAJournal {
        /// The file's `application_id`.
        application_id: i64,
        /// The file's `user_version`.
        version: i64,
    },
    /// `Insert` met a key that was there.
    #[error("insert into {table:?} met an existing key {}", hex::encode(key))]
    AlreadyPresent {
        /// Where.
        table: Table,
        /// Which key.
        key: Vec<u8>,
    },
    /// A release panicked: what became visible is unknown.
    #[error("a release panicked")]
    ReleasePanicked,
}

/// The journal has stopped; nothing more will be written or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("journal has stopped")]
pub struct JournalStopped;

/// Counters since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalMetrics {
    /// Transactions committed: each is one fsync.
    pub commits: u64,
    /// Write batches made durable by them.
    pub batches: u64,
    /// Releases run.
    pub releases: u64,
    /// Items queued and not done.
    pub backlog: u64,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    releases: AtomicU64,
    backlog: AtomicU64,
}

/// A read, given the store; returns the release that hands over the answer.
type Read = Box<dyn FnOnce(&Store) -> Result<Release, JournalFault> + Send>;

enum Item {
    Write(WriteBatch),
    Release(Release),
    Read(Read),
    /// Finish what is queued before this, then stop.
    Close,
}

/// An open journal whose thread is not running yet: the time to read the state back.
pub struct Loaded {
    store: Store,
}

impl Loaded {
    /// The value of a key.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, JournalFault> {
        self.store.value(table, key)
    }

    /// All rows of a table, in key order.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn scan(&self, table: Table) -> Result<Vec<Row>, JournalFault> {
        collect(&self.store, table, &[], usize::MAX)
    }

    /// Shows rows whose key starts with `prefix`, in key order, one at a time, until `see` breaks.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn visit(
        &self,
        table: Table,
        prefix: &[u8],
        see: impl FnMut(Vec<u8>, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), JournalFault> {
        self.store.visit(table, prefix, see)
    }

    /// Starts the journal's thread. `on_fatal` runs on it, at most once; the daemon's ends the process.
    ///
    /// # Errors
    /// [`JournalFault::File`] if no thread can be started.
    pub fn start(
        self,
        on_fatal: Box<dyn FnOnce(JournalFault) + Send>,
    ) -> Result<(Journal, JournalThread), JournalFault> {
        let (queue, items) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn({
                let counters = Arc::clone(&counters);
                move || {
                    if let Err(fault) = run(&self.store, &items, &counters) {
                        on_fatal(fault);
                    }
                }
            })
            .map_err(JournalFault::File)?;
        let journal = Journal { queue, counters };
        Ok((journal.clone(), JournalThread { journal, thread }))
    }
}

/// Items that enter the queue together, so that one transaction can take all their writes. A group
/// promises nothing else: its order, and the rule for releases, are those of single items.
#[derive(Default)]
pub struct Group {
    items: Vec<Item>,
}

impl Group {
    /// Adds a batch of writes.
    pub fn write(&mut self, batch: WriteBatch) {
        self.items.push(Item::Write(batch));
    }

    /// Adds a release. It runs on the journal's thread, so it must not block.
    pub fn release(&mut self, release: Release) {
        self.items.push(Item::Release(release));
    }
}

/// A handle to the running journal; clones share one queue.
#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<Vec<Item>>,
    counters: Arc<Counters>,
}

impl Journal {
    /// Opens or creates the file, checks it and takes its exclusive lock.
    ///
    /// # Errors
    /// [`JournalFault::InUse`] if it is open elsewhere, `NotAJournal` if it is something else, or a
    /// fault of the disk.
    pub fn open(path: &Path) -> Result<Loaded, JournalFault> {
        Ok(Loaded { store: Store::open(path)? })
    }

    /// Queues a batch of writes.
    ///
    /// # Errors
    /// [`JournalStopped`] after a fault or close.
    pub fn write(&self, batch: WriteBatch) -> Result<(), JournalStopped> {
        self.submit(Item::Write(batch))
    }

    /// Queues a release. It runs on the journal's thread, so it must not block.
    ///
    /// # Errors
    /// [`JournalStopped`] after a fault or close.
    pub fn release(&self, release: Release) -> Result<(), JournalStopped> {
        self.submit(Item::Release(release))
    }

    /// Queues a group; an empty one is nothing.
    ///
    /// # Errors
    /// [`JournalStopped`] after a fault or close.
    pub fn submit_group(&self, group: Group) -> Result<(), JournalStopped> {
        if group.items.is_empty() { Ok(()) } else { self.submit_all(group.items) }
    }

    /// The value of a key, as of the writes queued before this call.
    ///
    /// # Errors
    /// [`JournalStopped`] after a fault or close.
    pub async fn read(
        &self,
        table: Table,
        key: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, JournalStopped> {
        self.ask(move |store| store.value(table, &key)).await
    }

    /// The first `limit` rows whose key starts with `prefix`, in key order, as of the writes queued
    /// before this call.
    ///
    /// # Errors
    /// [`JournalStopped`] after a fault or close.
    pub async fn scan(
        &self,
        table: Table,
        prefix: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Row>, JournalStopped> {
        self.ask(move |store| collect(store, table, &prefix, limit)).await
    }

    /// Items queued and not done: what the engine sheds load by.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.counters.backlog.load(Ordering::Relaxed)
    }

    /// Counters since start.
    #[must_use]
    pub fn metrics(&self) -> JournalMetrics {
        JournalMetrics {
            commits: self.counters.commits.load(Ordering::Relaxed),
            batches: self.counters.batches.load(Ordering::Relaxed),
            releases: self.counters.releases.load(Ordering::Relaxed),
            backlog: self.backlog(),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, JournalFault> + Send + 'static,
    ) -> Result<T, JournalStopped> {
        let (reply, answer) = oneshot::channel();
        self.submit(Item::Read(Box::new(move |store| {
            let found = question(store)?;
            // The asker may have gone away; then nobody needs the answer.
            Ok(Box::new(move || drop(reply.send(found))))
        })))?;
        answer.await.map_err(|_| JournalStopped)
    }

    fn submit(&self, item: Item) -> Result<(), JournalStopped> {
        self.submit_all(vec![item])
    }

    fn submit_all(&self, items: Vec<Item>) -> Result<(), JournalStopped> {
        // Counted before it is queued, so that the thread never subtracts what was not added.
        let count = items.len() as u64;
        self.counters.backlog.fetch_add(count, Ordering::Relaxed);
        self.queue.send(items).map_err(|_| {
            self.counters.backlog.fetch_sub(count, Ordering::Relaxed);
            JournalStopped
        })
    }
}

/// The running thread, for an orderly end.
pub struct JournalThread {
    journal: Journal,
    thread: JoinHandle<()>,
}

impl JournalThread {
    /// Makes durable and releases everything queued so far, then stops. Blocks until done.
    pub fn close(self) {
        // If the thread has stopped by itself there is nothing left to finish.
        let _ = self.journal.submit(Item::Close);
        let _ = self.thread.join();
    }
}

fn collect(
    store: &Store,
    table: Table,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<Row>, JournalFault> {
    let mut rows = Vec::new();
    if limit > 0 {
        store.visit(table, prefix, |key, value| {
            rows.push((key, value));
            if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(rows)
}

/// The journal's thread: one turn per group, until closed, dropped or broken.
fn run(
    store: &Store,
    items: &mpsc::Receiver<Vec<Item>>,
    counters: &Counters,
) -> Result<(), JournalFault> {
    while let Ok(mut group) = items.recv() {
        while group.len() < MAX_GROUP
            && let Ok(more) = items.try_recv()
        {
            group.extend(more);
        }
        let size = group.len() as u64;
        let closing = commit_group(store, group, counters)?;
        counters.backlog.fetch_sub(size, Ordering::Relaxed);
        if closing {
            break;
        }
    }
    Ok(())
}

/// Applies a group in one transaction, commits, then releases in order. Says whether to close.
fn commit_group(
    store: &Store,
    group: Vec<Item>,
    counters: &Counters,
) -> Result<bool, JournalFault> {
    let mut releases = Vec::new();
    let (mut batches, mut closing) = (0_u64, false);
    for item in group {
        match item {
            Item::Write(batch) => {
                if batches == 0 {
                    store.begin()?;
                }
                batches += 1;
                batch.iter().try_for_each(|write| store.apply(write))?;
            }
            // Inside the transaction a read sees writes that a crash could still undo, so its answer
            // waits for the commit like any other release.
            Item::Read(read) => releases.push(read(store)?),
            // Nothing before it in this group waits for the disk, and earlier groups are on it. It still
            // waits for the answers of reads before it: releases keep the order they were queued in.
            Item::Release(release) if batches == 0 && releases.is_empty() => {
                run_release(release, counters)?;
            }
            Item::Release(release) => releases.push(release),
            Item::Close => {
                closing = true;
                break;
            }
        }
    }
    // A crash before this line loses the group and shows none of it; after it, releases may be lost,
    // and are made again from what is stored.
    if batches > 0 {
        store.commit()?;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.batches.fetch_add(batches, Ordering::Relaxed);
    }
    for release in releases {
        run_release(release, counters)?;
    }
    Ok(closing)
}

fn run_release(release: Release, counters: &Counters) -> Result<(), JournalFault> {
    catch_unwind(AssertUnwindSafe(release)).map_err(|_| JournalFault::ReleasePanicked)?;
    counters.releases.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
