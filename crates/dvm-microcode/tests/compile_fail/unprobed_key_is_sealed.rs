use dvm_microcode::Ed25519;
use dvm_microcode::dkg::Unconfirmed;

fn store(key: &Unconfirmed<Ed25519>) {
    let _bytes = key.seal_bytes();
}

fn main() {}
