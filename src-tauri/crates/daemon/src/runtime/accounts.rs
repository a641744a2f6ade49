//! Accounts: an upstream origin with one credential, sealed together.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use latch_core::catalog::Protocol;
use latch_core::classify::smtp::is_address;
use latch_core::guard::record;
use latch_core::journal::{Commit, Kind, Put, Shelf};
use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAddParams, CredentialParams, Empty, Id, MailServerParams, MailTls, SignOutState, SignedOut,
};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::AccountView;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::{Host, Url};

use super::renewals;
use super::stop::{locked, storage};
use super::{Opened, Runtime};
use crate::seal::Key;
use crate::upstream::{AccountTarget, OriginError, UpstreamError, oauth};
use crate::vault::Credential;

/// So many connections of its own may an account's mail server have for agents: providers allow 10 to 15 at once, and the mail that stops everything
/// is watched on one of them.
pub(super) const MOST_READING: usize = 6;

/// So many mails may be on their way there besides.
const MOST_STORING: usize = 2;

/// An upstream mailbox or API.
#[derive(Debug)]
pub struct Account {
    /// Chosen by the person; stands in agents' URLs.
    pub id: String,
    /// The provider file.
    pub provider: String,
    /// Where it is and what opens it.
    pub target: AccountTarget,
    /// Which kind of credential it has.
    pub credential: &'static str,
    /// Where it is, as a URL.
    pub base_url: String,
    /// The person's addresses there, the one that they write under first: as they said it, and the user name if it is one. Empty: not known.
    pub own: Vec<String>,
    /// What its credential is sealed to.
    pub sealed_to: String,
    /// Places for agents' connections to its mail server.
    pub(super) reading: Arc<Semaphore>,
    /// Places for mails that agents are just storing: each takes as long as the agent takes to hand it in.
    pub(super) storing: Semaphore,
    /// Its mailboxes are renamed, removed and shared one at a time: none takes another's name between the look at it and its change.
    pub(super) arranging: tokio::sync::Mutex<()>,
    /// Its mail filters are changed one at a time: what is compared with what was shown stays so until the command.
    pub(super) filtering: tokio::sync::Mutex<()>,
    /// The place for reading all that is in a collection, which is much and counts little.
    pub(super) looking: Semaphore,
    whole: Arc<Credential>,
    named: Mutex<Named>,
}

/// What its mail server calls the mailboxes that a mail program must know by name, as far as that is known.
#[derive(Debug, Clone, Default)]
struct Named {
    trash: Option<String>,
    sent: Option<String>,
}

impl Account {
    /// Notes what its mail server calls the mailboxes for deleted and for sent mail.
    pub(super) fn note_mailboxes(&self, trash: Option<String>, sent: Option<String>) {
        *super::lock(&self.named) = Named { trash, sent };
    }

    /// The refresh token that stands now, if it is another one than the account was made with.
    fn renewed_token(&self) -> Option<Secret> {
        let Credential::OAuth2 { refresh_token, .. } = &*self.whole else { return None };
        self.target.refresh_token().filter(|now| now != refresh_token)
    }

    /// The same with the refresh token that stands now.
    fn renewed(self, stored: &Stored) -> Result<Self, RpcError> {
        let kind = self.credential;
        let credential = self.renewed_token().and_then(|now| self.rotated(now));
        credential.map_or(Ok(self), |credential| account(stored, credential, kind))
    }

    /// Its credential with the refresh token that the provider handed out instead of the old one.
    pub(super) fn rotated(&self, refresh_token: Secret) -> Option<Credential> {
        match &*self.whole {
            Credential::OAuth2 { client_id, client_secret, token_endpoint, .. } => Some(Credential::OAuth2 {
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                refresh_token,
                token_endpoint: token_endpoint.clone(),
            }),
            Credential::Bearer { .. } | Credential::Password { .. } => None,
        }
    }
}

/// An account as stored, without its credential.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    id: String,
    provider: String,
    /// Absent where nobody said it, and in what older versions stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    base_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    submission: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filters: Option<String>,
    token_endpoint: Option<String>,
    credential: String,
}

