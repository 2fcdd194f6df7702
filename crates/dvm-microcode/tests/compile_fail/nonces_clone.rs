use dvm_microcode::Ed25519;
use dvm_microcode::sign::Nonces;

fn keep(nonces: &Nonces<Ed25519>) -> Nonces<Ed25519> {
    nonces.clone()
}

fn main() {}
