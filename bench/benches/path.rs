//! `cargo bench -p dvm-bench`: the whole path of a governed signature, on real processes.
//!
//! Arguments after `--`: `--requests N`, `--clients 1,8`, `--dir D` (a new directory, kept; on the
//! disk that is to be measured), `--json FILE`.

use std::path::PathBuf;

use dvm_bench::cluster::Cluster;
use dvm_bench::figures::{Figures, HEAD};
use dvm_bench::load::{Scenario, run};
use dvm_bench::{Outcome, keys, machine};
use serde_json::json;

/// Signatures before the measured ones: connections up, caches warm.
const WARM_UP: usize = 20;

struct Options {
    requests: usize,
    clients: Vec<usize>,
    dir: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self { requests: 200, clients: vec![1, 8], dir: None, json: None };
        while let Some(name) = args.next() {
            // Cargo itself says that this is a benchmark.
            if name == "--bench" {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("`{name}` takes a value"))?;
            match name.as_str() {
                "--requests" => options.requests = value.parse()?,
                "--clients" => {
                    options.clients = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--dir" => options.dir = Some(value.into()),
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("there is no option `{name}`").into()),
            }
        }
        if options.requests == 0 || options.clients.is_empty() || options.clients.contains(&0) {
            return Err("requests and clients are at least 1".into());
        }
        Ok(options)
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark's output is its figures")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

fn scenarios(options: &Options) -> Vec<Scenario> {
    let kinds = [("auto", false), ("approved", true)];
    let each = |(kind, approvals): (&str, bool)| {
        let scenario = move |clients: &usize| Scenario {
            name: format!("{kind}-{clients}"),
            key: kind.to_owned(),
            clients: *clients,
            requests: options.requests,
            warm_up: WARM_UP,
            approvals,
        };
        options.clients.iter().map(scenario).collect::<Vec<_>>()
    };
    kinds.into_iter().flat_map(each).collect()
}

fn main() -> Outcome<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let temporary = tempfile::tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| temporary.path().join("cluster"));
    let cluster = Cluster::start(&dir)?;
    keys::make(&cluster, "auto", false)?;
    keys::make(&cluster, "approved", true)?;
    let (sync_ms, cores) = (machine::sync_ms(&dir)?, std::thread::available_parallelism()?);
    say(format!(
        "Governed signatures: frost-ed25519, 2 of 3 nodes, all durable writes on, {cores} cores."
    ));
    say(format!("One 4 KiB fdatasync on this disk, alone: {sync_ms:.2} ms.\n"));
    say(HEAD);
    let mut all: Vec<Figures> = Vec::new();
    for scenario in scenarios(&options) {
        let figures = run(&cluster, &scenario)?;
        say(figures.row());
        all.push(figures);
    }
    if let Some(path) = &options.json {
        let scenarios: Vec<_> = all.iter().map(Figures::json).collect();
        let document = json!({ "cores": cores.get(), "fdatasync_ms": sync_ms,
            "scenarios": scenarios });
        std::fs::write(path, serde_json::to_string_pretty(&document)? + "\n")?;
    }
    Ok(())
}
