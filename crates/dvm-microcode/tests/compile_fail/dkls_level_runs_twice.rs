use std::collections::BTreeMap;

use dvm_microcode::SecretMessages;
use dvm_microcode::dkls23::vole::Vole;
use dvm_microcode::dkls23::{Committed, Pairs, Terms, multiply};
use rand_core::CryptoRngCore;

fn twice<V: Vole>(
    terms: &Terms,
    committed: Committed<V>,
    pairs: &Pairs<V>,
    heard: (BTreeMap<String, [u8; 32]>, &SecretMessages),
    rng: &mut dyn CryptoRngCore,
) {
    let _first = multiply(terms, committed, pairs, heard.clone(), rng);
    let _second = multiply(terms, committed, pairs, heard, rng);
}

fn main() {}
