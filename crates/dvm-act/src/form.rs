//! The parse: an act's form, its content, and the bytes to be signed.
//!
//! Source: the design's "Typed acts" and limits. Total and bounded: every check runs before
//! anything is copied.
//!
//! Always true: [`ParsedAct`] has one maker, [`parse`]; what it says was derived, not handed in.

use dvm_core::intent::{Act, ActClass, CanonicalIntent};
use dvm_core::{Link, NodeId, ReasonCode, limits};

use crate::display::{Display, display};
use crate::evm::{self, EvmError, Transaction};

/// Fewest shares that may sign: one share alone would be no threshold at all.
pub const THRESHOLD_MIN: u16 = 2;

/// The end of the year 9999, so that every expiry reads as an RFC 3339 date.
pub const EXPIRES_MS_MAX: u64 = 253_402_300_799_999;

/// Why an act was refused. Nothing was derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Fewer than two holders, or more than a key may have.
    #[error("a roster has 2 to {max} holders, not {len}", max = limits::PARTIES_MAX)]
    RosterSize {
        /// Holders named.
        len: usize,
    },
    /// Not strictly ascending: unsorted, or a holder twice.
    #[error("the roster is not sorted and distinct at place {at}")]
    RosterOrder {
        /// Place of the holder that is not above the one before it.
        at: usize,
    },
    /// `t < 2`, `t > n`, or `2t <= n`, with which two disjoint groups could sign.
    #[error("threshold {threshold} does not fit {holders} holders: 2 <= t <= n and 2t > n")]
    Threshold {
        /// Shares needed.
        threshold: u16,
        /// Shares there are.
        holders: usize,
    },
    /// More components than a path may have, or a hardened one, which no public key has.
    #[error("a path has at most {max} components, each below 2^31", max = limits::PATH_LEN_MAX)]
    Path,
    /// No material asked for, or more than one batch may have.
    #[error("a batch has 1 to {max} pieces, not {count}", max = limits::PRESIGN_COUNT_MAX)]
    BatchSize {
        /// Pieces asked for.
        count: u16,
    },
    /// The content is no transaction that is signed here.
    #[error("{0}")]
    Transaction(#[from] EvmError),
    /// Epochs count from one.
    #[error("a key epoch counts from 1")]
    Epoch,
    /// The act signs a content, and none came with it.
    #[error("the content of the message is missing")]
    ContentMissing,
    /// The act has no content, and one came with it.
    #[error("this act has no content, and one came with it")]
    ContentUnasked,
    /// More bytes than a message may have.
    #[error("a message has at most {max} bytes, not {len}", max = limits::CONTENT_BYTES_MAX)]
    ContentTooLong {
        /// Bytes given or named, whichever is more.
        len: u64,
    },
    /// The link is of an artifact: a signature over one could be taken for one of ours.
    #[error("the content's link is not one of raw content")]
    NotRawContent,
    /// The content's length is not the one that the act names.
    #[error("the act names {named} bytes and the content has {given}")]
    ContentLength {
        /// In the act.
        named: u64,
        /// In the content.
        given: u64,
    },
    /// The content is not the one that the act's link names.
    #[error("the content does not hash to the act's link")]
    ContentLink,
    /// An expiry after the year 9999.
    #[error("the expiry is after the year 9999")]
    Expiry,
    /// People would be shown something else than what is signed.
    #[error("the display hash is not the hash of this act's text")]
    DisplayHash,
}

impl ActError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::ContentLength { .. } | Self::ContentLink | Self::DisplayHash => {
                ReasonCode::BindingMismatch
            }
            Self::ContentTooLong { .. } => ReasonCode::ResourceLimit,
            Self::Transaction(error) => error.code(),
            _ => ReasonCode::PayloadRejected,
        }
    }
}

/// An act that is well formed, with everything that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedAct {
    act: Act,
    bytes_to_sign: Option<Vec<u8>>,
    transaction: Option<Transaction>,
    display: Display,
}

impl ParsedAct {
    /// The act.
    pub fn act(&self) -> &Act {
        &self.act
    }

    /// Its class.
    pub fn class(&self) -> ActClass {
        self.act.class()
    }

    /// Exactly what a signature will be over; none for an act that signs nothing.
    pub fn bytes_to_sign(&self) -> Option<&[u8]> {
        self.bytes_to_sign.as_deref()
    }

    /// The transaction of a `sign.evm_transaction`; none for any other act.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// The text that approvers are shown, and its hash.
    pub fn display(&self) -> &Display {
        &self.display
    }
}

