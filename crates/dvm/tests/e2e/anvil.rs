//! A local Ethereum chain for one test: `anvil`, spoken to by JSON-RPC.
//!
//! Source: the binary in `DVM_ANVIL`, or the one that `cargo xtask test` installs under `target/tools`; the calls are
//! those of ethereum/execution-apis and, to give and to plant, anvil's own.
//! Always true: dropping a [`Chain`] ends its process, also when the test panics; it has a free port of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::site::until;

/// Of local test chains, so that nothing signed here is worth anything elsewhere.
pub const CHAIN_ID: &str = "0x7a69";

/// Longest wait for the chain to listen.
const START_TIME: Duration = Duration::from_secs(60);

fn binary() -> PathBuf {
    let ours = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/tools/anvil/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
    };
    let path = std::env::var_os("DVM_ANVIL").map_or_else(ours, PathBuf::from);
    let missing = "is missing: run `cargo xtask test`, which installs it, or set DVM_ANVIL";
    assert!(path.is_file(), "{} {missing}", path.display());
    path
}

/// A chain that mines each transaction by itself, soon.
pub struct Chain {
    process: Child,
    url: String,
}

impl Chain {
    pub fn start() -> Self {
        let mut process = Command::new(binary())
            .args(["--host", "127.0.0.1", "--port", "0", "--accounts", "1", "--chain-id"])
            .arg(u64::from_str_radix(&CHAIN_ID[2..], 16).unwrap().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        // The chain is there before anything can fail: its drop ends the process.
        let mut chain = Self { process, url: String::new() };
        let (tell, told) = channel();
        // It reads to the end, so that the chain never waits for a reader.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("Listening on ") {
                    let _ = tell.send(address.to_owned());
                }
            }
        });
        let address = told.recv_timeout(START_TIME).expect("the chain does not listen in time");
        chain.url = format!("http://{address}");
        chain
    }

    /// The result of a call, or the chain's error.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = ureq::post(&self.url).send_json(body).unwrap();
        let mut answer: Value = answer.body_mut().read_json().unwrap();
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        self.call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Gives an account ten ether.
    pub fn fund(&self, account: &str) {
        self.ask("anvil_setBalance", json!([account, "0x8ac7230489e80000"]));
    }

    /// Puts code at an address, and a word into its storage.
    pub fn plant(&self, address: &str, code: &str, (slot, word): (&str, &str)) {
        self.ask("anvil_setCode", json!([address, code]));
        self.ask("anvil_setStorageAt", json!([address, slot, word]));
    }

    pub fn storage(&self, address: &str, slot: &str) -> String {
        text(&self.ask("eth_getStorageAt", json!([address, slot, "latest"])))
    }

    pub fn balance(&self, account: &str) -> String {
        text(&self.ask("eth_getBalance", json!([account, "latest"])))
    }

    /// How many transactions an account has sent.
    pub fn nonce(&self, account: &str) -> String {
        text(&self.ask("eth_getTransactionCount", json!([account, "latest"])))
    }

    /// Broadcasts a raw transaction: its hash, and its receipt once it is mined.
    pub fn broadcast(&self, raw: &str) -> (String, Value) {
        let hash = text(&self.ask("eth_sendRawTransaction", json!([raw])));
        let receipt = until("the transaction is mined", || {
            Some(self.ask("eth_getTransactionReceipt", json!([hash]))).filter(|r| !r.is_null())
        });
        (hash, receipt)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
