use super::*;
use dvm_core::intent::{Backend, Scope};
use dvm_core::{Address20, B32, Link};

fn intent(act: Act, content: Option<&[u8]>) -> CanonicalIntent {
    let mut intent = CanonicalIntent {
        cluster: Link::of_artifact(b"genesis"),
        tenant: "acme".parse().unwrap(),
        idempotency_key: "1".parse().unwrap(),
        requester: "alice".parse().unwrap(),
        act,
        scope: Scope::Public,
        display_hash: B32::default(),
        expires_ms: 0,
    };
    if let Ok(display) = display(&intent, content) {
        intent.display_hash = display.hash();
    }
    intent
}

fn generate(threshold: u16, holders: usize) -> Act {
    let roster = (0..holders).map(|i| format!("n{i:02}").parse().unwrap()).collect();
    let backend = Backend::FrostEd25519;
    Act::KeyGenerate { key_id: "k".parse().unwrap(), backend, threshold, roster }
}

fn message(link: Link, len: u64) -> Act {
    Act::SignMessage { key_id: "k".parse().unwrap(), key_epoch: 1, message: link, len }
}

#[test]
fn a_roster_has_2_to_16_holders_and_a_threshold_above_half() {
    for (t, n) in [(2, 2), (2, 3), (3, 3), (3, 4), (9, 16), (16, 16)] {
        assert_eq!(check_form(&generate(t, n)), Ok(()), "{t} of {n}");
    }
    for (t, n) in [(1, 2), (3, 2), (1, 3), (2, 4), (8, 16), (17, 16), (0, 2)] {
        assert!(
            matches!(check_form(&generate(t, n)), Err(ActError::Threshold { .. })),
            "{t} of {n}"
        );
    }
    for n in [0, 1, 17] {
        assert_eq!(check_form(&generate(2, n)), Err(ActError::RosterSize { len: n }));
    }
}

#[test]
fn a_roster_that_is_unsorted_or_names_one_twice_is_refused() {
    for (from, to) in [(0, 1), (1, 2)] {
        let mut act = generate(2, 3);
        let Act::KeyGenerate { roster, .. } = &mut act else { unreachable!() };
        roster.swap(from, to);
        assert_eq!(check_form(&act), Err(ActError::RosterOrder { at: to }));
        let Act::KeyGenerate { roster, .. } = &mut act else { unreachable!() };
        roster[to] = roster[from].clone();
        assert!(matches!(check_form(&act), Err(ActError::RosterOrder { .. })));
    }
}

#[test]
fn what_is_signed_is_the_content_or_the_digest_and_nothing_else() {
    let content = b"hello";
    let act = intent(message(Link::of_raw(content), 5), Some(content));
    assert_eq!(parse(&act, Some(content)).unwrap().bytes_to_sign(), Some(&content[..]));
    let digest =
        Act::SignDigest { key_id: "k".parse().unwrap(), key_epoch: 1, digest: B32([7; 32]) };
    let act = intent(digest, None);
    assert_eq!(parse(&act, None).unwrap().bytes_to_sign(), Some(&[7; 32][..]));
    assert_eq!(parse(&act, Some(b"x")), Err(ActError::ContentUnasked));
    let act = intent(generate(2, 3), None);
    assert_eq!(parse(&act, None).unwrap().bytes_to_sign(), None);
}

#[test]
fn a_content_that_is_not_the_one_named_is_refused() {
    let act = intent(message(Link::of_raw(b"hello"), 5), Some(b"hello"));
    assert_eq!(parse(&act, None), Err(ActError::ContentMissing));
    assert_eq!(parse(&act, Some(b"hellO")), Err(ActError::ContentLink));
    let short = ActError::ContentLength { named: 5, given: 4 };
    assert_eq!(parse(&act, Some(b"hell")), Err(short));
    assert_eq!(short.code(), ReasonCode::BindingMismatch);
}

