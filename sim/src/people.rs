//! The people of a seed: clients that ask, approvers that answer them, governors that decide.
//!
//! Always true: a person acts only through the API, as the daemon's callers do; a request whose node
//! dies is asked again, under the same idempotency key, once the node is back.

mod client;
mod governor;

use std::collections::BTreeMap;

use dvm_core::authority::KeyReady;
use dvm_node::engine::{ApiCall, ApiReply, Token};
use serde_json::Value;

pub(crate) use client::{Client, Wanted};
pub(crate) use governor::Governor;

use crate::dice::Dice;
use crate::judge::{Ended, Fact};
use crate::world::{Done, Event, World};

/// A request may take so long beyond the wait that it asked for.
const PATIENCE_MS: u64 = 13_000;
/// Between two looks of one person.
pub(crate) const LOOK_MS: u64 = 150;

/// A request under way.
pub(crate) struct Request {
    pub person: usize,
    pub node: usize,
    pub what: &'static str,
    pub asked_ms: u64,
}

/// Everybody.
#[derive(Default)]
pub struct People {
    pub(crate) clients: Vec<Client>,
    pub(crate) governors: Vec<Governor>,
    /// The key that signs, once there is one.
    pub(crate) key: Option<KeyReady>,
    /// Nobody is content before this.
    pub(crate) stay_ms: u64,
    requests: BTreeMap<Token, Request>,
    next: Token,
    content: bool,
}

impl People {
    /// Those that a seed draws.
    pub(crate) fn of(seed: u64, plan: &crate::plan::Plan, key: KeyReady) -> Self {
        let mut dice = Dice::new(seed, "people");
        let clients = client::draw(&mut dice, plan);
        let governors = governor::draw(&mut dice);
        let (key, stay_ms) = (Some(key), plan.quiet_ms());
        Self { clients, governors, key, stay_ms, ..Self::default() }
    }

    /// One client, and nobody else.
    pub(crate) fn only(client: Client, key: KeyReady) -> Self {
        Self { clients: vec![client], key: Some(key), ..Self::default() }
    }

    pub(crate) fn count(&self) -> usize {
        self.clients.len() + self.governors.len()
    }

    pub(crate) fn begins_ms(&self, index: usize) -> u64 {
        match self.clients.get(index) {
            Some(client) => client.begins_ms,
            None => self
                .governors
                .get(index.saturating_sub(self.clients.len()))
                .map_or(0, |g| g.begins_ms),
        }
    }

    /// Whether everybody has what they asked for, or knows why not.
    pub(crate) fn content(&self) -> bool {
        self.content
    }
}

impl World {
    /// A person looks up and does what is to be done now.
    pub(crate) fn person_turn(&mut self, index: usize) -> Done {
        let now = self.now_ms;
        let waiting = self.people.requests.values().find(|r| r.person == index);
        if let Some(request) = waiting {
            let waited_ms = now.saturating_sub(request.asked_ms);
            if waited_ms > PATIENCE_MS && self.healed && !self.plan.lasting {
                let (node, what) = (self.name(request.node), request.what.to_owned());
                self.judge.see(Fact::Unanswered { node, what, waited_ms })?;
            }
            self.after(LOOK_MS, Event::Person(index));
            return Ok(());
        }
        let clients = self.people.clients.len();
        if index < clients {
            self.client_turn(index)?;
        } else {
            self.governor_turn(index, index - clients)?;
        }
        let quiet = now >= self.people.stay_ms;
        let all = self.people.clients.iter().all(Client::is_done)
            && self.people.governors.iter().all(Governor::is_done);
        self.people.content = quiet && all && self.people.requests.is_empty();
        let ms = self.dice.between(LOOK_MS, 2 * LOOK_MS);
        self.after(ms, Event::Person(index));
        Ok(())
    }

    /// Sends a request to a node that is up; false if it is not.
    pub(crate) fn request(
        &mut self,
        person: usize,
        node: usize,
        what: &'static str,
        call: ApiCall,
    ) -> Result<bool, crate::world::Halt> {
        if !self.is_up(node) {
            return Ok(false);
        }
        self.people.next += 1;
        let token = self.people.next;
        let asked_ms = self.now_ms;
        self.people.requests.insert(token, Request { person, node, what, asked_ms });
        self.ask(node, token, call)?;
        Ok(true)
    }

    /// An answer arrives.
    pub(crate) fn person_hears(&mut self, node: usize, token: Token, reply: ApiReply) -> Done {
        let Some(request) = self.people.requests.remove(&token) else { return Ok(()) };
        let clients = self.people.clients.len();
        if request.person < clients {
            self.client_hears(request.person, node, request.what, reply)
        } else {
            self.governor_hears(request.person - clients, reply);
            Ok(())
        }
    }

    /// A node died: nobody will answer what it was asked.
    pub(crate) fn person_loses(&mut self, node: usize) {
        self.people.requests.retain(|_, request| request.node != node);
    }

    /// Everybody looks once more everywhere, when all seems well. True if that is still so.
    pub(crate) fn last_look(&mut self) -> Result<bool, crate::world::Halt> {
        for index in 0..self.people.clients.len() {
            let Some(client) = self.people.clients.get(index) else { continue };
            let Some(intent) = client.intent.clone() else { continue };
            for node in 0..self.hosts.len() {
                let call = ApiCall::Execution { id: intent.clone(), wait_ms: 0 };
                self.request(index, node, "a last look", call)?;
            }
        }
        self.people.content = false;
        self.pass(100)?;
        Ok(self.people.clients.iter().all(Client::is_done))
    }

    /// Whether a fault lasts, so that an operation may stand still as long as it says why.
    fn excused(&self) -> bool {
        self.plan.lasting || !self.people.governors.is_empty()
    }

    /// How everything stands at the end.
    pub(crate) fn last_word(&mut self) -> Done {
        for client in &self.people.clients {
            let Some(intent) = client.intent.clone() else { continue };
            let others = self.people.clients.iter().filter(|other| other.node != client.node);
            let mut same = others.filter(|other| other.intent.as_ref() == Some(&intent));
            // Where another node gathers the signers and waits for people, this one waits for that node.
            let elsewhere = same.any(Client::waits_for_people);
            let ended = Ended {
                node: crate::cast::node(client.node),
                intent,
                state: client.state().to_owned(),
                codes: if self.excused() { client.last_codes() } else { client.codes() },
                excused: self.excused() || elsewhere,
            };
            self.judge.see(Fact::Ended(ended))?;
        }
        Ok(())
    }
}

/// A field of a view as text.
pub(crate) fn field<'a>(view: &'a Value, name: &str) -> Option<&'a str> {
    view.get(name).and_then(Value::as_str)
}

impl People {
    /// There is more to come.
    pub(crate) fn forget_content(&mut self) {
        self.content = false;
    }
}
