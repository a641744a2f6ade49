//! Agents, grants and tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::tokens::Token;
use super::{Agent, Guard, Now, Session, record};
use crate::call::Digest;
use crate::exchange;
use crate::grant::{AuthorizationDetail, Grant, Preset};
use crate::journal::{Commit, Kind, Put, Shelf};
use crate::pdp::Pdp;
use crate::time::Span;

/// The longest life of an access token.
pub(super) const MAX_TOKEN_LIFE: Span = Span::hours(1);
/// The most live tokens of one agent; one more, and the one that ends soonest dies. Whoever held it gets a new one with the pairing secret.
pub const MAX_TOKENS_EACH: usize = 256;
/// The most live tokens of all agents; issuing one more is refused.
pub(super) const MAX_TOKENS: usize = 100_000;

/// Why there is no session, or no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Never issued here, or issued by an engine that has ended.
    #[error("this access token is not known here: get a new one")]
    Unknown,
    /// Its time is over.
    #[error("this access token has expired: get a new one")]
    Expired,
    /// Panic came in between.
    #[error("the person stopped all agents: nothing is accepted until they resume")]
    Stopped,
    /// No such agent.
    #[error("no agent with this id is connected")]
    NoAgent,
    /// The pairing secret is not this agent's.
    #[error("this pairing secret is not valid: the agent must be connected again")]
    Pairing,
    /// An exchange asked for more than its parent has.
    #[error("{0}")]
    Exchange(String),
    /// Too many tokens at once.
    #[error("too many live access tokens: wait until some have expired")]
    TooMany,
}

/// Why a grant was not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No such agent.
    #[error("no agent with this id is connected")]
    NoAgent,
    /// The id is taken.
    #[error("an agent with this id is connected already")]
    Taken,
}

/// What RFC 7662 introspection tells about a live token.
#[derive(Debug, Clone)]
pub struct Introspection {
    /// Whose it is.
    pub agent: String,
    /// Its client id.
    pub client_id: String,
    /// Remaining life.
    pub remaining: Span,
    /// What it may do.
    pub details: Vec<AuthorizationDetail>,
}

impl Guard {
    /// Connects a client program.
    pub fn connect(&mut self, agent: Agent, now: Now) -> Result<Commit, GrantError> {
        if self.agents.contains_key(&agent.id) {
            return Err(GrantError::Taken);
        }
        let mut record = record(now, Kind::Change, "agent connected");
        record.agent = Some(agent.id.clone());
        let value = serde_json::to_value(&agent).unwrap_or_default();
        let put = Put { shelf: Shelf::Agent, id: agent.id.clone(), value };
        self.agents.insert(agent.id.clone(), agent);
        Ok(Commit { records: vec![record], puts: vec![put], ..Commit::default() })
    }

    /// Ends an agent: its tokens, grants, holds and pairing secret.
    pub fn disconnect(&mut self, agent: &str, now: Now) -> Result<Commit, GrantError> {
        self.agents.remove(agent).ok_or(GrantError::NoAgent)?;
        let mut commit = self.revoke_tokens(agent, now);
        let ended: Vec<String> =
            self.grants.values().filter(|grant| grant.agent == agent).map(|grant| grant.id.clone()).collect();
        for id in ended {
            self.grants.remove(&id);
            commit.deletes.push((Shelf::Grant, id));
        }
        self.relink();
        commit.deletes.push((Shelf::Agent, agent.to_owned()));
        let holds: Vec<String> = self
            .holds()
            .filter(|hold| hold.agent == agent && hold.state.can_run())
            .map(|hold| hold.id.clone())
            .collect();
        for id in holds {
            self.close(&id, crate::hold::State::Denied, "its agent was disconnected", now, &mut commit);
        }
        self.holds.retain(|_, hold| hold.agent != agent || hold.state != crate::hold::State::Done);
        self.allowances.retain(|allowance| allowance.agent != agent);
        self.end_denials(|denial| denial.agent == agent, &mut commit);
        self.conduct.remove(agent);
        self.state.stopped.remove(agent);
        let mut record = record(now, Kind::Change, "agent disconnected");
        record.agent = Some(agent.to_owned());
        commit.records.push(record);
        Ok(commit)
    }

