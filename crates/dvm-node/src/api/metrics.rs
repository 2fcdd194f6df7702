//! `/metrics`: what a monitoring system reads, in Prometheus's text format 0.0.4.
//!
//! Always true: what is in stock is the kernel's own word, asked for by this very request; if the kernel does not
//! answer, nothing is said of it but that.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use dvm_core::reason::ReasonCode;
use serde::Deserialize;

use super::Api;
use super::error::ApiError;
use crate::engine::ApiCall;
use crate::views::ErrorView;

/// The media type that goes with the format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the engine tells.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    kernel_answers: bool,
    pool: Vec<Depth>,
    bans: u64,
    signatures: Vec<Signatures>,
    runs: Vec<Runs>,
    operations: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Depth {
    key: String,
    set: String,
    path: String,
    depth: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    result: String,
    material: String,
    count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Runs {
    kind: String,
    end: String,
    count: u64,
}

/// Builds the text: each metric's head before its samples.
#[derive(Default)]
struct Page(String);

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let pairs: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels =
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        self.0.push_str(&format!("{name}{labels} {value}\n"));
    }
}

fn page(facts: &Facts, journal_commits: u64) -> String {
    let mut page = Page::default();
    page.head("dvm_kernel_up", "gauge", "Whether this node's kernel answered just now.");
    page.sample("dvm_kernel_up", &[], facts.kernel_answers.into());
    let name = "dvm_pool_depth";
    page.head(name, "gauge", "Pieces of one-time material in this node's kernel, as it says.");
    for Depth { key, set, path, depth } in &facts.pool {
        page.sample(name, &[("key", key), ("set", set), ("path", path)], *depth);
    }
    let name = "dvm_bans_total";
    page.head(name, "counter", "Bans that this node's kernel stated and this node has on record.");
    page.sample(name, &[], facts.bans);
    let name = "dvm_signatures_total";
    page.head(name, "counter", "Signatures asked for here since the start, by their last state.");
    for Signatures { result, material, count } in &facts.signatures {
        page.sample(name, &[("result", result), ("material", material)], *count);
    }
    let name = "dvm_runs_total";
    page.head(name, "counter", "Runs that ended here since the start: done, or a reason code.");
    for Runs { kind, end, count } in &facts.runs {
        page.sample(name, &[("kind", kind), ("end", end)], *count);
    }
    page.head("dvm_operations", "gauge", "Operations that this node has on record.");
    page.sample("dvm_operations", &[], facts.operations);
    page.head("dvm_journal_commits_total", "counter", "Transactions of this node's journal.");
    page.sample("dvm_journal_commits_total", &[], journal_commits);
    page.0
}

/// What this node counts, and what its kernel has in stock.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, content_type = "text/plain", body = String), (status = "4XX", body = ErrorView)))]
pub async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let facts: Facts = serde_json::from_value(api.json(ApiCall::Metrics).await?)
        .map_err(|_| ApiError::new(ReasonCode::Internal, "the counts are not of their form"))?;
    let text = page(&facts, api.engine.journal_commits());
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_follows_its_metrics_head_and_label_values_are_escaped() {
        let text = |value: &str| value.to_owned();
        let facts = Facts {
            kernel_answers: true,
            pool: vec![Depth { key: text("k"), set: text("n1,n2"), path: text("m/0"), depth: 7 }],
            bans: 1,
            signatures: vec![Signatures {
                result: text("Pub\"lished\\"),
                material: text("stashed\n"),
                count: 2,
            }],
            runs: vec![Runs { kind: text("batch"), end: text("done"), count: 3 }],
            operations: 4,
        };
        let page = page(&facts, 5);
        for line in [
            "dvm_kernel_up 1",
            "dvm_pool_depth{key=\"k\",set=\"n1,n2\",path=\"m/0\"} 7",
            "dvm_bans_total 1",
            "dvm_signatures_total{result=\"Pub\\\"lished\\\\\",material=\"stashed\\n\"} 2",
            "dvm_runs_total{kind=\"batch\",end=\"done\"} 3",
            "dvm_operations 4",
            "dvm_journal_commits_total 5",
        ] {
            assert!(page.lines().any(|known| known == line), "{line}\n{page}");
        }
        let mut typed = "";
        for line in page.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(head) => typed = head.split(' ').next().unwrap(),
                None if line.starts_with("# HELP ") => {}
                None => assert_eq!(line.split(['{', ' ']).next().unwrap(), typed, "{line}"),
            }
        }
        assert!(page.ends_with('\n'));
    }

    #[test]
    fn of_a_kernel_that_does_not_answer_nothing_is_told_but_that() {
        let page = page(&Facts::default(), 0);
        assert!(page.contains("dvm_kernel_up 0\n") && !page.contains("dvm_pool_depth{"));
    }
}
