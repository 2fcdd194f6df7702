use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rusqlite::params;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use zeroize::Zeroizing;

static_assertions::assert_not_impl_any!(Record: Clone, std::fmt::Debug, serde::Serialize);
static_assertions::assert_not_impl_any!(Vault: Clone, std::fmt::Debug, serde::Serialize);
static_assertions::assert_not_impl_any!(record::Sealer: Clone, std::fmt::Debug, serde::Serialize);

const CLUSTER: [u8; 32] = [5; 32];

fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    dir
}

fn open_with(dir: &TempDir, key: u8, seed: u64) -> Result<Vault, VaultError> {
    let key = MasterKey::from_bytes(Zeroizing::new([key; 32]));
    Vault::open(dir.path(), key, Box::new(ChaCha20Rng::seed_from_u64(seed)))
}

fn open(dir: &TempDir) -> Vault {
    open_with(dir, 1, 1).unwrap()
}

fn rule<T>(outcome: Result<T, VaultError>) -> Option<VaultRule> {
    match outcome {
        Err(VaultError::Refused(rule)) => Some(rule),
        _ => None,
    }
}

fn put(vault: &mut Vault, kind: &str, id: &[u8], text: &[u8]) -> Handle {
    vault.txn::<_, VaultError>(|t| t.put(kind, id, 1, text)).unwrap()
}

fn text(vault: &mut Vault, kind: &str, id: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
    Ok(vault.get(kind, id)?.map(|record| record.plaintext.to_vec()))
}

/// Changes the file behind a closed vault, as someone with the disk could.
fn tamper(dir: &TempDir, sql: &str) {
    let connection = rusqlite::Connection::open(dir.path().join(VAULT_FILE)).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn damaged() -> impl Fn(Option<VaultRule>) -> bool {
    |rule| matches!(rule, Some(VaultRule::Damaged { .. }))
}

#[test]
fn record_is_kept_over_a_restart_and_its_plaintext_is_not_in_the_file() {
    let dir = directory();
    let mut vault = open(&dir);
    let handle = put(&mut vault, "share", b"a", b"a rather secret share");
    drop(vault);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(13).any(|window| window == b"rather secret"));
    }
    let mut vault = open(&dir);
    let record = vault.get("share", b"a").unwrap().unwrap();
    assert_eq!(record.plaintext.as_slice(), b"a rather secret share");
    assert_eq!((record.epoch, record.handle), (1, handle));
}

#[test]
fn boot_generation_rises_at_every_open_and_the_boot_id_differs() {
    let dir = directory();
    let first = open_with(&dir, 1, 1).unwrap();
    let (generation, id) = (first.boot_gen(), first.boot_id());
    drop(first);
    let second = open_with(&dir, 1, 2).unwrap();
    assert_eq!((generation, second.boot_gen()), (1, 2));
    assert_ne!(id, second.boot_id());
}

#[test]
fn wrong_key_is_refused_and_costs_no_generation() {
    let dir = directory();
    drop(open(&dir));
    assert_eq!(rule(open_with(&dir, 2, 1)), Some(VaultRule::WrongKey));
    assert_eq!(open(&dir).boot_gen(), 2);
}

#[test]
fn directory_open_to_others_is_refused() {
    let dir = directory();
    for mode in [0o750, 0o705, 0o1700, 0o500] {
        std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        assert_eq!(rule(open_with(&dir, 1, 1)), Some(VaultRule::DirectoryExposed), "{mode:o}");
    }
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(open_with(&dir, 1, 1).is_ok());
}

#[test]
fn vault_opened_twice_is_refused() {
    let dir = directory();
    let mut first = open(&dir);
    assert_eq!(rule(open_with(&dir, 1, 2)), Some(VaultRule::InUse));
    put(&mut first, "share", b"a", b"x");
    drop(first);
    assert!(open_with(&dir, 1, 3).is_ok());
}

