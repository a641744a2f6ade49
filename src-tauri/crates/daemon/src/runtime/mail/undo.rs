//! Putting back over IMAP (I9).

use std::collections::{BTreeMap, BTreeSet};

use latch_core::classify::imap::deed::{On, Server, mailbox_named, object, place_of};
use latch_core::classify::imap::name::{INBOX, shown};
use latch_core::lease::Epoch;
use latch_core::undo::imap::{
    APPENDED, BackStep, Present, arranged, identity, inverse, out_of_reach, rights_after, same_rights, whereabouts,
};
use latch_core::undo::{Change, Difference};
use latch_ipc::contract::UndoResult;
use latch_ipc::rpc::{ErrorCode, RpcError};

use super::back::Returning;
use super::execute::LABELS;
use super::ready::{Standing, turn};
use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;
use crate::runtime::stop::storage;
use crate::runtime::undo::Undo;
use crate::runtime::{Opened, Runtime};
use crate::upstream::Fault;
use crate::upstream::imap::{Source, Still};

const NEW_UIDS: &str =
    "Messages that were moved or copied back have new UIDs; their text, flags and dates are as before.";

/// So many of them are named.
const MOST_NAMED: usize = 10;

const GONE: &str =
    "the mailbox that it was in is not there: undo first what was done to that mailbox, or give it its name again";
const TURN: &str = "mailboxes of this account are being changed just now, so nothing was put back: try again";
const MISSED: &str = "the mail server did not let all of the mailbox be looked at: try again later";

impl Runtime {
    pub(crate) async fn put_back_mail(
        &self,
        opened: &Opened,
        undo: Undo,
        account: &Account,
    ) -> Result<UndoResult, RpcError> {
        let failed = |error: ReadError| RpcError::new(ErrorCode::Upstream, format!("nothing was put back: {error}"));
        let epoch = opened.gate.current();
        let server = self.mail_server_now(opened, account, epoch).await.map_err(failed)?;
        let mut going = Returning::of(self, opened, account, undo).await?;
        let arranges = going.undo.entry.changes.iter().any(|change| place_of(&change.object).is_none());
        let one = match arranges {
            true => Some(turn(account).await.ok_or_else(|| RpcError::new(ErrorCode::Conflict, TURN))?),
            false => None,
        };
        let (undo, missed) = self.found_again(account, epoch, &server, going.undo).await.map_err(failed)?;
        let (mut now, gone) = self.present(account, epoch, &undo, &server).await.map_err(failed)?;
        self.wherever(account, epoch, &undo, &server, &mut now).await.map_err(failed)?;
        let gone = out_of_reach(&undo.entry, &gone, &now);
        let back = inverse(&undo.entry, &now, &server);
        let changed: Vec<String> = undo.entry.changes.iter().map(|change| change.object.clone()).collect();
        let agents = self.brings_back_agents(opened, &undo, &changed).await?;
        going.undo = undo;
        for (object, why) in back.not_restored {
            match (missed.contains(&object), gone.contains(&object)) {
                (true, _) => going.left(&object, MISSED),
                (_, true) => going.left(&object, GONE),
                _ => going.left(&object, &why),
            }
        }
        going.failing.extend(missed.into_iter().chain(gone));
        for one in back.steps {
            if one.objects.iter().any(|object| going.failing.contains(object)) {
                going.skips(one);
                continue;
            }
            if self.is_there_again(account, epoch, &going.undo, &one).await {
                going.restored.extend(one.objects);
                continue;
            }
            match self.is_the_agents(account, epoch, &going.undo, &one, &server).await {
                Ok(still) => going.step(one, still, &server).await?,
                Err(why) => going.fails(one.objects, &why),
            }
        }
        // Copies take their time, and name no mailbox that is not there.
        drop(one);
        going.reinsert(&now).await?;
        going.result.notes.extend(new_uids(&going.renamed));
        if let Some(agents) = agents {
            let Returning { renamed, failing, .. } = &going;
            let made: Vec<String> = agents.messages.iter().filter_map(|one| renamed.get(one).cloned()).collect();
            // Otherwise it stays in doubt: one that nobody knows of may be back, too.
            if agents.messages.iter().all(|one| renamed.contains_key(one) || !failing.contains(one)) {
                let commit = opened.guard().wrote(&agents.doubt, made);
                opened.store.commit(commit).await.map_err(|error| storage(&error))?;
            }
        }
        going.over().await
    }

