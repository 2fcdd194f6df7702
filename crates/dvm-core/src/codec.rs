//! The canonical codec: DAG-CBOR with a schema name, bounded before it is decoded.
//!
//! Source: `spec/codec.md`. A block is the map `{"body": …, "schema": "dvm/…/1"}`.
//!
//! Always true: `decode` accepts exactly the bytes that `encode` gives for some value; a second
//! encoding of the same value does not exist. So a CID names one value, and one value has one CID.

mod encode;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::link::{Block, Link};

/// A type with canonical bytes and therefore an address.
pub trait Artifact: Serialize + DeserializeOwned {
    /// Name and version of the form, such as `dvm/intent/1`. Also the COSE external data.
    const SCHEMA: &'static str;
    /// Bound on the encoded size, in bytes.
    const BYTES_MAX: usize = limits::ARTIFACT_BYTES_MAX;
}

/// Why bytes were refused. Nothing is decoded before the bounds hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the artifact may have.
    #[error("`{len}` bytes are more than the bound of `{max}`")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Nested too deep, too many items, or lengths that point past the end.
    #[error("structure exceeds its bounds at byte `{at}`")]
    Unbounded {
        /// Offset of the offending item.
        at: usize,
    },
    /// Not the fields or types of this artifact.
    #[error("not a `{schema}`")]
    Shape {
        /// The artifact that was expected.
        schema: &'static str,
    },
    /// The value is right but the bytes are not its canonical encoding.
    #[error("not the canonical encoding of a `{schema}`")]
    NotCanonical {
        /// The artifact that was expected.
        schema: &'static str,
    },
}

#[derive(Serialize)]
struct Out<'a, T> {
    body: &'a T,
    schema: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct In<T> {
    body: T,
    schema: String,
}

/// The canonical bytes of an artifact.
///
/// # Panics
/// Never for the types of this workspace: their fields are all representable in DAG-CBOR, which the
/// codec's property tests hold.
pub fn encode<T: Artifact>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "every Artifact is representable; held by the vectors")]
    encode::to_vec(&Out { body: value, schema: T::SCHEMA }).expect("representable")
}

/// Reads canonical bytes, and nothing else.
///
/// # Errors
/// [`CodecError`], before any allocation larger than the input.
pub fn decode<T: Artifact>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > T::BYTES_MAX {
        return Err(CodecError::TooLong { len: bytes.len(), max: T::BYTES_MAX });
    }
    scan(bytes)?;
    let shape = CodecError::Shape { schema: T::SCHEMA };
    let read: In<T> = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| shape)?;
    if read.schema != T::SCHEMA {
        return Err(shape);
    }
    if encode(&read.body) != bytes {
        return Err(CodecError::NotCanonical { schema: T::SCHEMA });
    }
    Ok(read.body)
}

/// The address of an artifact.
pub fn link_of<T: Artifact>(value: &T) -> Link {
    Link::of_artifact(&encode(value))
}

/// The block of an artifact: its bytes with their address.
pub fn block_of<T: Artifact>(value: &T) -> Block {
    let bytes = encode(value);
    Block { link: Link::of_artifact(&bytes), bytes: bytes.into() }
}

/// The schema name of a block, if its bytes are bounded and have one.
pub fn schema_of(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    scan(bytes).ok()?;
    serde_ipld_dagcbor::from_slice::<Head>(bytes).ok().map(|h| h.schema)
}

/// Walks the CBOR structure without building it: depth, item count and lengths within the input.
fn scan(bytes: &[u8]) -> Result<(), CodecError> {
    let mut at = 0;
    let mut items = 0_usize;
    // Items still owed at each open level; the walk ends when nothing is owed.
    let mut owed: Vec<u64> = vec![1];
    while let Some(left) = owed.last_mut() {
        if *left == 0 {
            owed.pop();
            continue;
        }
        *left -= 1;
        items += 1;
        let start = at;
        let bad = CodecError::Unbounded { at: start };
        let (major, value, next) = head(bytes, at).ok_or(bad)?;
        at = next;
        let remaining = (bytes.len() - at) as u64;
        match major {
            2 | 3 if value <= remaining => at += value as usize,
            4 if value <= remaining => owed.push(value),
            5 if value <= remaining / 2 => owed.push(value * 2),
            6 => owed.push(1),
            0 | 1 | 7 => {}
            _ => return Err(bad),
        }
        if owed.len() > limits::DEPTH_MAX || items > limits::ITEMS_MAX {
            return Err(bad);
        }
    }
    if at == bytes.len() { Ok(()) } else { Err(CodecError::Unbounded { at }) }
}

