//! Heads: the checkpoint text, cosignatures over it, certificates, and signed notes.
//!
//! Source: C2SP tlog-checkpoint, signed-note and tlog-cosignature (`cosignature/v1`), so that
//! off-the-shelf witnesses and readers can take part. The tree is RFC 6962 over event CIDs.
//!
//! Always true: a certificate that passed has no cosignature that does not hold, no member twice,
//! and a quorum of every membership on the way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dvm_core::authority::ClusterManifest;
use dvm_core::digest::sha256;
use dvm_core::governance::{Cosignature, HeadCertificate, HeadRef};
use dvm_core::limits::MEMBERS_MAX;
use dvm_core::{B32, Link, NodeId, PublicKey, ReasonCode, Signer};

use crate::guard::GuardRefused;
use crate::state::AuthorityState;

/// C2SP's signature type of a `cosignature/v1` by Ed25519.
const COSIGNATURE_V1: u8 = 0x04;
/// Key id, time and signature in one note line.
const LINE_BYTES: usize = 4 + 8 + 64;
/// Bytes of a note: three lines of text and one of at most 300 bytes per member.
const NOTE_BYTES_MAX: usize = 512 + 300 * MEMBERS_MAX;

/// Entries or the certificate over them were refused; nothing is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// An entry broke a rule.
    #[error(transparent)]
    Guard(#[from] GuardRefused),
    /// The certificate is over another head or another cluster.
    #[error("the certificate is not over the head at size {size}")]
    OtherHead {
        /// Size of the head that the entries lead to.
        size: u64,
    },
    /// A cosignature is a stranger's, out of order, double, or does not hold.
    #[error("cosignature {index} of the certificate does not hold")]
    Cosignature {
        /// Its position.
        index: usize,
    },
    /// Fewer members cosigned than the quorum.
    #[error("{counted} members cosigned; {wanted} are needed")]
    Quorum {
        /// Valid cosignatures of current members.
        counted: usize,
        /// The quorum.
        wanted: usize,
    },
}

impl CertificateRefused {
    /// The reason code that goes with it.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Guard(refused) => refused.code,
            Self::OtherHead { .. } | Self::Cosignature { .. } | Self::Quorum { .. } => {
                ReasonCode::LogInconsistent
            }
        }
    }
}

fn origin(cluster: &Link) -> String {
    format!("dvm-mpc/{cluster}")
}

/// The C2SP checkpoint of a head: origin, size, root; each line ends with a newline.
pub fn checkpoint(cluster: &Link, head: &HeadRef) -> String {
    format!("{}\n{}\n{}\n", origin(cluster), head.size, BASE64.encode(head.root.0))
}

/// What a member signs: the time line and the checkpoint.
pub fn cosign_message(cluster: &Link, head: &HeadRef, time_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_s}\n{}", checkpoint(cluster, head)).into_bytes()
}

/// One member's cosignature. Call it only with what a [`crate::Register`] let through and a store
/// made durable.
pub fn cosign(
    cluster: &Link,
    head: &HeadRef,
    member: NodeId,
    time_s: u64,
    signer: &impl Signer,
) -> Cosignature {
    let signature = signer.sign(&cosign_message(cluster, head, time_s));
    Cosignature { member, time_s, signature: signature.as_slice().into() }
}

/// Whether a cosignature is by this key over this head.
pub fn cosignature_holds(
    cluster: &Link,
    head: &HeadRef,
    key: PublicKey,
    cosignature: &Cosignature,
) -> bool {
    let message = cosign_message(cluster, head, cosignature.time_s);
    <[u8; 64]>::try_from(&cosignature.signature[..])
        .is_ok_and(|signature| key.verify(&message, &signature))
}

pub(crate) fn same_members(a: &AuthorityState, b: &AuthorityState) -> bool {
    let keys = |m: &ClusterManifest| -> Vec<(NodeId, Option<PublicKey>)> {
        m.members().into_iter().map(|id| (id.clone(), m.cosign_key(&id))).collect()
    };
    keys(&a.manifest) == keys(&b.manifest)
}

