//! What the scripted engine is to say, and what it heard.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use latch_ipc::view::{
    AgentView, AudienceMember, AudienceView, Class, ClassCount, Fact, GrantView, HoldState, HoldView, ObjectView,
    RecentView, Reversible, SenderCount, StatusView, Summary, UndoView,
};
use serde_json::{Value, json};

/// The folder that the scripted engine reads and writes.
pub struct Script {
    folder: PathBuf,
    world: Value,
}

impl Script {
    /// A calm engine with one agent.
    pub fn new(folder: PathBuf) -> Self {
        let world = json!({
            "status": status(), "account.list": [{"id": "work", "provider": "gmail",
            "origin": "https://gmail.googleapis.com:443", "credential": "oauth2",
            "sign_out_page": "https://myaccount.google.com/connections"}],
            "agent.list": [agent("claude", "Claude")], "undo.list": [undo()], "ask.list": [], "outbox.list": [],
            "settings.get": latch_ipc::contract::Settings::default(),
            "quarantine.list": {"items": 3, "bytes": 40960, "limit": 536_870_912, "entries": []},
            "rules.get": {"text": ""}, "holds": [],
            "hold.touch": {"expires_at": "2099-01-01T00:10:00Z"},
            "journal.tail": [{"seq": 7, "at": "2026-11-22T09:14:00Z", "kind": "outcome", "agent": "claude",
                "account": "work", "count": 12, "text": "Trashed 12 messages"}],
        });
        let script = Self { folder, world };
        script.save();
        script
    }

    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    pub fn set(&mut self, method: &str, result: Value) {
        self.world[method] = result;
        self.save();
    }

    pub fn hold(&mut self, holds: &[HoldView]) {
        self.set("holds", serde_json::to_value(holds).unwrap());
    }

    pub fn touch(&self, name: &str) {
        std::fs::write(self.folder.join(name), "").unwrap();
    }