#[test]
fn marker_is_set_once_and_refused_again_also_after_a_restart() {
    let dir = directory();
    let mut vault = open(&dir);
    let mark =
        |vault: &mut Vault| vault.txn(|t| t.insert_new("consumed", b"nonce", 1, b"").map(drop));
    assert!(mark(&mut vault).is_ok());
    assert_eq!(rule(mark(&mut vault)), Some(VaultRule::AlreadyPresent));
    drop(vault);
    let mut vault = open(&dir);
    assert_eq!(rule(mark(&mut vault)), Some(VaultRule::AlreadyPresent));
    assert!(!vault.is_poisoned());
}

#[test]
fn refused_transaction_leaves_nothing_behind() {
    let dir = directory();
    let mut vault = open(&dir);
    let before = vault.commits();
    let refused: Result<(), VaultError> = vault.txn(|t| {
        t.put("share", b"a", 1, b"x")?;
        t.next_vault_seq()?;
        t.raise_clock(9);
        t.bind(&CLUSTER, b"n1")?;
        Err(VaultRule::AlreadyPresent.into())
    });
    assert_eq!(rule(refused), Some(VaultRule::AlreadyPresent));
    assert_eq!((vault.commits(), vault.vault_seq(), vault.clock_high_ms()), (before, 0, 0));
    assert_eq!(vault.binding(), None);
    assert_eq!(text(&mut vault, "share", b"a").unwrap(), None);
}

#[test]
fn sequence_and_clock_are_durable_with_their_transaction() {
    let dir = directory();
    let mut vault = open(&dir);
    let take = |vault: &mut Vault, clock| {
        vault.txn::<_, VaultError>(|t| {
            t.raise_clock(clock);
            t.next_vault_seq()
        })
    };
    assert_eq!(take(&mut vault, 100).unwrap(), 1);
    assert_eq!(take(&mut vault, 50).unwrap(), 2);
    drop(vault);
    let mut vault = open(&dir);
    assert_eq!((vault.vault_seq(), vault.clock_high_ms()), (2, 100));
    assert_eq!(take(&mut vault, 101).unwrap(), 3);
    assert_eq!(vault.clock_high_ms(), 101);
}

