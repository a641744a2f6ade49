//! A scripted engine: answers the owner channel from a folder and writes down what it was asked.
//!
//! `world.json` maps methods to results (`holds` with all objects instead of `hold.list`); a new version of it is followed
//! by an event. `calls.jsonl` receives every call. A file `deaf` makes it ignore `panic`; `die` ends it.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

struct Engine {
    folder: PathBuf,
    world: Mutex<Value>,
    out: Mutex<std::io::Stdout>,
}

fn main() {
    let folder = PathBuf::from(std::env::var_os("LATCHSTRING_SCRIPT").expect("the test sets LATCHSTRING_SCRIPT"));
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    std::fs::write(folder.join("environment"), names.join("\n")).expect("the test's folder is writable");
    // Looked at before it is read: a version that comes in between is news.
    let seen = modified(&folder);
    let world = Mutex::new(read(&folder));
    let engine = Arc::new(Engine { folder, world, out: Mutex::new(std::io::stdout()) });
    let watching = Arc::clone(&engine);
    std::thread::spawn(move || watching.watch(seen));
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        engine.answer(&serde_json::from_str(&line).expect("the tray writes JSON"));
    }
}

impl Engine {
    fn answer(&self, call: &Value) {
        let method = call["method"].as_str().unwrap_or_default();
        let params = &call["params"];
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(self.folder.join("calls.jsonl"));
        let log = log.as_mut().expect("the test's folder is writable");
        writeln!(log, "{}", json!({"method": method, "params": params})).expect("the test's folder is writable");
        if method == "panic" && self.folder.join("deaf").exists() {
            return;
        }
        let result = self.result(method, params);
        self.write(&json!({"jsonrpc": "2.0", "id": call["id"], "result": result}));
        match method {
            "hold.decide" => self.event("hold.closed"),
            "panic" => self.event("panic"),
            "resume" => self.event("resumed"),
            _ => {}
        }
    }

    fn result(&self, method: &str, params: &Value) -> Value {
        let mut world = self.world.lock().expect("no thread panics");
        match method {
            "hello" => json!({
                "protocol": 1, "version": "0.1.0", "home": "~/.local/share/latchstring",
                "doors": {}, "panicked": false,
            }),
            "hold.list" => Value::Array(
                holds(&world)
                    .into_iter()
                    .map(|mut hold| {
                        let first: Vec<Value> =
                            hold["objects"].as_array().into_iter().flatten().take(20).cloned().collect();
                        hold["objects"] = Value::Array(first);
                        hold
                    })
                    .collect(),
            ),
            "hold.get" => holds(&world).into_iter().find(|hold| hold["id"] == params["id"]).unwrap_or(Value::Null),
            "hold.decide" => {
                let rest = holds(&world).into_iter().filter(|hold| hold["id"] != params["id"]).collect();
                world["holds"] = Value::Array(rest);
                json!({"state": if params["verdict"] == "allow" { "allowed" } else { "denied" }})
            }
            "hold.touch" => {
                let end = world["hold.touch"]["expires_at"].clone();
                for hold in world["holds"].as_array_mut().into_iter().flatten() {
                    hold["expires_at"] = end.clone();
                }
                json!({"expires_at": end})
            }
            "ask.decide" => {
                world["ask.list"] = json!([]);
                json!({})
            }
            "panic" => {
                world["holds"] = json!([]);
                world["status"]["panicked"] = json!(true);
                world["status"]["panicked_why"] = json!("You pressed Panic.");
                json!({"epoch": 2, "cut": {"connections": 3, "tokens": 2, "holds": 1}})
            }
            "account.sign_out" => world["account.sign_out"][params["id"].as_str().unwrap_or_default()].clone(),
            "undo.run" => json!({"restored": 12, "not_restored": []}),
            "agent.connect" => json!({"id": params["id"], "client_id": "latch-k3", "pairing_secret": "pair-once"}),
            method => world.get(method).cloned().unwrap_or_else(|| json!([])),
        }
    }

    /// Follows the folder until it asks for the end.
    fn watch(&self, mut seen: Option<(SystemTime, u64)>) {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            if self.folder.join("die").exists() {
                let _ = std::fs::remove_file(self.folder.join("die"));
                eprintln!("the scripted engine was told to die");
                std::process::exit(7);
            }
            let now = modified(&self.folder);
            if now != seen {
                seen = now;
                *self.world.lock().expect("no thread panics") = read(&self.folder);
                self.event("hold.changed");
            }
        }
    }

    fn event(&self, kind: &str) {
        self.write(&json!({"jsonrpc": "2.0", "method": "event", "params": {"kind": kind}}));
    }

    fn write(&self, message: &Value) {
        let mut out = self.out.lock().expect("no thread panics");
        let _ = writeln!(out, "{message}");
        let _ = out.flush();
    }
}

fn holds(world: &Value) -> Vec<Value> {
    world["holds"].as_array().cloned().unwrap_or_default()
}

fn read(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("world.json")).expect("the test writes world.json first");
    serde_json::from_str(&text).expect("the test replaces world.json in one step")
}

/// Two versions within one tick of the clock differ in their file's number.
fn modified(folder: &Path) -> Option<(SystemTime, u64)> {
    use std::os::unix::fs::MetadataExt;
    let data = folder.join("world.json").metadata().ok()?;
    Some((data.modified().ok()?, data.ino()))
}
