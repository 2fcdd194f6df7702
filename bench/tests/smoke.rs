//! Every section that needs no shipped binary gives its rows. How large a figure is, is nobody's claim.

use dvm_bench::table::Row;
use dvm_bench::timing::Effort;
use dvm_bench::{dkls, microcode, vm};

/// Each row has a figure that something was measured for.
fn measured(rows: &[Row], count: usize) {
    assert_eq!(rows.len(), count);
    assert!(rows.iter().all(|row| row.ours.is_finite() && row.ours > 0.0), "{rows:#?}");
}

#[test]
fn the_interpreter_is_measured() {
    measured(&vm::rows(Effort::SMOKE).unwrap(), 9);
}

#[test]
fn the_microcode_is_measured_beside_the_library_in_both_suites() {
    let rows = microcode::rows(Effort::SMOKE).unwrap();
    measured(&rows, 12);
    assert_eq!(rows.iter().filter(|row| row.met().is_some()).count(), 6);
}

#[test]
fn ecdsa_signing_is_measured_beside_the_library() {
    let rows = dkls::rows(Effort::SMOKE).unwrap();
    measured(&rows, 11);
    // Bytes do not depend on the machine.
    let bytes: Vec<&Row> = rows.iter().filter(|row| row.measure.starts_with("bytes")).collect();
    assert_eq!(bytes.len(), 2);
    assert!(bytes.iter().all(|row| row.met() == Some(true)), "{bytes:#?}");
}
