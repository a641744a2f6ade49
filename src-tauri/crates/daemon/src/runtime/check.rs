//! A new account's credential, tried where it will be used, before anything is kept.
//!
//! ```text
//!   account.add {check} ── the origin that the person named ──┬─ IMAP: a login, and one at each server that it sends mail and changes filters through
//!                                                             ├─ HTTP: the provider file's cheap read
//!                                                             └─ CalDAV: a look at its top
//! ```
//! Each server of an account is tried by itself; what one of them refuses keeps the whole account out.

use std::time::Duration;

use bytes::Bytes;
use latch_core::call::Call;
use latch_core::catalog::{Protocol, Provider};
use latch_core::classify::dav::look::look;
use latch_core::classify::imap::deed::command;
use latch_core::classify::sieve::reading;
use latch_core::guard::record;
use latch_core::journal::{Commit, Kind};
use latch_core::lease::Epoch;
use latch_core::servers::Password;
use latch_ipc::rpc::{ErrorCode, RpcError};
use serde_json::json;

use super::accounts::Account;
use super::stop::storage;
use super::{Opened, Runtime};
use crate::upstream::oauth::RefreshError;
use crate::upstream::{Fault, UpstreamError};

/// The largest answer that is read to see whether a credential is good.
const MAX_ANSWER: usize = 1024 * 1024;

/// How long all of it may take. A server may make us wait for each word; the person is waiting, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why an account is not kept.
enum Refused {
    /// The server knows better.
    SignIn { host: String, said: String },
    /// It could not be asked.
    Unasked(String),
}

impl Runtime {
    /// Tries the credential. Recorded first, as everything that leaves.
    pub(super) async fn try_account(
        &self,
        opened: &Opened,
        provider: &Provider,
        account: &Account,
    ) -> Result<(), RpcError> {
        // One epoch for all of it: what a panic comes upon does not go on in the next one.
        let epoch = opened.guard().watch_epoch().map_err(|_| {
            let message =
                "everything is stopped, so the login can't be tried: resume first, or add the account untried";
            RpcError::new(ErrorCode::Panicked, message)
        })?;
        let mut intent = record(opened.now(), Kind::Intent, "trying the login of a new account");
        intent.account = Some(account.id.clone());
        let commit = Commit { records: vec![intent], ..Commit::default() };
        let seq = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        let tried = tokio::time::timeout(PATIENCE, async {
            match (account.target.is_mail(), provider.check.as_deref()) {
                (true, _) => self.try_mail(opened, account, epoch).await,
                (false, _) if provider.protocol == Protocol::Dav => match look("/", false) {
                    Some(call) => self.try_http(opened, account, epoch, call).await,
                    None => Err(stopped()),
                },
                (false, Some(path)) => self.try_http(opened, account, epoch, Call::get(path.to_owned())).await,
                (false, None) => Ok(()),
            }
        });
        let slow = |_| Err(Refused::Unasked("the login took longer than two minutes".to_owned()));
        let tried = tried.await.unwrap_or_else(slow);
        let text = match &tried {
            Ok(()) => "it works".to_owned(),
            Err(Refused::SignIn { host, .. }) => format!("{host} refused it"),
            Err(Refused::Unasked(why)) => why.clone(),
        };
        let mut outcome = record(opened.now(), Kind::Outcome, text);
        outcome.account = Some(account.id.clone());
        outcome.refers = Some(seq);
        let commit = Commit { records: vec![outcome], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        tried.map_err(|refused| self.not_kept(account, refused))
    }

    async fn try_mail(&self, opened: &Opened, account: &Account, epoch: Epoch) -> Result<(), Refused> {
        let call = command("NOOP", None, &[]).ok_or_else(stopped)?;
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| stopped())?;
        let can = opened.upstream.mail_capabilities(lease, &account.target, &call).await.map_err(refused)?;
        // The login is good; which mailbox is the Trash can be found out later, too.
        let _ = self.mail_server(opened, account, epoch, &can).await;
        if account.target.submission().is_some() {
            let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| stopped())?;
            opened.upstream.submission_check(lease, &account.target, &call).await.map_err(refused)?;
        }
        if account.target.filters().is_some() {
            let call = reading("CAPABILITY", "", Vec::new(), Bytes::new()).ok_or_else(stopped)?;
            let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| stopped())?;
            opened.upstream.sieve(lease, &account.target, &call).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn try_http(&self, opened: &Opened, account: &Account, epoch: Epoch, call: Call) -> Result<(), Refused> {
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| stopped())?;
        let fetched = opened.upstream.fetch(lease, &account.target, call, MAX_ANSWER).await.map_err(refused)?;
        let host = account.target.origin().name().to_owned();
        match fetched.status.as_u16() {
            200..=299 => Ok(()),
            status @ (401 | 403) => Err(Refused::SignIn { host, said: format!("HTTP status {status}") }),
            status => Err(Refused::Unasked(format!("{host} answered with HTTP status {status}"))),
        }
    }

    fn not_kept(&self, account: &Account, refused: Refused) -> RpcError {
        let known = self.servers.by_host(account.target.origin().name());
        let (kind, message) = match refused {
            Refused::SignIn { host, said } => {
                let own = match (account.credential, known) {
                    ("password", Some(provider)) => format!(" {}", provider.help),
                    ("password", None) => {
                        " Look for a typing error; where sign-in has two steps, the provider wants an app password."
                            .to_owned()
                    }
                    _ => " Get a fresh token at the provider.".to_owned(),
                };
                let what = if account.credential == "password" { "user name and password" } else { "token" };
                let said = if said.is_empty() { String::new() } else { format!(" It said: {said}") };
                ("sign_in", format!("{host} does not accept this {what}, so nothing was saved.{own}{said}"))
            }
            Refused::Unasked(why) => (
                "unreachable",
                format!(
                    "{why}. The login could not be tried, so nothing was saved: try again, or keep the account untried."
                ),
            ),
        };
        let mut error = RpcError::new(ErrorCode::Upstream, message);
        let link = known.filter(|one| one.password != Password::Own).map(|one| one.link.clone());
        error.data = Some(json!({ "kind": kind, "link": link }));
        error
    }
}

fn stopped() -> Refused {
    Refused::Unasked("it was stopped".to_owned())
}

fn refused(error: UpstreamError) -> Refused {
    match error.fault {
        Fault::SignIn { host, text } => Refused::SignIn { host, said: text },
        Fault::Refresh(
            error @ (RefreshError::SignedOut(_) | RefreshError::Refused { .. } | RefreshError::Unusable),
        ) => Refused::SignIn { host: "the token endpoint".to_owned(), said: error.to_string() },
        fault => Refused::Unasked(fault.to_string()),
    }
}
