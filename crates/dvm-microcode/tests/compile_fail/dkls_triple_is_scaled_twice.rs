use dvm_blame::ecdsa::TripleUse;
use dvm_microcode::dkls23::Triple;

fn twice(triple: Triple, one: &TripleUse, other: &TripleUse) {
    let _first = triple.scaled(one);
    let _second = triple.scaled(other);
}

fn main() {}
