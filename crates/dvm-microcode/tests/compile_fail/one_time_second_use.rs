use dvm_microcode::OneTime;

fn main() {
    let nonce = OneTime::new([1u8; 32]);
    nonce.consume(|_| ());
    nonce.consume(|_| ());
}
