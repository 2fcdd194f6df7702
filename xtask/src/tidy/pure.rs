//! Pure crates stay pure, and `unsafe` stays in the sandbox.
//!
//! Always true when this passes: the shipped code of the pure crates names no clock, no file,
//! no network, no thread, no process, no randomness but its arguments, and no collection whose
//! order changes from run to run. So the same input gives the same bytes on every machine,
//! which replay and offline verification rest on. Tests may use what they like.

use super::{
    Finding,
    lex::{self, Kind, Token},
    repo::Rust,
};

const PURE: [&str; 8] = [
    "dvm-core",
    "dvm-act",
    "dvm-score",
    "dvm-governance",
    "dvm-blame",
    "dvm-vm",
    "dvm-policy",
    "dvm-microcode",
];

/// What pure code does not name.
const IMPURE: [&str; 13] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "thread::",
    "SystemTime",
    "Instant::now",
    "HashMap",
    "HashSet",
    "OsRng",
    "thread_rng",
    "getrandom",
];

/// The same modules inside `use std::{…}`.
const IMPURE_STD: [&str; 5] = ["fs", "net", "env", "process", "thread"];

/// The one file that may speak to the system without the compiler's guard.
const UNSAFE_HOME: &str = "crates/dvm-kernel/src/sandbox.rs";

/// Checks all Rust files.
pub(crate) fn check(files: &[Rust]) -> Vec<Finding> {
    let patterns: Vec<(&str, Vec<Token>)> =
        IMPURE.iter().map(|pattern| (*pattern, lex::tokens(pattern))).collect();
    let mut findings = Vec::new();
    for file in files {
        let code: Vec<&Token> =
            file.tokens.iter().filter(|token| token.kind != Kind::Comment).collect();
        findings.extend(unsafe_words(file, &code));
        if is_pure(&file.path) {
            findings.extend(impure_words(file, &code, &patterns));
        }
    }
    findings
}

fn is_pure(path: &str) -> bool {
    let parts: Vec<&str> = path.splitn(4, '/').collect();
    matches!(parts.as_slice(), ["crates", krate, "src", _] if PURE.contains(krate))
}

fn unsafe_words(file: &Rust, code: &[&Token]) -> Vec<Finding> {
    let allowed = file.path == UNSAFE_HOME;
    let words = code.iter().filter(|token| !allowed && token.is("unsafe"));
    words
        .map(|token| Finding {
            place: format!("{}:{}", file.path, token.line),
            what: "`unsafe`".into(),
            remedy: "only crates/dvm-kernel/src/sandbox.rs may have it",
        })
        .collect()
}

fn impure_words(file: &Rust, code: &[&Token], patterns: &[(&str, Vec<Token>)]) -> Vec<Finding> {
    let shipped: Vec<&Token> = code.iter().copied().filter(|token| !token.in_test).collect();
    let mut findings = Vec::new();
    for (at, token) in shipped.iter().enumerate() {
        let rest = shipped.get(at..).unwrap_or_default();
        let named = patterns
            .iter()
            .filter(|(_, pattern)| starts_with(rest, pattern))
            .map(|(name, _)| *name);
        for name in named.chain(std_group(rest)) {
            findings.push(Finding {
                place: format!("{}:{}", file.path, token.line),
                what: format!("pure code names `{name}`"),
                remedy: "take the value as an argument, or an ordered collection",
            });
        }
    }
    findings
}

fn starts_with(code: &[&Token], pattern: &[Token]) -> bool {
    code.len() >= pattern.len()
        && code
            .iter()
            .zip(pattern)
            .all(|(token, wanted)| token.kind == wanted.kind && token.text == wanted.text)
}

/// The impure modules of `std::{a, b::{c}, d}`.
fn std_group<'a>(code: &[&'a Token]) -> Vec<&'a str> {
    let [std, first, second, open, ..] = code else { return Vec::new() };
    if !(std.is("std") && first.is(":") && second.is(":") && open.is("{")) {
        return Vec::new();
    }
    let end = code.iter().position(|token| token.is(";")).unwrap_or(code.len());
    let inside = code.iter().take(end);
    inside.map(|token| token.text.as_str()).filter(|word| IMPURE_STD.contains(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, source: &str) -> Vec<String> {
        check(&[Rust::new(path, source)]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn pure_code_may_not_name_a_clock_a_file_or_an_unordered_map() {
        let path = "crates/dvm-vm/src/step/join.rs";
        assert_eq!(whats(path, "let now = Instant::now();"), ["pure code names `Instant::now`"]);
        assert_eq!(whats(path, "std :: fs::read(p)"), ["pure code names `std::fs`"]);
        assert_eq!(whats(path, "use std::{fmt, net::TcpStream};"), ["pure code names `net`"]);
        assert_eq!(whats(path, "x: HashMap<A, B>"), ["pure code names `HashMap`"]);
        assert!(
            whats(path, "use std::{fmt, time::Duration}; let fs = 1; x: BTreeMap<A, B>").is_empty()
        );
    }

    #[test]
    fn the_same_words_are_free_elsewhere_and_in_tests() {
        let source = "fn f() { std::fs::read(p); SystemTime::now(); }";
        assert_eq!(whats("crates/dvm-core/src/cid.rs", source).len(), 2);
        assert!(whats("crates/dvm-node/src/store.rs", source).is_empty());
        assert!(whats("crates/dvm-core/tests/vectors.rs", source).is_empty());
        assert!(
            whats("crates/dvm-core/src/cid.rs", &format!("#[cfg(test)] mod tests {{ {source} }}"))
                .is_empty()
        );
        assert!(
            whats("crates/dvm-core/src/cid.rs", "// std::fs is not here\nlet s = \"HashMap\";")
                .is_empty()
        );
    }

    #[test]
    fn unsafe_has_one_home_and_tests_are_no_exception() {
        assert!(whats(UNSAFE_HOME, "unsafe { f() }").is_empty());
        assert_eq!(whats("crates/dvm-kernel/src/vault.rs", "unsafe { f() }"), ["`unsafe`"]);
        assert_eq!(whats("crates/dvm-kernel/tests/a.rs", "unsafe { f() }"), ["`unsafe`"]);
        assert!(
            whats("crates/dvm-kernel/src/vault.rs", "#![deny(unsafe_code)] // unsafe").is_empty()
        );
    }
}
