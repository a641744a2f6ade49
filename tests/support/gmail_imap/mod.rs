//! Gmail's own IMAP (X-GM-EXT-1), as its documentation describes it: one message in many mailboxes, labels, and a flag that acts at once.
//!
//! No program that can be installed here plays it, and no Gmail has seen this one. What it does not know it refuses, so that a test which needs more fails.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;

const ALL: &str = "[Gmail]/All Mail";
const TRASH: &str = "[Gmail]/Trash";
const SPAM: &str = "[Gmail]/Spam";
/// Mailboxes with their attribute and their label.
const SYSTEM: [(&str, &str, &str); 7] = [
    ("INBOX", "\\HasNoChildren", "\\Inbox"),
    (ALL, "\\All", ""),
    (TRASH, "\\Trash", ""),
    (SPAM, "\\Junk", ""),
    ("[Gmail]/Sent Mail", "\\Sent", "\\Sent"),
    ("[Gmail]/Starred", "\\Flagged", "\\Starred"),
    ("[Gmail]/Drafts", "\\Drafts", "\\Draft"),
];
const CAN: &str = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE CONDSTORE ESEARCH LIST-EXTENDED SPECIAL-USE SASL-IR AUTH=PLAIN";

/// A message.
#[derive(Debug, Clone)]
pub struct GmailMessage {
    /// X-GM-MSGID.
    pub id: u64,
    /// X-GM-LABELS, all of them.
    pub labels: BTreeSet<String>,
    /// Its flags.
    pub flags: BTreeSet<String>,
    /// All Mail, Trash or Spam.
    pub place: &'static str,
    /// Its text.
    pub text: String,
    uids: BTreeMap<String, u32>,
}

impl GmailMessage {
    fn is_in(&self, mailbox: &str) -> bool {
        match mailbox {
            ALL | TRASH | SPAM => self.place == mailbox,
            _ => self.place == ALL && self.labels.contains(&label(mailbox)),
        }
    }

    fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase())));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }
}

/// The label of a mailbox.
fn label(mailbox: &str) -> String {
    let system = SYSTEM.iter().find(|(name, ..)| *name == mailbox);
    system.map_or(mailbox, |(_, _, label)| label).to_owned()
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<GmailMessage>,
    own: Vec<String>,
    next: BTreeMap<String, u32>,
    last: u64,
    heard: Vec<String>,
    deletes: bool,
}

impl State {
    fn mailboxes(&self) -> Vec<(String, String)> {
        let system = SYSTEM.iter().map(|(name, attribute, _)| ((*name).to_owned(), (*attribute).to_owned()));
        system.chain(self.own.iter().map(|name| (name.clone(), "\\HasNoChildren".to_owned()))).collect()
    }

    /// A message that comes into a mailbox gets a UID there, and a new one when it comes again.
    fn number(&mut self) {
        let names: Vec<String> = self.mailboxes().into_iter().map(|(name, _)| name).collect();
        for message in &mut self.messages {
            for name in &names {
                if !message.is_in(name) {
                    message.uids.remove(name);
                } else if !message.uids.contains_key(name) {
                    let next = self.next.entry(name.clone()).or_insert(1);
                    message.uids.insert(name.clone(), *next);
                    *next += 1;
                }
            }
        }
    }

    /// Stores a message, or puts one that is the same into this mailbox, too.
    fn add(&mut self, mailbox: &str, flags: BTreeSet<String>, text: String) -> (u64, u32) {
        let known = self.messages.iter().find(|one| one.text == text && one.place == ALL).map(|one| one.id);
        if let Some(id) = known.filter(|_| !matches!(mailbox, ALL | TRASH | SPAM)) {
            self.at(id).labels.insert(label(mailbox));
            self.number();
            return (id, self.at(id).uids.get(mailbox).copied().unwrap_or_default());
        }
        self.last += 1;
        let id = 1_800_000_000_000_000_000 + self.last;
        let mut labels = BTreeSet::new();
        let place =
            SYSTEM.iter().map(|(name, ..)| *name).find(|name| *name == mailbox && matches!(*name, TRASH | SPAM));
        if place.is_none() && mailbox != ALL {
            labels.insert(label(mailbox));
        }
        self.messages.push(GmailMessage {
            id,
            labels,
            flags,
            place: place.unwrap_or(ALL),
            text,
            uids: BTreeMap::new(),
        });
        self.number();
        (id, self.messages.last().and_then(|message| message.uids.get(mailbox)).copied().unwrap_or_default())
    }

    fn listed(&self, mailbox: &str) -> Vec<(u32, u64)> {
        let mut all: Vec<(u32, u64)> =
            self.messages.iter().filter_map(|one| Some((*one.uids.get(mailbox)?, one.id))).collect();
        all.sort_unstable();
        all
    }

    fn at(&mut self, id: u64) -> &mut GmailMessage {
        self.messages.iter_mut().find(|one| one.id == id).expect("it is there")
    }
}

/// A running server; ends with the test.
#[derive(Clone)]
pub struct GmailImap {
    /// Where it listens.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl GmailImap {
    /// With a label of the person's own, `Work`.
    pub async fn start() -> Self {
        Self::with(State { own: vec!["Work".to_owned()], ..State::default() }).await
    }

    /// The same as the person can set it: what is marked as deleted in its last mailbox is deleted for ever at once.
    pub async fn start_deleting() -> Self {
        Self::with(State { own: vec!["Work".to_owned()], deletes: true, ..State::default() }).await
    }

    async fn with(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(state));
        let server = Self { port, state };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { session::serve(server, socket).await });
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// A mail in the inbox with these labels besides; its X-GM-MSGID.
    pub fn deliver(&self, to: &str, subject: &str, labels: &[&str]) -> u64 {
        let text = format!("From: Alice <alice@example.org>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello\r\n");
        let (id, _) = self.state().add("INBOX", BTreeSet::new(), text);
        self.state().at(id).labels.extend(labels.iter().map(|one| (*one).to_owned()));
        self.state().number();
        id
    }

    /// A message by its X-GM-MSGID.
    #[must_use]
    pub fn message(&self, id: u64) -> Option<GmailMessage> {
        self.state().messages.iter().find(|one| one.id == id).cloned()
    }

    /// Every message.
    #[must_use]
    pub fn messages(&self) -> Vec<GmailMessage> {
        self.state().messages.clone()
    }

    /// What the person does on the phone.
    pub fn change(&self, id: u64, how: impl FnOnce(&mut GmailMessage)) {
        let mut state = self.state();
        how(state.at(id));
        state.number();
    }

    /// A message's UID in a mailbox.
    #[must_use]
    pub fn uid(&self, id: u64, mailbox: &str) -> Option<u32> {
        self.message(id)?.uids.get(mailbox).copied()
    }

    /// Every command, without its tag.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.state().heard.clone()
    }
}
