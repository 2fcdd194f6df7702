//! The forger: takes a file apart, changes a block, and makes every hash above it right again.

use dvm_core::Link;
use dvm_core::codec::{Artifact, decode, encode, schema_of};
use dvm_core::sign::sign_link;
use dvm_evidence::car;
use dvm_evidence::manifest::{BundleManifest, BundleRoot};
use ed25519_dalek::SigningKey;

/// A file as blocks, in order: root, manifest, the rest.
#[derive(Clone)]
pub(crate) struct Forgery {
    pub(crate) blocks: Vec<(Link, Vec<u8>)>,
}

impl Forgery {
    pub(crate) fn of(file: &[u8]) -> Self {
        let blocks = car::read(file).unwrap();
        Self { blocks: blocks.into_iter().map(|(l, b)| (l, b.to_vec())).collect() }
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let blocks: Vec<(Link, &[u8])> =
            self.blocks.iter().map(|(l, b)| (*l, b.as_slice())).collect();
        car::write(&blocks).unwrap()
    }

    pub(crate) fn schema(&self, at: usize) -> Option<String> {
        schema_of(&self.blocks[at].1).filter(|_| !self.blocks[at].0.is_raw())
    }

    /// Replaces a block's bytes, and its link wherever it stands, up to the root.
    pub(crate) fn replace(&mut self, at: usize, bytes: Vec<u8>) {
        let mut changed = vec![(at, bytes)];
        while let Some((at, bytes)) = changed.pop() {
            let old = self.blocks[at].0;
            let new = if old.is_raw() { Link::of_raw(&bytes) } else { Link::of_artifact(&bytes) };
            self.blocks[at] = (new, bytes);
            let (old, new) = (old.to_bytes(), new.to_bytes());
            for (above, (_, bytes)) in self.blocks.iter().enumerate() {
                let mut named = bytes.clone();
                let mut found = false;
                for start in 0..bytes.len().saturating_sub(old.len() - 1) {
                    if bytes[start..start + old.len()] == old {
                        named[start..start + old.len()].copy_from_slice(&new);
                        found = true;
                    }
                }
                if found {
                    changed.retain(|(other, _)| *other != above);
                    changed.push((above, named));
                    break;
                }
            }
            self.requeue(&mut changed, (&old, &new));
        }
    }

    /// Further blocks that still name the old link.
    fn requeue(&self, changed: &mut Vec<(usize, Vec<u8>)>, (old, new): (&[u8], &[u8])) {
        for (above, (_, bytes)) in self.blocks.iter().enumerate() {
            if changed.iter().any(|(other, _)| *other == above) {
                continue;
            }
            let Some(start) = bytes.windows(old.len()).position(|w| w == old) else { continue };
            let mut named = bytes.clone();
            named[start..start + old.len()].copy_from_slice(new);
            changed.insert(0, (above, named));
        }
    }

    /// Signs the manifest anew: what an exporter that lies can do, and nobody else.
    pub(crate) fn sign(&mut self, exporter: &SigningKey) {
        let manifest = self.blocks[1].0;
        let cose = sign_link(exporter, BundleManifest::SCHEMA, &manifest);
        let bytes = encode(&BundleRoot { manifest, cose });
        self.blocks[0] = (Link::of_artifact(&bytes), bytes);
    }

    pub(crate) fn manifest(&self) -> BundleManifest {
        decode(&self.blocks[1].1).unwrap()
    }

    pub(crate) fn set_manifest(&mut self, manifest: &BundleManifest) {
        self.replace(1, encode(manifest));
    }
}
