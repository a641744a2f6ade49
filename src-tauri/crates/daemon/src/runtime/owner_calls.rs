//! The owner's calls that need no module of their own: agents, grants, rules, journal, settings, status.

use latch_core::call::Digest;
use latch_core::grant::{AuthorizationDetail, Grant};
use latch_core::guard::{Agent, GrantError, Lifetimes, record};
use latch_core::journal::{Commit, Kind, Put, Shelf};
use latch_core::time::Span;
use latch_ipc::Secret;
use latch_ipc::contract::{
    AgentConnectParams, AgentConnected, Empty, EventKind, GrantPutParams, GrantPutResult, Hello, Id, JournalOwnParams,
    JournalTailParams, JournalVerified, RulesText, Settings, TokenIssueParams, TokenIssued, TokenRevokeParams, Unlock,
    Welcome,
};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::{AgentView, OutboxView, QuarantineView, RecordView, StatusView};
use serde_json::{Value, json};

use super::accounts::{check_id, vault};
use super::call::Origin;
use super::stop::{locked, storage};
use super::{OwnerKind, Runtime, inside, views};
use crate::store::Stored;

/// The longest name of an agent, in characters.
const MAX_NAME: usize = 80;
/// The longest access token life that may be asked for, in seconds.
const MAX_TOKEN_SECONDS: u64 = 3600;
/// The most records in one answer.
const MAX_RECORDS: u32 = 10_000;
/// The most records in one answer to an agent.
const MAX_OWN_RECORDS: u32 = 1_000;