impl Stored {
    /// What the credential is sealed to: nothing of it can be edited without making the credential unreadable.
    fn origin(&self) -> String {
        let others = self.submission.iter().chain(&self.filters).map(|url| format!(" {url}")).collect::<String>();
        format!("{} {}{others}", self.base_url, self.token_endpoint.as_deref().unwrap_or_default())
    }
}

impl Runtime {
    /// Adds an account: checked, sealed, durable, then usable.
    pub(crate) async fn account_add(&self, params: AccountAddParams) -> Result<Id, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        check_id(&params.id)?;
        let _turn = opened.turns.take(&turn(&params.id)).await;
        if opened.account(&params.id).is_some() {
            return Err(RpcError::new(
                ErrorCode::Conflict,
                "an account with this id exists: an origin is never edited, remove it first",
            ));
        }
        let provider = self
            .catalog
            .provider(&params.provider)
            .ok_or_else(|| RpcError::new(ErrorCode::InvalidParams, "no provider file has this id"))?;
        let address = params.address.as_deref().map(checked_address).transpose()?;
        let (typed, kind) = credential(params.credential);
        let name = renewals::name(&typed);
        // Tried twice at once, whatever the account is called, the same sign-in would end its own refresh tokens.
        let _sign_in = match &name {
            Some(name) => Some(opened.turns.take(&format!("sign-in {name}")).await),
            None => None,
        };
        let credential = super::lock(&opened.renewals).newest(typed);
        let base_url = match provider.protocol {
            Protocol::Http => {
                let base_url = params.upstream.base_url.as_deref().unwrap_or(&provider.base_url);
                check_url("base_url", base_url)?.to_string()
            }
            Protocol::Dav => {
                let missing = || {
                    let message = "upstream.base_url: say where the calendars are, such as https://dav.example.com";
                    RpcError::new(ErrorCode::InvalidParams, message)
                };
                check_url("base_url", params.upstream.base_url.as_deref().ok_or_else(missing)?)?.to_string()
            }
            Protocol::Imap => mail_url(params.upstream.imap.as_ref(), &credential)?,
        };
        let submission = match (&params.upstream.smtp, provider.protocol) {
            (None, _) => None,
            (Some(server), Protocol::Imap) => Some(server_url(&SUBMISSION, server, &credential)?),
            (Some(_), Protocol::Http | Protocol::Dav) => {
                let why = "upstream.smtp: only an account with the provider imap sends mail over SMTP";
                return Err(RpcError::new(ErrorCode::InvalidParams, why));
            }
        };
        let filters = match (&params.upstream.sieve, provider.protocol) {
            (None, _) => None,
            (Some(server), Protocol::Imap) => Some(server_url(&FILTERS, server, &credential)?),
            (Some(_), Protocol::Http | Protocol::Dav) => {
                let why = "upstream.sieve: only an account with the provider imap has mail filters";
                return Err(RpcError::new(ErrorCode::InvalidParams, why));
            }
        };
        let token_endpoint = match &credential {
            Credential::OAuth2 { token_endpoint, .. } => Some(check_url("token_endpoint", token_endpoint)?.to_string()),
            Credential::Bearer { .. } | Credential::Password { .. } => None,
        };
        let mut stored = Stored {
            id: params.id.clone(),
            provider: params.provider,
            address,
            base_url,
            submission,
            trash: None,
            sent: None,
            filters,
            token_endpoint,
            credential: kind.to_owned(),
        };
        let mut account = account(&stored, credential, kind)?;
        if params.check {
            let tried = self.try_account(opened, provider, &account).await;
            account.target.settled().await;
            if let (Some(name), Some(token)) = (name, account.renewed_token()) {
                super::lock(&opened.renewals).note(name, token);
            }
            let replaced = name.is_some_and(|name| super::lock(&opened.renewals).of(&name).is_some());
            tried.map_err(|error| if replaced { with_renewal(error) } else { error })?;
            Named { trash: stored.trash, sent: stored.sent } = super::lock(&account.named).clone();
            // Trying it may have brought a new refresh token, and ended the one that was typed.
            account = account.renewed(&stored)?;
        }
        let key = self.vault.key().map_err(|error| vault(&error))?;
        let sealed = account
            .whole
            .seal(&key, &stored.id, &stored.origin())
            .map_err(|_| RpcError::new(ErrorCode::Vault, "the credential could not be sealed, so it was not kept"))?;
        let account = Arc::new(account);
        let now = opened.now();
        let mut change = record(now, Kind::Change, "account added");
        change.account = Some(stored.id.clone());
        let value = serde_json::to_value(&stored).unwrap_or_default();
        let commit = Commit {
            records: vec![change],
            puts: vec![
                Put { shelf: Shelf::Account, id: stored.id.clone(), value },
                Put { shelf: Shelf::Credential, id: stored.id.clone(), value: sealed },
            ],
            ..Commit::default()
        };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        if let Some(name) = name {
            super::lock(&opened.renewals).forget(&name);
        }
        opened.guard().set_places(&account.id, &self.places(&account));
        opened.accounts.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(stored.id, account);
        Ok(Id { id: params.id })
    }

    /// The addresses that a grant's `locations` may name for an account.
    pub(super) fn places(&self, account: &Account) -> Vec<String> {
        let door = self.doors().http;
        let at_door = door.iter().map(|door| format!("{door}/{}", account.id));
        let own = [account.base_url.clone(), account.target.origin().to_string()];
        let others = account.target.submission().into_iter().chain(account.target.filters()).map(ToString::to_string);
        own.into_iter().chain(others).chain(at_door).chain(door.clone()).collect()
    }

    /// Every account, without its credential.
    pub(crate) fn account_list(&self) -> Result<Vec<AccountView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let accounts = opened.accounts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let view = |account: &Arc<Account>| {
            let Named { trash, sent } = super::lock(&account.named).clone();
            let provider = self.catalog.provider(&account.provider);
            AccountView {
                id: account.id.clone(),
                provider: account.provider.clone(),
                address: account.own.first().cloned(),
                origin: account.target.origin().to_string(),
                sends_through: account.target.submission().map(ToString::to_string),
                trash,
                sent,
                filters_at: account.target.filters().map(ToString::to_string),
                credential: account.credential.to_owned(),
                failing: super::lock(&opened.failing).get(&account.id).cloned(),
                sign_out_page: provider.and_then(|provider| provider.sign_out_page.clone()),
            }
        };
        Ok(accounts.values().map(view).collect())
    }

    /// Forgets an account, its credential, and what agents could do with it.
    pub(crate) async fn account_remove(self: &Arc<Self>, params: Id) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let account =
            opened.account(&params.id).ok_or_else(|| RpcError::new(ErrorCode::NotFound, "there is no such account"))?;
        self.forget_phone(opened, &account).await?;
        let _turn = opened.turns.take(&turn(&params.id)).await;
        if !opened.still_has(&account) {
            return Err(RpcError::new(ErrorCode::NotFound, "this account was removed meanwhile"));
        }
        let now = opened.now();
        let mut commit = opened.guard().forget_account(&params.id, now);
        let unsent = self.outbox_close(opened, None, Some(&params.id));
        commit.records.extend(unsent.records);
        commit.deletes.extend(unsent.deletes);
        let mut change = record(now, Kind::Change, "account removed");
        change.account = Some(params.id.clone());
        commit.records.push(change);
        commit.deletes.push((Shelf::Account, params.id.clone()));
        commit.deletes.push((Shelf::Credential, params.id.clone()));
        opened.accounts.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&params.id);
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.settle(opened);
        Ok(Empty {})
    }

    /// Signs out at the provider, recorded first; for the owner, also while panicked. Whether it is in force is asked by signing out
    /// again: a provider that tells apart what it no longer knows refuses then.
    pub(crate) async fn account_sign_out(&self, params: Id) -> Result<SignedOut, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let account =
            opened.account(&params.id).ok_or_else(|| RpcError::new(ErrorCode::NotFound, "there is no such account"))?;
        let endpoint = self.catalog.provider(&account.provider).and_then(|provider| {
            let listed = provider.revocation_endpoint.as_deref()?;
            oauth::revocation_endpoint(&account.target, listed, &provider.base_url)
        });
        let by_hand = |text: String| Ok(SignedOut { done: false, state: SignOutState::ByHand, text });
        let Some(endpoint) = endpoint else {
            return by_hand("This credential can't be ended from here: end it on the provider's own page.".to_owned());
        };
        match self.end_credential(opened, &account, &endpoint, "signing out at the provider").await? {
            Ok(status) if status.is_success() => {}
            Ok(status) => {
                return by_hand(format!(
                    "The provider answered {}: it may have ended before. Make sure on the provider's own page.",
                    status.as_u16()
                ));
            }
            Err(error) => return by_hand(format!("{error}. Try again, or end it on the provider's own page.")),
        }
        let again = self.end_credential(opened, &account, &endpoint, "asking whether it is signed out").await?;
        let (state, text) = match again {
            // RFC 7009 section 2.2.1: other refusals, such as too many requests, say nothing of the token.
            Ok(status) if matches!(status.as_u16(), 400 | 401) => {
                (SignOutState::Revoked, "Signed out. Add the account again to use it.")
            }
            Ok(_) | Err(_) => (
                SignOutState::Accepted,
                "The provider took it and does not tell whether it is in force. Make sure on the provider's own page.",
            ),
        };
        Ok(SignedOut { done: true, state, text: text.to_owned() })
    }

    /// One revocation call, between its records.
    async fn end_credential(
        &self,
        opened: &Opened,
        account: &Account,
        endpoint: &str,
        text: &str,
    ) -> Result<Result<StatusCode, UpstreamError>, RpcError> {
        let call =
            oauth::revocation_call(endpoint).map_err(|error| RpcError::new(ErrorCode::Internal, error.to_string()))?;
        let mut intent = record(opened.now(), Kind::Intent, text);
        intent.account = Some(account.id.clone());
        intent.digest = Some(call.digest());
        let commit = Commit { records: vec![intent], ..Commit::default() };
        let seq = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        let lease = opened.guard().lease_revocation(&account.id, &call);
        let answer = opened.upstream.revoke(lease, &account.target, endpoint).await;
        let said = match &answer {
            Ok(status) => format!("the provider answered {}", status.as_u16()),
            Err(error) => error.to_string(),
        };
        let mut outcome = record(opened.now(), Kind::Outcome, said);
        outcome.account = Some(account.id.clone());
        outcome.refers = Some(seq);
        let commit = Commit { records: vec![outcome], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(answer)
    }

    /// What an upstream's status says about the account's credential.
    pub(crate) fn note_status(&self, opened: &Opened, id: &str, status: u16) {
        match status {
            401 => {
                let why =
                    "The provider no longer accepts this account's credential. Remove the account and add it again.";
                self.note_account(opened, id, Some(why.to_owned()));
            }
            200..=299 => self.note_account(opened, id, None),
            _ => {}
        }
    }

    /// An account works, or does not: the person is told once.
    pub(crate) fn note_account(&self, opened: &Opened, id: &str, failing: Option<String>) {
        let mut known = super::lock(&opened.failing);
        match failing {
            None => {
                known.remove(id);
            }
            Some(why) => {
                if known.insert(id.to_owned(), why.clone()).is_none() {
                    drop(known);
                    let kind = latch_ipc::contract::EventKind::AccountFailing;
                    self.tell(kind, Some(id.to_owned()), Some(why));
                }
            }
        }
    }
}

