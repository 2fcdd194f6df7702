//! The few ways a round can end badly, by whose doing.
//!
//! What: `Refused` (the caller broke a rule), `Blame` (peers sent something that honest peers never send),
//! `Unattributed` (a final check failed and the protocol cannot say whose fault it is), `Bug` (our invariant).
//! Always true: every list is closed, and every reason is a variant, so a program can act on it.
//! `Blame` names a peer only for bytes that the peer itself sent; that the bytes are the peer's is proved by the
//! frame's signature, outside this crate.
//! Not here: what follows from a fault (bans, freezes, receipts).

use crate::roster::Party;

/// Why a round gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The request breaks a rule; no peer is to blame for it.
    #[error("refused: {0}")]
    Refused(#[from] Rule),
    /// These peers sent something that no honest peer sends. Never empty; in roster order.
    #[error("blame {culprits:?}: {what}")]
    Blame {
        /// Whose bytes failed the check.
        culprits: Vec<Party>,
        /// The check that failed.
        what: Offence,
    },
    /// A final check failed and nobody can be named.
    #[error("unattributed: {0}")]
    Unattributed(#[from] Unattributed),
    /// Our own invariant does not hold.
    #[error("bug: {0}")]
    Bug(#[from] Bug),
}

/// A rule that the request breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// A roster has between 2 and [`crate::PARTIES_MAX`] nodes.
    #[error("a roster has 2 to {} nodes", crate::PARTIES_MAX)]
    RosterSize,
    /// A node's name is empty or too long.
    #[error("a node name has 1 to {} bytes", crate::NODE_NAME_BYTES_MAX)]
    NodeName,
    /// A node is named twice.
    #[error("a node is named twice in the roster")]
    DuplicateNode,
    /// The threshold must be at least 2, at most n, and 2t > n, so that two disjoint sets cannot both sign.
    #[error("the threshold t must satisfy 2 <= t <= n < 2t")]
    Threshold,
    /// A node that is not in the roster.
    #[error("not a member of the roster")]
    NotAMember,
    /// A signing set has exactly t members.
    #[error("a signing set has exactly t members")]
    SignerCount,
    /// A message of this peer is missing.
    #[error("the message of {0:?} is missing")]
    MissingMessage(Party),
    /// A message of somebody who has none to send in this round, or a second one.
    #[error("a message that this round does not expect")]
    UnexpectedMessage,
    /// Something of ours was given back to us changed.
    #[error("our own message was changed")]
    OwnMessageChanged,
    /// A value made for another key or another session.
    #[error("made for another key or session")]
    OtherSession,
    /// There is no pair set-up with this peer: it was never made, or discarded with a ban.
    #[error("no pair set-up with {0:?}")]
    NoPairSetup(Party),
    /// These peers start from other pair set-ups than we hold. Nobody's offence: a state restored from a copy does
    /// it, too.
    #[error("another pair set-up than ours at {0:?}")]
    OtherPairSetup(Vec<Party>),
    /// Bytes that are not the encoding of this pair's set-up in this key.
    #[error("malformed pair set-up")]
    MalformedPairSetup,
    /// The message to be signed is longer than we handle.
    #[error("the message to sign is too long")]
    MessageTooLong,
    /// Group key bytes that are not the encoding of a consistent group key of this suite.
    #[error("malformed group key")]
    MalformedGroupKey,
    /// Sealed key bytes that are not the encoding of a share of the group key they name.
    #[error("malformed sealed key share")]
    MalformedSealedKey,
    /// A key of another signature scheme than was asked for.
    #[error("the key is of another signature scheme")]
    OtherScheme,
    /// Bytes that are no compressed point of the curve.
    #[error("malformed public key")]
    MalformedPublicKey,
    /// A derivation path has at most [`crate::bip32::PATH_INDICES_MAX`] indices.
    #[error("a derivation path has at most {} indices", crate::bip32::PATH_INDICES_MAX)]
    PathLength,
    /// A hardened index: it needs the whole private key, which is nowhere.
    #[error("a hardened index cannot be derived for a threshold key")]
    HardenedIndex,
    /// An index that BIP-32 calls invalid for this parent.
    #[error("BIP-32 has no key at this index")]
    InvalidIndex,
}

/// What a peer did that no honest peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// The opening does not hash to the commitment h that the peer broadcast.
    #[error("the opening does not match its commitment")]
    OpeningMismatch,
    /// The opening is not the encoding of a round-1 package.
    #[error("malformed opening")]
    MalformedOpening,
    /// The polynomial has another degree than t - 1 (raising the threshold for everyone, or lowering it).
    #[error("the number of coefficient commitments is not t")]
    CommitmentCount,
    /// The proof of knowledge fails under the identifier derived from this session and this peer.
    #[error("invalid proof of knowledge")]
    ProofOfKnowledge,
    /// The secret share is not a canonical scalar.
    #[error("malformed secret share")]
    MalformedSecretShare,
    /// The secret share does not lie on the polynomial that the peer committed to.
    #[error("the secret share contradicts the commitments")]
    WrongSecretShare,
    /// A part of a pair's set-up is malformed, or fails its proof or its commitment.
    #[error("a malformed or false part of the pair set-up")]
    PairSetup,
    /// A message of a multiplication is malformed or fails a check. One offence for all of them: which check it was
    /// is not for the peer to know.
    #[error("a malformed or false message of a multiplication")]
    Multiplication,
    /// The nonce commitments are not two canonical, non-identity elements.
    #[error("malformed nonce commitments")]
    MalformedNonceCommitment,
    /// The opening of a nonce is not two points and a salt.
    #[error("malformed opening of a nonce")]
    MalformedNonceOpening,
    /// The signer's part of the key is not what the key lacks.
    #[error("the signer's key point does not belong to the key")]
    WrongKeyPoint,
    /// The signature share is not made of canonical scalars.
    #[error("malformed signature share")]
    MalformedSignatureShare,
    /// The signature share fails its verification equation.
    #[error("invalid signature share")]
    WrongSignatureShare,
}

/// A failed final check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unattributed {
    /// All shares pass, and the signature does not verify under the key.
    #[error("the aggregated signature does not verify")]
    FinalSignature,
    /// The parties do not hold the same transcript of the key generation.
    #[error("the transcripts differ")]
    TranscriptMismatch,
    /// The parties' contributions cancel out to the identity, or add up to a nonce that no signature of ours has.
    #[error("the contributions add up to nothing that can be used")]
    Degenerate,
    /// More than two signers' key points do not add up to the key.
    #[error("the signers' key points do not add up to the key")]
    KeyPoints,
}

/// An invariant of ours that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bug {
    /// Two nodes have the same identifier, or one has the identifier zero.
    #[error("colliding or zero identifier")]
    Identifier,
    /// A value of our own making cannot be encoded.
    #[error("a value of our own cannot be encoded")]
    Encoding,
    /// The library refused inputs that we had checked.
    #[error("the library refused checked inputs")]
    Library,
    /// The key share does not fit the public key package made with it.
    #[error("the key share does not fit its group key")]
    KeyMismatch,
}
