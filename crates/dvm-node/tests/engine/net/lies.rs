//! What hostile nodes do in the in-process cluster, and how what came of it is seen.

use super::*;

impl Net {
    pub(super) fn told(
        &mut self,
        at: &NodeId,
        to: &NodeId,
        message: PeerMessage,
    ) -> Vec<PeerMessage> {
        if let PeerMessage::Propose(proposal) = &message {
            self.acts.insert(proposal.header.execution_id());
        }
        let act = match &message {
            PeerMessage::Frame(frame) => self.acts.contains(&frame.header.body.execution_id),
            _ => false,
        };
        match &mut self.lie {
            Some((by, lie)) if by == at => lie(to, act, message),
            _ => vec![message],
        }
    }

    /// From now on this node lies.
    pub fn lies(
        &mut self,
        by: &str,
        lie: impl FnMut(&NodeId, bool, PeerMessage) -> Vec<PeerMessage> + 'static,
    ) {
        self.lie = Some((id(by), Box::new(lie)));
    }

    /// A message that nobody's engine sent.
    pub fn inject(&mut self, from: &str, to: &str, message: PeerMessage) {
        let input = Input::Peer { from: id(from), commits: 0, message };
        self.queue.push_back((id(to), input));
        self.settle();
    }

    /// Everything that a node has on its disks, as far as calls can change it.
    pub fn disks(&self, name: &str) -> (Tables, u64) {
        let host = &self.hosts[&id::<NodeId>(name)];
        (host.tables.clone(), host.kernel.as_ref().unwrap().commits())
    }

    pub fn manifest(&self) -> &ClusterManifest {
        &self.manifest
    }

    /// A hundred requests at once: every answer.
    pub fn sign_at_once(&mut self, at: &str, name: &str, contents: &[&[u8]]) -> Vec<ApiReply> {
        let acts: Vec<(Act, Vec<u8>)> =
            contents.iter().map(|content| self.act("demo", content)).collect();
        let tokens: Vec<Token> = acts
            .into_iter()
            .map(|(act, content)| {
                self.next += 1;
                let call = Self::submission(name, act, Some(content));
                self.queue.push_back((id(at), Input::Api { token: self.next, call }));
                self.next
            })
            .collect();
        self.settle();
        self.pass_ms(10_000);
        tokens.iter().map(|token| self.replies.remove(token).unwrap()).collect()
    }

    /// How many operations a node knows.
    pub fn executions(&mut self, at: &str) -> usize {
        self.json(at, ApiCall::Executions)["executions"].as_array().unwrap().len()
    }

    /// The operations of one class that a node knows.
    pub fn executions_of(&mut self, at: &str, class: &str) -> Vec<Value> {
        let all = self.json(at, ApiCall::Executions)["executions"].as_array().unwrap().clone();
        all.into_iter().filter(|view| view["act"] == class).collect()
    }

    /// How many events the traces of an operation's runs have here.
    pub fn events(&mut self, at: &str, view: &Value) -> Vec<u64> {
        let runs = self.observed(at, view);
        runs.iter().map(|run| run["events"].as_u64().unwrap()).collect()
    }

    /// The observation of an operation's runs.
    pub fn observed(&mut self, at: &str, view: &Value) -> Vec<Value> {
        let id = view["intent"].as_str().unwrap().to_owned();
        self.json(at, ApiCall::Trace(id))["runs"].as_array().unwrap().clone()
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// What a node shows of an operation, if it knows it.
    pub fn view_or_none(&mut self, at: &str, view: &Value) -> Option<Value> {
        let id = view["intent"].as_str().unwrap().to_owned();
        match self.api(at, ApiCall::Execution { id, wait_ms: 0 }) {
            ApiReply::Json(value) => Some(value),
            _ => None,
        }
    }

    /// The bundle of an operation, as a verifier reads it.
    pub fn report(&mut self, at: &str, view: &Value) -> dvm_evidence::Report {
        let id = view["intent"].as_str().unwrap().to_owned();
        let ApiReply::Car(car) = self.api(at, ApiCall::Evidence(id)) else { panic!("no bundle") };
        dvm_evidence::verify(&car, codec::link_of(&self.manifest)).unwrap()
    }
}
