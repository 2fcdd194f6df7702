//! CARv1 as its specification has it, in the few lines that a test needs.

use sha2::{Digest, Sha256};

/// One block: its CID's bytes, its multicodec, its content.
pub struct Block {
    pub cid: Vec<u8>,
    pub codec: u64,
    pub bytes: Vec<u8>,
}

/// The codec of raw bytes.
pub const RAW: u64 = 0x55;

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The header and the blocks; each block's hash is checked.
pub fn parts(car: &[u8]) -> (Vec<u8>, Vec<Block>) {
    let mut at = 0;
    let len = varint(car, &mut at) as usize;
    let header = car[..at + len].to_vec();
    at += len;
    let mut blocks = Vec::new();
    while at < car.len() {
        let len = varint(car, &mut at) as usize;
        let (section, mut inner) = (&car[at..at + len], 0);
        let version = varint(section, &mut inner);
        let codec = varint(section, &mut inner);
        assert_eq!((version, section[inner], section[inner + 1]), (1, 0x12, 32), "CIDv1, sha2-256");
        let (cid, bytes) = section.split_at(inner + 34);
        assert_eq!(Sha256::digest(bytes).as_slice(), &cid[inner + 2..]);
        blocks.push(Block { cid: cid.to_vec(), codec, bytes: bytes.to_vec() });
        at += len;
    }
    (header, blocks)
}

/// A file of these blocks behind this header.
pub fn file<'a>(header: &[u8], blocks: impl IntoIterator<Item = &'a Block>) -> Vec<u8> {
    let mut out = header.to_vec();
    for block in blocks {
        put_varint(&mut out, block.cid.len() + block.bytes.len());
        out.extend(&block.cid);
        out.extend(&block.bytes);
    }
    out
}
