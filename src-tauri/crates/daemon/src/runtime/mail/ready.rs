//! What must be known, and kept, before the first command of a deed leaves.

use std::collections::{BTreeMap, BTreeSet};

use latch_core::classify::imap::deed::{Deed, On, Server, command, object};
use latch_core::classify::imap::steps::{Step, steps, trashed};
use latch_core::classify::imap::token::Token;
use latch_core::journal::Put;
use latch_core::lease::Epoch;
use latch_core::operation::{Class, Part};
use latch_core::plan::Permit;
use latch_core::undo::Next;
use latch_core::undo::imap::{End, Present, entry};
use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;

use super::append::OTHERS;
use super::execute::LABELS;
use super::sent::Entering;
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::read::ReadError;
use crate::runtime::undo::Undo;
use crate::runtime::{Opened, Runtime};
use crate::store::Copied;
use crate::upstream::imap::Still;

const TURN: &str = "other mailboxes of this account are being changed, and that takes long: try again";

/// What is known before the first step.
pub(super) struct Ready<'a> {
    pub(super) steps: Vec<Step>,
    pub(super) undo: Option<Undo>,
    pub(super) counter: Option<Put>,
    pub(super) said: &'static str,
    /// What they may put among the sent mail.
    pub(super) entering: Option<Entering>,
    /// What a mailbox that goes must still be like the moment before.
    pub(super) still: Option<Still>,
    /// The turn of what changes mailboxes themselves.
    pub(super) turn: Option<MutexGuard<'a, ()>>,
}

/// What has a mailbox's name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// That mailbox.
    Same,
    /// Another one.
    Another,
    /// Nothing, or the server does not say.
    Unsaid,
}

/// A message as the quarantine keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) flags: Vec<String>,
    pub(super) date: Option<String>,
    #[serde(with = "text")]
    pub(super) body: Vec<u8>,
}

