use dvm_microcode::sign::{Nonces, partial_sig};
use dvm_microcode::{Binding, Ed25519, KeyShare};

fn twice(key: &KeyShare<Ed25519>, nonces: Nonces<Ed25519>, a: &Binding<Ed25519>, b: &Binding<Ed25519>) {
    let _first = partial_sig(key, nonces, a);
    let _second = partial_sig(key, nonces, b);
}

fn main() {}
