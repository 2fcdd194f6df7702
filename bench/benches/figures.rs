//! `cargo bench -p dvm-bench`: every figure of this project in one table, and as JSON.
//!
//! Arguments after `--`: sections (`vm`, `microcode`, `dkls`, `kernel`, `path`; all of them if none is
//! named), `--requests N`, `--clients 1,8`, `--dir D` (a new directory, kept; on the disk that is to be
//! measured), `--json FILE`, `--smoke` (as little as shows that everything runs).

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dvm_bench::table::{Row, head};
use dvm_bench::timing::Effort;
use dvm_bench::{Outcome, dkls, kernel, machine, microcode, path, vm};
use serde_json::json;

const SECTIONS: [&str; 5] = ["vm", "microcode", "dkls", "kernel", "path"];

struct Options {
    sections: Vec<String>,
    effort: Effort,
    clients: Vec<usize>,
    dir: Option<PathBuf>,
    json: PathBuf,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Outcome<Self> {
        let (mut sections, mut effort, mut requests) = (Vec::new(), Effort::FULL, None);
        let (mut clients, mut dir, mut json) = (vec![1, 8], None, None);
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{name}` takes a value"));
            match name.as_str() {
                // Cargo itself says that this is a benchmark.
                "--bench" => {}
                "--smoke" => effort = Effort::SMOKE,
                "--requests" => requests = Some(value()?.parse()?),
                "--clients" => {
                    clients = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--dir" => dir = Some(from_the_top(&value()?)),
                "--json" => json = Some(from_the_top(&value()?)),
                section if SECTIONS.contains(&section) => sections.push(section.to_owned()),
                _ => {
                    return Err(
                        format!("no section or option `{name}`; see bench/README.md").into()
                    );
                }
            }
        }
        effort.requests = requests.unwrap_or(effort.requests);
        if effort.requests == 0 || clients.is_empty() || clients.contains(&0) {
            return Err("requests and clients are at least 1".into());
        }
        let json = json.map_or_else(beside_target, Ok)?;
        Ok(Self { sections, effort, clients, dir, json })
    }

    fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|wanted| wanted == section)
    }
}

/// A path as whoever calls cargo at the repository's top means it: cargo starts a benchmark in its package.
fn from_the_top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Where the figures go unless another file is named: in the directory that cargo builds in.
fn beside_target() -> Outcome<PathBuf> {
    // target/<profile>/deps/figures-<hash>
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).ok_or("this binary is not where cargo puts it")?;
    Ok(target.join("dvm-bench.json"))
}

#[expect(clippy::print_stdout, reason = "a benchmark's output is its figures")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

fn section(name: &str, options: &Options, dir: &Path) -> Outcome<Vec<Row>> {
    match name {
        "vm" => vm::rows(options.effort),
        "microcode" => microcode::rows(options.effort),
        "dkls" => dkls::rows(options.effort),
        "kernel" => {
            let place = dir.join("kernel");
            std::fs::create_dir_all(&place)?;
            kernel::rows(options.effort, &place)
        }
        _ => path::rows(options.effort, &options.clients, &dir.join("cluster")),
    }
}

fn main() -> Outcome<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let temporary = tempfile::tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    // A file that cannot be written is better known before two minutes of measuring than after.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&options.json)
        .map_err(|error| format!("{}: {error}", options.json.display()))?;
    let (started, facts, sync_ms) = (Instant::now(), machine::facts(), machine::sync_ms(&dir)?);
    say(&facts);
    say(format!("One 4 KiB fdatasync on this disk, alone: {sync_ms:.3} ms. Times are medians.\n"));
    say(head());
    let mut rows = Vec::new();
    for name in SECTIONS.into_iter().filter(|name| options.wants(name)) {
        for row in section(name, &options, &dir)? {
            say(row.line());
            rows.push(row.json());
        }
    }
    let document = json!({ "machine": facts, "fdatasync_ms": sync_ms,
        "seconds": started.elapsed().as_secs_f64(), "rows": rows });
    std::fs::write(&options.json, format!("{document:#}\n"))?;
    say(format!("\nWritten to {}", options.json.display()));
    Ok(())
}
