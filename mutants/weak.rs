//! Which mutants are on in this process. This module exists in the weakened tree only; see `cargo xtask weaken`.
//!
//! `DVM_WEAK` names them, separated by commas. `name` is on from the first time it is asked for, `name@3` from the
//! third; a crash point dies at exactly that hit. Counted per process. `DVM_WEAK_SEEN` names a file that gets a line
//! for each mutant that this process asked about.
//! Always true: without the variable everything behaves like the sources that this tree was made from.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

/// One named weakness and how often its place was passed.
struct Weakness {
    name: String,
    from: u64,
    hits: AtomicU64,
}

impl Weakness {
    fn hit(&self) -> u64 {
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

static CHOSEN: OnceLock<Vec<Weakness>> = OnceLock::new();

fn chosen() -> &'static [Weakness] {
    CHOSEN.get_or_init(|| parse(&std::env::var("DVM_WEAK").unwrap_or_default()))
}

fn parse(text: &str) -> Vec<Weakness> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let one = |word: &str| {
        let (name, from) = word.split_once('@').unwrap_or((word, "1"));
        let Ok(from) = from.parse() else {
            // A number that cannot be read must not look like a mutant that nothing catches.
            eprintln!("DVM_WEAK: `{word}` is not `name` or `name@number`");
            std::process::exit(2);
        };
        Weakness { name: name.to_owned(), from, hits: AtomicU64::new(0) }
    };
    words.map(one).collect()
}

/// Whether the weakened text of this mutant runs now.
pub fn on(name: &str) -> bool {
    see(name);
    chosen().iter().any(|weakness| weakness.name == name && weakness.hit() >= weakness.from)
}

/// What was asked about so far, and where that is written.
struct Seen {
    names: BTreeSet<String>,
    file: File,
}

static SEEN: OnceLock<Option<Mutex<Seen>>> = OnceLock::new();

fn see(name: &str) {
    let seen = SEEN.get_or_init(|| {
        let path = std::env::var_os("DVM_WEAK_SEEN")?;
        let Ok(file) = File::options().create(true).append(true).open(&path) else {
            // A list that cannot be kept must not look like one that is empty.
            eprintln!("DVM_WEAK_SEEN: {} cannot be written", path.display());
            std::process::exit(2);
        };
        Some(Mutex::new(Seen { names: BTreeSet::new(), file }))
    });
    let Some(Ok(mut seen)) = seen.as_ref().map(Mutex::lock) else { return };
    if !seen.names.contains(name) {
        seen.names.insert(name.to_owned());
        if writeln!(seen.file, "{name}").is_err() {
            std::process::exit(2);
        }
    }
}

/// Kills this process here, if it is the chosen hit of the chosen crash point. Nothing is flushed, nothing unwinds.
pub fn crash(name: &str) {
    if chosen().iter().any(|weakness| weakness.name == name && weakness.hit() == weakness.from) {
        std::process::abort();
    }
}
