use super::*;

static_assertions::assert_not_impl_any!(Piece: Clone, std::fmt::Debug, serde::Serialize);
static_assertions::assert_not_impl_any!(Stash: Clone, std::fmt::Debug, serde::Serialize);

fn purpose(signers: [&str; 2]) -> Purpose {
    let signers: Vec<NodeId> = signers.map(|node| node.parse().unwrap()).to_vec();
    Purpose {
        key_id: "treasury".parse().unwrap(),
        key_epoch: 1,
        ready: Link::of_raw(b"ready"),
        backend: Backend::Dkls23Secp256k1,
        path: vec![0, 7],
        boots: vec![(signers[1].clone(), Boot { generation: 3, id: B32([1; 32]) })],
        signers,
    }
}

fn batch(number: u8, count: u32) -> Batch<u32> {
    Batch {
        name: B32([number; 32]),
        purpose: purpose(["n1", "n2"]),
        made_ms: number.into(),
        pieces: (0..count).map(Some).collect(),
    }
}

fn piece(number: u8, index: u32) -> Material {
    Material { batch: B32([number; 32]), index }
}

fn code(outcome: Result<u32, Stop>) -> Result<u32, ReasonCode> {
    outcome.map_err(|stop| match stop {
        Stop::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_part_of_the_purpose_binds_a_piece_and_a_wrong_one_spends_it() {
    let own = || purpose(["n1", "n2"]);
    let others: [fn(&mut Purpose); 8] = [
        |p| p.key_id = "sundries".parse().unwrap(),
        |p| p.key_epoch = 2,
        |p| p.ready = Link::of_raw(b"other"),
        |p| p.backend = Backend::FrostEd25519,
        |p| p.path = vec![0, 8],
        |p| p.signers = purpose(["n1", "n3"]).signers,
        |p| p.boots = Vec::new(),
        |p| p.boots[0].1.id = B32([2; 32]),
    ];
    let (gone, wrong) = (ReasonCode::MaterialPoisoned, ReasonCode::BindingMismatch);
    for change in others {
        let mut stash = Stash::default();
        stash.put(batch(1, 2));
        let mut other = own();
        change(&mut other);
        assert_eq!(code(stash.take(piece(1, 0), &other)), Err(wrong));
        assert_eq!(code(stash.take(piece(1, 0), &own())), Err(gone));
        assert_eq!(code(stash.take(piece(1, 1), &own())), Ok(1));
        assert_eq!(stash.described(), [], "a batch without a piece is forgotten");
    }
}

#[test]
fn piece_is_found_by_batch_and_place_and_once() {
    let (mut stash, own) = (Stash::default(), purpose(["n1", "n2"]));
    stash.put(batch(1, 3));
    stash.put(batch(2, 3));
    let gone = ReasonCode::MaterialPoisoned;
    for (asked, found) in [
        (piece(2, 2), Ok(2)),
        (piece(2, 2), Err(gone)),
        (piece(1, 2), Ok(2)),
        (piece(1, 3), Err(gone)),
        (piece(3, 0), Err(gone)),
        (piece(1, u32::MAX), Err(gone)),
    ] {
        assert_eq!(code(stash.take(asked, &own)), found, "{asked:?}");
    }
    let free: Vec<Vec<u32>> = stash.described().into_iter().map(|b| b.free).collect();
    assert_eq!(free, [[0, 1], [0, 1]]);
}

#[test]
fn oldest_batches_make_room_when_pieces_reach_their_bound_and_not_before() {
    let mut stash = Stash::default();
    let count = 32_u32;
    let full = u8::try_from(PIECES_MAX as u32 / count).unwrap();
    for number in 0..full {
        stash.put(batch(number, count));
    }
    let names = |stash: &Stash<u32>| -> Vec<u8> { stash.0.iter().map(|b| b.name.0[0]).collect() };
    assert_eq!(names(&stash).len(), usize::from(full));
    // What was taken counts no more.
    let own = purpose(["n1", "n2"]);
    assert_eq!(code(stash.take(piece(5, 0), &own)), Ok(0));
    stash.put(batch(200, 1));
    assert_eq!(names(&stash)[0], 0);
    stash.put(batch(201, 1));
    assert_eq!(names(&stash)[0], 1);
    assert_eq!(names(&stash).len(), usize::from(full) + 1);
}

#[test]
fn material_with_a_banned_signer_or_of_a_set_that_failed_is_forgotten_and_no_other() {
    let key: KeyId = "treasury".parse().unwrap();
    let made = || {
        let mut stash = Stash::default();
        for (number, signers) in (1..).zip([["n1", "n2"], ["n1", "n3"], ["n2", "n3"]]) {
            stash.put(Batch { purpose: purpose(signers), ..batch(number, 1) });
        }
        stash
    };
    let left = |stash: &Stash<u32>| -> Vec<u8> { stash.0.iter().map(|b| b.name.0[0]).collect() };
    let mut stash = made();
    stash.forget_signer(&key, &"n2".parse().unwrap());
    assert_eq!(left(&stash), [2]);
    let mut stash = made();
    stash.forget_signers(&key, &purpose(["n1", "n2"]).signers);
    assert_eq!(left(&stash), [2, 3]);
    let other: KeyId = "sundries".parse().unwrap();
    let mut stash = made();
    stash.forget_signer(&other, &"n2".parse().unwrap());
    stash.forget_signers(&other, &purpose(["n1", "n2"]).signers);
    assert_eq!(left(&stash), [1, 2, 3]);
}

#[test]
fn batch_is_bounded_by_its_products_where_signers_multiply_in_pairs() {
    let ecdsa = Backend::Dkls23Secp256k1;
    for (count, signers, holds) in [
        (32, 2, true),
        (32, 5, true),
        (32, 6, false),
        (25, 6, true),
        (26, 6, false),
        (8, 16, true),
        (9, 16, false),
    ] {
        assert_eq!(fits(ecdsa, count, signers), holds, "{count} for {signers}");
        assert!(fits(Backend::FrostEd25519, count, signers));
    }
}
