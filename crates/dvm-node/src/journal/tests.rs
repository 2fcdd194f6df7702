//! Claims about the journal: what is durable, what is visible, and in which order.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use super::*;

fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write::Put { table, key: key.to_vec(), value: value.to_vec() }
}

fn insert(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write::Insert { table, key: key.to_vec(), value: value.to_vec() }
}

fn start(path: &Path) -> (Journal, JournalThread) {
    Journal::open(path).unwrap().start(Box::new(|fault| panic!("{fault}"))).unwrap()
}

/// A journal whose fault, if any, arrives on the channel.
fn start_watched(path: &Path) -> (Journal, JournalThread, mpsc::Receiver<JournalFault>) {
    let (report, fault) = mpsc::channel();
    let loaded = Journal::open(path).unwrap();
    let (journal, thread) = loaded.start(Box::new(move |it| report.send(it).unwrap())).unwrap();
    (journal, thread, fault)
}

/// Holds the journal's thread inside a release until the returned sender is used or dropped.
fn hold(journal: &Journal) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    journal.release(Box::new(move || wait.recv().unwrap_or(()))).unwrap();
    go
}

#[test]
fn releases_run_in_queue_order_and_after_the_commit_of_the_writes_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread) = start(&dir.path().join("journal.db"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    for number in 0..200_u64 {
        journal.write(vec![put(Table::Chain, &number.to_be_bytes(), b"x")]).unwrap();
        let (seen, counters) = (Arc::clone(&seen), journal.clone());
        journal
            .release(Box::new(move || {
                seen.lock().unwrap().push((number, counters.metrics().batches));
            }))
            .unwrap();
    }
    thread.close();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 200);
    for (position, (number, durable_batches)) in seen.iter().enumerate() {
        assert_eq!(*number, position as u64);
        assert!(*durable_batches > *number, "release {number} ran before its write was durable");
    }
}

#[test]
fn a_group_shares_one_commit_and_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread) = start(&dir.path().join("journal.db"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |place: &'static str| -> Release {
        let (seen, counters) = (Arc::clone(&seen), journal.clone());
        Box::new(move || seen.lock().unwrap().push((place, counters.metrics().commits)))
    };
    let mut group = Group::default();
    group.release(note("before"));
    for number in 0..50_u64 {
        group.write(vec![put(Table::Chain, &number.to_be_bytes(), b"x")]);
    }
    group.release(note("after"));
    journal.submit_group(Group::default()).unwrap();
    journal.submit_group(group).unwrap();
    // What comes after the group may share its commit or have its own.
    journal.write(vec![put(Table::Chain, b"y", b"y")]).unwrap();
    journal.release(note("last")).unwrap();
    let counters = journal.clone();
    thread.close();
    let seen = seen.lock().unwrap();
    let places: Vec<&str> = seen.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, ["before", "after", "last"]);
    let commits: Vec<u64> = seen.iter().map(|(_, commits)| *commits).collect();
    assert_eq!(commits.first(), Some(&0));
    assert_eq!(commits.get(1), Some(&1));
    assert!(counters.metrics().commits <= 2);
    assert_eq!(counters.metrics().batches, 51);
}

#[test]
fn writes_queued_while_the_journal_is_busy_share_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread) = start(&dir.path().join("journal.db"));
    let go = hold(&journal);
    // One less than a group, because the closing item takes a place.
    for number in 0..(MAX_GROUP as u64 - 1) {
        journal.write(vec![put(Table::Blocks, &number.to_be_bytes(), b"v")]).unwrap();
    }
    drop(go);
    let counted = journal.clone();
    thread.close();
    // The hold may have picked up the first few writes itself; the rest share one commit.
    let metrics = counted.metrics();
    assert_eq!(metrics.batches, MAX_GROUP as u64 - 1);
    assert!((1..=2).contains(&metrics.commits), "{metrics:?}");
    assert_eq!(metrics.backlog, 0);
}

#[test]
fn what_was_released_is_there_after_reopening_and_deletes_stay_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let (journal, thread) = start(&path);
    journal.write(vec![put(Table::Meta, b"a", b"1"), put(Table::Meta, b"b", b"2")]).unwrap();
    journal.write(vec![put(Table::Meta, b"a", b"3"), insert(Table::Keys, b"a", b"k")]).unwrap();
    journal.write(vec![Write::Delete { table: Table::Meta, key: b"b".to_vec() }]).unwrap();
    thread.close();
    assert_eq!(journal.write(vec![]), Err(JournalStopped));
    let loaded = Journal::open(&path).unwrap();
    assert_eq!(loaded.scan(Table::Meta).unwrap(), vec![(b"a".to_vec(), b"3".to_vec())]);
    assert_eq!(loaded.value(Table::Keys, b"a").unwrap(), Some(b"k".to_vec()));
    assert_eq!(loaded.value(Table::Meta, b"b").unwrap(), None);
}

