use dvm_microcode::Ed25519;
use dvm_microcode::sign::Nonces;

fn log(nonces: &Nonces<Ed25519>) -> String {
    format!("{nonces:?}")
}

fn main() {}
