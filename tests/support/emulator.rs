//! Gmail as npm's `emulate` plays it: stateful, written by others, unmodified.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::agent::{Agent, Answer};
use crate::paths;

/// The mailbox's address.
pub const ADDRESS: &str = "me@example.com";

/// A mail to start with.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Its id, chosen by the test.
    pub id: String,
    /// Its thread.
    pub thread: String,
    /// Who it is from.
    pub from: String,
    /// Its subject.
    pub subject: String,
    /// Its labels.
    pub labels: Vec<String>,
}

impl Mail {
    /// The n-th mail of a plain mailbox: in INBOX, every third unread, every tenth starred, a thread of its own.
    #[must_use]
    pub fn nth(n: usize) -> Self {
        let senders = ["Alice <alice@example.org>", "Your bank <notice@bank.example>", "Bob <bob@example.net>"];
        let mut labels = vec!["INBOX".to_owned()];
        if n.is_multiple_of(3) {
            labels.push("UNREAD".to_owned());
        }
        if n.is_multiple_of(10) {
            labels.push("STARRED".to_owned());
        }
        Self {
            id: format!("m{n:04}"),
            thread: format!("t{n:04}"),
            from: senders.get(n % senders.len()).copied().unwrap_or_default().to_owned(),
            subject: format!("Mail number {n}"),
            labels,
        }
    }

    /// A mailbox of so many.
    #[must_use]
    pub fn box_of(count: usize) -> Vec<Self> {
        (1..=count).map(Self::nth).collect()
    }
}

/// A running emulator; ends with the test, however that ends.
pub struct Emulator {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The credential that it accepts.
    pub token: String,
    asked: Arc<Mutex<Vec<String>>>,
    _child: Child,
}

/// Every message's labels, in both cases sorted: what "put back exactly" is compared by.
pub type Labels = BTreeMap<String, Vec<String>>;

impl Emulator {
    /// Starts one with these mails, accepting `test_token_admin`.
    pub async fn start(mails: &[Mail]) -> Self {
        Self::with_token(mails, "test_token_admin").await
    }

    /// Starts one that accepts another credential.
    pub async fn with_token(mails: &[Mail], token: &str) -> Self {
        let messages: Vec<Value> = mails.iter().enumerate().map(|(index, mail)| seeded(index, mail)).collect();
        let seed = json!({
            "tokens": { token: { "login": ADDRESS, "scopes": [] } },
            "google": {
                "users": [{ "email": ADDRESS, "name": "Me" }],
                "oauth_clients": [{ "client_id": "client", "client_secret": "secret", "redirect_uris": ["http://localhost"] }],
                "labels": [{ "id": "Label_1", "name": "Receipts" }],
                "messages": messages,
            },
        });
        let mut child = Command::new("node")
            .arg(paths::support("peers/emulate.mjs"))
            .arg(paths::emulator())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts the emulator");
        let stdin = child.stdin.as_mut().expect("a pipe");
        stdin.write_all(format!("{seed}\n").as_bytes()).await.expect("the emulator takes its seed");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let port = loop {
            let line = lines.next_line().await.expect("readable").expect("the emulator says its port");
            if let Some(port) = serde_json::from_str::<Value>(&line).ok().and_then(|line| line["port"].as_u64()) {
                break port;
            }
        };
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
                if let (Some(method), Some(target)) = (line["method"].as_str(), line["target"].as_str()) {
                    log.lock().expect("not poisoned").push(format!("{method} {target}"));
                }
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), token: token.to_owned(), asked, _child: child }
    }

    /// Talks to it directly, past the guard: as the person's own other client would.
    #[must_use]
    pub fn direct(&self) -> Agent {
        Agent::new(&self.url, &self.token)
    }

    /// `METHOD /target` of every request so far. Requests that [`Self::direct`] made count too.
    pub async fn asked(&self) -> Vec<String> {
        // What was answered was logged before; give the pipe a moment.
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        self.asked.lock().expect("not poisoned").clone()
    }

    /// Requests so far that could change something.
    pub async fn changes(&self) -> Vec<String> {
        self.asked().await.into_iter().filter(|line| !line.starts_with("GET ")).collect()
    }

    /// Every message's labels, those in Trash and Spam included.
    pub async fn labels(&self) -> Labels {
        let agent = self.direct();
        let mut labels = Labels::new();
        let mut page = String::new();
        loop {
            let list = agent
                .get(&format!("/gmail/v1/users/me/messages?includeSpamTrash=true&maxResults=500&pageToken={page}"))
                .await
                .json();
            for message in list["messages"].as_array().into_iter().flatten() {
                let id = message["id"].as_str().unwrap_or_default().to_owned();
                labels.insert(id.clone(), self.labels_of(&id).await);
            }
            match list["nextPageToken"].as_str() {
                Some(next) => page = next.to_owned(),
                None => return labels,
            }
        }
    }

    /// One message's labels, sorted; empty if there is no such message.
    pub async fn labels_of(&self, id: &str) -> Vec<String> {
        let message = self.direct().get(&format!("/gmail/v1/users/me/messages/{id}?format=minimal")).await.json();
        let mut labels: Vec<String> = message["labelIds"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|label| Some(label.as_str()?.to_owned()))
            .collect();
        labels.sort();
        labels
    }

    /// How many messages are in the Trash.
    pub async fn trashed(&self) -> usize {
        self.labels().await.values().filter(|labels| labels.iter().any(|label| label == "TRASH")).count()
    }

    /// Changes labels past the guard.
    pub async fn relabel(&self, id: &str, add: &[&str], remove: &[&str]) -> Answer {
        let body = json!({ "addLabelIds": add, "removeLabelIds": remove });
        self.direct().post(&format!("/gmail/v1/users/me/messages/{id}/modify"), &body).await
    }
}

fn seeded(index: usize, mail: &Mail) -> Value {
    json!({
        "id": mail.id,
        "thread_id": mail.thread,
        "from": mail.from,
        "to": ADDRESS,
        "subject": mail.subject,
        "body_text": format!("The text of {}.", mail.id),
        "label_ids": mail.labels,
        "date": format!("2026-{:02}-{:02}T08:{:02}:00.000Z", 1 + index / 900 % 12, 1 + index / 60 % 28, index % 60),
        "message_id": format!("<{}@example.org>", mail.id),
    })
}
