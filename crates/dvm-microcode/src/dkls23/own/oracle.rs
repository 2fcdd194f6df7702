//! The random oracles of the OLE, each under its own tag.
//!
//! Source: the tags and the encoding are the wire's, those of dkls23-core 0.6.2: SHA-256 over length ‖ tag, then
//! length ‖ field for each field, a length being 8 bytes big-endian. Tags of our own begin with `dvm/`.
//! Always true: no two oracles share a tag, so no answer of one is an answer of another. [`Expansion`] and
//! [`Pads`] are asked thousands of times about preimages that differ at their end alone: the blocks before that are
//! compressed once, and those that differ are written in place.
//! Constant time: SHA-256 neither branches on its input nor looks anything up by it; every field has one length.

use k256::elliptic_curve::bigint::U256;
use k256::elliptic_curve::ops::Reduce;
use k256::{FieldBytes, Scalar};
use sha2::{Digest, Sha256, compress256};
use zeroize::Zeroizing;

use super::matrix::{Column, Row};

/// The tags.
pub(super) mod tag {
    pub(in super::super) const GADGET: &[u8] = b"dkls23/mul/gadget/v1";
    pub(in super::super) const EXTENSION_SESSION: &[u8] = b"dkls23/ot/extension/session/v1";
    pub(in super::super) const EXPANSION: &[u8] = b"dkls23/ot/extension/prg/v1";
    pub(in super::super) const CONSISTENCY: &[u8] = b"dkls23/ot/extension/chi/v1";
    pub(in super::super) const PADS: &[u8] = b"dkls23/ot/extension/randomize/v1";
    pub(in super::super) const RECEIVED: &[u8] = b"dkls23/mul/transcript/receiver/v1";
    pub(in super::super) const TRANSCRIPT: &[u8] = b"dkls23/mul/transcript/v1";
    pub(in super::super) const WEIGHT_OF_PADS: &[u8] = b"dkls23/mul/chi-tilde/v2";
    pub(in super::super) const WEIGHT_OF_CHECKS: &[u8] = b"dkls23/mul/chi-hat/v2";
    pub(in super::super) const CHECK: &[u8] = b"dkls23/mul/verify/v1";
    pub(in super::super) const BASE_POINT: &[u8] = b"dkls23/ot/base/h/v2";
    pub(in super::super) const BASE_SEED: &[u8] = b"dkls23/ot/base/msg/v1";
    pub(in super::super) const EXPONENT_PROOF: &[u8] = b"dkls23/proofs/dlog/fischlin/v1";
    pub(in super::super) const CHOICE_PROOF: &[u8] = b"dkls23/proofs/enc/fs/v1";
    pub(in super::super) const HEDGE: &[u8] = b"dvm/own-vole/hedge/v1";
    pub(in super::super) const STREAM: &[u8] = b"dvm/own-vole/stream/v1";
    pub(in super::super) const PAIR: &[u8] = b"dvm/own-vole/pair/v1";
}