/// Checks a certificate over `head` under each of these states' memberships: the one that is
/// pinned, and each that the certified entries make. Both an old and a new quorum must have signed.
///
/// # Errors
/// [`CertificateRefused`], except its guard kind.
pub fn check_certificate(
    path: &[AuthorityState],
    head: &HeadRef,
    certificate: &HeadCertificate,
) -> Result<(), CertificateRefused> {
    let other = CertificateRefused::OtherHead { size: head.size };
    let first = path.first().ok_or(other)?;
    if certificate.cluster != first.cluster || certificate.head != *head {
        return Err(other);
    }
    let cosignatures = &certificate.cosignatures;
    if !cosignatures.is_sorted_by(|a, b| a.member < b.member) || cosignatures.len() > MEMBERS_MAX {
        return Err(CertificateRefused::Cosignature { index: 0 });
    }
    let holds_in = |state: &AuthorityState, c: &Cosignature| {
        let key = state.manifest.cosign_key(&c.member);
        key.is_some_and(|key| cosignature_holds(&first.cluster, head, key, c))
    };
    for (index, cosignature) in cosignatures.iter().enumerate() {
        if !path.iter().any(|state| holds_in(state, cosignature)) {
            return Err(CertificateRefused::Cosignature { index });
        }
    }
    for state in path {
        let counted = cosignatures.iter().filter(|c| holds_in(state, c)).count();
        let wanted = state.manifest.quorum();
        if counted < wanted {
            return Err(CertificateRefused::Quorum { counted, wanted });
        }
    }
    Ok(())
}

/// The key name under which a member's cosignatures stand in a note.
pub fn signer_name(cluster: &Link, member: &NodeId) -> String {
    format!("{}/{member}", origin(cluster))
}

fn key_id(name: &str, key: PublicKey) -> [u8; 4] {
    let preimage = [name.as_bytes(), b"\n", &[COSIGNATURE_V1], &key.0.0].concat();
    let digest = sha256(&preimage).0;
    [digest[0], digest[1], digest[2], digest[3]]
}

/// The certificate as a signed note. Cosignatures of strangers to this manifest are left out.
pub fn note_of(manifest: &ClusterManifest, certificate: &HeadCertificate) -> String {
    let mut note = checkpoint(&certificate.cluster, &certificate.head) + "\n";
    for cosignature in &certificate.cosignatures {
        let Some(key) = manifest.cosign_key(&cosignature.member) else { continue };
        let name = signer_name(&certificate.cluster, &cosignature.member);
        let mut bytes = key_id(&name, key).to_vec();
        bytes.extend_from_slice(&cosignature.time_s.to_be_bytes());
        bytes.extend_from_slice(&cosignature.signature);
        note.push_str(&format!("— {name} {}\n", BASE64.encode(bytes)));
    }
    note
}

/// Reads a signed note of this cluster; `None` if it is not one. As C2SP asks, lines by unknown
/// keys are passed over. Unverified: [`check_certificate`] judges it.
pub fn parse_note(state: &AuthorityState, note: &str) -> Option<HeadCertificate> {
    if note.len() > NOTE_BYTES_MAX {
        return None;
    }
    let (text, signatures) = note.split_once("\n\n")?;
    let mut lines = text.split('\n');
    if lines.next()? != origin(&state.cluster) {
        return None;
    }
    let size: u64 = lines.next()?.parse().ok()?;
    let root = B32::from_slice(&BASE64.decode(lines.next()?).ok()?)?;
    let head = HeadRef { size, root };
    // Comparing the whole text refuses other spellings of the same numbers, and extra lines.
    if checkpoint(&state.cluster, &head) != format!("{text}\n") {
        return None;
    }
    let mut cosignatures = Vec::new();
    for line in signatures.strip_suffix('\n')?.split('\n') {
        if let Some(cosignature) = parse_line(state, line)? {
            cosignatures.push(cosignature);
        }
    }
    cosignatures.sort_by(|a: &Cosignature, b| a.member.cmp(&b.member));
    Some(HeadCertificate { cluster: state.cluster, head, cosignatures })
}

/// `None` for a malformed line, `Some(None)` for a stranger's.
fn parse_line(state: &AuthorityState, line: &str) -> Option<Option<Cosignature>> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = BASE64.decode(encoded).ok()?;
    let (id, rest) = bytes.split_at_checked(4)?;
    let member = state.manifest.members().into_iter().find(|m| {
        let key = state.manifest.cosign_key(m);
        signer_name(&state.cluster, m) == name && key.is_some_and(|key| key_id(name, key) == id)
    });
    let Some(member) = member else { return Some(None) };
    let (time, signature) = rest.split_at_checked(8)?;
    let time_s = u64::from_be_bytes(time.try_into().ok()?);
    let whole = bytes.len() == LINE_BYTES;
    whole.then(|| Some(Cosignature { member, time_s, signature: signature.into() }))
}
