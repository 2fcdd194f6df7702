//! What one scenario of the whole path gave, and its rows.

use crate::table::{Against, Row};

const SECTION: &str = "path";
/// What is aimed at, where something is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aims {
    /// Milliseconds at one client.
    pub p50_ms: Option<f64>,
    /// Signatures in a second, at any number of clients.
    pub per_second: Option<f64>,
    /// Longest chain of durable writes behind one.
    pub serial_commits: Option<f64>,
}

/// What one scenario gave.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which scenario.
    pub name: String,
    /// What it is held against.
    pub aims: Aims,
    /// Clients at once.
    pub clients: usize,
    /// How long the measured part took.
    pub seconds: f64,
    /// Milliseconds of each signature, as its client saw it.
    pub ms: Vec<f64>,
    /// Longest chain of durable writes behind each signature.
    pub serial_commits: Vec<u64>,
    /// Journal transactions of all nodes per signature.
    pub journal_commits: f64,
    /// Bytes over loopback per signature.
    pub wire_bytes: f64,
    /// Processor time of all nodes per signature.
    pub node_cpu_ms: f64,
    /// Processor time of all kernels per signature.
    pub kernel_cpu_ms: f64,
    /// Size of one evidence bundle.
    pub bundle_bytes: usize,
}

/// The value of nearest rank; 0 of nothing.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).or(sorted.last()).copied().unwrap_or_default()
}

impl Figures {
    fn per_second(&self) -> f64 {
        self.ms.len() as f64 / self.seconds
    }

    fn serial(&self, q: f64) -> f64 {
        let serial: Vec<f64> = self.serial_commits.iter().map(|c| *c as f64).collect();
        quantile(&serial, q)
    }

    /// As rows.
    pub fn rows(&self) -> Vec<Row> {
        let row = |what: &str, figure: (f64, &'static str), against: Against| {
            Row::new(SECTION, format!("{}: {what}", self.name), figure, against)
        };
        let at_most = |aim: Option<f64>| aim.map_or(Against::Nothing, Against::AtMost);
        let at_least = |aim: Option<f64>| aim.map_or(Against::Nothing, Against::AtLeast);
        let Aims { p50_ms, per_second, serial_commits } = self.aims;
        let p50_ms = p50_ms.filter(|_| self.clients == 1);
        vec![
            row("p50", (quantile(&self.ms, 0.5), "ms"), at_most(p50_ms)),
            row("p99", (quantile(&self.ms, 0.99), "ms"), Against::Nothing),
            row("signatures", (self.per_second(), "/s"), at_least(per_second)),
            row("serial commits, p50", (self.serial(0.5), ""), at_most(serial_commits)),
            row("serial commits, max", (self.serial(1.0), ""), at_most(serial_commits)),
            row("journal commits, 3 nodes", (self.journal_commits, "/sig"), Against::Nothing),
            row(
                "over loopback, all layers",
                (self.wire_bytes / 1024.0, "KiB/sig"),
                Against::Nothing,
            ),
            row("processor, 3 nodes", (self.node_cpu_ms, "ms/sig"), Against::Nothing),
            row("processor, 3 kernels", (self.kernel_cpu_ms, "ms/sig"), Against::Nothing),
            row("evidence bundle", (self.bundle_bytes as f64 / 1024.0, "KiB"), Against::Nothing),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 50.0);
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values, 1.0), 100.0);
        assert_eq!((quantile(&[7.0], 0.01), quantile(&[], 0.5)), (7.0, 0.0));
    }
}
