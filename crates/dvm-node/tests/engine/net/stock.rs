//! Keys whose signatures may spend material, and what is seen of the stock.

use dvm_core::run::RunKind;

use super::*;

/// A floor like [`floor`], for every class that signs what people read, and for batches.
pub fn stocked(release: u16) -> Floor {
    let acts = vec![ActClass::SignMessage, ActClass::SignEvmTransaction, ActClass::PresignBatch];
    Floor { acts, executions_per_hour: 1_000, ..floor(0, release) }
}

impl Net {
    /// With an active key `demo` of this backend and threshold, held by all.
    pub fn with(mut self, backend: Backend, threshold: u16, floor: Floor) -> Self {
        let roster = Vec::new();
        let act = Act::KeyGenerate { key_id: id("demo"), backend, threshold, roster };
        let view = self.submit("n1", "key", act, None);
        self.pass_ms(100);
        assert_eq!(self.view("n1", &view)["state"], "Published", "{view:#}");
        self.activate("demo", floor);
        self
    }

    /// Signs something of its own, by number.
    pub fn signs(&mut self, at: &str, number: u64) -> Value {
        let name = format!("s-{number}");
        self.sign(at, &name, "demo", name.as_bytes())
    }

    /// Requests at several nodes at once, just after a tick of each: each one's answer.
    pub fn signs_at_once(&mut self, at: &[(&str, u64)]) -> Vec<Value> {
        // What is asked for is made up beforehand: a payment needs the key's account, and a node to tell it.
        let mut calls = Vec::new();
        for (at, number) in at {
            let name = format!("s-{number}");
            let (act, content) = self.act("demo", name.as_bytes());
            calls.push((*at, Self::submission(&name, act, Some(content))));
        }
        let ticked: BTreeSet<&str> = at.iter().map(|(at, _)| *at).collect();
        self.queue.extend(ticked.into_iter().map(|at| (id(at), Input::Tick)));
        let mut asked: Vec<Token> = Vec::new();
        for (at, call) in calls {
            self.next += 1;
            self.queue.push_back((id(at), Input::Api { token: self.next, call }));
            asked.push(self.next);
        }
        self.settle();
        self.pass_ms(9_500);
        let answer = |token: &Token| match self.replies.remove(token) {
            Some(ApiReply::Json(view)) => view,
            other => panic!("{other:?}"),
        };
        asked.iter().map(answer).collect()
    }

    /// Has a batch made for these signers.
    pub fn prepares(&mut self, at: &str, name: &str, signers: &[&str], count: u16) -> Value {
        let signers = signers.iter().map(|node| id(node)).collect();
        let (key_id, path) = (id("demo"), Vec::new());
        let act = Act::PresignBatch { key_id, key_epoch: 1, path, signers, count };
        self.submit(at, name, act, None)
    }

    /// What a node tells whoever watches it.
    pub fn metrics(&mut self, at: &str) -> Value {
        self.json(at, ApiCall::Metrics)
    }

    /// The pieces that a node's kernel has for a set.
    pub fn depth(&mut self, at: &str, set: &str) -> Option<u64> {
        let metrics = self.metrics(at);
        let pool = metrics["pool"].as_array().unwrap();
        pool.iter().find(|line| line["set"] == set).map(|line| line["depth"].as_u64().unwrap())
    }

    /// How many signatures that were asked for here ended like this.
    pub fn counted(&mut self, at: &str, result: &str, material: &str) -> u64 {
        let metrics = self.metrics(at);
        let lines = metrics["signatures"].as_array().unwrap().iter();
        let of = |line: &&Value| line["result"] == result && line["material"] == material;
        lines.filter(of).map(|line| line["count"].as_u64().unwrap()).sum()
    }

    /// How many rows a node's journal has, and how many bytes.
    pub fn rows(&self, name: &str) -> (usize, usize) {
        let tables = &self.hosts[&id::<NodeId>(name)].tables;
        let values = || tables.values().flat_map(|table| table.values());
        (values().count(), values().map(Vec::len).sum())
    }

    pub(super) fn note_batch_level(&mut self, at: &NodeId, call: &KernelCall) {
        match call {
            KernelCall::Start { proposal, .. } => {
                let header = &proposal.header;
                let stored = self.hosts[at].tables.get(&table_index(Table::Intents));
                let known = stored.and_then(|rows| rows.get(&header.intent.to_bytes()));
                let op = known.and_then(|bytes| codec::decode::<Operation>(bytes).ok());
                let batch = op.is_some_and(|op| !op.intent.act.publishes());
                if batch && matches!(header.kind, RunKind::Act { .. }) {
                    self.batches.insert(header.execution_id());
                }
            }
            KernelCall::Step { execution_id, .. } if self.batches.contains(execution_id) => {
                let waits = |(to, input): &&(NodeId, Input)| {
                    let told = matches!(input, Input::Kernel { reply, .. } if !matches!(
                        reply, KernelReply::Status { .. } | KernelReply::Attested(_)
                    ));
                    to == at && told
                };
                self.batch_levels.push(self.queue.iter().filter(waits).count());
            }
            _ => {}
        }
    }
}