/// What whoever adds or removes an account, or replaces its credential, takes a turn for.
pub(super) fn turn(id: &str) -> String {
    format!("account {id}")
}

/// Puts a stored account and its sealed credential together again.
pub(super) fn restore(
    catalog: &latch_core::catalog::Catalog,
    key: &Key,
    value: &Value,
    sealed: Option<&Value>,
) -> Result<Account, String> {
    let stored: Stored =
        serde_json::from_value(value.clone()).map_err(|_| "an account could not be read".to_owned())?;
    let name = stored.id.clone();
    if catalog.provider(&stored.provider).is_none() {
        return Err(format!("account {name}: no provider file describes {}", stored.provider));
    }
    let sealed =
        sealed.ok_or_else(|| format!("account {name}: its credential is missing; remove it and add it again"))?;
    let credential = Credential::open(key, &stored.id, &stored.origin(), sealed).map_err(|_| {
        format!("account {name}: its credential does not belong to its origin, so it is not used; remove it and add it again")
    })?;
    let kind = match &credential {
        Credential::Bearer { .. } => "bearer",
        Credential::Password { .. } => "password",
        Credential::OAuth2 { .. } => "oauth2",
    };
    account(&stored, credential, kind).map_err(|error| format!("account {name}: {error}"))
}

fn account(stored: &Stored, credential: Credential, kind: &'static str) -> Result<Account, RpcError> {
    let whole = Arc::new(credential);
    let invalid = |error: OriginError| RpcError::new(ErrorCode::InvalidParams, error.to_string());
    let target = AccountTarget::new(&stored.id, &stored.base_url, Arc::clone(&whole)).map_err(invalid)?;
    let target = match &stored.submission {
        Some(url) => target.with_submission(url).map_err(invalid)?,
        None => target,
    };
    let target = match &stored.filters {
        Some(url) => target.with_filters(url).map_err(invalid)?,
        None => target,
    };
    let login = if target.is_mail() { target.user() } else { target.username().unwrap_or_default() };
    let login = Some(login).filter(|login| is_address(login)).map(str::to_owned);
    let mut own: Vec<String> = stored.address.iter().cloned().chain(login).collect();
    own.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    Ok(Account {
        id: stored.id.clone(),
        provider: stored.provider.clone(),
        target,
        credential: kind,
        base_url: stored.base_url.clone(),
        own,
        sealed_to: stored.origin(),
        reading: Arc::new(Semaphore::new(MOST_READING)),
        storing: Semaphore::new(MOST_STORING),
        arranging: tokio::sync::Mutex::new(()),
        filtering: tokio::sync::Mutex::new(()),
        looking: Semaphore::new(1),
        whole,
        named: Mutex::new(Named { trash: stored.trash.clone(), sent: stored.sent.clone() }),
    })
}

