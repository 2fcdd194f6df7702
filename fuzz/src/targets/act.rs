//! Acts: what people are shown is what is signed, whatever the intent and its content are.
//!
//! An input is the length of the intent in two bytes, the intent's canonical bytes, and a content; an
//! intent without a content has nothing behind it.

use dvm_act::evm::{Fields, Transaction};
use dvm_core::codec::{decode, encode};
use dvm_core::intent::{Act, Backend, CanonicalIntent, Scope};
use dvm_core::{Address20, B32, Link, NodeId};
use dvm_score::{Run, compile, plan};

use crate::{Seen, memory};

fn split(data: &[u8]) -> Option<(CanonicalIntent, Option<&[u8]>)> {
    let (len, rest) = data.split_first_chunk::<2>()?;
    let (intent, content) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let mut intent: CanonicalIntent = decode(intent).ok()?;
    // The content is mostly the one that the act names: a hash cannot be guessed.
    if let (
        Act::SignMessage { message: link, len, .. }
        | Act::SignEvmTransaction { transaction: link, len, .. },
        [first, ..],
    ) = (&mut intent.act, content)
        && first % 4 != 0
    {
        (*link, *len) = (Link::of_raw(content), content.len() as u64);
    }
    Some((intent, (!content.is_empty()).then_some(content)))
}

/// The display text: ASCII, a fixed number of lines, bound by its hash to the parse.
pub(super) fn display_text(data: &[u8]) -> Seen {
    let Some((mut intent, content)) = split(data) else { return Seen::of("no intent") };
    let display = memory::bounded(data.len(), || dvm_act::display(&intent, content));
    let display = match display {
        Ok(display) => display,
        Err(error) => {
            assert_eq!(dvm_act::parse(&intent, content), Err(error));
            assert!(!error.code().name().is_empty());
            return Seen::refused(&error);
        }
    };
    let text = display.text();
    let lines = match &intent.act {
        Act::KeyGenerate { .. } => 11,
        Act::SignMessage { .. } => 11,
        Act::SignDigest { .. } => 10,
        Act::SignEvmTransaction { .. } => evm_lines(content.unwrap_or_default()),
        Act::PresignBatch { .. } => 11,
    };
    assert!(text.is_ascii() && text.ends_with('\n'));
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
    assert_eq!(text.lines().count(), lines, "a line was forged: {text}");
    intent.display_hash = display.hash();
    let parsed = dvm_act::parse(&intent, content).unwrap();
    assert_eq!((parsed.display(), parsed.act()), (&display, &intent.act));
    match &intent.act {
        Act::KeyGenerate { .. } | Act::PresignBatch { .. } => {
            assert_eq!(parsed.bytes_to_sign(), None);
        }
        Act::SignEvmTransaction { .. } => {
            let transaction = Transaction::parse(content.unwrap()).unwrap();
            assert_eq!(parsed.bytes_to_sign(), Some(transaction.signing_hash().as_slice()));
            assert_eq!(parsed.transaction(), Some(&transaction));
        }
        Act::SignMessage { .. } => assert_eq!(parsed.bytes_to_sign(), content),
        Act::SignDigest { digest, .. } => {
            assert_eq!(parsed.bytes_to_sign(), Some(digest.0.as_slice()));
        }
    }
    intent.display_hash = B32([0xee; 32]);
    assert!(dvm_act::parse(&intent, content).is_err(), "another text's hash was taken");
    Seen::of(("shown", lines, content.is_some()))
}

/// Lines of the text of an act with this payload: those of every act, and those of its transaction.
fn evm_lines(payload: &[u8]) -> usize {
    let facts = Transaction::parse(payload).unwrap().facts();
    let (fees, access_list) = match payload[0] {
        1 => (1, 1),
        2 => (2, 1),
        _ => (1, 0),
    };
    let data = match (facts.data_bytes, facts.erc20_kind) {
        (0, _) => 1,
        (_, None) => 3,
        (_, Some(_)) => 5,
    };
    18 + fees + access_list + data
}

