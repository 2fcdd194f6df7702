//! Statements under signatures: whatever becomes of the bytes, a signature holds only over what its key
//! signed in the genuine cluster.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::OnceLock;

use dvm_core::authority::ClusterManifest;
use dvm_core::codec::{Artifact, decode, encode};
use dvm_core::frame::Envelope;
use dvm_core::governance::{HeadCertificate, LogEntry};
use dvm_core::{Link, PublicKey, Signed};
use dvm_governance::{AuthorityState, adopt, apply, check_certificate, note_of, parse_note};

use super::artifacts::read;
use crate::corpus::{fixture, seeds};
use crate::{Seen, memory};

/// The genuine cluster: every key in it, its log as states.
struct Cluster {
    manifest: ClusterManifest,
    keys: Vec<PublicKey>,
    log: Vec<LogEntry>,
    /// Before each entry, and after the last.
    states: Vec<AuthorityState>,
    certificate: HeadCertificate,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let manifest: ClusterManifest = decode(&fixture("cluster.cbor")).unwrap();
        let log: Vec<LogEntry> = (0..)
            .map_while(|i| {
                let path = crate::corpus::home().join(format!("fixtures/log-{i}.cbor"));
                std::fs::read(path).ok().map(|bytes| decode(&bytes).unwrap())
            })
            .collect();
        let certificate = decode(&fixture("certificate.cbor")).unwrap();
        let mut states = vec![AuthorityState::genesis(&manifest).unwrap()];
        for entry in &log {
            states.push(apply(&states[states.len() - 1], entry).unwrap());
        }
        let node = manifest.nodes.iter().flat_map(|n| [n.kernel_key, n.policy_key, n.node_key]);
        let people = manifest.governors.members.iter();
        let people = people.chain(manifest.approvers.iter().flat_map(|set| &set.members));
        let keys = node.chain(people.map(|p| p.key)).collect();
        Cluster { manifest, keys, log, states, certificate }
    })
}

/// Links of the statements in a target's seeds: all that its keys ever signed.
fn known<T: Artifact>() -> BTreeSet<Link> {
    let name = crate::TARGETS.iter().map(|t| t.name).filter(|name| name.starts_with("signed_"));
    let all = name.flat_map(seeds);
    all.filter_map(|seed| decode::<Signed<T>>(&seed).ok()).map(|signed| signed.link()).collect()
}

/// A signed artifact: if a genuine key's signature holds, it is a statement that the key made.
pub(super) fn signed<T: Artifact + PartialEq + Debug>(data: &[u8]) -> Seen {
    let signed: Signed<T> = match read(data) {
        Ok(signed) => signed,
        Err(seen) => return seen,
    };
    let holds = cluster().keys.iter().any(|key| signed.verify(*key).is_ok());
    if holds {
        assert!(known::<T>().contains(&signed.link()), "a signature over another statement");
    }
    Seen::of(("signed", holds, data.len() / 16))
}

/// An envelope: what authenticates is, byte for byte, one that a kernel sent.
pub(super) fn envelope(data: &[u8]) -> Seen {
    static SENT: OnceLock<BTreeSet<Vec<u8>>> = OnceLock::new();
    let sent = SENT.get_or_init(|| seeds("envelope").into_iter().collect());
    let envelope: Envelope = match read(data) {
        Ok(envelope) => envelope,
        Err(seen) => return seen,
    };
    let mut ways = 0;
    for key in &cluster().keys {
        match memory::bounded(data.len(), || envelope.clone().authenticate(*key)) {
            Ok(authentic) => {
                assert!(sent.contains(&encode(authentic.envelope())), "not what the kernel signed");
                ways += 1;
            }
            Err(code) => assert_eq!(code.name(), "BINDING_MISMATCH"),
        }
    }
    let bound = envelope.binding_hash == envelope.expected_binding();
    Seen::of(("envelope", ways, bound, envelope.broadcast.payloads.len()))
}

/// A log entry on every state of the genuine log: what applies is the entry that stands there, or has
/// the same event under fewer signatures.
pub(super) fn log_entry(data: &[u8]) -> Seen {
    let entry: LogEntry = match read(data) {
        Ok(entry) => entry,
        Err(seen) => return seen,
    };
    let mut ways = Vec::new();
    for (at, state) in cluster().states.iter().enumerate() {
        match memory::bounded(data.len(), || apply(state, &entry)) {
            Ok(next) => {
                let genuine = cluster().log.get(at).map(|entry| entry.event.link());
                assert_eq!(genuine, Some(entry.event.link()), "another event was applied");
                assert_eq!(next, cluster().states[at + 1], "another state follows");
                ways.push("applied");
            }
            Err(refused) => ways.push(refused.rule.name()),
        }
    }
    Seen::of(ways)
}

/// A head certificate over the whole genuine log: what holds is over its head, by a quorum.
pub(super) fn head_certificate(data: &[u8]) -> Seen {
    let certificate: HeadCertificate = match read(data) {
        Ok(certificate) => certificate,
        Err(seen) => return seen,
    };
    judged(&certificate)
}

fn judged(certificate: &HeadCertificate) -> Seen {
    let cluster = cluster();
    match adopt(&cluster.states[0], &cluster.log, certificate) {
        Ok(state) => {
            assert_eq!((certificate.head, certificate.cluster), (state.head(), state.cluster()));
            let genuine = &cluster.certificate.cosignatures;
            let all = certificate.cosignatures.iter().all(|c| genuine.contains(c));
            assert!(all, "a cosignature that nobody made");
            assert!(certificate.cosignatures.len() >= cluster.manifest.quorum());
            Seen::of("certified")
        }
        Err(refused) => Seen::refused(&refused),
    }
}

/// A C2SP note: what is read is written the same, but for strangers' lines and the lines' order; and
/// what it certifies is the genuine head.
pub(super) fn checkpoint_note(data: &[u8]) -> Seen {
    let Ok(text) = std::str::from_utf8(data) else { return Seen::of("not text") };
    let state = &cluster().states[cluster().states.len() - 1];
    let Some(certificate) = memory::bounded(data.len(), || parse_note(state, text)) else {
        return Seen::of(("no note", text.split('\n').count().min(16)));
    };
    if certificate.cosignatures.is_empty() {
        // Strangers' lines only: read, as C2SP asks, and worth nothing.
        assert!(
            check_certificate(std::slice::from_ref(state), &state.head(), &certificate).is_err()
        );
        return Seen::of("strangers");
    }
    let again = note_of(state.manifest(), &certificate);
    assert_eq!(parse_note(state, &again).as_ref(), Some(&certificate), "read and written differ");
    assert!(again.len() <= text.len(), "a note grew by being read");
    let path = std::slice::from_ref(state);
    if check_certificate(path, &state.head(), &certificate).is_ok() {
        assert_eq!(certificate.head, state.head());
    }
    judged(&certificate)
}