fn credential(params: CredentialParams) -> (Credential, &'static str) {
    match params {
        CredentialParams::Bearer { token } => (Credential::Bearer { token }, "bearer"),
        CredentialParams::Password { username, password } => (Credential::Password { username, password }, "password"),
        CredentialParams::OAuth2 { client_id, client_secret, refresh_token, token_endpoint } => {
            (Credential::OAuth2 { client_id, client_secret, refresh_token, token_endpoint }, "oauth2")
        }
    }
}

/// The person's own address as envelopes have it: its domain in ASCII (RFC 5891).
fn checked_address(text: &str) -> Result<String, RpcError> {
    let ascii = text.trim().rsplit_once('@').and_then(|(local, domain)| match Host::parse(domain) {
        Ok(Host::Domain(domain)) => Some(format!("{local}@{domain}")),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => None,
    });
    ascii.filter(|address| is_address(address)).ok_or_else(|| {
        let message = "address: this is not a mail address such as you@example.org; leave it out if there is none";
        RpcError::new(ErrorCode::InvalidParams, message)
    })
}

/// The person would type again what the provider knows no more.
fn with_renewal(mut error: RpcError) -> RpcError {
    let more = " The provider replaced the refresh token when it was tried. Latchstring remembers the new one until it ends: try again with the one that \
                you have.";
    error.message.push_str(more);
    error
}

