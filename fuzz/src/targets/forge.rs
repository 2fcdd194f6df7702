//! The lying exporter: a genuine bundle changed by a script, every hash made right again, and signed anew.
//!
//! The input is the script: operations of eight bytes. What hashes would refuse at once is repaired, so
//! that the rules behind them are reached: links are moved, lists are cut and mixed with the other
//! bundle's, bytes of a statement are changed under its old signature. The order of blocks is laid out
//! here from `spec/evidence.md` and not by the crate under test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use dvm_core::codec::{decode, encode, link_of};
use dvm_core::digest::sha256;
use dvm_core::sign::sign_link;
use dvm_core::{Bytes, Link};
use dvm_evidence::manifest::{
    BundleManifest, BundleRoot, EntryRef, PeerRef, RunRef, SignatureBlock, SignedRef,
};
use dvm_evidence::{car, verify};
use ed25519_dalek::SigningKey;

use super::bundle::{facts, trusted, way};
use crate::corpus::fixture;
use crate::{Seen, memory};

/// Bytes of one operation: kind, three numbers of two bytes, one byte.
const OP_BYTES: usize = 8;
/// Operations of one script.
const OPS_MAX: usize = 12;

/// Two genuine bundles of one cluster.
struct World {
    blocks: BTreeMap<Link, Vec<u8>>,
    manifests: [BundleManifest; 2],
    /// What each of them states.
    stated: [BTreeSet<String>; 2],
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let files = ["signature.car", "denied.car"].map(fixture);
        let mut blocks = BTreeMap::new();
        let manifests = files.each_ref().map(|file| {
            let read = car::read(file).unwrap();
            blocks.extend(read.iter().map(|(link, bytes)| (*link, bytes.to_vec())));
            let root: BundleRoot = decode(read[0].1).unwrap();
            decode::<BundleManifest>(&blocks[&root.manifest]).unwrap()
        });
        let stated = files
            .each_ref()
            .map(|file| facts(&verify(file, trusted()).unwrap()).into_iter().collect());
        let world = World { blocks, manifests, stated };
        // The layout of the specification gives the crate's own file again.
        for (file, manifest) in files.iter().zip(&world.manifests) {
            let same = Forgery { manifest: manifest.clone(), blocks: world.blocks.clone() };
            assert_eq!(same.file().as_ref(), Some(file), "the layout is not the specified one");
        }
        world
    })
}

/// What a script makes of the first bundle; an accepted file states nothing that was not stated before.
pub(super) fn forged(script: &[u8]) -> Seen {
    let world = world();
    let mut forgery =
        Forgery { manifest: world.manifests[0].clone(), blocks: world.blocks.clone() };
    for op in script.chunks_exact(OP_BYTES).take(OPS_MAX) {
        let number = |at: usize| usize::from(u16::from_be_bytes([op[at], op[at + 1]]));
        forgery.perform(op[0], [number(1), number(3), number(5)], op[7]);
    }
    let Some(file) = forgery.file() else { return Seen::of("no file") };
    match memory::bounded(file.len(), || verify(&file, trusted())) {
        Ok(report) => {
            let facts: BTreeSet<String> = facts(&report).into_iter().collect();
            let genuine = world.stated.iter().any(|stated| facts.is_subset(stated));
            assert!(genuine, "a forged bundle states something new: {facts:#?}");
            Seen::of(("accepted", facts.len()))
        }
        Err(refused) => way(&refused),
    }
}

struct Forgery {
    manifest: BundleManifest,
    blocks: BTreeMap<Link, Vec<u8>>,
}

impl Forgery {
    fn perform(&mut self, kind: u8, [a, b, c]: [usize; 3], byte: u8) {
        match kind % 8 {
            0 | 1 => self.change(a, b, byte),
            2 => self.copy_slot(a, b),
            3 => self.swap_slots(a, b),
            4 => edit_lists(&mut self.manifest, a, b, c),
            5 => self.mix(a, b),
            6 => self.replace_body(a, b),
            _ => self.manifest.exporter = ["n1", "n2", "n9"][a % 3].parse().unwrap(),
        }
    }

    /// One byte of one block, under a new link; a signature block of it still says that it is of it.
    fn change(&mut self, slot: usize, at: usize, byte: u8) {
        let Some(old) = self.slot(slot) else { return };
        let mut bytes = self.blocks[&old].clone();
        let len = bytes.len().max(1);
        if let Some(place) = bytes.get_mut(at % len) {
            *place ^= byte.max(1);
        }
        self.rename(old, bytes);
    }

