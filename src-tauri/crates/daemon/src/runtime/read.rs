//! The guard's own reading of an upstream, with the person's credential: for the dialog, for resolving, for undo.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use latch_core::call::Call;
use latch_core::catalog::Provider;
use latch_core::guard::{History, Session, Unread};
use latch_core::lease::Epoch;
use latch_core::operation::{Objects, Request};
use latch_core::recipe::{self, Resolution, View, sent};
use latch_core::scope::Views;
use serde_json::Value;

use super::accounts::Account;
use super::{Opened, Runtime};
use crate::upstream::{Fetched, UpstreamError};

/// Reads at the same time: enough to hide latency, few enough for providers' limits.
const AT_ONCE: usize = 24;
/// The largest answer to one read, in bytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// The most pages that resolving follows.
const MAX_PAGES: usize = 200;
/// Objects that are shown before the rest has been read.
const FIRST_PAGE: usize = 50;
/// Recipients that are looked up at the same time.
const LOOKED_UP_AT_ONCE: usize = 8;
/// Sent messages that are read to find one that really went to an address.
const PROOFS: usize = 5;
/// How long looking one recipient up may take.
const HISTORY: Duration = Duration::from_secs(8);

/// Why the guard could not read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReadError {
    /// Panic came in between.
    #[error("stopped")]
    Stopped,
    /// The agent is paused.
    #[error("the agent is paused")]
    Paused {
        /// For so many seconds.
        seconds: u64,
    },
    /// It would be read beyond the agent's budget.
    #[error("the read budget is used up")]
    Spent {
        /// Its number.
        limit: u32,
        /// `10 minutes`, `24 hours`.
        window: &'static str,
    },
    /// The upstream could not be asked.
    #[error("{0}")]
    Upstream(Arc<UpstreamError>),
    /// The upstream answered with an error of its own; the agent gets to see it.
    #[error("the provider answered {0}")]
    Status(u16),
    /// The answer is not what the provider file expects.
    #[error("{0}")]
    Answer(String),
}

impl Runtime {
    /// One read. `None`: gone (404, 410).
    pub(crate) async fn read(&self, account: &Account, epoch: Epoch, call: Call) -> Result<Option<Value>, ReadError> {
        let Some(fetched) = self.fetch(account, epoch, call).await? else { return Ok(None) };
        let value = serde_json::from_slice(&fetched.body);
        value.map(Some).map_err(|_| ReadError::Answer("the provider's answer is not JSON".to_owned()))
    }