/// Ids stand in URLs and on the disk.
pub(crate) fn check_id(id: &str) -> Result<(), RpcError> {
    let good = !id.is_empty()
        && id.len() <= 64
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !id.starts_with('.')
        && !matches!(id, "oauth2");
    if good {
        return Ok(());
    }
    let message = "an id has 1 to 64 letters, digits, `-`, `_` or `.`, does not begin with a dot and is not `oauth2`";
    Err(RpcError::new(ErrorCode::InvalidParams, message))
}

/// How a kind of mail server is written: the field, an example, and scheme and port by encryption.
struct Spelling {
    field: &'static str,
    example: &'static str,
    implicit: (&'static str, u16),
    starttls: (&'static str, u16),
    none: (&'static str, u16),
}

const MAILBOXES: Spelling = Spelling {
    field: "upstream.imap",
    example: "imap.example.com",
    implicit: ("imaps", 993),
    starttls: ("imap+starttls", 143),
    none: ("imap", 143),
};
const SUBMISSION: Spelling = Spelling {
    field: "upstream.smtp",
    example: "smtp.example.com",
    implicit: ("smtps", 465),
    starttls: ("smtp+starttls", 587),
    none: ("smtp", 587),
};

const FILTERS: Spelling = Spelling {
    field: "upstream.sieve",
    example: "imap.example.com",
    implicit: ("sieves", 4190),
    starttls: ("sieve+starttls", 4190),
    none: ("sieve", 4190),
};

fn mail_url(server: Option<&MailServerParams>, credential: &Credential) -> Result<String, RpcError> {
    let missing = "upstream.imap: this provider is a mail server: say {host, port, tls}";
    let server = server.ok_or_else(|| RpcError::new(ErrorCode::InvalidParams, missing))?;
    server_url(&MAILBOXES, server, credential)
}

/// A mail server as a URL (RFC 5092), which the credential is sealed to. What can't be one, or is not encrypted, is refused by [`AccountTarget`].
fn server_url(spelling: &Spelling, server: &MailServerParams, credential: &Credential) -> Result<String, RpcError> {
    let bad = |why: &str| RpcError::new(ErrorCode::InvalidParams, format!("{}: {why}", spelling.field));
    let user = match (credential, server.username.as_deref()) {
        (Credential::Password { username, .. }, None) => username.as_str(),
        (Credential::Password { username, .. }, Some(named)) if named == username => username.as_str(),
        (Credential::Password { .. }, Some(_)) => return Err(bad("username differs from the credential's")),
        (_, Some(named)) => named,
        (_, None) => return Err(bad("username is missing: with a token, the mail server asks whose it is")),
    };
    let (scheme, port) = match server.tls {
        MailTls::Implicit => spelling.implicit,
        MailTls::StartTls => spelling.starttls,
        MailTls::None => spelling.none,
    };
    let host = &server.host;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || user.is_empty() || !host.trim_matches(['[', ']']).chars().all(plain) {
        return Err(bad(&format!("host is a name such as {}, or an address", spelling.example)));
    }
    let host = if host.contains(':') { format!("[{}]", host.trim_matches(['[', ']'])) } else { host.clone() };
    let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
    Ok(format!("{scheme}://{user}@{host}:{}", server.port.unwrap_or(port)))
}

/// Credentials travel over TLS, or stay on this machine.
fn check_url(name: &str, text: &str) -> Result<Url, RpcError> {
    let bad = |why: &str| RpcError::new(ErrorCode::InvalidParams, format!("{name}: {why}"));
    let url = Url::parse(text).map_err(|_| bad("this is not a URL such as https://mail.example.com"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a credential belongs into `credential`, not into the URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("no query and no fragment, please"));
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(domain)) => domain == "localhost",
        None => return Err(bad("a host is missing")),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err(bad("without TLS only this machine itself (127.0.0.1, ::1, localhost) is accepted")),
        _ => Err(bad("only https is accepted, and http on this machine itself")),
    }
}

pub(crate) fn vault(error: &crate::vault::VaultError) -> RpcError {
    RpcError::new(ErrorCode::Vault, error.to_string())
}
