//! What the machine is and does: its processor, the daemons' share of it, the price of one durable
//! write, and what goes over loopback.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::Outcome;

/// `/proc` counts in hundredths of a second on every Linux that we run on (USER_HZ).
const MS_PER_TICK: f64 = 10.0;
/// Writes timed for one figure of the disk.
const SYNCS: usize = 101;

/// Processor milliseconds that these processes have used; one that is gone counts nothing.
pub fn cpu_ms(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| ticks(*pid)).sum::<u64>() as f64 * MS_PER_TICK
}

/// User and system time, fields 14 and 15; counted after the name, which may hold spaces.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Milliseconds of one fdatasync after 4 KiB into a file that has its size already, as a database
/// log does it: the median, on the disk of this directory.
///
/// # Errors
/// A fault of the disk.
pub fn sync_ms(dir: &Path) -> Outcome<f64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let page = [0x5a_u8; 4096];
    for _ in 0..SYNCS {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    let mut times = Vec::with_capacity(SYNCS);
    for at in 0..SYNCS {
        let started = Instant::now();
        file.write_all_at(&page, at as u64 * 4096)?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(crate::figures::quantile(&times, 0.5))
}

/// Bytes that loopback has carried, with every layer's overhead, of whichever process.
///
/// # Errors
/// A system that does not tell.
pub fn loopback_bytes() -> Outcome<u64> {
    let table = std::fs::read_to_string("/proc/net/dev")?;
    received(&table).ok_or_else(|| "no loopback device".into())
}

fn received(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One line on this machine: processor, cores, system, load of the last minute.
pub fn facts() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (system, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!("{model}, {cores} cores, Linux {}, load {load} at the start", system.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_among_the_devices() {
        let table = "Inter-|   Receive\n face |bytes\n  eth0: 7 1\n    lo: 4096 12 0\n";
        assert_eq!(received(table), Some(4096));
        assert_eq!(received("eth0: 7 1"), None);
    }

    #[test]
    fn this_process_has_a_processor_time_and_a_missing_one_has_none() {
        assert!(ticks(std::process::id()).is_some());
        assert_eq!(ticks(u32::MAX), None);
    }
}
