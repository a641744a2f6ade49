//! Switching the stop mail on and off, and saying how it is.

use std::sync::Arc;
use std::time::Duration;

use latch_core::guard::record;
use latch_core::journal::{Commit, Kind, Shelf};
use latch_core::phone::Kept;
use latch_core::recipe::stop;
use latch_ipc::contract::EventKind;
use latch_ipc::phone::{PhoneState, PhoneStopParams, PhoneView};
use latch_ipc::rpc::{ErrorCode, RpcError};

use super::place::{How, Over, Place};
use super::{Link, api, imap, put};
use crate::runtime::accounts::Account;
use crate::runtime::stop::{locked, storage};
use crate::runtime::{Opened, Runtime, views};

/// How long whoever switches it on or off waits for the mail to be left or taken away.
const PATIENCE: Duration = Duration::from_secs(20);

impl Runtime {
    /// Switches an account's stop mail on or off.
    pub(crate) async fn phone_stop(self: &Arc<Self>, params: PhoneStopParams) -> Result<PhoneView, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let account = opened
            .account(&params.account)
            .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "there is no such account"))?;
        if !self.has_inbox(&account) {
            let message = "this provider has no inbox in which a mail could stop everything: use another account";
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
        let _one = opened.phones.switching.lock().await;
        if params.on {
            self.phone_on(opened, &account).await?;
            return Ok(self.phone_view(opened, &account));
        }
        let left = self.phone_off(opened, &account).await?;
        let mut view = self.phone_view(opened, &account);
        view.text = left.unwrap_or(view.text);
        Ok(view)
    }

    async fn phone_on(self: &Arc<Self>, opened: &Opened, account: &Account) -> Result<(), RpcError> {
        if opened.phones.get(&account.id).is_some() {
            return Ok(());
        }
        let kept = Kept::default();
        let mut change = record(opened.now(), Kind::Change, "phone stop switched on");
        change.account = Some(account.id.clone());
        let commit = Commit { records: vec![change], puts: vec![put(&account.id, &kept)], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        let turn = opened.phones.switch_on(&account.id, kept, opened.now().wall);
        self.tasks.spawn_light(Arc::clone(self).keep_phone(account.id.clone(), turn));
        let mut moved = opened.phones.moved.subscribe();
        let begun = async {
            while opened.phones.get(&account.id).is_some_and(|one| one.link == Link::Starting)
                && opened.guard().watch_epoch().is_ok()
                && moved.changed().await.is_ok()
            {}
        };
        let _ = tokio::time::timeout(PATIENCE, begun).await;
        Ok(())
    }

    /// What is left to say, if anything.
    async fn phone_off(self: &Arc<Self>, opened: &Opened, account: &Account) -> Result<Option<String>, RpcError> {
        if opened.phones.get(&account.id).is_none() {
            return Ok(None);
        }
        let mut change = record(opened.now(), Kind::Change, "phone stop switched off");
        change.account = Some(account.id.clone());
        let deletes = vec![(Shelf::Phone, account.id.clone())];
        let commit = Commit { records: vec![change], deletes, ..Commit::default() };
        // First here: what is still being written about it comes before the deletion, not after it.
        let Some(kept) = opened.phones.switch_off(&account.id) else { return Ok(None) };
        opened.guard().set_stop_mail(&account.id, None);
        if let Err(error) = opened.store.commit(commit).await {
            opened.guard().set_stop_mail(&account.id, kept.anchor.clone());
            let turn = opened.phones.switch_on(&account.id, kept, opened.now().wall);
            self.tasks.spawn_light(Arc::clone(self).keep_phone(account.id.clone(), turn));
            return Err(storage(&error));
        }
        self.tell(EventKind::PhoneChanged, Some(account.id.clone()), None);
        let removed = tokio::time::timeout(PATIENCE, self.take_away(opened, account, &kept)).await;
        let why = match removed {
            Ok(Ok(())) => return Ok(None),
            Ok(Err(Over::Rest)) => "everything is stopped".to_owned(),
            Ok(Err(Over::Lost(why) | Over::Refused(why) | Over::Unstored(why))) => why,
            Err(_) => "the mailbox did not answer in time".to_owned(),
        };
        Ok(Some(format!(
            "Switched off, but its mail is still there ({why}). Delete it yourself: it stops nothing any more."
        )))
    }

    async fn take_away(self: &Arc<Self>, opened: &Opened, account: &Account, kept: &Kept) -> Result<(), Over> {
        let Some(name) = kept.name() else { return Ok(()) };
        let epoch = opened.guard().watch_epoch().map_err(|_| Over::Rest)?;
        if account.target.is_mail() {
            let mut place = imap::Mailbox::open(self, opened, account, epoch).await?;
            removed(&mut place, &name, kept).await
        } else {
            let mut place = api::Inbox::open(self, opened, account, epoch)?;
            removed(&mut place, &name, kept).await
        }
    }

    /// An account goes: so does its stop mail, as far as it can be reached.
    pub(crate) async fn forget_phone(self: &Arc<Self>, opened: &Opened, account: &Account) -> Result<(), RpcError> {
        let _one = opened.phones.switching.lock().await;
        if let Some(left) = self.phone_off(opened, account).await? {
            tracing::warn!(account = %account.id, "{left}");
            self.tell(EventKind::PhoneChanged, Some(account.id.clone()), Some(left));
        }
        Ok(())
    }

    /// How the stop mail of each account is.
    pub(crate) fn phone_views(&self, opened: &Opened) -> Vec<PhoneView> {
        let accounts: Vec<Arc<Account>> = {
            let accounts = opened.accounts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            accounts.values().filter(|account| self.has_inbox(account)).cloned().collect()
        };
        accounts.iter().map(|account| self.phone_view(opened, account)).collect()
    }

    fn phone_view(&self, opened: &Opened, account: &Account) -> PhoneView {
        let stopped = opened.guard().panicked().is_some();
        let one = opened.phones.get(&account.id);
        let (state, text) = match one.as_ref().map(|one| &one.link) {
            None => (PhoneState::Off, "No mail in its inbox stops anything.".to_owned()),
            Some(_) if stopped => {
                let left = one.as_ref().is_some_and(|one| one.kept.anchor.is_none());
                let text =
                    if left { "A new mail is left after Resume." } else { "The mail is watched again after Resume." };
                (PhoneState::Stopped, format!("Everything is stopped. {text}"))
            }
            Some(Link::Starting) => (PhoneState::Starting, "The mail is being left, or looked for.".to_owned()),
            Some(Link::Watching(How::Pushed)) => {
                (PhoneState::Watching, "Its mail server reports at once when the mail leaves the inbox.".to_owned())
            }
            Some(Link::Watching(How::Looked(every))) => (
                PhoneState::Watching,
                format!("Every {} seconds it is looked whether the mail is still in the inbox.", every.as_secs()),
            ),
            Some(Link::Offline(why)) => {
                let text = format!("Moving the mail stops nothing until its mailbox can be reached again: {why}");
                (PhoneState::Offline, text)
            }
        };
        let since = one.map(|one| views::rfc3339(one.since)).filter(|_| !stopped);
        PhoneView { account: account.id.clone(), state, since, text }
    }

    fn has_inbox(&self, account: &Account) -> bool {
        let provider = self.catalog.provider(&account.provider);
        account.target.is_mail() || provider.is_some_and(|provider| stop::interval(provider).is_some())
    }
}

async fn removed<P: Place>(place: &mut P, name: &str, kept: &Kept) -> Result<(), Over> {
    let mails = match &kept.anchor {
        Some(anchor) => vec![anchor.clone()],
        None => place.find(name).await?,
    };
    if mails.is_empty() {
        return Err(Over::Lost("it was not found, and may still arrive".to_owned()));
    }
    for mail in mails {
        place.remove(&mail).await?;
    }
    Ok(())
}
