use dvm_microcode::Ed25519;
use dvm_microcode::sign::Nonces;

fn peek(nonces: Nonces<Ed25519>) {
    let _inner = nonces.0;
}

fn main() {}