    /// A statement's body replaced by another block's bytes, under the old signature.
    fn replace_body(&mut self, slot: usize, other: usize) {
        let (Some(old), Some(other)) = (self.slot(slot), self.slot(other)) else { return };
        let bytes = self.blocks[&other].clone();
        self.rename(old, bytes);
    }

    fn rename(&mut self, old: Link, bytes: Vec<u8>) {
        let new = if old.is_raw() { Link::of_raw(&bytes) } else { Link::of_artifact(&bytes) };
        self.blocks.insert(new, bytes);
        let mut signatures = Vec::new();
        each_slot(&mut self.manifest, &mut |link| {
            if *link == old {
                *link = new;
            }
        });
        each_signed(&mut self.manifest, &mut |by| {
            if by.body == new {
                signatures.push(by.signature);
            }
        });
        for signature in signatures {
            let Ok(mut block) = decode::<SignatureBlock>(&self.blocks[&signature]) else {
                continue;
            };
            block.of = new;
            let link = link_of(&block);
            self.blocks.insert(link, encode(&block));
            each_slot(&mut self.manifest, &mut |slot| {
                if *slot == signature {
                    *slot = link;
                }
            });
        }
    }

    fn slot(&mut self, at: usize) -> Option<Link> {
        let mut slots = Vec::new();
        each_slot(&mut self.manifest, &mut |link| slots.push(*link));
        (!slots.is_empty()).then(|| slots[at % slots.len()])
    }

    fn set_slot(&mut self, at: usize, link: Link) {
        let mut count = 0;
        each_slot(&mut self.manifest, &mut |_| count += 1);
        let mut next = 0;
        each_slot(&mut self.manifest, &mut |slot| {
            if next == at % count {
                *slot = link;
            }
            next += 1;
        });
    }

    fn copy_slot(&mut self, to: usize, from: usize) {
        if let Some(link) = self.slot(from) {
            self.set_slot(to, link);
        }
    }

    fn swap_slots(&mut self, a: usize, b: usize) {
        if let (Some(first), Some(second)) = (self.slot(a), self.slot(b)) {
            self.set_slot(a, second);
            self.set_slot(b, first);
        }
    }

    /// A part of the other bundle in place of this one's.
    fn mix(&mut self, what: usize, at: usize) {
        let other = world().manifests[1].clone();
        let peer = at % self.manifest.peers.len().max(1);
        let theirs = other.peers.get(at % other.peers.len().max(1)).cloned();
        match (what % 9, theirs) {
            (0, _) => self.manifest.intent = other.intent,
            (1, _) => self.manifest.content = other.content,
            (2, _) => self.manifest.result = other.result,
            (3, _) => self.manifest.log = other.log,
            (4, _) => self.manifest.certificate = other.certificate,
            (5, Some(theirs)) => {
                if let Some(ours) = self.manifest.peers.get_mut(peer) {
                    *ours = theirs;
                }
            }
            (6, Some(theirs)) => self.with_peer(peer, |ours| ours.admissions = theirs.admissions),
            (7, Some(theirs)) => self.with_peer(peer, |ours| ours.chain = theirs.chain),
            (_, Some(theirs)) => self.with_peer(peer, |ours| ours.runs.extend(theirs.runs)),
            _ => {}
        }
    }

    fn with_peer(&mut self, at: usize, change: impl FnOnce(&mut PeerRef)) {
        if let Some(peer) = self.manifest.peers.get_mut(at) {
            change(peer);
        }
    }

    /// The file, laid out as `spec/evidence.md` has it, signed by the exporter's own key.
    fn file(&self) -> Option<Vec<u8>> {
        let mut manifest = self.manifest.clone();
        let exporter = sha256(format!("{}/policy", manifest.exporter).as_bytes());
        let link = link_of(&manifest);
        let schema = <BundleManifest as dvm_core::Artifact>::SCHEMA;
        let cose: Bytes = sign_link(&SigningKey::from_bytes(&exporter.0), schema, &link);
        let root = encode(&BundleRoot { manifest: link, cose });
        let encoded = encode(&manifest);
        let mut order: Vec<(Link, &[u8])> =
            vec![(Link::of_artifact(&root), &root), (link, &encoded)];
        let mut seen = BTreeSet::new();
        let mut missing = false;
        each_slot(&mut manifest, &mut |link| match self.blocks.get(link) {
            Some(bytes) if seen.insert(*link) => order.push((*link, bytes)),
            Some(_) => {}
            None => missing = true,
        });
        if missing { None } else { car::write(&order).ok() }
    }
}