    /// One read, as it came. `None`: gone (404, 410).
    pub(super) async fn fetch(
        &self,
        account: &Account,
        epoch: Epoch,
        call: Call,
    ) -> Result<Option<Fetched>, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| ReadError::Stopped)?;
        let fetched = opened
            .upstream
            .fetch(lease, &account.target, call, MAX_ANSWER)
            .await
            .map_err(|error| ReadError::Upstream(Arc::new(error)))?;
        self.note_status(opened, &account.id, fetched.status.as_u16());
        match fetched.status.as_u16() {
            404 | 410 => Ok(None),
            200..=299 => Ok(Some(fetched)),
            other => Err(ReadError::Status(other)),
        }
    }

    /// Many reads, some at a time, in the order of the calls.
    pub(crate) async fn read_all(
        &self,
        account: &Account,
        epoch: Epoch,
        calls: Vec<(String, Call)>,
    ) -> Result<Vec<(String, Option<Value>)>, ReadError> {
        let reads = calls
            .into_iter()
            .map(|(id, call)| async move { self.read(account, epoch, call).await.map(|value| (id, value)) });
        let mut answers = Vec::new();
        let mut stream = futures_util::stream::iter(reads).buffered(AT_ONCE);
        while let Some(answer) = stream.next().await {
            answers.push(answer?);
        }
        Ok(answers)
    }

    /// Replaces every container by the exact objects that are in it now. What is read for it counts as read by the agent.
    pub(crate) async fn resolve(
        &self,
        account: &Account,
        session: &Session,
        request: Request,
    ) -> Result<Request, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        let provider = self.catalog.provider(&account.provider).ok_or_else(|| lost_provider(account))?;
        let mut parts = Vec::with_capacity(request.parts.len());
        for part in request.parts {
            if !matches!(part.operation.objects, Objects::Within { .. }) {
                parts.push(part);
                continue;
            }
            let mut calls = recipe::resolve(provider, &part);
            let mut answers: Vec<(String, Value)> = Vec::new();
            let mut pages = 0;
            let resolved = loop {
                pages += calls.len();
                if pages > MAX_PAGES {
                    return Err(ReadError::Answer("too many pages: ask for fewer at a time".to_owned()));
                }
                charge(opened, account, session, calls.len())?;
                for (id, value) in self.read_all(account, session.epoch, std::mem::take(&mut calls)).await? {
                    answers.push((id, value.ok_or(ReadError::Status(404))?));
                }
                match recipe::resolved(provider, &part, &answers) {
                    Ok(Resolution::Done(part)) => break *part,
                    Ok(Resolution::More(more)) => calls = more,
                    Err(error) => return Err(ReadError::Answer(error.to_string())),
                }
            };
            if matches!(resolved.operation.objects, Objects::Within { .. }) {
                return Err(ReadError::Answer("the provider file left objects unresolved".to_owned()));
            }
            parts.push(resolved);
        }
        Ok(Request { parts, batch: request.batch })
    }

    /// What the dialog would show of a request's objects. What can't be read is left out.
    pub(crate) async fn views(&self, account: &Account, epoch: Epoch, request: &Request) -> Views {
        let Some(provider) = self.catalog.provider(&account.provider) else { return Views::new() };
        let wanted = request.parts.iter().flat_map(|part| {
            let kind = part.operation.objects.kind().unwrap_or_default();
            let ids = part.operation.objects.ids().iter();
            ids.filter_map(move |id| Some((kind, id, recipe::preview(provider, part, id)?)))
        });
        let wanted: Vec<(String, String, Call)> =
            wanted.map(|(kind, id, call)| (kind.to_owned(), id.clone(), call)).collect();
        let reads = wanted.into_iter().map(|(kind, id, call)| async move {
            let answer = self.read(account, epoch, call).await.ok()??;
            let view = recipe::view(provider, &kind, &id, &answer);
            Some((id, view))
        });
        let mut views = Views::new();
        let mut stream = futures_util::stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(read) = stream.next().await {
            views.extend(read);
        }
        views
    }

    /// Asks the account's own sent mail whether the person wrote to these before, and tells the Guard. What can't be found out is not known.
    pub(crate) async fn look_up(&self, account: &Account, epoch: Epoch, request: &Request, addresses: Vec<String>) {
        let Some(opened) = self.opened() else { return };
        let params = request.parts.iter().find(|part| part.operation.class == latch_core::operation::Class::Send);
        let params = params.map(|part| part.params.clone()).unwrap_or_default();
        let params = &params;
        let place = match account.target.is_mail() {
            true => match tokio::time::timeout(HISTORY, self.sent_mail(account, epoch)).await {
                Ok(found) => found.map(Some),
                Err(_) => Err(ReadError::Answer("the mail server takes too long".to_owned())),
            },
            false => Ok(None),
        };
        let place = &place;
        let asked = addresses.into_iter().map(|address| async move {
            let asked = async {
                match place {
                    Ok(Some(Some(place))) => self.mail_history(account, epoch, place, &address).await,
                    Ok(Some(None)) => Ok(None),
                    Ok(None) => self.history(account, epoch, params, &address).await,
                    Err(error) => Err(error.clone()),
                }
            };
            let asked = tokio::time::timeout(HISTORY, asked);
            let history = match asked.await {
                Ok(Ok(Some(message))) => History::WroteIn(message),
                Ok(Ok(None)) => History::Nothing,
                Ok(Err(_)) | Err(_) => History::Unreadable,
            };
            opened.guard().heard(&account.id, &address, history, opened.now());
        });
        futures_util::stream::iter(asked).buffer_unordered(LOOKED_UP_AT_ONCE).collect::<Vec<()>>().await;
    }

    /// A sent message of the person's own to this address.
    async fn history(
        &self,
        account: &Account,
        epoch: Epoch,
        params: &[(String, String)],
        address: &str,
    ) -> Result<Option<String>, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        let provider = self.catalog.provider(&account.provider).ok_or_else(|| lost_provider(account))?;
        if !opened.guard().history_counts(address) || shared_with_imap(opened, provider) {
            return Ok(None);
        }
        let Some(search) = sent::search(provider, params, address) else { return Ok(None) };
        let answer = self.read(account, epoch, search).await?.unwrap_or_default();
        let found = opened.guard().by_the_person(sent::found(provider, &answer));
        for id in found.into_iter().take(PROOFS) {
            let Some(read) = sent::read(provider, params, &id) else { continue };
            let Some(message) = self.read(account, epoch, read).await? else { continue };
            if sent::went_to(provider, &message, address) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Reads what the dialog shows of a hold's objects: the first page at once, then the rest.
    pub(crate) async fn prepare(&self, account: &Account, id: &str) {
        if account.target.is_mail() {
            return self.prepare_mail(account, id).await;
        }
        if self.is_dav(account) {
            return Box::pin(self.prepare_dav(account, id)).await;
        }
        let Some(opened) = self.opened() else { return };
        let Some(provider) = self.catalog.provider(&account.provider) else { return };
        let Some((epoch, parts)) = opened.guard().hold(id).map(|hold| (hold.epoch, hold.request.parts.clone())) else {
            return;
        };
        let mut wanted: Vec<(String, String, Option<Call>)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for part in &parts {
            let kind = part.operation.objects.kind().unwrap_or_default();
            for object in part.operation.objects.ids() {
                if seen.insert(object.clone()) {
                    wanted.push((kind.to_owned(), object.clone(), recipe::preview(provider, part, object)));
                }
            }
        }
        let reads = wanted.into_iter().map(|(kind, object, call)| async move {
            let view = match call {
                None => View { title: object.clone(), ..View::default() },
                Some(call) => match self.read(account, epoch, call).await? {
                    Some(value) => recipe::view(provider, &kind, &object, &value),
                    None => View { title: "(not there any more)".to_owned(), ..View::default() },
                },
            };
            Ok::<_, ReadError>((object, view))
        });
        let mut views = Vec::new();
        let mut shown = false;
        let mut stream = futures_util::stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(read) = stream.next().await {
            match read {
                Ok(view) => views.push(view),
                Err(ReadError::Stopped) => return,
                Err(error) => {
                    let why = format!("could not be read, so nothing runs: {error}");
                    let now = opened.now();
                    let commit = opened.guard().handle_unreadable(id, &why, now);
                    let _ = opened.store.commit(commit).await;
                    self.settle(opened);
                    return;
                }
            }
            if !shown && views.len() >= FIRST_PAGE {
                shown = true;
                opened.guard().handle_views(id, std::mem::take(&mut views));
                self.settle(opened);
            }
        }
        opened.guard().handle_views(id, views);
        self.settle(opened);
    }
}

