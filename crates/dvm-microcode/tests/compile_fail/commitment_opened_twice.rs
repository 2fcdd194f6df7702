use std::collections::BTreeMap;

use dvm_microcode::Ed25519;
use dvm_microcode::dkg::{Committed, open};

fn twice(state: Committed<Ed25519>) {
    let _first = open(state, BTreeMap::new());
    let _second = open(state, BTreeMap::new());
}

fn main() {}