#[test]
fn commit_that_fails_poisons_every_later_call() {
    let dir = directory();
    let mut vault = open(&dir);
    vault
        .connection
        .execute_batch(
            "CREATE TABLE parent(id INTEGER PRIMARY KEY);
             CREATE TABLE child(parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER orphan AFTER INSERT ON record WHEN NEW.kind='fail'
             BEGIN INSERT INTO child VALUES(7); END;",
        )
        .unwrap();
    put(&mut vault, "share", b"a", b"kept");
    let failed = vault.txn(|t| t.insert_new("fail", b"b", 1, b"").map(drop));
    assert!(
        matches!(failed, Err(VaultError::Sqlite(_))),
        "the deferred constraint fails the commit"
    );
    assert_eq!(rule(text(&mut vault, "share", b"a")), Some(VaultRule::Poisoned));
    assert!(vault.is_poisoned());
    drop(vault);
    let mut vault = open(&dir);
    assert_eq!(text(&mut vault, "share", b"a").unwrap().unwrap(), b"kept");
    assert_eq!(text(&mut vault, "fail", b"b").unwrap(), None);
}

#[test]
fn fault_swallowed_inside_a_transaction_is_not_committed_and_poisons() {
    let dir = directory();
    let mut vault = open(&dir);
    let pages: i64 =
        vault.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    vault.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let outcome: Result<(), VaultError> = vault.txn(|t| {
        t.put("share", b"small", 1, b"x")?;
        assert!(t.put("share", b"large", 1, &vec![0; 1 << 20]).is_err(), "the file is full");
        Ok(())
    });
    assert!(outcome.is_err());
    assert!(vault.is_poisoned());
    drop(vault);
    assert_eq!(text(&mut open(&dir), "share", b"small").unwrap(), None);
}

#[test]
fn swapped_renamed_and_torn_records_are_refused_and_others_still_open() {
    let swaps = [
        "UPDATE record SET sealed=(SELECT sealed FROM record WHERE id=x'62') WHERE id=x'61'",
        "UPDATE record SET id=x'63' WHERE id=x'61'; UPDATE record SET id=x'61' WHERE id=x'62'",
        "UPDATE record SET version=version-1 WHERE id=x'61'",
        "UPDATE record SET sealed=substr(sealed, 1, length(sealed)-1) WHERE id=x'61'",
        "UPDATE record SET sealed=substr(sealed, 1, 20) WHERE id=x'61'",
        "UPDATE record SET sealed=x'' WHERE id=x'61'",
        "UPDATE record SET sealed=CAST(x'0101' || substr(sealed, 3) AS BLOB) WHERE id=x'61'",
        "UPDATE record SET sealed=CAST(x'01000000000000000002' || substr(sealed, 11) AS BLOB) WHERE id=x'61'",
    ];
    for swap in swaps {
        let dir = directory();
        let mut vault = open(&dir);
        put(&mut vault, "share", b"a", b"alpha");
        put(&mut vault, "share", b"b", b"beta");
        put(&mut vault, "other", b"z", b"zeta");
        drop(vault);
        tamper(&dir, swap);
        let mut vault = open(&dir);
        assert!(damaged()(rule(text(&mut vault, "share", b"a"))), "{swap}");
        assert!(damaged()(rule(vault.scan("share"))), "{swap}");
        assert_eq!(text(&mut vault, "other", b"z").unwrap().unwrap(), b"zeta");
    }
}

#[test]
fn record_moved_to_another_kind_is_refused() {
    let dir = directory();
    let mut vault = open(&dir);
    put(&mut vault, "share", b"a", b"alpha");
    drop(vault);
    tamper(&dir, "UPDATE record SET kind='public' WHERE id=x'61'");
    assert!(damaged()(rule(text(&mut open(&dir), "public", b"a"))));
}

#[test]
fn record_of_another_cluster_or_node_is_refused_even_under_the_same_key() {
    let sealed_in = |cluster: [u8; 32], node: &[u8]| {
        let dir = directory();
        let mut vault = open(&dir);
        vault.txn::<_, VaultError>(|t| t.bind(&cluster, node)).unwrap();
        put(&mut vault, "share", b"a", b"alpha");
        drop(vault);
        dir
    };
    let row = |dir: &TempDir| -> (i64, Vec<u8>) {
        let connection = rusqlite::Connection::open(dir.path().join(VAULT_FILE)).unwrap();
        let sql = "SELECT version, sealed FROM record WHERE kind='share'";
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let home = sealed_in(CLUSTER, b"n1");
    for (foreign, opens) in [
        (sealed_in(CLUSTER, b"n1"), true),
        (sealed_in(CLUSTER, b"n2"), false),
        (sealed_in([6; 32], b"n1"), false),
    ] {
        let (version, sealed) = row(&foreign);
        let connection = rusqlite::Connection::open(home.path().join(VAULT_FILE)).unwrap();
        connection
            .execute(
                "UPDATE record SET version=?1, sealed=?2 WHERE kind='share'",
                params![version, sealed],
            )
            .unwrap();
        drop(connection);
        let outcome = text(&mut open(&home), "share", b"a");
        assert_eq!(outcome.is_ok(), opens);
    }
}

#[test]
fn binding_is_made_once_and_outlives_a_restart() {
    let dir = directory();
    let mut vault = open(&dir);
    put(&mut vault, "identity", b"node", b"before the cluster is known");
    vault.txn::<_, VaultError>(|t| t.bind(&CLUSTER, b"n1")).unwrap();
    drop(vault);
    let mut vault = open(&dir);
    assert_eq!(vault.binding(), Some((&CLUSTER[..], &b"n1"[..])));
    assert!(vault.txn::<_, VaultError>(|t| t.bind(&CLUSTER, b"n1")).is_ok());
    for (cluster, node) in [(CLUSTER, b"n2"), ([6; 32], b"n1")] {
        assert_eq!(rule(vault.txn(|t| t.bind(&cluster, node))), Some(VaultRule::BoundElsewhere));
    }
    assert_eq!(
        text(&mut vault, "identity", b"node").unwrap().unwrap(),
        b"before the cluster is known"
    );
}

#[test]
fn counters_row_put_back_alone_is_refused_at_open() {
    let dir = directory();
    let mut vault = open(&dir);
    put(&mut vault, "share", b"a", b"alpha");
    drop(vault);
    tamper(&dir, "CREATE TABLE old AS SELECT * FROM record WHERE id=CAST('counters' AS BLOB)");
    let mut vault = open(&dir);
    put(&mut vault, "share", b"b", b"beta");
    drop(vault);
    tamper(&dir, "INSERT OR REPLACE INTO record SELECT * FROM old");
    assert!(damaged()(rule(open_with(&dir, 1, 1))));
}

#[test]
fn deleted_counters_or_canary_are_refused_at_open() {
    for id in ["counters", "canary"] {
        let dir = directory();
        drop(open(&dir));
        tamper(&dir, &format!("DELETE FROM record WHERE id=CAST('{id}' AS BLOB)"));
        assert!(damaged()(rule(open_with(&dir, 1, 1))), "{id}");
    }
}

#[test]
fn file_that_is_no_database_is_a_fault_and_a_torn_wal_tail_is_dropped_whole() {
    let dir = directory();
    std::fs::write(dir.path().join(VAULT_FILE), [7u8; 8192]).unwrap();
    assert!(matches!(open_with(&dir, 1, 1), Err(VaultError::Sqlite(_))));

    // A crash while the last commit was being written: copy the files of a running vault, then cut the log.
    let (dir, copy) = (directory(), directory());
    let mut vault = open(&dir);
    put(&mut vault, "share", b"a", b"alpha");
    put(&mut vault, "share", b"b", b"beta");
    let wal = format!("{VAULT_FILE}-wal");
    for name in [VAULT_FILE, &wal] {
        // Copying closes a descriptor of the locked file; nobody else opens this one.
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let log = std::fs::OpenOptions::new().write(true).open(copy.path().join(&wal)).unwrap();
    log.set_len(log.metadata().unwrap().len() - 1).unwrap();
    let mut restored = open(&copy);
    assert_eq!(text(&mut restored, "share", b"a").unwrap().unwrap(), b"alpha");
    assert_eq!(text(&mut restored, "share", b"b").unwrap(), None);
}

#[test]
fn scan_returns_one_kind_in_order_of_id_and_delete_tells_what_it_did() {
    let dir = directory();
    let mut vault = open(&dir);
    for id in [b"c", b"a", b"b"] {
        put(&mut vault, "share", id, id);
    }
    put(&mut vault, "other", b"a", b"x");
    assert!(vault.txn::<_, VaultError>(|t| t.delete("share", b"b")).unwrap());
    assert!(!vault.txn::<_, VaultError>(|t| t.delete("share", b"b")).unwrap());
    let ids: Vec<Vec<u8>> = vault.scan("share").unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(ids, [b"a".to_vec(), b"c".to_vec()]);
}

#[test]
fn names_and_plaintexts_pass_at_their_bound_and_are_refused_beyond() {
    let dir = directory();
    let mut vault = open(&dir);
    let mut refused = |kind: &str, id: &[u8], plaintext: &[u8]| {
        rule(vault.txn(|t| t.put(kind, id, 1, plaintext).map(drop)))
    };
    let longest = "k".repeat(MAX_KIND_BYTES);
    assert_eq!(refused(&longest, &[1; MAX_ID_BYTES], &vec![0; MAX_PLAINTEXT_BYTES]), None);
    for (kind, id, plaintext) in [
        ("k".repeat(MAX_KIND_BYTES + 1), vec![1], vec![]),
        (String::new(), vec![1], vec![]),
        ("vault".to_owned(), b"counters".to_vec(), vec![]),
        ("share".to_owned(), vec![1; MAX_ID_BYTES + 1], vec![]),
        ("share".to_owned(), vec![], vec![]),
        ("share".to_owned(), vec![1], vec![0; MAX_PLAINTEXT_BYTES + 1]),
    ] {
        assert!(
            matches!(refused(&kind, &id, &plaintext), Some(VaultRule::OutOfBounds { .. })),
            "{kind}"
        );
    }
}