/// Compiling whatever act comes: refused, or a plan that holds and is the same again.
pub(super) fn compiled(data: &[u8]) -> Seen {
    let Some((intent, _)) = split(data) else { return Seen::of("no intent") };
    let participants: Vec<NodeId> = match &intent.act {
        Act::KeyGenerate { roster: named, .. } | Act::PresignBatch { signers: named, .. } => {
            named.clone()
        }
        _ => ["n1", "n2"].map(|name| name.parse().unwrap()).to_vec(),
    };
    let cap = plan::frame_bytes_max(participants.len());
    let mut ways = Vec::new();
    for backend in [Backend::FrostEd25519, Backend::FrostSecp256k1Tr, Backend::Dkls23Secp256k1] {
        for run in [Run::Act(None), Run::Publish(intent.scope)] {
            let make = || compile(&intent.act, run, backend, &participants);
            match memory::within(64 << 20, make) {
                Ok(made) => {
                    assert!(plan::verify(made.plan(), cap).is_ok());
                    assert_eq!(make().unwrap().plan_id(), made.plan_id());
                    ways.push(made.plan().steps.len());
                }
                Err(error) => {
                    assert!(!error.code().name().is_empty() && !error.to_string().is_empty());
                    ways.push(0);
                }
            }
        }
    }
    Seen::of(ways)
}

/// A payload is refused, or it is the one encoding of what was read, and its JSON form says the same.
pub(super) fn evm_payload(data: &[u8]) -> Seen {
    let transaction = match memory::bounded(data.len(), || Transaction::parse(data)) {
        Ok(transaction) => transaction,
        Err(error) => {
            assert!(!error.code().name().is_empty());
            return Seen::refused(&error);
        }
    };
    assert_eq!(transaction.payload(), data, "a second encoding was taken");
    assert_eq!(Fields::from(&transaction).transaction().as_ref(), Ok(&transaction));
    // No signature of these bytes is there to be found in them.
    for signature in data.array_windows::<65>().step_by(7) {
        assert!(transaction.signed(&[0x11; 20], signature).is_err());
    }
    let facts = transaction.facts();
    assert_eq!(facts.creates_contract(), facts.to.is_none());
    assert!(facts.erc20_kind.is_none() || facts.data_bytes == 68);
    let first = data.first().map(|first| (*first).min(0xc0));
    Seen::of((
        first,
        facts.creates_contract(),
        facts.erc20_kind.map(|kind| kind.name()),
        data.len() / 16,
    ))
}

/// The JSON form of a transaction: refused, or the same again from its payload.
pub(super) fn evm_fields(data: &[u8]) -> Seen {
    let fields = match memory::bounded(data.len(), || serde_json::from_slice::<Fields>(data)) {
        Ok(fields) => fields,
        Err(error) => return Seen::refused(&error),
    };
    let sender = fields.sender();
    match memory::bounded(data.len(), || fields.transaction()) {
        Ok(transaction) => {
            assert_eq!(Transaction::parse(&transaction.payload()).as_ref(), Ok(&transaction));
            assert_eq!(Fields::from(&transaction).transaction().as_ref(), Ok(&transaction));
            Seen::of(("taken", transaction.payload().len() / 8, sender.is_ok()))
        }
        Err(error) => Seen::refused(&error),
    }
}

/// Known transactions: both forms, and an act about each.
pub(super) fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    let rows = include_str!("../../../vectors/evm/transactions.json");
    let rows: Vec<serde_json::Value> = serde_json::from_str(rows).unwrap();
    let forms = rows.iter().flat_map(|row| {
        let fields: Fields = serde_json::from_value(row["fields"].clone()).unwrap();
        let payload = fields.transaction().unwrap().payload();
        let intent = encode(&intent(Act::SignEvmTransaction {
            key_id: "k".parse().unwrap(),
            key_epoch: 1,
            path: vec![0],
            from: Address20([1; 20]),
            transaction: Link::of_raw(&payload),
            len: payload.len() as u64,
        }));
        let act = [&(intent.len() as u16).to_be_bytes()[..], &intent, &payload].concat();
        let fields = serde_json::to_vec(&fields).unwrap();
        [("evm_payload", payload), ("evm_fields", fields), ("act_display", act)]
    });
    forms.collect()
}

fn intent(act: Act) -> CanonicalIntent {
    CanonicalIntent {
        cluster: Link::of_artifact(b"genesis"),
        tenant: "acme".parse().unwrap(),
        idempotency_key: "1".parse().unwrap(),
        requester: "alice".parse().unwrap(),
        act,
        scope: Scope::Public,
        display_hash: B32::default(),
        expires_ms: 0,
    }
}
