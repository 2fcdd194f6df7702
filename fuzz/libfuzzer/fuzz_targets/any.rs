//! libFuzzer on the target that `DVM_FUZZ_TARGET` names: one binary for all of them.

#![no_main]

use std::sync::LazyLock;

use dvm_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("DVM_FUZZ_TARGET").expect("DVM_FUZZ_TARGET names the target");
    target(&name).expect("a name of the table; see `cargo run -p dvm-fuzz -- list`")
});

fuzz_target!(|data: &[u8]| {
    if data.len() <= TARGET.bytes_max {
        (TARGET.run)(data);
    }
});