#[tokio::test]
async fn reads_see_every_write_queued_before_them_and_none_after() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread) = start(&dir.path().join("journal.db"));
    journal.write(vec![put(Table::Outbox, b"k", b"old")]).unwrap();
    let read = journal.read(Table::Outbox, b"k".to_vec());
    assert_eq!(read.await, Ok(Some(b"old".to_vec())));
    journal.write(vec![put(Table::Outbox, b"k", b"new")]).unwrap();
    assert_eq!(journal.read(Table::Outbox, b"k".to_vec()).await, Ok(Some(b"new".to_vec())));
    assert_eq!(journal.read(Table::Keys, b"k".to_vec()).await, Ok(None));
    thread.close();
    assert_eq!(journal.read(Table::Outbox, b"k".to_vec()).await, Err(JournalStopped));
}

#[test]
fn release_queued_after_a_read_waits_for_the_reads_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread) = start(&dir.path().join("journal.db"));
    let go = hold(&journal);
    // Until the hold is released both wait in the queue, so one group takes them together.
    let (reply, mut answer) = oneshot::channel();
    let read = move |store: &Store| {
        let found = store.value(Table::Meta, b"k")?;
        Ok(Box::new(move || drop(reply.send(found))) as Release)
    };
    journal.submit(Item::Read(Box::new(read))).unwrap();
    let (seen, answered) = mpsc::channel();
    journal.release(Box::new(move || seen.send(answer.try_recv()).unwrap())).unwrap();
    drop(go);
    assert_eq!(answered.recv().unwrap(), Ok(None), "the release ran before the answer");
    thread.close();
}

#[tokio::test]
async fn prefix_scan_ends_exactly_at_the_prefix_and_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread) = start(&dir.path().join("journal.db"));
    let keys: [&[u8]; 6] = [b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"];
    journal.write(keys.iter().map(|key| put(Table::Ledger, key, key)).collect()).unwrap();
    let scan = async |prefix: &[u8], limit| {
        let rows = journal.scan(Table::Ledger, prefix.to_vec(), limit).await.unwrap();
        rows.into_iter().map(|row| row.0).collect::<Vec<_>>()
    };
    assert_eq!(scan(b"a", 9).await, keys[..3]);
    assert_eq!(scan(b"a\xff", 9).await, keys[1..3]);
    assert_eq!(scan(b"\xff", 9).await, keys[4..]);
    assert_eq!(scan(b"", 9).await, keys);
    assert_eq!(scan(b"", 2).await, keys[..2]);
    assert_eq!(scan(b"", 0).await.len(), 0);
    thread.close();
}

#[test]
fn second_insert_of_a_key_stops_the_journal_and_nothing_is_released_or_written_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let (journal, thread, fault) = start_watched(&path);
    journal.write(vec![insert(Table::Approvals, b"slot", b"first")]).unwrap();
    let (signed, first_signed) = mpsc::channel();
    journal.release(Box::new(move || signed.send(()).unwrap())).unwrap();
    first_signed.recv().unwrap();

    // Same key in another table is another slot.
    journal.write(vec![insert(Table::Keys, b"slot", b"other table")]).unwrap();
    let go = hold(&journal);
    let leaked = Arc::new(Mutex::new(false));
    let leak = Arc::clone(&leaked);
    let _ = journal.write(vec![
        put(Table::Meta, b"same batch", b"must vanish"),
        insert(Table::Approvals, b"slot", b"second"),
    ]);
    let _ = journal.release(Box::new(move || *leak.lock().unwrap() = true));
    drop(go);
    let fault = fault.recv().unwrap();
    assert!(matches!(
        fault,
        JournalFault::AlreadyPresent { table: Table::Approvals, ref key } if key == b"slot"
    ));
    thread.close();
    assert!(!*leaked.lock().unwrap());
    assert_eq!(journal.release(Box::new(|| ())), Err(JournalStopped));
    let loaded = Journal::open(&path).unwrap();
    assert_eq!(loaded.value(Table::Approvals, b"slot").unwrap(), Some(b"first".to_vec()));
    assert_eq!(loaded.value(Table::Meta, b"same batch").unwrap(), None);
}

