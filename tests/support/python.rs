//! The unmodified google-api-python-client as an agent.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::paths;

/// A Python process with one Gmail client.
pub struct PythonAgent {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// What the library raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// The status; 0 if the library itself failed.
    pub status: u16,
    /// The whole body.
    pub content: String,
    /// What the library took out of it for its reader.
    pub reason: String,
}

impl PythonAgent {
    /// Starts it with what a person would write into its configuration.
    pub async fn start(door: &str, account: &str, client_id: &str, pairing_secret: &str) -> Self {
        let mut child = Command::new(paths::python())
            .arg(paths::support("agent.py"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let mut agent = Self {
            stdin: child.stdin.take().expect("a pipe"),
            lines: BufReader::new(child.stdout.take().expect("a pipe")).lines(),
            _child: child,
        };
        let start =
            json!({ "door": door, "account": account, "client_id": client_id, "pairing_secret": pairing_secret });
        agent.say(&start).await;
        agent
    }

    /// Calls a method of the library: `users.messages.trash`.
    pub async fn call(&mut self, call: &str, arguments: Value) -> Result<Value, HttpError> {
        self.say(&json!({ "call": call, "arguments": arguments })).await;
        let line = tokio::time::timeout(Duration::from_secs(90), self.lines.next_line());
        let line = line.await.expect("an answer within 90 s").expect("readable").expect("python is there");
        let mut answer: Value = serde_json::from_str(&line).expect("a JSON line");
        match answer["status"].as_u64() {
            None => Ok(answer["result"].take()),
            Some(status) => Err(HttpError {
                status: u16::try_from(status).expect("a status"),
                content: answer["error"].as_str().unwrap_or_default().to_owned(),
                reason: answer["reason"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    async fn say(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("python is there");
    }
}
