//! RFC 6962 Merkle trees: over event links, frame leaves, permits and trace entries.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::B32;

fn leaf_hash(data: &[u8]) -> B32 {
    B32(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
}

fn node_hash(left: &B32, right: &B32) -> B32 {
    B32(Sha256::new()
        .chain_update([1])
        .chain_update(left.0)
        .chain_update(right.0)
        .finalize()
        .into())
}

/// Largest power of two smaller than `n` (`n >= 2`).
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// The root over these leaves, in order. The empty tree's root is sha256 of nothing.
pub fn root<L: AsRef<[u8]>>(leaves: &[L]) -> B32 {
    let hashes: Vec<B32> = leaves.iter().map(|l| leaf_hash(l.as_ref())).collect();
    if hashes.is_empty() { B32(Sha256::digest([]).into()) } else { fold(&hashes) }
}

fn fold(hashes: &[B32]) -> B32 {
    match hashes {
        [] => B32::default(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// A growing tree, kept as the roots of its full subtrees: what a log needs to know its next root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frontier {
    /// Leaves so far.
    size: u64,
    /// Roots of the full subtrees, largest first: one per set bit of `size`.
    peaks: Vec<B32>,
}

impl Frontier {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut hash = leaf_hash(leaf);
        // Each trailing one bit of the old size is a full subtree as large as the new one.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The same root as [`root`] over all leaves.
    pub fn root(&self) -> B32 {
        let join = |right: B32, left: &B32| node_hash(left, &right);
        match self.peaks.split_last() {
            None => B32(Sha256::digest([]).into()),
            Some((last, larger)) => larger.iter().rev().fold(*last, join),
        }
    }
}

/// An inclusion proof: the leaf's position, the tree's size, and the siblings from leaf to root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// Position of the leaf.
    pub index: u32,
    /// Leaves in the tree.
    pub size: u32,
    /// Sibling hashes, leaf to root.
    pub siblings: Vec<B32>,
}

/// The inclusion proof of leaf `index`; `None` if there is no such leaf.
pub fn path<L: AsRef<[u8]>>(leaves: &[L], index: usize) -> Option<Path> {
    if index >= leaves.len() {
        return None;
    }
    let hashes: Vec<B32> = leaves.iter().map(|l| leaf_hash(l.as_ref())).collect();
    let mut siblings = Vec::new();
    collect(&hashes, index, &mut siblings);
    Some(Path { index: index.try_into().ok()?, size: leaves.len().try_into().ok()?, siblings })
}

fn collect(hashes: &[B32], index: usize, out: &mut Vec<B32>) {
    if hashes.len() < 2 {
        return;
    }
    let (left, right) = hashes.split_at(split(hashes.len()));
    if index < left.len() {
        collect(left, index, out);
        out.push(fold(right));
    } else {
        collect(right, index - left.len(), out);
        out.push(fold(left));
    }
}

impl Path {
    /// The root that this path and leaf lead to; `None` if the path has the wrong length.
    pub fn root_of(&self, leaf: &[u8]) -> Option<B32> {
        if self.index >= self.size {
            return None;
        }
        let mut turns = Vec::new();
        let (mut index, mut size) = (self.index as usize, self.size as usize);
        while size > 1 {
            let left = split(size);
            turns.push(index < left);
            if index < left {
                size = left;
            } else {
                index -= left;
                size -= left;
            }
        }
        if turns.len() != self.siblings.len() {
            return None;
        }
        let steps = turns.iter().rev().zip(&self.siblings);
        Some(steps.fold(leaf_hash(leaf), |hash, (is_left, sibling)| {
            if *is_left { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_of_every_small_tree_has_a_path_and_no_other_leaf_does() {
        for n in 1..20_usize {
            let leaves: Vec<Vec<u8>> = (0..n).map(|i| vec![i as u8; i]).collect();
            let want = root(&leaves);
            for (i, leaf) in leaves.iter().enumerate() {
                let proof = path(&leaves, i).unwrap();
                assert_eq!(proof.root_of(leaf), Some(want));
                assert_ne!(proof.root_of(b"another"), Some(want));
            }
            assert_eq!(path(&leaves, n), None);
        }
    }

    #[test]
    fn a_path_with_one_sibling_too_few_or_many_is_refused() {
        let leaves: Vec<[u8; 1]> = (0..5_u8).map(|i| [i]).collect();
        let good = path(&leaves, 1).unwrap();
        let mut short = good.clone();
        short.siblings.pop();
        let mut long = good;
        long.siblings.push(B32::default());
        assert_eq!(short.root_of(&[1]), None);
        assert_eq!(long.root_of(&[1]), None);
    }

    #[test]
    fn a_frontier_has_the_root_of_the_whole_tree_at_every_size() {
        let mut frontier = Frontier::default();
        let mut leaves: Vec<Vec<u8>> = Vec::new();
        for i in 0..70_u8 {
            assert_eq!((frontier.root(), frontier.size()), (root(&leaves), u64::from(i)));
            leaves.push(vec![i; usize::from(i)]);
            frontier.push(leaves.last().unwrap());
        }
    }

    #[test]
    fn the_empty_root_is_rfc_6962s() {
        let want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(root::<&[u8]>(&[]).hex(), want);
    }
}