#[test]
fn a_release_that_panics_stops_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, thread, fault) = start_watched(&dir.path().join("journal.db"));
    journal.release(Box::new(|| panic!("a bug in the engine"))).unwrap();
    assert!(matches!(fault.recv().unwrap(), JournalFault::ReleasePanicked));
    thread.close();
    assert_eq!(journal.write(vec![]), Err(JournalStopped));
}

#[test]
fn second_opener_is_refused_until_the_first_closes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let (journal, thread) = start(&path);
    let from_another_process =
        || child(&path, "open").stdout(Stdio::null()).status().unwrap().code();
    assert_eq!(from_another_process(), Some(3));
    assert!(matches!(Journal::open(&path), Err(JournalFault::InUse)));
    // The refused attempt must not have taken this process's POSIX locks with it.
    assert_eq!(from_another_process(), Some(3));
    thread.close();
    drop(journal);
    assert_eq!(from_another_process(), Some(4));
    assert!(Journal::open(&path).is_ok());
}

#[test]
fn another_programs_database_and_another_layout_are_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign.db");
    let connection = rusqlite::Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let refused = Journal::open(&foreign).map(drop);
    assert!(matches!(refused, Err(JournalFault::NotAJournal { application_id: 0, version: 0 })));

    let newer = dir.path().join("newer.db");
    drop(Journal::open(&newer).unwrap());
    assert!(Journal::open(&newer).is_ok());
    let connection = rusqlite::Connection::open(&newer).unwrap();
    connection.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(connection);
    let refused = Journal::open(&newer).map(drop);
    assert!(matches!(refused, Err(JournalFault::NotAJournal { version: 2, .. })));
}

#[test]
fn file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let (journal, thread) = start(&path);
    journal.write(vec![put(Table::Meta, b"a", b"1")]).unwrap();
    let (done, written) = mpsc::channel();
    journal.release(Box::new(move || done.send(()).unwrap())).unwrap();
    written.recv().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    thread.close();
}

#[test]
fn killed_in_the_middle_the_journal_keeps_a_prefix_with_everything_released() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5_usize {
        let path = dir.path().join(format!("journal-{round}.db"));
        let mut child = child(&path, "write").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let wanted = 20 + round * 37;
        let mut released = Vec::new();
        while released.len() < wanted {
            // The test harness of the child prints lines of its own.
            released.extend(lines.next().unwrap().strip_prefix("released ").map(number_of));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        released.extend(lines.filter_map(|line| line.strip_prefix("released ").map(number_of)));

        let loaded = Journal::open(&path).unwrap();
        let chain = loaded.scan(Table::Chain).unwrap();
        assert_eq!(chain, loaded.scan(Table::Outbox).unwrap(), "a batch was torn");
        for (position, (key, _)) in chain.iter().enumerate() {
            assert_eq!(key, &(position as u64).to_be_bytes(), "a hole in the journal");
        }
        let last_released = *released.last().unwrap();
        assert!((chain.len() as u64) > last_released, "{last_released} was released, then lost");
    }
}

/// A line cut off by the kill reads as an earlier number, which claims less, never more.
fn number_of(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// This test binary again, as another process that runs [`child_process`] in the given role.
fn child(path: &Path, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "journal::tests::child_process", "--nocapture"])
        .env("JOURNAL_TEST_PATH", path)
        .env("JOURNAL_TEST_ROLE", role)
        .stderr(Stdio::null());
    command
}

/// Not a claim: the other process of two tests above; does nothing when it runs as a test.
#[test]
fn child_process() {
    let (Ok(path), Ok(role)) =
        (std::env::var("JOURNAL_TEST_PATH"), std::env::var("JOURNAL_TEST_ROLE"))
    else {
        return;
    };
    if role == "open" {
        let in_use = matches!(Journal::open(Path::new(&path)), Err(JournalFault::InUse));
        std::process::exit(if in_use { 3 } else { 4 });
    }
    let (journal, _thread) = start(Path::new(&path));
    // Line 0 starts on a fresh line, after what the harness printed.
    writeln!(std::io::stdout()).unwrap();
    for number in 0_u64.. {
        let key = number.to_be_bytes();
        let batch = vec![insert(Table::Chain, &key, b"c"), insert(Table::Outbox, &key, b"c")];
        journal.write(batch).unwrap();
        journal
            .release(Box::new(move || {
                let mut out = std::io::stdout().lock();
                writeln!(out, "released {number}").and_then(|()| out.flush()).unwrap();
            }))
            .unwrap();
        while journal.backlog() > 64 {
            std::thread::yield_now();
        }
    }
}