    /// What is where the entry says that it went, and the mailboxes among these that are not there.
    async fn present(
        &self,
        account: &Account,
        epoch: Epoch,
        undo: &Undo,
        server: &Server,
    ) -> Result<(BTreeMap<String, Present>, BTreeSet<(String, u32)>), ReadError> {
        let labels = undo.entry.recipe == "labels" || (server.gmail && undo.entry.recipe == APPENDED);
        let items: &[&str] = if labels { &LABELS } else { &["UID", "FLAGS"] };
        let (mut now, mut gone) = (BTreeMap::new(), BTreeSet::new());
        for ((mailbox, uidvalidity), uids) in whereabouts(&undo.entry) {
            let on = On { mailbox: mailbox.clone(), uidvalidity: Some(uidvalidity), uids };
            match self.mail_fetch(account, epoch, &on, items).await {
                Ok(found) => {
                    now.extend(found.into_iter().map(|(uid, one)| (object(&mailbox, uidvalidity, uid), one.present)));
                }
                // A mailbox that is gone, or was made anew, holds none of them.
                Err(ReadError::Upstream(error)) if is_gone(&error.fault, server) => {
                    gone.insert((mailbox, uidvalidity));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((now, gone))
    }

    /// Whether a mailbox is what the agent left behind, and what must still hold when it goes; `Err`: why it stays as it is, for now. Another may have its name,
    /// somebody may have filled it since or changed who gets into it, or nobody can say.
    async fn is_the_agents(
        &self,
        account: &Account,
        epoch: Epoch,
        undo: &Undo,
        one: &BackStep,
        server: &Server,
    ) -> Result<Option<Still>, String> {
        let unseen = |error: ReadError| format!("it can't be looked at: {error}");
        let is_mailbox = |object: &&String| one.step.uids.is_empty() && place_of(object).is_none();
        let (Some(_), Some(mailbox)) = (one.objects.first().filter(is_mailbox), arranged(&undo.entry)) else {
            return Ok(None);
        };
        let known = identity(&undo.entry);
        if let Some(known) = known {
            match self.standing(account, epoch, mailbox, known).await.map_err(unseen)? {
                Standing::Same => {}
                Standing::Another => return Err("another mailbox has its name by now".to_owned()),
                Standing::Unsaid => return Err("there is no mailbox of its name by now".to_owned()),
            }
        }
        if let Some((who, after)) = rights_after(&undo.entry) {
            let now = self.rights(account, epoch, mailbox, who).await.map_err(unseen)?;
            return match same_rights(now.as_deref(), after) {
                true => Ok(None),
                false => Err("who gets into it was changed again since".to_owned()),
            };
        }
        if undo.entry.recipe != "created" {
            return Ok(None);
        }
        let count = self.mail_count(account, epoch, mailbox).await.map_err(unseen)?;
        if count > 0 {
            return Err(format!("{count} messages are in it by now"));
        }
        if self.mail_has_below(account, epoch, mailbox, server).await.map_err(unseen)? {
            return Err("there are mailboxes below it by now".to_owned());
        }
        let same = known.flatten().map(|uidvalidity| ("UIDVALIDITY", uidvalidity));
        Ok(Some(Still::new(mailbox, std::iter::once(("MESSAGES", 0)).chain(same))))
    }

    /// A mailbox that was deleted and somebody made again takes back what was in it.
    async fn is_there_again(&self, account: &Account, epoch: Epoch, undo: &Undo, one: &BackStep) -> bool {
        let copied = |change: &Change, object: &String| {
            change.object == *object && change.difference == Difference::Copied && place_of(object).is_none()
        };
        let made_again = |object: &&String| undo.entry.changes.iter().any(|change| copied(change, object));
        let creates = one.step.call.method.as_str() == "CREATE";
        match one.objects.first().filter(|_| creates).filter(made_again) {
            Some(mailbox) => self.mail_count(account, epoch, mailbox_named(mailbox)).await.is_ok(),
            None => false,
        }
    }
}

/// Which UIDs are others now: the first ones by name, and how many there are.
fn new_uids(renamed: &BTreeMap<String, String>) -> Option<String> {
    let place = |object| place_of(object).map(|(mailbox, _, uid)| (mailbox, uid));
    let changed = renamed.iter().filter(|(old, new)| old != new);
    let mut all: Vec<_> = changed.filter_map(|(old, new)| Some((place(old)?, place(new)?.1))).collect();
    all.sort_unstable();
    let one = |((mailbox, old), new): &((&str, u32), u32)| {
        format!("{old} in {} is {new} now", shown(mailbox).unwrap_or_else(|| (*mailbox).to_owned()))
    };
    let mut named: Vec<String> = all.iter().take(MOST_NAMED).map(one).collect();
    let more = all.len().saturating_sub(named.len());
    named.extend((more > 0).then(|| format!("and {more} more")));
    (!all.is_empty()).then(|| format!("{NEW_UIDS} {}.", named.join(", ")))
}

/// How the person hears of an object that was not put back: a mailbox by its name.
pub(super) fn told_as(object: &str) -> String {
    if place_of(object).is_some() { object.to_owned() } else { mailbox_named(object).to_owned() }
}

/// Whether a mailbox can't hold what is looked for: it is not there, or was made anew. Some servers say only that they can't open it.
pub(super) fn is_gone(fault: &Fault, server: &Server) -> bool {
    match fault {
        Fault::Changed { .. } | Fault::NotThere { .. } => true,
        Fault::NotOpened { mailbox, .. } => {
            mailbox != INBOX && (!server.listed.contains(mailbox) || server.bare.contains(mailbox))
        }
        _ => false,
    }
}

/// A mail that is there already.
pub(crate) struct Whole {
    left: bytes::Bytes,
    is_over: bool,
}

impl Whole {
    pub(crate) fn new(mail: impl Into<bytes::Bytes>) -> Self {
        Self { left: mail.into(), is_over: false }
    }

    /// Whether the command's end may have left. Before that the server keeps nothing of the mail.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Source for Whole {
    fn next(&mut self, left: u64) -> futures_util::future::BoxFuture<'_, Option<bytes::Bytes>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.left.len());
        let piece = self.left.split_to(most);
        Box::pin(std::future::ready((!piece.is_empty()).then_some(piece)))
    }

    fn ended(&mut self) -> futures_util::future::BoxFuture<'_, bool> {
        self.is_over = true;
        Box::pin(std::future::ready(self.left.is_empty()))
    }
}