    /// Gives or replaces what an agent may do with an account; the grant's id is chosen here.
    pub fn grant(&mut self, mut grant: Grant, now: Now) -> Result<(Grant, Commit), GrantError> {
        if !self.agents.contains_key(&grant.agent) {
            return Err(GrantError::NoAgent);
        }
        let former = self.grants.values().find(|old| old.agent == grant.agent && old.account() == grant.account());
        match former {
            Some(former) => grant.id.clone_from(&former.id),
            None => {
                self.state.grants = self.state.grants.saturating_add(1);
                grant.id = format!("g{}", self.state.grants);
            }
        }
        let mut record = record(now, Kind::Change, format!("grant: {}", grant.preset().name()));
        record.agent = Some(grant.agent.clone());
        record.account = Some(grant.account().to_owned());
        let put =
            Put { shelf: Shelf::Grant, id: grant.id.clone(), value: serde_json::to_value(&grant).unwrap_or_default() };
        let commit = Commit { records: vec![record], puts: vec![put, self.state_put()], ..Commit::default() };
        self.grants.insert(grant.id.clone(), grant.clone());
        self.relink();
        Ok((grant, commit))
    }

    /// Takes a grant away.
    pub fn revoke_grant(&mut self, id: &str, now: Now) -> Option<Commit> {
        self.end_grant(id, "grant taken away", now)
    }

    /// Ends the grants whose time is over, durably: a clock that is turned back at the next start does not bring them back.
    pub(super) fn end_grants(&mut self, now: Now, commit: &mut Commit) {
        let over: Vec<String> =
            self.grants.values().filter(|grant| !grant.stands(now.time)).map(|grant| grant.id.clone()).collect();
        for one in over.iter().filter_map(|id| self.end_grant(id, "grant over", now)) {
            commit.records.extend(one.records);
            commit.deletes.extend(one.deletes);
        }
    }

    fn end_grant(&mut self, id: &str, why: &str, now: Now) -> Option<Commit> {
        let grant = self.grants.remove(id)?;
        self.relink();
        let mut record = record(now, Kind::Change, why);
        record.account = Some(grant.account().to_owned());
        record.agent = Some(grant.agent.clone());
        let mut commit =
            Commit { records: vec![record], deletes: vec![(Shelf::Grant, id.to_owned())], ..Commit::default() };
        let ended: Vec<String> = self
            .holds()
            .filter(|hold| hold.agent == grant.agent && hold.account == grant.account() && hold.state.can_run())
            .map(|hold| hold.id.clone())
            .collect();
        for id in ended {
            self.close(&id, crate::hold::State::Denied, "its grant was taken away", now, &mut commit);
        }
        self.allowances.retain(|allowance| allowance.agent != grant.agent || allowance.account != grant.account());
        Some(commit)
    }

    /// Takes away every grant on an account that is removed.
    pub fn forget_account(&mut self, account: &str, now: Now) -> Commit {
        let ids: Vec<String> =
            self.grants.values().filter(|grant| grant.account() == account).map(|grant| grant.id.clone()).collect();
        let mut commit = Commit::default();
        for id in ids {
            if let Some(one) = self.revoke_grant(&id, now) {
                commit.records.extend(one.records);
                commit.deletes.extend(one.deletes);
            }
        }
        let holds: Vec<String> = self
            .holds()
            .filter(|hold| hold.account == account && hold.state.can_run())
            .map(|hold| hold.id.clone())
            .collect();
        for id in holds {
            self.close(&id, crate::hold::State::Denied, "its account was removed", now, &mut commit);
        }
        self.forget_answers(account);
        self.changes.remove(account);
        self.places.remove(account);
        self.allowances.retain(|allowance| allowance.account != account);
        self.end_denials(|denial| denial.account == account, &mut commit);
        commit.deletes.extend(self.known.forget_account(account));
        commit
    }

