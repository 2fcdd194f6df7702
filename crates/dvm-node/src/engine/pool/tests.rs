//! Claims about what is handed out, and when more is wanted.

use super::*;

fn nodes<const N: usize>(names: [&str; N]) -> Vec<NodeId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn set(signers: Vec<NodeId>) -> SetOf {
    SetOf { key_id: "k".parse().unwrap(), key_epoch: 1, path: Vec::new(), signers }
}

fn boot(generation: u64) -> Boot {
    Boot { generation, id: B32::default() }
}

fn boots(signers: &[NodeId]) -> Boots {
    signers.iter().map(|node| (node.clone(), boot(1))).collect()
}

fn all_of(pool: &mut Pool, set: &SetOf) -> Vec<u32> {
    std::iter::from_fn(|| pool.take(set)).map(|material| material.index).collect()
}

#[test]
fn each_place_of_a_batch_is_handed_out_once_and_by_one_signer_only() {
    let signers = nodes(["n1", "n2", "n3"]);
    let mut out = Vec::new();
    for me in &signers {
        let mut pool = Pool::default();
        pool.put(set(signers.clone()), me, (B32([1; 32]), 10), boots(&signers));
        // The same batch, told again, brings nothing back.
        out.extend(all_of(&mut pool, &set(signers.clone())));
        assert!(!pool.has(&set(signers.clone())));
    }
    out.sort_unstable();
    assert_eq!(out, (0..10).collect::<Vec<u32>>());
    let stranger = &nodes(["n4"])[0];
    assert!(own_places(stranger, &signers, 10).is_empty());
}

#[test]
fn batch_that_is_told_twice_is_not_in_stock_twice() {
    let (mut pool, signers) = (Pool::default(), nodes(["n1", "n2"]));
    for _ in 0..2 {
        pool.put(set(signers.clone()), &signers[0], (B32([1; 32]), 4), boots(&signers));
    }
    assert_eq!(all_of(&mut pool, &set(signers.clone())), [0, 2]);
    pool.put(set(signers.clone()), &signers[0], (B32([1; 32]), 4), boots(&signers));
    assert_eq!(pool.take(&set(signers)), None, "what was handed out does not come back");
}

#[test]
fn material_is_for_one_key_epoch_path_and_set() {
    let (mut pool, signers) = (Pool::default(), nodes(["n1", "n2"]));
    let of = set(signers.clone());
    pool.put(of.clone(), &signers[0], (B32([1; 32]), 4), boots(&signers));
    for other in [
        SetOf { key_id: "j".parse().unwrap(), ..of.clone() },
        SetOf { key_epoch: 2, ..of.clone() },
        SetOf { path: vec![0], ..of.clone() },
        set(nodes(["n1", "n3"])),
    ] {
        assert_eq!(pool.take(&other), None, "{other:?}");
    }
    assert!(pool.take(&of).is_some());
}

#[test]
fn nothing_is_left_of_what_the_kernel_does_not_have_or_another_boot_made() {
    let signers = nodes(["n1", "n2"]);
    let of = set(signers.clone());
    let stocked = || {
        let mut pool = Pool::default();
        for name in [1, 2] {
            pool.put(of.clone(), &signers[0], (B32([name; 32]), 8), boots(&signers));
        }
        pool
    };
    let mut pool = stocked();
    let kept = StashedBatch {
        batch: B32([2; 32]),
        key_id: "k".parse().unwrap(),
        key_epoch: 1,
        path: Vec::new(),
        backend: dvm_core::intent::Backend::Dkls23Secp256k1,
        signers: signers.clone(),
        free: vec![0, 1, 6],
        made_ms: 0,
    };
    pool.agree(&[kept]);
    assert_eq!(pool.take(&of), Some(Material { batch: B32([2; 32]), index: 0 }));
    assert_eq!(all_of(&mut pool, &of), [6]);

    let mut pool = stocked();
    pool.drop_batch(&B32([1; 32]));
    assert_eq!(pool.take(&of), Some(Material { batch: B32([2; 32]), index: 0 }));

    for (generation, left) in [(1, 8), (2, 0)] {
        let mut pool = stocked();
        pool.keep_boots(|boots| boots.values().all(|known| *known == boot(generation)));
        assert_eq!(all_of(&mut pool, &of).len(), left);
    }
}

#[test]
fn more_is_made_below_the_low_mark_up_to_the_high_one_for_a_set_in_use() {
    let marks = PoolMarks { low: 4, high: 8, ..PoolMarks::default() };
    let signers = nodes(["n1", "n2"]);
    let of = set(signers.clone());
    let mut pool = Pool::default();
    pool.put(of.clone(), &signers[0], (B32([1; 32]), 4), boots(&signers));
    assert_eq!(pool.short(&marks, 0), [], "a set that this node never signed with");
    pool.used(of.clone(), 10);
    assert_eq!(pool.short(&marks, 10), [], "4 of 4");
    assert!(pool.take(&of).is_some());
    assert_eq!(pool.short(&marks, 10), [(of.clone(), 6)], "one own place of two stands for two");
    assert_eq!(pool.short(&marks, 10 + USED_MS - 1).len(), 1);
    assert_eq!(pool.short(&marks, 10 + USED_MS), []);
    for off in [PoolMarks { high: 0, ..marks.clone() }, PoolMarks { low: 0, ..marks.clone() }] {
        assert_eq!(pool.short(&off, 10), []);
    }
    let much = PoolMarks { high: 1_000, ..marks };
    assert_eq!(pool.short(&much, 10)[0].1, u32::from(PRESIGN_COUNT_MAX));
}

#[test]
fn refill_waits_for_the_one_under_way_and_after_failures_longer_each_time() {
    let (marks, signers) = (PoolMarks::default(), nodes(["n1", "n2"]));
    let of = set(signers);
    let mut pool = Pool::default();
    pool.used(of.clone(), 0);
    pool.shelf_mut(&of).unwrap().refill = Some(Link::of_raw(b"intent"));
    assert_eq!(pool.short(&marks, 0), []);
    assert_eq!(pool.refills().len(), 1);
    pool.refilled(&of, false, 0);
    assert_eq!(pool.short(&marks, 2 * PAUSE_MS - 1), []);
    assert_eq!(pool.short(&marks, 2 * PAUSE_MS).len(), 1);
    for _ in 0..20 {
        pool.refilled(&of, false, 0);
    }
    assert_eq!(pool.short(&marks, PAUSE_MS_MAX - 1), []);
    assert_eq!(pool.short(&marks, PAUSE_MS_MAX).len(), 1);
    pool.peer_is_up(&nodes(["n3"])[0]);
    assert_eq!(pool.short(&marks, 0), [], "none of its signers is back");
    pool.peer_is_up(&nodes(["n2"])[0]);
    assert_eq!(pool.short(&marks, 0).len(), 1);
    pool.refilled(&of, false, 0);
    assert_eq!(pool.short(&marks, 2 * PAUSE_MS).len(), 1, "it counts anew");
    pool.refilled(&of, true, 5);
    assert_eq!(pool.short(&marks, 5).len(), 1);
}

#[test]
fn of_too_many_sets_the_one_used_longest_ago_is_forgotten() {
    let mut pool = Pool::default();
    let of = |n: u32| SetOf { path: vec![n], ..set(nodes(["n1", "n2"])) };
    for n in 0..=SHELVES_MAX as u32 {
        pool.used(of(n), u64::from(n));
    }
    assert_eq!(pool.sets().count(), SHELVES_MAX);
    assert!(pool.sets().all(|set| *set != of(0)));
}