pub(super) fn charge(opened: &Opened, account: &Account, session: &Session, reads: usize) -> Result<(), ReadError> {
    let now = opened.now();
    let reads = u32::try_from(reads).unwrap_or(u32::MAX);
    let charges = opened.guard().charge_resolving(session, &account.id, reads, now).map_err(|unread| match unread {
        Unread::Stopped => ReadError::Stopped,
        Unread::Paused { until } => ReadError::Paused { seconds: until.since(now.time).0 / 1000 + 1 },
        Unread::Spent { limit, window } => ReadError::Spent { limit, window: window.words() },
    })?;
    super::lock(&opened.unsaved).extend(charges);
    Ok(())
}

pub(crate) fn lost_provider(account: &Account) -> ReadError {
    ReadError::Answer(format!("no provider file describes {}", account.provider))
}

/// Whether a hold waits for its preview to be read.
pub(crate) fn needs_preparing(opened: &Opened, id: &str) -> bool {
    opened.guard().hold(id).is_some_and(|hold| {
        matches!(
            hold.state,
            latch_core::hold::State::Preparing | latch_core::hold::State::Proposal | latch_core::hold::State::Open
        ) && !hold.is_prepared()
    })
}

/// Whether an account reaches the provider's mailboxes over IMAP.
fn shared_with_imap(opened: &Opened, provider: &Provider) -> bool {
    let accounts = opened.accounts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    accounts.values().any(|one| one.target.is_mail() && sent::also_at(provider, one.target.origin().name()))
}