    /// Makes a token live. The caller drew at least 256 random bits and hands in their SHA-256 only.
    pub fn issue(
        &mut self,
        agent: &str,
        hash: Digest,
        requested: Option<&[AuthorizationDetail]>,
        life: Option<Span>,
        now: Now,
    ) -> Result<(Span, Commit), TokenError> {
        if !self.agents.contains_key(agent) {
            return Err(TokenError::NoAgent);
        }
        let details = match requested {
            None => None,
            Some(requested) => {
                let granted: Vec<AuthorizationDetail> = self
                    .grants
                    .values()
                    .filter(|grant| grant.agent == agent && grant.stands(now.time))
                    .map(|grant| grant.detail.clone())
                    .collect();
                Some(Arc::new(narrowed(&granted, requested)?))
            }
        };
        self.admit(hash, agent, life, details, now)
    }

    /// The agent whose pairing secret this is.
    pub fn paired(&self, client_id: Option<&str>, secret: Digest) -> Result<&Agent, TokenError> {
        use subtle::ConstantTimeEq;
        self.agents
            .values()
            .find(|agent| {
                client_id.is_none_or(|id| id == agent.client_id || id == agent.id)
                    && agent.pairing.is_some_and(|pairing| bool::from(pairing.0.ct_eq(&secret.0)))
            })
            .ok_or(TokenError::Pairing)
    }

    /// RFC 8693: a token for a part of what the subject token may do, never living longer.
    pub fn exchange(
        &mut self,
        subject: &Digest,
        requested: Option<&[AuthorizationDetail]>,
        hash: Digest,
        life: Option<Span>,
        now: Now,
    ) -> Result<(Span, Commit), TokenError> {
        let session = self.authenticate(subject, now)?;
        let parent = self.details_of(&session, now);
        let details = match requested {
            None => parent,
            Some(requested) => narrowed(&parent, requested)?,
        };
        let rest = session.expires_at.since(now.time);
        let life = Some(life.unwrap_or(self.lifetimes.token).min(rest));
        let agent = session.agent.clone();
        self.admit(hash, &agent, life, Some(Arc::new(details)), now)
    }

    fn admit(
        &mut self,
        hash: Digest,
        agent: &str,
        life: Option<Span>,
        details: Option<Arc<Vec<AuthorizationDetail>>>,
        now: Now,
    ) -> Result<(Span, Commit), TokenError> {
        if self.state.panicked.is_some() || self.state.stopped.contains(agent) {
            return Err(TokenError::Stopped);
        }
        if self.tokens.len() >= MAX_TOKENS_EACH {
            self.tokens.expire(now.time);
        }
        self.tokens.leave_room(agent, MAX_TOKENS_EACH);
        if self.tokens.len() >= MAX_TOKENS {
            return Err(TokenError::TooMany);
        }
        let life = life.unwrap_or(self.lifetimes.token).min(MAX_TOKEN_LIFE);
        let token = Token { agent: agent.to_owned(), epoch: self.gate.current(), expires_at: now.time + life, details };
        self.tokens.insert(hash, token);
        let mut record = record(now, Kind::Token, format!("access token issued for {} s", life.0 / 1000));
        record.agent = Some(agent.to_owned());
        Ok((life, Commit { records: vec![record], ..Commit::default() }))
    }

    /// Who asks.
    pub fn authenticate(&self, hash: &Digest, now: Now) -> Result<Session, TokenError> {
        let Some(token) = self.tokens.get(hash) else {
            let stopped = self.state.panicked.is_some() || !self.state.stopped.is_empty();
            return Err(if stopped { TokenError::Stopped } else { TokenError::Unknown });
        };
        if !self.gate.admits(token.epoch) || self.state.stopped.contains(&token.agent) {
            return Err(TokenError::Stopped);
        }
        if token.expires_at <= now.time {
            return Err(TokenError::Expired);
        }
        Ok(Session {
            agent: token.agent.clone(),
            epoch: token.epoch,
            expires_at: token.expires_at,
            details: token.details.clone(),
        })
    }

    /// RFC 7662, for a token that is live.
    #[must_use]
    pub fn introspect(&self, hash: &Digest, now: Now) -> Option<Introspection> {
        let session = self.authenticate(hash, now).ok()?;
        let agent = self.agents.get(&session.agent)?;
        Some(Introspection {
            agent: agent.id.clone(),
            client_id: agent.client_id.clone(),
            remaining: session.expires_at.since(now.time),
            details: self.details_of(&session, now),
        })
    }

