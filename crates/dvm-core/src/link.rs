//! Content links: CIDv1, sha2-256, `dag-cbor` or `raw` only.
//!
//! Always true: a `Link` in memory has one of the two codecs and a 32-byte sha2-256 digest, so
//! identity hashes and other surprises end at the decoder.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use cid::multihash::Multihash;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::bytes::{B32, Bytes};

const DAG_CBOR: u64 = 0x71;
const RAW: u64 = 0x55;
const SHA2_256: u64 = 0x12;

/// The address of a block: an artifact (`dag-cbor`) or a message's content (`raw`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(Cid);

impl Link {
    /// The link of an artifact's canonical bytes.
    pub fn of_artifact(bytes: &[u8]) -> Self {
        Self::with(DAG_CBOR, bytes)
    }

    /// The link of raw content.
    pub fn of_raw(bytes: &[u8]) -> Self {
        Self::with(RAW, bytes)
    }

    fn with(codec: u64, bytes: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        Self(Cid::new_v1(codec, multihash(digest)))
    }

    /// Accepts a CID only of the two forms used here.
    pub fn from_cid(cid: Cid) -> Option<Self> {
        let codec_ok = matches!(cid.codec(), DAG_CBOR | RAW);
        let hash_ok = cid.hash().code() == SHA2_256 && cid.hash().size() == 32;
        (cid.version() == cid::Version::V1 && codec_ok && hash_ok).then_some(Self(cid))
    }

    /// Reads the binary form of a CID.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let link = Self::from_cid(Cid::try_from(bytes).ok()?)?;
        (link.to_bytes() == bytes).then_some(link)
    }

    /// The binary form: what signatures cover.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// True for raw content, false for an artifact.
    pub fn is_raw(&self) -> bool {
        self.0.codec() == RAW
    }

    /// The sha2-256 digest inside.
    pub fn digest(&self) -> B32 {
        B32::from_slice(self.0.hash().digest()).unwrap_or_default()
    }

    /// Whether these bytes are the ones this link names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::with(self.0.codec(), bytes) == *self
    }
}

fn multihash(digest: [u8; 32]) -> Multihash<64> {
    #[expect(clippy::expect_used, reason = "32 bytes always fit a 64-byte multihash")]
    Multihash::wrap(SHA2_256, &digest).expect("32 <= 64")
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The text is not a CIDv1 of the two allowed forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a CIDv1 with sha2-256 and dag-cbor or raw")]
pub struct BadLink;

impl FromStr for Link {
    type Err = BadLink;
    fn from_str(text: &str) -> Result<Self, BadLink> {
        let cid = Cid::try_from(text).map_err(|_| BadLink)?;
        Self::from_cid(cid).ok_or(BadLink)
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_cid(Cid::deserialize(d)?).ok_or_else(|| D::Error::custom(BadLink))
    }
}

/// Bytes with the link that names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The address.
    pub link: Link,
    /// The bytes; check [`Block::intact`] before use.
    pub bytes: Bytes,
}

impl Block {
    /// The block of raw content.
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self { link: Link::of_raw(&bytes), bytes: Bytes(bytes) }
    }

    /// Whether the bytes hash to the link.
    pub fn intact(&self) -> bool {
        self.link.matches(&self.bytes)
    }
}
