use dvm_microcode::{Binding, Secp256k1, SecretMessages, sign};

fn aggregate(binding: &Binding<Secp256k1>, shares: &SecretMessages) {
    let _signature = sign::aggregate(binding, shares);
    let _signature = binding.aggregate(&Default::default());
}

fn main() {}