/// What would let a name look like something else: controls, zero-width and direction marks, tag characters (ATTACKS 31).
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl Runtime {
    pub(crate) fn hello(&self, params: Hello) -> Result<Welcome, RpcError> {
        if params.protocol != latch_ipc::PROTOCOL {
            let message = format!(
                "this engine speaks protocol {}: update whichever of the two programs is older",
                latch_ipc::PROTOCOL
            );
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
        Ok(Welcome {
            protocol: latch_ipc::PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: self.home.display().to_string(),
            doors: self.doors(),
            panicked: self.opened().is_some_and(|opened| opened.guard().panicked().is_some()),
            vault_locked: self.opened().is_none(),
        })
    }

    pub(crate) fn status(&self) -> StatusView {
        let mut status = StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: self.home.display().to_string(),
            doors: self.doors(),
            vault: self.vault.kind().name().to_owned(),
            vault_locked: self.opened().is_none(),
            vault_why: self.vault.why_locked(),
            panicked: false,
            panicked_why: None,
            owner: match self.owner {
                _ if self.is_unattended() => "none",
                OwnerKind::Stdio => "tray",
                OwnerKind::Terminal => "terminal",
                OwnerKind::Nobody => "none",
            }
            .to_owned(),
            accounts: 0,
            agents: 0,
            waiting: 0,
            phone: Vec::new(),
            starts: Vec::new(),
            warnings: super::lock(&self.warnings).clone(),
        };
        let Some(opened) = self.opened() else { return status };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        status.accounts = count(opened.accounts.read().map_or(0, |accounts| accounts.len()));
        status.phone = self.phone_views(opened);
        let guard = opened.guard();
        status.panicked = guard.panicked().is_some();
        status.panicked_why = guard.panicked().map(str::to_owned);
        status.agents = count(guard.agents().count());
        status.waiting = count(guard.holds().filter(|hold| hold.state.waits()).count());
        status.starts.clone_from(&opened.starts);
        if let Some(why) = opened.store.failed() {
            status.warnings.push(format!("Nothing can be recorded, so nothing is accepted: {why}"));
        }
        status
    }

    pub(crate) async fn unlock(self: &std::sync::Arc<Self>, params: Unlock) -> Result<Empty, RpcError> {
        let runtime = std::sync::Arc::clone(self);
        let unlocked = tokio::task::spawn_blocking(move || runtime.vault.unlock(&params.passphrase)).await;
        unlocked
            .map_err(|_| RpcError::new(ErrorCode::Internal, "the vault did not answer"))?
            .map_err(|error| vault(&error))?;
        self.open().await.map_err(|error| RpcError::new(ErrorCode::Storage, error.to_string()))?;
        self.tell(EventKind::VaultOpened, None, None);
        Ok(Empty {})
    }

    pub(crate) async fn agent_connect(&self, params: AgentConnectParams) -> Result<AgentConnected, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        check_id(&params.id)?;
        check_name(&params.name)?;
        let secret = inside::random_secret()
            .ok_or_else(|| RpcError::new(ErrorCode::Internal, "the operating system gave no random numbers"))?;
        let agent = Agent {
            client_id: format!("latch-{}", params.id),
            id: params.id,
            name: params.name,
            program: params.program,
            pairing: Some(inside::hash(secret.expose())),
            since: opened.clock.now(),
        };
        let connected =
            AgentConnected { id: agent.id.clone(), client_id: agent.client_id.clone(), pairing_secret: Some(secret) };
        let commit = opened.guard().connect(agent, opened.now()).map_err(|error| grant_refusal(&error))?;
        if let Err(error) = opened.store.commit(commit).await {
            let _ = opened.guard().disconnect(&connected.id, opened.now());
            return Err(storage(&error));
        }
        Ok(connected)
    }

    pub(crate) fn agent_list(&self) -> Result<Vec<AgentView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let now = opened.now();
        let guard = opened.guard();
        Ok(guard.agents().map(|agent| views::agent(agent, &guard, now)).collect())
    }

    pub(crate) async fn agent_revoke(&self, params: Id) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let mut commit = opened.guard().disconnect(&params.id, opened.now()).map_err(|error| grant_refusal(&error))?;
        let unsent = self.outbox_close(opened, Some(&params.id), None);
        commit.records.extend(unsent.records);
        commit.deletes.extend(unsent.deletes);
        self.settle(opened);
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(Empty {})
    }

    pub(crate) async fn grant_put(&self, params: GrantPutParams) -> Result<GrantPutResult, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        if opened.account(&params.account).is_none() {
            return Err(RpcError::new(ErrorCode::NotFound, "there is no such account"));
        }
        let details = params.authorization_details.as_ref();
        let detail = AuthorizationDetail::for_grant(&params.account, &params.preset, details, params.budgets.as_ref())
            .map_err(|error| RpcError::new(ErrorCode::InvalidParams, error.to_string()))?;
        let now = opened.now();
        let expires_at = params.expires_in.map(|seconds| now.time + Span::seconds(seconds));
        let grant = Grant { id: String::new(), agent: params.agent, detail, created_at: now.time, expires_at };
        let (grant, commit) = opened.guard().grant(grant, now).map_err(|error| grant_refusal(&error))?;
        if let Err(error) = opened.store.commit(commit).await {
            let _ = opened.guard().revoke_grant(&grant.id, opened.now());
            return Err(storage(&error));
        }
        Ok(GrantPutResult { grant: views::grant(&grant, now) })
    }

    pub(crate) async fn grant_revoke(&self, params: Id) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let commit = opened
            .guard()
            .revoke_grant(&params.id, opened.now())
            .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "there is no such grant"))?;
        self.settle(opened);
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(Empty {})
    }

    pub(crate) async fn token_issue(&self, params: TokenIssueParams, origin: &Origin) -> Result<TokenIssued, RpcError> {
        if params.expires_in.is_some_and(|seconds| seconds == 0 || seconds > MAX_TOKEN_SECONDS) {
            return Err(RpcError::new(ErrorCode::InvalidParams, "expires_in is 1 to 3600 seconds"));
        }
        let agent = self.agent_asking(params.agent, params.pairing_secret.as_ref(), origin)?;
        let (access_token, expires_in) = self.issue(&agent, params.expires_in).await?;
        Ok(TokenIssued { access_token, token_type: "Bearer".to_owned(), expires_in })
    }

    /// The agent that the owner names, or that a peer is paired as.
    fn agent_asking(
        &self,
        agent: Option<String>,
        pairing_secret: Option<&Secret>,
        origin: &Origin,
    ) -> Result<String, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        match (origin, pairing_secret) {
            (Origin::Owner, _) => agent.ok_or_else(|| RpcError::new(ErrorCode::InvalidParams, "agent is missing")),
            (Origin::Control(_), Some(secret)) => {
                let hash = inside::hash(secret.expose());
                let guard = opened.guard();
                let agent = guard.paired(agent.as_deref(), hash).map_err(|error| inside::refusal(&error))?;
                Ok(agent.id.clone())
            }
            (Origin::Control(peer), None) => self.agent_of(peer, agent.as_deref()),
        }
    }

    /// The agent that a peer's process chain belongs to; of several, the one with the narrower grant. A label, not a boundary.
    fn agent_of(&self, peer: &crate::control::Peer, wanted: Option<&str>) -> Result<String, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let guard = opened.guard();
        let mut matching: Vec<(u32, String)> = guard
            .agents()
            .filter(|agent| agent.program.as_ref().is_some_and(|program| peer.runs(program)))
            .filter(|agent| wanted.is_none_or(|wanted| wanted == agent.id))
            .map(|agent| {
                let width =
                    guard.grants().filter(|grant| grant.agent == agent.id).map(|grant| grant.preset() as u32).max();
                (width.unwrap_or_default(), agent.id.clone())
            })
            .collect();
        matching.sort();
        matching.into_iter().next().map(|(_, agent)| agent).ok_or_else(|| {
            RpcError::new(
                ErrorCode::Forbidden,
                "this program is not connected as an agent: connect it, or give its pairing secret",
            )
        })
    }

    pub(crate) async fn token_revoke(&self, params: TokenRevokeParams) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let commit = opened.guard().revoke_tokens(&params.agent, opened.now());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(Empty {})
    }

    pub(crate) fn outbox_list(&self) -> Result<Vec<OutboxView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        Ok(super::outbox::list(opened))
    }

    pub(crate) async fn quarantine_list(&self) -> Result<QuarantineView, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let size = opened.store.quarantine_size().await.map_err(|error| storage(&error))?;
        let entries = self.quarantined(opened).await.map_err(|error| storage(&error))?;
        Ok(QuarantineView { items: size.items, bytes: size.bytes, limit: size.limit, entries })
    }

    pub(crate) async fn quarantine_clear(&self) -> Result<QuarantineView, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        opened.store.quarantine_clear().await.map_err(|error| storage(&error))?;
        let commit =
            Commit { records: vec![record(opened.now(), Kind::Change, "quarantine cleared")], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.quarantine_list().await
    }

    pub(crate) fn rules_get(&self) -> Result<RulesText, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let text = super::lock(&opened.rules).clone();
        Ok(RulesText { text })
    }

    pub(crate) async fn rules_put(&self, params: RulesText) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let former = super::lock(&opened.rules).clone();
        opened
            .guard()
            .pdp()
            .set_rules(&params.text)
            .map_err(|error| RpcError::new(ErrorCode::InvalidParams, error.to_string()))?;
        let commit = Commit {
            records: vec![record(opened.now(), Kind::Change, "rules changed")],
            puts: vec![Put { shelf: Shelf::Rules, id: "rules".to_owned(), value: json!({ "text": params.text }) }],
            ..Commit::default()
        };
        let stored = match opened.store.commit(commit).await {
            Ok(_) => self.vault.set_rules_digest(&Digest::of(&[params.text.as_bytes()])).map_err(|error| vault(&error)),
            Err(error) => Err(storage(&error)),
        };
        if let Err(error) = stored {
            let _ = opened.guard().pdp().set_rules(&former);
            return Err(error);
        }
        *super::lock(&opened.rules) = params.text;
        Ok(Empty {})
    }

    pub(crate) async fn journal_tail(&self, params: JournalTailParams) -> Result<Vec<RecordView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let limit = params.limit.unwrap_or(100).min(MAX_RECORDS);
        let records = opened
            .store
            .tail(params.before, limit, params.skip_reads.unwrap_or(false))
            .await
            .map_err(|error| storage(&error))?;
        Ok(records.into_iter().map(record_view).collect())
    }

    /// One agent's own records: for the owner anybody's, for a peer those of the agent that it is paired as.
    pub(crate) async fn journal_own(
        &self,
        params: JournalOwnParams,
        origin: &Origin,
    ) -> Result<Vec<RecordView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let agent = self.agent_asking(params.agent, params.pairing_secret.as_ref(), origin)?;
        let limit = params.limit.unwrap_or(100).min(MAX_OWN_RECORDS);
        let skip_reads = params.skip_reads.unwrap_or(false);
        let records = opened.store.tail_of(&agent, params.before, limit, skip_reads).await;
        Ok(records.map_err(|error| storage(&error))?.into_iter().map(record_view).collect())
    }

    pub(crate) async fn journal_verify(&self) -> Result<JournalVerified, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let verified = opened.store.verify().await.map_err(|error| storage(&error))?;
        Ok(JournalVerified {
            ok: verified.broken.is_none(),
            records: verified.records,
            broken_at: verified.broken.map(|broken| broken.at),
        })
    }

    pub(crate) async fn settings_set(&self, change: Value) -> Result<Settings, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let Value::Object(change) = change else {
            return Err(RpcError::new(ErrorCode::InvalidParams, "settings.set takes an object of settings"));
        };
        let mut value = serde_json::to_value(self.settings()).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.extend(change);
        }
        let settings: Settings = serde_json::from_value(value.clone())
            .map_err(|error| RpcError::new(ErrorCode::InvalidParams, format!("settings: {error}")))?;
        check_settings(&settings)?;
        let commit = Commit {
            records: vec![record(opened.now(), Kind::Change, "settings changed")],
            puts: vec![Put { shelf: Shelf::Setting, id: "settings".to_owned(), value }],
            ..Commit::default()
        };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.use_settings(opened, settings.clone());
        Ok(settings)
    }

    pub(super) fn use_settings(&self, opened: &super::Opened, settings: Settings) {
        opened.guard().set_lifetimes(Lifetimes {
            token: Span::seconds(u64::from(settings.token_seconds)),
            hold: Span::seconds(u64::from(settings.hold_seconds)),
            proposal: Span::hours(u64::from(settings.proposal_hours)),
        });
        opened.guard().pdp().set_outbox_delay(Span::seconds(u64::from(settings.outbox_seconds)));
        opened.store.set_quarantine_limit(u64::from(settings.quarantine_mib) * 1024 * 1024);
        *self.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
    }
}