#[test]
fn a_message_may_be_empty_and_has_4_mib_at_most() {
    assert!(parse(&intent(message(Link::of_raw(b""), 0), Some(b"")), Some(b"")).is_ok());
    let content = vec![0; limits::CONTENT_BYTES_MAX + 1];
    let (most, over) = (&content[1..], &content[..]);
    let act = intent(message(Link::of_raw(most), most.len() as u64), Some(most));
    assert!(parse(&act, Some(most)).is_ok());
    let act = intent(message(Link::of_raw(over), over.len() as u64), Some(over));
    let refused = parse(&act, Some(over)).unwrap_err();
    assert_eq!(refused, ActError::ContentTooLong { len: over.len() as u64 });
    assert_eq!(refused.code(), ReasonCode::ResourceLimit);
}

#[test]
fn the_link_of_an_artifact_is_no_message() {
    let act = message(Link::of_artifact(b"hello"), 5);
    assert_eq!(check_form(&act), Err(ActError::NotRawContent));
}

#[test]
fn an_epoch_counts_from_one() {
    let digest = |key_epoch| Act::SignDigest {
        key_id: "k".parse().unwrap(),
        key_epoch,
        digest: B32::default(),
    };
    assert_eq!(check_form(&digest(1)), Ok(()));
    assert_eq!(check_form(&digest(0)), Err(ActError::Epoch));
}

#[test]
fn an_intent_that_shows_people_another_text_is_refused() {
    let mut act = intent(generate(2, 3), None);
    assert!(parse(&act, None).is_ok());
    act.requester = "mallory".parse().unwrap();
    let refused = parse(&act, None).unwrap_err();
    assert_eq!(refused, ActError::DisplayHash);
    assert_eq!(refused.code(), ReasonCode::BindingMismatch);
}

fn batch(path: Vec<u32>, signers: usize, count: u16) -> Act {
    let signers = (0..signers).map(|i| format!("n{i:02}").parse().unwrap()).collect();
    Act::PresignBatch { key_id: "k".parse().unwrap(), key_epoch: 1, path, signers, count }
}

#[test]
fn a_batch_names_2_to_16_signers_in_order_and_1_to_32_pieces() {
    for (signers, count) in [(2, 1), (16, 32)] {
        assert_eq!(check_form(&batch(vec![], signers, count)), Ok(()));
    }
    for len in [0, 1, 17] {
        assert_eq!(check_form(&batch(vec![], len, 1)), Err(ActError::RosterSize { len }));
    }
    for count in [0, 33] {
        assert_eq!(check_form(&batch(vec![], 2, count)), Err(ActError::BatchSize { count }));
    }
    let mut unsorted = batch(vec![], 2, 1);
    let Act::PresignBatch { signers, .. } = &mut unsorted else { unreachable!() };
    signers.swap(0, 1);
    assert_eq!(check_form(&unsorted), Err(ActError::RosterOrder { at: 1 }));
}

#[test]
fn a_path_has_10_components_at_most_and_no_hardened_one() {
    let last = (1 << 31) - 1;
    assert_eq!(check_form(&batch(vec![last; 10], 2, 1)), Ok(()));
    for path in [vec![0; 11], vec![0, last + 1], vec![u32::MAX]] {
        assert_eq!(check_form(&batch(path, 2, 1)), Err(ActError::Path));
    }
}

#[test]
fn a_batch_signs_nothing_and_has_no_content() {
    let act = intent(batch(vec![0, 7], 2, 3), None);
    let parsed = parse(&act, None).unwrap();
    assert_eq!(parsed.bytes_to_sign(), None);
    assert!(
        parsed.display().text().contains(
            "path: m/0/7\nsigners: n00, n01\nprepares: 3 signatures, and signs nothing\n"
        )
    );
    assert_eq!(parse(&act, Some(b"x")), Err(ActError::ContentUnasked));
}

/// The example of EIP-155.
const PAYLOAD: &str =
    "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080";

fn payload() -> Vec<u8> {
    alloy_primitives::hex::decode(PAYLOAD).unwrap()
}

