use std::collections::HashSet;

use dvm_microcode::Secret;

fn main() {
    let mut set = HashSet::new();
    set.insert(Secret::new(vec![1u8]));
}