    pub fn calls(&self, method: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join("calls.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|call| call["method"] == method)
            .map(|mut call| call["params"].take())
            .collect()
    }

    /// The first `count` calls of a method, once they are there.
    pub async fn heard(&self, method: &str, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let calls = self.calls(method);
            if calls.len() >= count {
                return calls;
            }
            assert!(started.elapsed() < Duration::from_secs(40), "{method} was called {} times", calls.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn save(&self) {
        let fresh = self.folder.join("world.new");
        std::fs::write(&fresh, serde_json::to_vec(&self.world).unwrap()).unwrap();
        std::fs::rename(fresh, self.folder.join("world.json")).unwrap();
    }
}

fn status() -> StatusView {
    serde_json::from_value(json!({
        "version": "0.1.0", "home": "~/.local/share/latchstring",
        "doors": {"http": "http://127.0.0.1:7070"}, "vault": "keyring", "vault_locked": false, "panicked": false,
        "owner": "tray", "accounts": 1, "agents": 1, "waiting": 0,
    }))
    .unwrap()
}

pub fn agent(id: &str, name: &str) -> AgentView {
    let recent = RecentView { last_hour: vec![ClassCount { class: Class::Modify, count: 31 }], denied: 1 };
    AgentView {
        id: id.to_owned(),
        client_id: format!("latch-{id}"),
        name: name.to_owned(),
        program: Some("/usr/bin/claude".to_owned()),
        grants: vec![GrantView {
            id: "g1".to_owned(),
            agent: id.to_owned(),
            account: "work".to_owned(),
            preset: "organize".to_owned(),
            summary: "organizes work; asks before it removes more than 5 messages in 10 minutes".to_owned(),
            expires_at: None,
        }],
        tokens: 1,
        token_expires_at: Some("2099-01-01T00:00:00Z".to_owned()),
        stopped: false,
        paused_until: None,
        recent,
    }
}

fn undo() -> UndoView {
    UndoView {
        entry: "u1".to_owned(),
        agent: "claude".to_owned(),
        account: "work".to_owned(),
        text: "Archived 20 messages".to_owned(),
        at: "2026-11-22T09:10:00Z".to_owned(),
        count: 20,
        undone: false,
        limits: None,
    }
}

/// A bulk trash of `count` messages by Claude.
pub fn trash(id: &str, count: u32) -> HoldView {
    let senders = ["Alice Moreau <alice@example.org>", "Your bank <news@bank.example>", "Shop <orders@shop.example>"];
    let objects: Vec<ObjectView> = (0..count)
        .map(|at| ObjectView {
            id: format!("m{at}"),
            title: format!("Re: the minutes of meeting {at}, and what follows from them for all of us next year"),
            from: Some(senders[at as usize % 3].to_owned()),
            date: Some(format!("2026-{:02}-{:02}T08:00:00Z", at % 12 + 1, at % 28 + 1)),
            flags: if at % 9 == 4 { vec!["starred".to_owned()] } else { Vec::new() },
            pending: false,
        })
        .collect();
    HoldView {
        id: id.to_owned(),
        digest: format!("{id:0>64}"),
        agent: "claude".to_owned(),
        agent_name: "Claude".to_owned(),
        program: vec!["/usr/bin/claude".to_owned(), "/usr/bin/bash".to_owned(), "/usr/bin/gnome-terminal".to_owned()],
        class: Class::Remove,
        account: "work".to_owned(),
        verb: "Trash".to_owned(),
        keep: "Keep them".to_owned(),
        noun: ["message".to_owned(), "messages".to_owned()],
        count,
        summary: Summary {
            senders: senders
                .iter()
                .map(|sender| SenderCount { sender: (*sender).to_owned(), count: count.div_ceil(3) })
                .collect(),
            oldest: Some("2026-01-01T08:00:00Z".to_owned()),
            newest: Some("2026-11-20T08:00:00Z".to_owned()),
            starred: count / 9,
            unread: count / 4,
            important: 0,
        },
        objects,
        facts: Vec::new(),
        audience: None,
        reversible: Reversible::Yes,
        undo_text: "Undo moves them back out of the Trash.".to_owned(),
        agent_reason: Some("Cleaning up old mail, as you asked me to.".to_owned()),
        why: "over its budget of 5 in 10 minutes".to_owned(),
        partial: true,
        task_scope: true,
        rules: Vec::new(),
        memorable: true,
        forever: false,
        retype: false,
        state: HoldState::Open,
        opened_at: "2026-11-22T09:14:00Z".to_owned(),
        expires_at: "2099-01-01T00:00:00Z".to_owned(),
        waiting: true,
        prompt: true,
        recent: RecentView {
            last_hour: vec![
                ClassCount { class: Class::Modify, count: 31 },
                ClassCount { class: Class::Remove, count: 5 },
            ],
            denied: 2,
        },
    }
}

/// A deletion for ever, which wants its count retyped.
pub fn destroy(id: &str, count: u32) -> HoldView {
    HoldView {
        class: Class::Destroy,
        verb: "Delete for ever".to_owned(),
        reversible: Reversible::No,
        undo_text: "This can't be undone.".to_owned(),
        task_scope: false,
        retype: true,
        ..trash(id, count)
    }
}

/// A mail to somebody new, full of characters that hide or reorder.
pub fn send(id: &str) -> HoldView {
    let member = |address: &str, role: &str, first_time| AudienceMember {
        address: address.to_owned(),
        role: role.to_owned(),
        first_time,
    };
    HoldView {
        class: Class::Send,
        verb: "Send".to_owned(),
        keep: "Don't send".to_owned(),
        count: 1,
        objects: Vec::new(),
        summary: Summary::default(),
        audience: Some(AudienceView {
            members: vec![member("billing@p\u{430}ypal.com", "to", true), member("alice@example.org", "cc", false)],
            place: None,
        }),
        facts: vec![
            Fact { label: "Subject".to_owned(), value: "Invoice \u{202e}fdp.exe \u{200b}attached".to_owned() },
            Fact {
                label: "Text".to_owned(),
                value: "Dear all,\n\n<b>please</b> pay the attached invoice today.\n\nAda".to_owned(),
            },
        ],
        reversible: Reversible::UntilSent,
        undo_text: "It can be taken back for 60 seconds.".to_owned(),
        why: "billing@p\u{430}ypal.com never had mail from you".to_owned(),
        partial: false,
        task_scope: false,
        ..trash(id, 1)
    }
}