    /// RFC 7009: one token ends. Unknown tokens are no error.
    pub fn revoke_token(&mut self, hash: &Digest, now: Now) -> Commit {
        let Some(token) = self.tokens.remove(hash) else { return Commit::default() };
        let mut record = record(now, Kind::Token, "access token revoked");
        record.agent = Some(token.agent);
        Commit { records: vec![record], ..Commit::default() }
    }

    /// All tokens of an agent end.
    pub fn revoke_tokens(&mut self, agent: &str, now: Now) -> Commit {
        let ended = self.tokens.remove_all_of(agent);
        let mut record = record(now, Kind::Token, "access tokens revoked");
        record.agent = Some(agent.to_owned());
        record.count = u32::try_from(ended).unwrap_or(u32::MAX);
        Commit { records: vec![record], ..Commit::default() }
    }

    /// The live grant of a session on an account, and what the token was narrowed to.
    pub(super) fn effective<'a>(
        &'a self,
        session: &'a Session,
        account: &str,
        now: Now,
    ) -> Option<(&'a Grant, Option<&'a AuthorizationDetail>)> {
        let grant = self
            .grants
            .values()
            .find(|grant| grant.agent == session.agent && grant.account() == account && grant.stands(now.time))?;
        match &session.details {
            None => Some((grant, None)),
            Some(details) => Some((grant, Some(details.iter().find(|detail| detail.account() == account)?))),
        }
    }

    /// The preset under which a session may use an account; `None`: not at all.
    #[must_use]
    pub fn granted(&self, session: &Session, account: &str, now: Now) -> Option<Preset> {
        let (grant, narrowed) = self.effective(session, account, now)?;
        let narrowed = narrowed.map_or(grant.preset(), AuthorizationDetail::preset);
        Some(if narrowed.within(grant.preset()) { narrowed } else { grant.preset() })
    }

    /// Whether a session may use a mailbox of an account, by its name on the wire.
    #[must_use]
    pub fn reaches(&self, session: &Session, account: &str, mailbox: &str, now: Now) -> bool {
        self.effective(session, account, now).is_some_and(|(grant, narrowed)| {
            grant.detail.admits(mailbox) && narrowed.is_none_or(|detail| detail.admits(mailbox))
        })
    }

    /// Whether a session may use every mailbox of an account.
    #[must_use]
    pub fn reaches_all(&self, session: &Session, account: &str, now: Now) -> bool {
        self.effective(session, account, now).is_some_and(|(grant, narrowed)| {
            grant.detail.admits_all() && narrowed.is_none_or(AuthorizationDetail::admits_all)
        })
    }

    fn details_of(&self, session: &Session, now: Now) -> Vec<AuthorizationDetail> {
        self.grants
            .values()
            .filter(|grant| grant.agent == session.agent)
            .filter_map(|grant| self.effective(session, grant.account(), now))
            .map(|(grant, narrowed)| narrowed.unwrap_or(&grant.detail).clone())
            .collect()
    }

    pub(super) fn relink(&mut self) {
        link(&mut self.pdp, &self.grants);
    }

    /// A JSON summary of sizes, for the doctor; no names.
    #[must_use]
    pub fn sizes(&self) -> serde_json::Value {
        json!({ "tokens": self.tokens.len(), "holds": self.holds.len(), "allowances": self.allowances.len() })
    }
}

fn narrowed(
    parent: &[AuthorizationDetail],
    requested: &[AuthorizationDetail],
) -> Result<Vec<AuthorizationDetail>, TokenError> {
    exchange::narrow(parent, requested).map_err(|error| TokenError::Exchange(error.to_string()))
}

/// Hands the grants to the decision point. Grants that it can't take are as if they were not there: nothing is permitted by them.
pub(super) fn link(pdp: &mut Pdp, grants: &BTreeMap<String, Grant>) {
    let all: Vec<Grant> = grants.values().cloned().collect();
    if pdp.set_grants(&all).is_err() {
        let _ = pdp.set_grants(&[]);
    }
}

#[cfg(test)]
mod tests;