fn record_view(Stored { seq, record }: Stored) -> RecordView {
    RecordView {
        seq,
        at: views::rfc3339(record.wall),
        kind: latch_core::journal::kind_name(record.kind).to_owned(),
        agent: record.agent,
        account: record.account,
        action: record.action,
        class: record.class.map(views::class),
        count: record.count,
        text: record.text,
        undo: record.undo,
    }
}

/// What an agent may be called.
pub(super) fn check_name(name: &str) -> Result<(), RpcError> {
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(is_hidden) {
        let message = "name has 1 to 80 characters, all of them visible and in their own order";
        return Err(RpcError::new(ErrorCode::InvalidParams, message));
    }
    Ok(())
}

fn check_settings(settings: &Settings) -> Result<(), RpcError> {
    let within = [
        ("http_wait_seconds", settings.http_wait_seconds, 0..=300),
        ("hold_seconds", settings.hold_seconds, 1..=86_400),
        ("proposal_hours", settings.proposal_hours, 0..=168),
        ("outbox_seconds", settings.outbox_seconds, 0..=3600),
        ("token_seconds", settings.token_seconds, 10..=3600),
        ("quarantine_mib", settings.quarantine_mib, 0..=102_400),
        ("object_text_days", settings.object_text_days, 1..=3650),
    ];
    for (name, value, range) in within {
        if !range.contains(&value) {
            let message = format!("{name} is {} to {}", range.start(), range.end());
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
    }
    check_keys(&settings.panic_keys)
}

/// Names of keys joined by `+`, at least one of them held down: no key that is typed in passing may stop everything.
fn check_keys(keys: &str) -> Result<(), RpcError> {
    let names: Vec<&str> = keys.split('+').collect();
    let is_name = |name: &&str| (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let held = |name: &&&str| ["Ctrl", "Alt", "Super"].contains(*name);
    if keys.is_empty() || (names.len() <= 5 && names.iter().all(is_name) && names.iter().any(|name| held(&name))) {
        return Ok(());
    }
    let message = "panic_keys is empty or like Ctrl+Alt+Shift+P, with Ctrl, Alt or Super among the keys";
    Err(RpcError::new(ErrorCode::InvalidParams, message))
}

fn grant_refusal(error: &GrantError) -> RpcError {
    let code = match error {
        GrantError::NoAgent => ErrorCode::NotFound,
        GrantError::Taken => ErrorCode::Conflict,
    };
    RpcError::new(code, error.to_string())
}