mod text {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

impl Runtime {
    /// Copies are kept of what goes; if it does not get as far as that, they are forgotten.
    pub(super) async fn ready<'a>(
        &self,
        opened: &Opened,
        account: &'a Account,
        permit: &Permit,
        part: &Part,
        deed: &Deed,
        on: &On,
    ) -> Result<Ready<'a>, Failure> {
        let (undo_id, counter) = opened.guard().next_undo();
        match self.ready_as(opened, account, permit, part, (deed, on), &undo_id).await {
            Ok(ready) => Ok(Ready { counter: Some(counter), ..ready }),
            Err(failure) => {
                self.forget_copies(opened, on, &undo_id).await;
                Err(failure)
            }
        }
    }

    async fn ready_as<'a>(
        &self,
        opened: &Opened,
        account: &'a Account,
        permit: &Permit,
        part: &Part,
        (deed, on): (&Deed, &On),
        undo_id: &str,
    ) -> Result<Ready<'a>, Failure> {
        let epoch = permit.epoch();
        let server = self.mail_server_for(opened, account, epoch, deed).await.map_err(Failure::Snapshot)?;
        let soft = part.operation.soften.is_some() && !permit.forever();
        // A mailbox that is renamed is still there with all that is in it.
        let destroys = part.operation.class == Class::Destroy && !soft && !matches!(deed, Deed::Rename { .. });
        let mut subscribed = false;
        // Only what has a copy may go.
        let copied;
        let on = if destroys {
            if let Deed::Delete { .. } = deed {
                self.is_as_shown(account, epoch, on, &server).await?;
                subscribed = self.mail_subscribed(account, epoch, &on.mailbox).await.map_err(Failure::Snapshot)?;
            }
            copied = self.keep_mail(opened, account, epoch, deed, on, undo_id).await?;
            &copied
        } else {
            on
        };
        // Copying takes its time: nobody waits for it, and what is decided on is looked at after it.
        let turn = match deed.arranges() {
            true => Some(turn(account).await.ok_or(Failure::InUse(TURN))?),
            false => None,
        };
        let still = match deed {
            Deed::Delete { .. } => self.is_as_shown(account, epoch, on, &server).await?,
            Deed::SetAcl { .. } | Deed::Rename { .. } => {
                self.is_the_same(account, epoch, on).await?;
                None
            }
            _ => None,
        };
        if destroys && matches!(deed, Deed::Delete { .. }) && still.is_none() {
            let why = "the mail server does not say UIDNEXT of it, so what comes into it meanwhile would be lost";
            return Err(Failure::Snapshot(ReadError::Answer(why.to_owned())));
        }
        let labels = part.operation.undo.as_deref() == Some("labels");
        let before = match deed {
            Deed::Store { .. } | Deed::Copy { .. } if labels || (matches!(deed, Deed::Store { .. }) && !soft) => {
                let items: &[&str] = if labels { &LABELS } else { &["UID", "FLAGS"] };
                let found = self.mail_fetch(account, epoch, on, items).await.map_err(Failure::Snapshot)?;
                found.into_iter().map(|(uid, fetched)| (uid, fetched.present)).collect()
            }
            // Where the answer to a move is lost, this is what its messages are found by.
            Deed::Move { .. } | Deed::Expunge | Deed::Store { .. }
                if soft || part.operation.class != Class::Destroy =>
            {
                self.before_moving(account, epoch, on).await.map_err(Failure::Snapshot)?
            }
            _ => BTreeMap::<u32, Present>::new(),
        };
        let end = match deed {
            Deed::Expunge | Deed::Store { .. } if soft => End::Trashed { mailbox: server.trash.clone() },
            Deed::Expunge => End::Copied { subscribed },
            Deed::Store { .. } if destroys => End::Copied { subscribed },
            Deed::Delete { .. } if soft => End::Trashed { mailbox: trashed(&on.mailbox, &server, undo_id) },
            Deed::Delete { .. } => End::Copied { subscribed },
            Deed::SetAcl { who, .. } => {
                let rights = self.rights(account, epoch, &on.mailbox, who).await.map_err(Failure::Snapshot)?;
                End::Shared { rights }
            }
            _ => End::Plain,
        };
        let steps = steps(deed, on, &server, soft, undo_id)
            .map_err(|why| Failure::Snapshot(ReadError::Answer(why.to_string())))?;
        let agent = permit.agent().to_owned();
        let to = match deed {
            Deed::Move { to } => Some(to),
            Deed::Expunge | Deed::Store { .. } if soft => server.trash.as_ref(),
            _ => None,
        };
        let next = match to {
            Some(to) => self.next_of(account, epoch, to).await.map_err(Failure::Snapshot)?,
            None => None,
        };
        let entry = entry(part, deed, on, (&before, next), &end);
        let undo = entry.map(|entry| Undo::new(undo_id, &agent, &account.id, part, entry, opened.now()));
        let said = match (deed, soft) {
            (Deed::Expunge | Deed::Store { .. }, true) => "Moved to the Trash instead of being removed for ever",
            (Deed::Delete { .. }, true) => "The mailbox was moved to the Trash instead of being removed for ever",
            _ => "",
        };
        let entering = self.entering(opened, account, epoch, (deed, on, &server)).await.map_err(Failure::Snapshot)?;
        Ok(Ready { steps, undo, counter: None, said, entering, still, turn })
    }

    /// Whether what has a mailbox's name is still that mailbox. `known`: what it was told from others by, if it has that.
    pub(super) async fn standing(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        known: Option<u32>,
    ) -> Result<Standing, ReadError> {
        let now = self.mail_identity(account, epoch, mailbox).await?;
        Ok(match now {
            now if now == known => Standing::Same,
            Some(_) => Standing::Another,
            None => Standing::Unsaid,
        })
    }

    /// A mailbox is changed only if no other has its name by now.
    async fn is_the_same(&self, account: &Account, epoch: Epoch, on: &On) -> Result<(), Failure> {
        match self.standing(account, epoch, &on.mailbox, on.uidvalidity).await.map_err(Failure::Snapshot)? {
            Standing::Same => Ok(()),
            Standing::Another | Standing::Unsaid => {
                Err(Failure::Changed("since this was asked, another mailbox has taken that name".to_owned()))
            }
        }
    }

    /// A mailbox goes only with what the person saw in it, and only while this still holds: what is in it, as far as the server says where it stands.
    async fn is_as_shown(
        &self,
        account: &Account,
        epoch: Epoch,
        on: &On,
        server: &Server,
    ) -> Result<Option<Still>, Failure> {
        let changed = |what: &str| Err(Failure::Changed(format!("since it was shown, {what}")));
        if self.standing(account, epoch, &on.mailbox, on.uidvalidity).await.map_err(Failure::Snapshot)?
            != Standing::Same
        {
            return changed("the mailbox was made anew");
        }
        // First where it stands: what comes after the search is seen by that.
        let next = self.next_of(account, epoch, &on.mailbox).await.map_err(Failure::Snapshot)?;
        let place = Some((on.mailbox.as_str(), on.uidvalidity));
        let call = command("UID SEARCH", place, &[Token::atom("ALL")]).ok_or(Failure::NotDivisible)?;
        let now = self.mail_read(account, epoch, &call).await.map_err(Failure::Snapshot)?.sorted();
        let shown: BTreeSet<u32> = on.uids.iter().copied().collect();
        if now.iter().any(|uid| !shown.contains(uid)) {
            return changed("other messages came into the mailbox");
        }
        if self.mail_has_below(account, epoch, &on.mailbox, server).await.map_err(Failure::Snapshot)? {
            return changed("mailboxes were made below it");
        }
        let still = |next: Next| [("UIDVALIDITY", next.uidvalidity), ("UIDNEXT", next.uid)];
        Ok(next.map(|next| Still::new(&on.mailbox, still(next))))
    }

    /// Copies of what will be gone for ever: of which messages there are some now. An error means that nothing may go.
    async fn keep_mail(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        deed: &Deed,
        on: &On,
        entry: &str,
    ) -> Result<On, Failure> {
        let copied = self.copy_mail(opened, account, epoch, on, entry).await;
        let wanted = matches!(deed, Deed::Expunge | Deed::Store { .. });
        match copied {
            Ok(copied) if copied.uids.is_empty() && wanted => {
                Err(Failure::Quarantine("these messages are not in the mailbox any more".to_owned()))
            }
            copied => copied,
        }
    }

    async fn copy_mail(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        on: &On,
        entry: &str,
    ) -> Result<On, Failure> {
        let uidvalidity =
            on.uidvalidity.ok_or_else(|| Failure::Quarantine("it is not known what is in it".to_owned()))?;
        let mut copied = On { uids: Vec::with_capacity(on.uids.len()), ..on.clone() };
        for uid in &on.uids {
            let one = On { uids: vec![*uid], ..on.clone() };
            let items = ["UID", "FLAGS", "INTERNALDATE", "BODY.PEEK[]"];
            let mut found = self.mail_fetch(account, epoch, &one, &items).await.map_err(Failure::Snapshot)?;
            // The server shows no such message now: without a copy it must not be removed either.
            let Some(fetched) = found.remove(uid) else { continue };
            let Some(body) = fetched.body else {
                return Err(Failure::Quarantine("the mail server did not send a whole message".to_owned()));
            };
            let kept = Kept { flags: fetched.present.flags.into_iter().collect(), date: fetched.date, body };
            let content = serde_json::to_vec(&kept).map_err(|error| Failure::Quarantine(error.to_string()))?;
            let copy = Copied { entry: entry.to_owned(), object: object(&on.mailbox, uidvalidity, *uid), content };
            let put = opened.store.quarantine_put(vec![copy]).await;
            put.map_err(|error| Failure::Quarantine(error.to_string()))?;
            copied.uids.push(*uid);
        }
        Ok(copied)
    }
}

/// Mailboxes of an account are made, renamed, removed and shared one at a time. `None`: others take too long.
pub(super) async fn turn(account: &Account) -> Option<MutexGuard<'_, ()>> {
    tokio::time::timeout(OTHERS, account.arranging.lock()).await.ok()
}