/// An oracle that has heard these fields.
pub(super) fn begin(tag: &[u8], fields: &[&[u8]]) -> Sha256 {
    let mut hash = Sha256::new();
    for field in std::iter::once(&tag).chain(fields) {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash
}

/// What it answers when there are no more.
pub(super) fn digest(tag: &[u8], fields: &[&[u8]]) -> [u8; 32] {
    begin(tag, fields).finalize().into()
}

/// The answer as a scalar.
pub(super) fn scalar(tag: &[u8], fields: &[&[u8]]) -> Scalar {
    reduce(&Zeroizing::new(digest(tag, fields)))
}

/// What the oracle answers to a session and a field of scalars, one after the other.
pub(super) fn digest_of_scalars(tag: &[u8], session: &[u8; 32], scalars: &[Scalar]) -> [u8; 32] {
    let mut hash = begin(tag, &[session]);
    hash.update((scalars.len() as u64 * 32).to_be_bytes());
    for scalar in scalars {
        hash.update(scalar.to_bytes());
    }
    hash.finalize().into()
}

/// 32 bytes as a scalar. The bias of a reduction modulo a prime so close to 2^256 is below 2^-127.
fn reduce(bytes: &[u8; 32]) -> Scalar {
    <Scalar as Reduce<U256>>::reduce_bytes(FieldBytes::from_slice(bytes))
}

/// A preimage whose first blocks are compressed already; the last ones wait for what differs.
struct Template<const LAST: usize> {
    state: [u32; 8],
    last: Zeroizing<[[u8; BLOCK]; LAST]>,
}

const BLOCK: usize = 64;

impl<const LAST: usize> Template<LAST> {
    /// Fields that differ from question to question are given as zeros. `BYTES` is what tag and fields come to.
    fn new<const BYTES: usize>(tag: &[u8], fields: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(blocks(BYTES) * BLOCK);
        for field in std::iter::once(&tag).chain(fields) {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        // FIPS 180-4, 5.1.1: a bit, zeros, and the length in bits.
        bytes.push(0x80);
        bytes.resize(blocks(BYTES) * BLOCK - 8, 0);
        bytes.extend_from_slice(&((BYTES * 8) as u64).to_be_bytes());
        let mut blocks = bytes.as_chunks::<BLOCK>().0.iter();
        let mut state = INITIAL;
        for block in blocks.by_ref().take(blocks_before_last::<BYTES, LAST>()) {
            compress256(&mut state, std::slice::from_ref(block.into()));
        }
        let last = std::array::from_fn(|_| blocks.next().copied().unwrap_or([0; BLOCK]));
        Self { state, last: Zeroizing::new(last) }
    }

    /// Writes a field that differs; `AT` counts from the first of the last blocks on.
    fn put<const AT: usize, const BYTES: usize>(&mut self, field: &[u8; BYTES]) {
        const { assert!(AT + BYTES + 1 + 8 <= LAST * BLOCK) };
        for (to, from) in self.last.as_flattened_mut().iter_mut().skip(AT).zip(field) {
            *to = *from;
        }
    }

    fn digest(&self) -> [u8; 32] {
        let mut state = self.state;
        for block in self.last.iter() {
            compress256(&mut state, std::slice::from_ref(block.into()));
        }
        let mut digest = [0; 32];
        for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *to = word.to_be_bytes();
        }
        digest
    }
}

/// Blocks of a preimage of so many bytes, with its padding.
const fn blocks(bytes: usize) -> usize {
    (bytes + 1 + 8).div_ceil(BLOCK)
}

const fn blocks_before_last<const BYTES: usize, const LAST: usize>() -> usize {
    blocks(BYTES) - LAST
}

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Stretches a base OT's seed to a column. Fields: session, column, part of the column, seed.
pub(super) struct Expansion(Template<2>);

impl Expansion {
    const BYTES: usize = (8 + 26) + (8 + 32) + (8 + 2) + (8 + 2) + (8 + 32);
    // The number of the column is the first field that differs; it is in the second of three blocks.
    const SEED: usize = Self::BYTES - BLOCK - 32;
    const PART: usize = Self::SEED - 8 - 2;
    const COLUMN: usize = Self::PART - 8 - 2;

    /// For one extension.
    pub(super) fn new(session: &[u8; 32]) -> Self {
        let fields: [&[u8]; 4] = [session, &[0; 2], &[0; 2], &[0; 32]];
        Self(Template::new::<{ Self::BYTES }>(tag::EXPANSION, &fields))
    }

    /// The column of this number that this seed stretches to.
    pub(super) fn column(&mut self, number: u16, seed: &[u8; 32]) -> Column {
        self.0.put::<{ Self::COLUMN }, 2>(&number.to_be_bytes());
        self.0.put::<{ Self::SEED }, 32>(seed);
        let mut words = [0; 12];
        for (part, to) in (0u16..).zip(words.as_chunks_mut::<4>().0) {
            self.0.put::<{ Self::PART }, 2>(&part.to_be_bytes());
            for (to, word) in to.iter_mut().zip(self.0.digest().as_chunks().0) {
                *to = u64::from_le_bytes(*word);
            }
        }
        let [column @ .., _, _] = words;
        super::matrix::cut(column)
    }
}

/// Turns a row of the transposed matrix into a pad. Fields: session, salt, OT, payload, row.
pub(super) struct Pads(Template<1>);

impl Pads {
    const BYTES: usize = (8 + 32) + (8 + 32) + (8 + 32) + (8 + 2) + (8 + 1) + (8 + 32);
    // The number of the OT is the first field that differs; it begins the last of three blocks.
    const ROW: usize = Self::BYTES - 2 * BLOCK - 32;
    const PAYLOAD: usize = Self::ROW - 8 - 1;
    const OT: usize = Self::PAYLOAD - 8 - 2;

    /// For one extension and one answer.
    pub(super) fn new(session: &[u8; 32], salt: &[u8; 32]) -> Self {
        let fields: [&[u8]; 5] = [session, salt, &[0; 2], &[0; 1], &[0; 32]];
        Self(Template::new::<{ Self::BYTES }>(tag::PADS, &fields))
    }

    /// The next pads are of this OT and this payload.
    pub(super) fn at(&mut self, ot: u16, payload: u8) {
        self.0.put::<{ Self::OT }, 2>(&ot.to_be_bytes());
        self.0.put::<{ Self::PAYLOAD }, 1>(&[payload]);
    }

    /// The pad of a row.
    pub(super) fn pad(&mut self, row: &Row) -> Scalar {
        let mut bytes = [0; 32];
        for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(row) {
            *to = word.to_le_bytes();
        }
        self.0.put::<{ Self::ROW }, 32>(&bytes);
        reduce(&self.0.digest())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_oracles_share_a_tag() {
        let tags = [
            tag::GADGET,
            tag::EXTENSION_SESSION,
            tag::EXPANSION,
            tag::CONSISTENCY,
            tag::PADS,
            tag::RECEIVED,
            tag::TRANSCRIPT,
            tag::WEIGHT_OF_PADS,
            tag::WEIGHT_OF_CHECKS,
            tag::CHECK,
            tag::BASE_POINT,
            tag::BASE_SEED,
            tag::EXPONENT_PROOF,
            tag::CHOICE_PROOF,
            tag::HEDGE,
            tag::STREAM,
            tag::PAIR,
        ];
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len());
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        assert_ne!(digest(b"t", &[b"ab", b"c"]), digest(b"t", &[b"a", b"bc"]));
        assert_ne!(digest(b"ta", &[b"b"]), digest(b"t", &[b"ab"]));
        assert_ne!(digest(b"t", &[b"a", b""]), digest(b"t", &[b"a"]));
    }

    #[test]
    fn expansion_is_the_oracle_of_its_fields_cut_to_a_column() {
        let (session, seed) = ([7; 32], [9; 32]);
        let mut expansion = Expansion::new(&session);
        expansion.column(0xffff, &[1; 32]);
        for number in [0u16, 1, 0x0102, 255] {
            let part = |part: u16| {
                digest(
                    tag::EXPANSION,
                    &[&session, &number.to_be_bytes(), &part.to_be_bytes(), &seed],
                )
            };
            let expected = [part(0), part(1), part(2)].concat();
            let column = super::super::matrix::to_bytes(&expansion.column(number, &seed));
            assert_eq!(column, expected[..78]);
        }
    }

    #[test]
    fn a_pad_is_the_oracle_of_its_fields() {
        let (session, salt) = ([7; 32], [8; 32]);
        let mut pads = Pads::new(&session, &salt);
        for (ot, payload, row) in [(0u16, 0u8, [1u64; 4]), (0x0102, 3, [1, 2, 3, u64::MAX])] {
            let bytes: Vec<u8> = row.iter().flat_map(|word| word.to_le_bytes()).collect();
            let fields: [&[u8]; 5] = [&session, &salt, &ot.to_be_bytes(), &[payload], &bytes];
            pads.at(ot, payload);
            assert_eq!(pads.pad(&row), scalar(tag::PADS, &fields));
        }
    }
}
