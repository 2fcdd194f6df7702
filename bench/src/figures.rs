//! Figures: quantiles by nearest rank, a table for people, JSON for machines.

use serde_json::{Value, json};

/// What one scenario gave.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which scenario.
    pub name: String,
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

    fn serial_max(&self) -> u64 {
        self.serial_commits.iter().copied().max().unwrap_or_default()
    }

    fn serial_median(&self) -> f64 {
        let serial: Vec<f64> = self.serial_commits.iter().map(|c| *c as f64).collect();
        quantile(&serial, 0.5)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "scenario": self.name,
            "clients": self.clients,
            "signatures": self.ms.len(),
            "p50_ms": quantile(&self.ms, 0.5),
            "p99_ms": quantile(&self.ms, 0.99),
            "max_ms": quantile(&self.ms, 1.0),
            "signatures_per_second": self.per_second(),
            "serial_commits_p50": self.serial_median(),
            "serial_commits_max": self.serial_max(),
            "journal_commits_per_signature": self.journal_commits,
            "node_cpu_ms_per_signature": self.node_cpu_ms,
            "kernel_cpu_ms_per_signature": self.kernel_cpu_ms,
            "bundle_bytes": self.bundle_bytes,
        })
    }

    /// As one row under [`HEAD`].
    pub fn row(&self) -> String {
        format!(
            "{:<18}{:>6}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>8}/{:<4}{:>8.1}{:>10.1}{:>11.1}{:>9}",
            self.name,
            self.ms.len(),
            quantile(&self.ms, 0.5),
            quantile(&self.ms, 0.99),
            quantile(&self.ms, 1.0),
            self.per_second(),
            self.serial_median(),
            self.serial_max(),
            self.journal_commits,
            self.node_cpu_ms,
            self.kernel_cpu_ms,
            self.bundle_bytes,
        )
    }
}

/// The table's head. Commits and processor time are of all three nodes together, per signature.
pub const HEAD: &str = "scenario               n   p50 ms   p99 ms   max ms    sig/s  serial p50/max journal  node cpu kernel cpu   bundle";

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
