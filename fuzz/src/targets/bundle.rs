//! The CAR reader and the verifier, on raw bytes.

use std::sync::OnceLock;

use dvm_core::Link;
use dvm_core::codec::{decode, link_of};
use dvm_evidence::{Refused, Report, car, replay_bundle, verify};

use crate::corpus::{fixture, seeds};
use crate::{Seen, memory};

/// The trusted cluster of the fixtures.
pub(super) fn trusted() -> Link {
    static CLUSTER: OnceLock<Link> = OnceLock::new();
    *CLUSTER.get_or_init(|| {
        link_of(&decode::<dvm_core::authority::ClusterManifest>(&fixture("cluster.cbor")).unwrap())
    })
}

/// A refusal names its link and rule, and has a code.
pub(super) fn way(refused: &Refused) -> Seen {
    assert!(!refused.link.is_empty() && !refused.what.is_empty() && refused.link.len() < 512);
    Seen::of((refused.what, refused.code.name()))
}

/// A file that is read is written the same; its blocks are under their links.
pub(super) fn car(data: &[u8]) -> Seen {
    match memory::bounded(data.len(), || car::read(data)) {
        Ok(blocks) => {
            assert!(blocks.iter().all(|(link, bytes)| link.matches(bytes)));
            assert_eq!(car::write(&blocks).unwrap(), data, "a second file of the same blocks");
            Seen::of(("car", blocks.len()))
        }
        Err(error) => {
            assert!(!error.code().name().is_empty());
            Seen::of(std::mem::discriminant(&error))
        }
    }
}

/// The verifier and the replay on anything: total, bounded, and nothing but the genuine files holds.
pub(super) fn raw(data: &[u8]) -> Seen {
    static GENUINE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let genuine = GENUINE.get_or_init(|| seeds("bundle"));
    let judged = memory::bounded(data.len(), || verify(data, trusted()));
    let replayed = memory::bounded(data.len(), || replay_bundle(data));
    match judged {
        Ok(report) => {
            assert!(genuine.iter().any(|file| file == data), "another file was accepted");
            assert!(replayed.unwrap().iter().all(dvm_evidence::Replayed::equal));
            assert!(!report.lines.is_empty());
            Seen::of(("accepted", report.state.name()))
        }
        Err(refused) => way(&refused),
    }
}

/// What a report states, each fact as a line: the less, the better for whoever lies.
pub(super) fn facts(report: &Report) -> Vec<String> {
    let mut facts = vec![
        format!("intent {} {} {}", report.intent, report.requester, report.display),
        format!("key {} {} {}", report.key_id, report.key_epoch, report.cluster),
        format!("head {} {}", report.head.size, report.head.root),
    ];
    facts.extend(report.verdicts.iter().map(|verdict| format!("{verdict:?}")));
    facts.extend(report.runs.iter().map(|run| format!("{run:?}")));
    facts.extend(report.receipts.iter().map(|receipt| format!("{receipt:?}")));
    facts.extend(report.result.iter().map(|result| format!("result {:?}", result.0)));
    facts.extend(report.public_key.iter().map(|key| format!("public {:?}", key.0)));
    facts
}
