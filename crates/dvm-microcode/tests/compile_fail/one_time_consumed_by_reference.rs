use dvm_microcode::OneTime;

fn spend(nonce: &OneTime<[u8; 32]>) {
    nonce.consume(|_| ());
}

fn main() {
    spend(&OneTime::new([1u8; 32]));
}