/// Parses an intent's act together with the content that travels beside it.
///
/// # Errors
/// [`ActError`]: the first rule that does not hold, display hash last.
pub fn parse(intent: &CanonicalIntent, content: Option<&[u8]>) -> Result<ParsedAct, ActError> {
    let display = display(intent, content)?;
    if display.hash() != intent.display_hash {
        return Err(ActError::DisplayHash);
    }
    let transaction = transaction(&intent.act, content)?;
    let bytes_to_sign = match &intent.act {
        Act::KeyGenerate { .. } | Act::PresignBatch { .. } => None,
        Act::SignMessage { .. } => content.map(<[u8]>::to_vec),
        Act::SignEvmTransaction { .. } => transaction.as_ref().map(|t| t.signing_hash().to_vec()),
        Act::SignDigest { digest, .. } => Some(digest.0.to_vec()),
    };
    Ok(ParsedAct { act: intent.act.clone(), bytes_to_sign, transaction, display })
}

/// Checks what can be seen in the act alone, without its content.
///
/// # Errors
/// [`ActError`]: the first rule that does not hold.
pub fn check_form(act: &Act) -> Result<(), ActError> {
    match act {
        Act::KeyGenerate { threshold, roster, .. } => check_roster(*threshold, roster),
        Act::SignMessage { key_epoch, message, len, .. } => {
            check_epoch(*key_epoch)?;
            check_raw(message)?;
            check_length(*len)
        }
        Act::SignDigest { key_epoch, .. } => check_epoch(*key_epoch),
        Act::SignEvmTransaction { key_epoch, path, transaction, len, .. } => {
            check_epoch(*key_epoch)?;
            check_path(path)?;
            check_raw(transaction)?;
            Ok(evm::check_length(*len)?)
        }
        Act::PresignBatch { key_epoch, path, signers, count, .. } => {
            check_epoch(*key_epoch)?;
            check_path(path)?;
            check_nodes(signers)?;
            let fits = (1..=limits::PRESIGN_COUNT_MAX).contains(count);
            if fits { Ok(()) } else { Err(ActError::BatchSize { count: *count }) }
        }
    }
}

fn check_raw(link: &Link) -> Result<(), ActError> {
    if link.is_raw() { Ok(()) } else { Err(ActError::NotRawContent) }
}

fn check_path(path: &[u32]) -> Result<(), ActError> {
    let public = path.iter().all(|component| component >> 31 == 0);
    if public && path.len() <= limits::PATH_LEN_MAX { Ok(()) } else { Err(ActError::Path) }
}

/// 2 to 16 nodes, sorted and distinct.
fn check_nodes(roster: &[NodeId]) -> Result<(), ActError> {
    let holders = roster.len();
    if !(2..=limits::PARTIES_MAX).contains(&holders) {
        return Err(ActError::RosterSize { len: holders });
    }
    let out_of_order = roster.iter().zip(roster.iter().skip(1)).position(|(a, b)| a >= b);
    if let Some(before) = out_of_order {
        return Err(ActError::RosterOrder { at: before + 1 });
    }
    Ok(())
}

fn check_roster(threshold: u16, roster: &[NodeId]) -> Result<(), ActError> {
    check_nodes(roster)?;
    let holders = roster.len();
    let t = usize::from(threshold);
    if threshold < THRESHOLD_MIN || t > holders || 2 * t <= holders {
        return Err(ActError::Threshold { threshold, holders });
    }
    Ok(())
}

fn check_epoch(epoch: u32) -> Result<(), ActError> {
    if epoch == 0 { Err(ActError::Epoch) } else { Ok(()) }
}

fn check_length(len: u64) -> Result<(), ActError> {
    let fits = usize::try_from(len).is_ok_and(|len| len <= limits::CONTENT_BYTES_MAX);
    if fits { Ok(()) } else { Err(ActError::ContentTooLong { len }) }
}

pub(crate) fn check_expiry(expires_ms: u64) -> Result<(), ActError> {
    if expires_ms > EXPIRES_MS_MAX { Err(ActError::Expiry) } else { Ok(()) }
}

pub(crate) fn check_content(act: &Act, content: Option<&[u8]>) -> Result<(), ActError> {
    let Some((link, named)) = act.content_link() else {
        return if content.is_some() { Err(ActError::ContentUnasked) } else { Ok(()) };
    };
    let content = content.ok_or(ActError::ContentMissing)?;
    // Length before hash: a wrong length costs nothing.
    let given = content.len() as u64;
    check_length(given)?;
    if given != named {
        return Err(ActError::ContentLength { named, given });
    }
    if !link.matches(content) {
        return Err(ActError::ContentLink);
    }
    Ok(())
}

/// The transaction that the content is, for an act that signs one.
pub(crate) fn transaction(
    act: &Act,
    content: Option<&[u8]>,
) -> Result<Option<Transaction>, ActError> {
    match act {
        Act::SignEvmTransaction { .. } => {
            let payload = content.ok_or(ActError::ContentMissing)?;
            Ok(Some(Transaction::parse(payload)?))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
