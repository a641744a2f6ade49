//! Views that the tests share.

use latch_ipc::view::{
    AgentView, Class, GrantView, HoldState, HoldView, ObjectView, RecentView, Reversible, Summary, UndoView,
};

use crate::world::{Engine, Snapshot, World};

pub(crate) fn hold(id: &str, agent: &str, count: u32) -> HoldView {
    HoldView {
        id: id.to_owned(),
        digest: format!("digest of {id}"),
        agent: agent.to_owned(),
        agent_name: agent.to_uppercase(),
        program: Vec::new(),
        class: Class::Remove,
        account: "work".to_owned(),
        verb: "Trash".to_owned(),
        keep: "Keep them".to_owned(),
        noun: ["message".to_owned(), "messages".to_owned()],
        count,
        objects: (0..count).map(|at| ObjectView { id: format!("m{at}"), ..ObjectView::default() }).collect(),
        summary: Summary::default(),
        facts: Vec::new(),
        audience: None,
        reversible: Reversible::Yes,
        undo_text: "Undo moves them back.".to_owned(),
        agent_reason: None,
        why: "over its budget".to_owned(),
        partial: true,
        task_scope: true,
        rules: Vec::new(),
        memorable: true,
        forever: false,
        retype: false,
        state: HoldState::Open,
        opened_at: format!("2026-11-22T08:00:0{}Z", id.len()),
        expires_at: "2026-11-22T08:10:00Z".to_owned(),
        waiting: true,
        prompt: true,
        recent: RecentView::default(),
    }
}

pub(crate) fn destroy(id: &str, count: u32) -> HoldView {
    HoldView {
        class: Class::Destroy,
        verb: "Delete for ever".to_owned(),
        reversible: Reversible::No,
        retype: true,
        task_scope: false,
        ..hold(id, "claude", count)
    }
}

pub(crate) fn agent(id: &str) -> AgentView {
    AgentView {
        id: id.to_owned(),
        client_id: format!("client-{id}"),
        name: id.to_uppercase(),
        program: None,
        grants: vec![GrantView {
            id: "g1".to_owned(),
            agent: id.to_owned(),
            account: "work".to_owned(),
            preset: "organize".to_owned(),
            summary: "organizes".to_owned(),
            expires_at: Some("2026-11-22T11:00:00Z".to_owned()),
        }],
        tokens: 1,
        token_expires_at: Some("2026-11-22T08:12:00Z".to_owned()),
        stopped: false,
        paused_until: None,
        recent: RecentView::default(),
    }
}

pub(crate) fn world(holds: Vec<HoldView>) -> World {
    let undo = UndoView {
        entry: "u1".to_owned(),
        agent: "claude".to_owned(),
        account: "work".to_owned(),
        text: "Archived 20 messages".to_owned(),
        at: "2026-11-22T07:50:00Z".to_owned(),
        count: 20,
        undone: false,
        limits: None,
    };
    let status = serde_json::json!({
        "version": "1", "home": "/h", "doors": {}, "vault": "memory", "vault_locked": false, "panicked": false,
        "owner": "tray", "accounts": 1, "agents": 1, "waiting": 0,
    });
    World {
        status: serde_json::from_value(status).ok(),
        agents: vec![agent("claude")],
        holds,
        undo: vec![undo],
        ..World::default()
    }
}

pub(crate) fn snapshot(engine: Engine, world: World) -> Snapshot {
    Snapshot {
        engine,
        world,
        cut: None,
        stopping: false,
        notes: Vec::new(),
        no_tray: false,
        drill: false,
        story: Vec::new(),
        panic_key: None,
    }
}