/// Reads one item head: (major type, argument, offset after the head).
fn head(bytes: &[u8], at: usize) -> Option<(u8, u64, usize)> {
    let first = *bytes.get(at)?;
    let (major, info) = (first >> 5, first & 0x1f);
    let width = match info {
        0..=23 => return Some((major, u64::from(info), at + 1)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None, // indefinite lengths are not DAG-CBOR
    };
    let mut argument = 0_u64;
    for byte in bytes.get(at + 1..at + 1 + width)? {
        argument = argument << 8 | u64::from(*byte);
    }
    Some((major, argument, at + 1 + width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        data: Bytes,
        list: Vec<u64>,
        link: Option<Link>,
    }
    impl Artifact for Sample {
        const SCHEMA: &'static str = "dvm/sample/1";
        const BYTES_MAX: usize = 4096;
    }

    fn sample() -> Sample {
        Sample {
            name: "n".into(),
            data: vec![1, 2].into(),
            list: vec![0, 24, 70_000],
            link: Some(Link::of_raw(b"x")),
        }
    }

    #[test]
    fn decode_inverts_encode_and_the_link_names_the_bytes() {
        let bytes = encode(&sample());
        assert_eq!(decode::<Sample>(&bytes), Ok(sample()));
        assert!(link_of(&sample()).matches(&bytes));
    }

    #[test]
    fn every_single_byte_change_is_refused_or_another_value() {
        let bytes = encode(&sample());
        for at in 0..bytes.len() {
            for flip in [1_u8, 0x20, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                if let Ok(value) = decode::<Sample>(&other) {
                    assert_ne!(value, sample());
                }
            }
        }
    }

    #[test]
    fn decode_refuses_unsorted_keys_and_long_integers() {
        let good = encode(&sample());
        // 0x18 0x05 is a two-byte encoding of 5: legal CBOR, not canonical.
        let list = good.windows(2).position(|w| w == [0x83, 0x00]).unwrap();
        let mut long = good.clone();
        long.splice(list + 1..list + 2, [0x18, 0x00]);
        assert!(decode::<Sample>(&long).is_err());
        let mut swapped = vec![0xa2];
        let schema_at = good.windows(7).position(|w| w == b"\x66schema").unwrap();
        swapped.extend_from_slice(&good[schema_at..]);
        swapped.extend_from_slice(&good[1..schema_at]);
        assert!(decode::<Sample>(&swapped).is_err());
    }

    #[test]
    fn depth_and_size_bombs_are_refused_before_decoding() {
        let deep = vec![0x81; 4000];
        assert!(matches!(decode::<Sample>(&deep), Err(CodecError::Unbounded { .. })));
        let huge = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(decode::<Sample>(&huge), Err(CodecError::Unbounded { at: 0 })));
        let long = vec![0; 4097];
        assert_eq!(decode::<Sample>(&long), Err(CodecError::TooLong { len: 4097, max: 4096 }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<Sample>(&bytes);
            let _ = schema_of(&bytes);
        }

        #[test]
        fn any_value_round_trips(name in "[a-z]{0,20}", data: Vec<u8>, list: Vec<u32>) {
            let value = Sample {
                name, data: data.into(), list: list.into_iter().map(u64::from).collect(), link: None,
            };
            let bytes = encode(&value);
            if bytes.len() <= Sample::BYTES_MAX {
                prop_assert_eq!(decode::<Sample>(&bytes), Ok(value));
            }
        }
    }
}