fn transfer(path: Vec<u32>, transaction: Link, len: u64) -> Act {
    let (key_id, from) = ("k".parse().unwrap(), Address20([0x9d; 20]));
    Act::SignEvmTransaction { key_id, key_epoch: 1, path, from, transaction, len }
}

fn transfer_of(payload: &[u8]) -> Act {
    transfer(vec![0, 7], Link::of_raw(payload), payload.len() as u64)
}

#[test]
fn what_is_signed_of_a_transaction_is_its_hash() {
    let payload = payload();
    let act = intent(transfer_of(&payload), Some(&payload));
    let parsed = parse(&act, Some(&payload)).unwrap();
    let hash = "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53";
    assert_eq!(B32::from_slice(parsed.bytes_to_sign().unwrap()), B32::from_hex(hash));
    assert_eq!(parsed.transaction().unwrap().payload(), payload);
    let text = parsed.display().text();
    assert!(text.starts_with("act: sign.evm_transaction\n") && text.is_ascii());
    assert!(text.contains("path: m/0/7\nchain id: 1\n") && text.contains("value: 1 ether\n"));
    assert!(text.contains(&format!("hash to sign: {hash}\nscope: public\n")));
    // No other act has one.
    let digest = intent(batch(vec![], 2, 1), None);
    assert!(parse(&digest, None).unwrap().transaction().is_none());
}

#[test]
fn a_transaction_that_is_not_the_one_named_is_refused() {
    let payload = payload();
    let act = intent(transfer_of(&payload), Some(&payload));
    assert_eq!(parse(&act, None), Err(ActError::ContentMissing));
    let mut other = payload.clone();
    other[1] ^= 1;
    assert_eq!(parse(&act, Some(&other)), Err(ActError::ContentLink));
    assert_eq!(
        parse(&act, Some(&payload[..44])),
        Err(ActError::ContentLength { named: 45, given: 44 })
    );
}

#[test]
fn a_content_that_is_no_transaction_is_refused_and_shown_to_nobody() {
    let act = |content: &[u8]| display(&intent(transfer_of(content), None), Some(content));
    assert!(act(&payload()).is_ok());
    let mut without_chain = payload();
    without_chain.truncate(42);
    without_chain[0] -= 3;
    let refused = act(&without_chain).unwrap_err();
    assert_eq!(refused, ActError::Transaction(EvmError::NoChainId));
    assert_eq!(refused.code(), ReasonCode::PayloadRejected);
}

#[test]
fn a_transactions_act_has_an_epoch_a_public_path_a_raw_link_and_a_bounded_length() {
    let (raw, most) = (Link::of_raw(b"x"), evm::PAYLOAD_BYTES_MAX as u64);
    assert_eq!(check_form(&transfer(vec![], raw, most)), Ok(()));
    assert_eq!(check_form(&transfer(vec![1 << 31], raw, 1)), Err(ActError::Path));
    let artifact = Link::of_artifact(b"x");
    assert_eq!(check_form(&transfer(vec![], artifact, 1)), Err(ActError::NotRawContent));
    let refused = check_form(&transfer(vec![], raw, most + 1)).unwrap_err();
    assert_eq!(refused, ActError::Transaction(EvmError::TooLong { len: most + 1 }));
    assert_eq!(refused.code(), ReasonCode::ResourceLimit);
    assert_eq!(check_form(&transfer(vec![], raw, 1).at_epoch(0)), Err(ActError::Epoch));
}

#[test]
fn the_sender_and_the_path_are_in_the_text() {
    let payload = payload();
    let text = |change: fn(&mut Act)| {
        let mut act = transfer_of(&payload);
        change(&mut act);
        display(&intent(act, None), Some(&payload)).unwrap().hash()
    };
    let base = text(|_| {});
    let other_path = text(|act| {
        if let Act::SignEvmTransaction { path, .. } = act {
            path.push(0);
        }
    });
    let other_sender = text(|act| {
        if let Act::SignEvmTransaction { from, .. } = act {
            from.0[19] ^= 1;
        }
    });
    assert!(base != other_path && base != other_sender);
}
