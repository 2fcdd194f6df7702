use dvm_microcode::Ed25519;
use dvm_microcode::dkg::Agreed;
use dvm_microcode::sign::{Nonces, partial_sig};

fn sign(key: &Agreed<Ed25519>, nonces: Nonces<Ed25519>, binding: &dvm_microcode::Binding<Ed25519>) {
    let _share = partial_sig(key, nonces, binding);
}

fn main() {}