/// Every link of a manifest, in the order of the specification.
fn each_slot(manifest: &mut BundleManifest, visit: &mut dyn FnMut(&mut Link)) {
    visit(&mut manifest.cluster);
    for EntryRef { event, decision, key_ready } in &mut manifest.log {
        pair(event, visit);
        decision.iter_mut().chain(key_ready).for_each(&mut *visit);
    }
    manifest.certificate.iter_mut().for_each(&mut *visit);
    visit(&mut manifest.intent);
    manifest.content.iter_mut().for_each(&mut *visit);
    visit(&mut manifest.policy);
    for peer in &mut manifest.peers {
        let statements = peer.admissions.iter_mut().chain(&mut peer.approvals);
        statements.chain(&mut peer.denials).for_each(|by| pair(by, visit));
        peer.runs.iter_mut().for_each(|run| each_of_run(run, visit));
        peer.chain.iter_mut().for_each(|by| pair(by, visit));
    }
    manifest.result.iter_mut().for_each(&mut *visit);
}

fn each_of_run(run: &mut RunRef, visit: &mut dyn FnMut(&mut Link)) {
    visit(&mut run.header);
    run.opens.iter_mut().for_each(|by| pair(by, visit));
    visit(&mut run.trace);
    pair(&mut run.trace_root, visit);
    run.permits.iter_mut().for_each(&mut *visit);
    run.permit_receipt.iter_mut().for_each(|by| pair(by, visit));
    run.publications.iter_mut().for_each(|by| pair(by, visit));
    run.published.iter_mut().for_each(|by| pair(by, visit));
    run.broadcasts.iter_mut().for_each(&mut *visit);
}

fn pair(by: &mut SignedRef, visit: &mut dyn FnMut(&mut Link)) {
    visit(&mut by.body);
    visit(&mut by.signature);
}

/// Every signed statement of a manifest.
fn each_signed(manifest: &mut BundleManifest, visit: &mut dyn FnMut(&mut SignedRef)) {
    manifest.log.iter_mut().for_each(|entry| visit(&mut entry.event));
    for peer in &mut manifest.peers {
        let lists = [&mut peer.admissions, &mut peer.approvals, &mut peer.denials, &mut peer.chain];
        lists.into_iter().flatten().for_each(&mut *visit);
        for run in &mut peer.runs {
            let one =
                [Some(&mut run.trace_root), run.permit_receipt.as_mut(), run.published.as_mut()];
            let lists = run.opens.iter_mut().chain(&mut run.publications);
            one.into_iter().flatten().chain(lists).for_each(&mut *visit);
        }
    }
}

/// Cuts, doubles or turns one list of the manifest.
fn edit_lists(manifest: &mut BundleManifest, list: usize, at: usize, how: usize) {
    let peers = manifest.peers.len().max(1);
    let (list, peer) = (list % 14, at % peers);
    match list {
        0 => return edit(&mut manifest.log, at, how),
        1 => return edit(&mut manifest.peers, at, how),
        2 => return manifest.result = None,
        3 => return manifest.certificate = None,
        _ => {}
    }
    let Some(peer) = manifest.peers.get_mut(peer) else { return };
    let place = at / peers;
    match list {
        4 => edit(&mut peer.admissions, place, how),
        5 => edit(&mut peer.approvals, place, how),
        6 => edit(&mut peer.denials, place, how),
        7 => edit(&mut peer.chain, place, how),
        8 => edit(&mut peer.runs, place, how),
        list => {
            let runs = peer.runs.len().max(1);
            let Some(run) = peer.runs.get_mut(place % runs) else { return };
            match list {
                9 => edit(&mut run.opens, place / runs, how),
                10 => edit(&mut run.permits, place / runs, how),
                11 => edit(&mut run.publications, place / runs, how),
                12 => edit(&mut run.broadcasts, place / runs, how),
                _ if how.is_multiple_of(2) => run.permit_receipt = None,
                _ => run.published = None,
            }
        }
    }
}

fn edit<T: Clone>(list: &mut Vec<T>, at: usize, how: usize) {
    if list.is_empty() {
        return;
    }
    let at = at % list.len();
    match how % 3 {
        0 => drop(list.remove(at)),
        1 => list.insert(at, list[at].clone()),
        _ => list.swap(at, 0),
    }
}
