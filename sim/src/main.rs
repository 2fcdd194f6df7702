//! `dvm-sim`: runs seeds.
use std::process::ExitCode;
use dvm_sim::Stage;
fn main() -> ExitCode {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (from, n) = (args.first().copied().unwrap_or(0), args.get(1).copied().unwrap_or(1));
    let told = n == 1;
    let mut stage = match Stage::new() { Ok(s) => s, Err(e) => { eprintln!("{e}"); return ExitCode::from(2) } };
    let began = std::time::Instant::now();
    let mut bad = 0;
    let mut cover = dvm_sim::coverage::Coverage::default();
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    let (mut op, mut st, mut ev) = (0, 0, 0);
    for seed in from..from + n {
        match stage.run(seed, told) {
            Ok(out) => {
                for l in &out.story { println!("{l}"); }
                cover.add(&out.coverage);
                op += out.openings; st += out.stories; ev += out.events;
                for e in &out.ends { *ends.entry(e.clone()).or_default() += 1; }
                if let Some(c) = out.complaint { bad += 1; println!("seed {seed}: {}: {}", c.checker, c.what); }
            }
            Err(e) => { bad += 1; println!("seed {seed}: SIM {e}") }
        }
    }
    println!("{n} seeds in {:?}, {bad} bad, openings {op}, stories {st}, events {ev}, {ends:?}", began.elapsed());
    for k in dvm_sim::coverage::Kind::ALL { println!("{:40} planned {:6} seeds {:6} hits {:7}", k.name(), cover.planned(*k), cover.seeds(*k), cover.hits(*k)); }
    ExitCode::from(u8::from(bad > 0))
}
