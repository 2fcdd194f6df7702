use dvm_microcode::sign::{Nonces, nonce_commit, partial_sig};
use dvm_microcode::{Binding, EcdsaShare, Secp256k1};

fn draw(key: &EcdsaShare, rng: &mut rand_core::OsRng) {
    let _nonces = nonce_commit(key, rng);
}

fn sign(key: &EcdsaShare, nonces: Nonces<Secp256k1>, binding: &Binding<Secp256k1>) {
    let _share = partial_sig(key, nonces, binding);
}

fn main() {}
