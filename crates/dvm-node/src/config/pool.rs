//! `[pool]`: what a node keeps in stock of one-time material.

use dvm_core::limits::PATH_LEN_MAX;
use serde::{Deserialize, Serialize};

use super::{Checked, ConfigError};
use crate::engine::PoolMarks;

/// Pieces of one set that may be kept in stock at most: a kernel holds some thousand in all.
const HIGH_MAX: u32 = 1_024;
/// Paths that may be kept in stock at most: each with every set of signers that is in use.
const PATHS_MAX: usize = 16;

/// What is kept in stock; what is absent is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Below so many pieces of a set of signers more are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<u32>,
    /// Up to so many. 0: nothing is kept in stock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<u32>,
    /// The paths below a key that are kept in stock, such as `m/0/7`; `m`, the key itself, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
}

impl PoolConfig {
    pub(super) fn over_defaults(self) -> Checked<PoolMarks> {
        let base = PoolMarks::default();
        let marks = PoolMarks {
            low: self.low.unwrap_or(base.low),
            high: self.high.unwrap_or(base.high),
            paths: match self.paths {
                None => base.paths,
                Some(paths) => paths.iter().map(|path| path_of(path)).collect::<Checked<_>>()?,
            },
        };
        let bad = |field, rule| Err(ConfigError::Value { field, rule });
        if marks.high > HIGH_MAX {
            return bad("pool.high", "must be 1024 or less");
        }
        if marks.high > 0 && marks.low > marks.high {
            return bad("pool.low", "must not be above `high`");
        }
        if marks.paths.len() > PATHS_MAX {
            return bad("pool.paths", "names more than 16 paths");
        }
        Ok(marks)
    }
}

fn path_of(text: &str) -> Checked<Vec<u32>> {
    let rule = "has paths like `m` or `m/0/7`, without hardened indices";
    let fits = |path: &Vec<u32>| path.len() <= PATH_LEN_MAX;
    dvm_act::path_of(text).filter(fits).ok_or(ConfigError::Value { field: "pool.paths", rule })
}
