//! Putting back over IMAP (I9).

use std::collections::{BTreeMap, BTreeSet};

use latch_core::classify::imap::deed::{On, Server, append_call, mailbox_named, object, place_of};
use latch_core::classify::imap::name::{INBOX, shown};
use latch_core::classify::imap::reply::Status;
use latch_core::classify::imap::steps::store;
use latch_core::classify::imap::token::Token;
use latch_core::journal::Commit;
use latch_core::operation::Class;
use latch_core::undo::imap::{
    APPENDED, BackStep, DELETED, Present, identity, inverse, made, rights_after, same_rights, whereabouts,
};
use latch_core::undo::{Change, Difference};
use latch_ipc::contract::{NotRestored, UndoResult};
use latch_ipc::rpc::{ErrorCode, RpcError};

use super::execute::{Kept, LABELS, MAX_ANSWER};
use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;
use crate::runtime::stop::storage;
use crate::runtime::undo::{Pages, Undo, rest};
use crate::runtime::{Opened, Runtime};
use crate::store::StoreError;
use crate::upstream::Fault;
use crate::upstream::imap::{MailAnswer, Source};

const NEW_UIDS: &str =
    "Messages that were moved or copied back have new UIDs; their text, flags and dates are as before.";

/// So many of them are named.
const MOST_NAMED: usize = 10;

const UNCOPIED: &str = "the mail server did not say that it copied it back, so it was left where it is, too";
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
        let arranges = undo.entry.changes.iter().any(|change| place_of(&change.object).is_none());
        let _one = if arranges { Some(account.arranging.lock().await) } else { None };
        let (undo, missed) = self.found_again(account, epoch, &server, undo).await.map_err(failed)?;
        let mut now = self.present(account, epoch, &undo, &server).await.map_err(failed)?;
        self.wherever(account, epoch, &undo, &server, &mut now).await.map_err(failed)?;
        let back = inverse(&undo.entry, &now, &server);
        let changed: Vec<String> = undo.entry.changes.iter().map(|change| change.object.clone()).collect();
        let agents = self.brings_back_agents(opened, &undo, &changed).await?;
        let mut result = UndoResult::default();
        let told = |(object, why): (String, String)| {
            let why = if missed.contains(&object) { MISSED.to_owned() } else { why };
            NotRestored { object: told_as(&object), why }
        };
        result.not_restored.extend(back.not_restored.into_iter().map(told));
        let mut restored: BTreeSet<String> = BTreeSet::new();
        // They stay to be undone later.
        let mut failing = missed.clone();
        let mut renamed: BTreeMap<String, String> = BTreeMap::new();
        for one in back.steps {
            if one.objects.iter().any(|object| failing.contains(object)) {
                continue;
            }
            if self.is_there_again(account, epoch, &undo, &one).await {
                restored.extend(one.objects);
                continue;
            }
            if let Some(why) = self.is_anothers(account, epoch, &undo, &one, &server).await {
                result.not_restored.extend(
                    one.objects.into_iter().map(|object| NotRestored { object: told_as(&object), why: why.clone() }),
                );
                continue;
            }
            let (why, answer) = self.back_step(opened, account, &undo, &one).await?;
            match (why, answer) {
                (None, Some(answer)) => {
                    let arrived = arrived(&one, &answer);
                    if one.mark && !arrived.is_empty() {
                        self.mark(opened, account, &undo, arrived.values(), "+FLAGS.SILENT").await?;
                    }
                    // What nobody said to be copied is not removed by the steps that follow.
                    let said =
                        |object: &String| server.moves || one.step.moves_to.is_none() || arrived.contains_key(object);
                    let (come, unsaid): (Vec<String>, Vec<String>) = one.objects.into_iter().partition(said);
                    renamed.extend(arrived);
                    if one.restores {
                        restored.extend(come);
                    }
                    let told = |object: &String| NotRestored { object: told_as(object), why: UNCOPIED.to_owned() };
                    result.not_restored.extend(unsaid.iter().map(told));
                    failing.extend(unsaid);
                }
                (why, _) => {
                    let why = why.unwrap_or_default();
                    failing.extend(one.objects.iter().cloned());
                    result.not_restored.extend(
                        one.objects
                            .into_iter()
                            .map(|object| NotRestored { object: told_as(&object), why: why.clone() }),
                    );
                }
            }
        }
        for (object, new) in self.reinsert_mail(opened, account, &undo, &now, &mut result, &mut failing).await? {
            restored.insert(object.clone());
            renamed.insert(object, new);
        }
        result.restored = u32::try_from(restored.len()).unwrap_or(u32::MAX);
        result.notes.extend(new_uids(&renamed));
        if let Some(agents) = agents {
            let made: Vec<String> = agents.messages.iter().filter_map(|one| renamed.get(one).cloned()).collect();
            // Otherwise it stays in doubt: one that nobody knows of may be back, too.
            if agents.messages.iter().all(|one| renamed.contains_key(one) || !failing.contains(one)) {
                let commit = opened.guard().wrote(&agents.doubt, made);
                opened.store.commit(commit).await.map_err(|error| storage(&error))?;
            }
        }
        let failing: Vec<String> = failing.into_iter().collect();
        let puts = self.follow(opened, &undo, &renamed).await.map_err(|error| storage(&error))?;
        let mut commit = Commit { puts, ..Commit::default() };
        let done = rest(undo, &failing);
        commit.puts.push(done.put());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        opened.guard().forget_answers(&done.account);
        let copies: Vec<String> = renamed
            .into_keys()
            .filter(|object| {
                done.entry
                    .changes
                    .iter()
                    .any(|change| change.object == *object && change.difference == Difference::Copied)
            })
            .collect();
        if !copies.is_empty()
            && let Err(error) = opened.store.quarantine_forget(&done.id, copies).await
        {
            tracing::warn!(%error, "copies of what is back stay in the quarantine");
        }
        Ok(result)
    }

    /// What is where the entry says that it went.
    async fn present(
        &self,
        account: &Account,
        epoch: latch_core::lease::Epoch,
        undo: &Undo,
        server: &Server,
    ) -> Result<BTreeMap<String, Present>, ReadError> {
        let labels = undo.entry.recipe == "labels" || (server.gmail && undo.entry.recipe == APPENDED);
        let items: &[&str] = if labels { &LABELS } else { &["UID", "FLAGS"] };
        let mut now = BTreeMap::new();
        for ((mailbox, uidvalidity), uids) in whereabouts(&undo.entry) {
            let on = On { mailbox: mailbox.clone(), uidvalidity: Some(uidvalidity), uids };
            match self.mail_fetch(account, epoch, &on, items).await {
                Ok(found) => {
                    now.extend(found.into_iter().map(|(uid, one)| (object(&mailbox, uidvalidity, uid), one.present)));
                }
                // A mailbox that is gone, or was made anew, holds none of them.
                Err(ReadError::Upstream(error)) if is_gone(&error.fault, server) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(now)
    }

    /// Why a mailbox is not what the agent left behind: another has its name, somebody has filled it since, or changed who gets into it.
    async fn is_anothers(
        &self,
        account: &Account,
        epoch: latch_core::lease::Epoch,
        undo: &Undo,
        one: &BackStep,
        server: &Server,
    ) -> Option<String> {
        let object = one.objects.first().filter(|object| one.step.uids.is_empty() && place_of(object).is_none())?;
        let unseen = |error: ReadError| Some(format!("it can't be looked at: {error}"));
        if let Some((who, after)) = rights_after(&undo.entry) {
            return match self.rights(account, epoch, mailbox_named(object), who).await {
                Ok(now) if same_rights(now.as_deref(), after) => None,
                Ok(_) => Some("who gets into it was changed again since".to_owned()),
                Err(error) => unseen(error),
            };
        }
        let mailbox = made(&undo.entry)?;
        match self.mail_identity(account, epoch, mailbox).await {
            Ok(now) if identity(&undo.entry).is_none_or(|known| known == now) => {}
            Ok(_) => return Some("another mailbox has its name by now, or none".to_owned()),
            Err(error) => return unseen(error),
        }
        if undo.entry.recipe != "created" {
            return None;
        }
        match self.mail_count(account, epoch, mailbox).await {
            Ok(0) => {}
            Ok(count) => return Some(format!("{count} messages are in it by now")),
            Err(error) => return unseen(error),
        }
        match self.mail_has_below(account, epoch, mailbox, server).await {
            Ok(false) => None,
            Ok(true) => Some("there are mailboxes below it by now".to_owned()),
            Err(error) => unseen(error),
        }
    }

    /// A mailbox that was deleted and somebody made again takes back what was in it.
    async fn is_there_again(
        &self,
        account: &Account,
        epoch: latch_core::lease::Epoch,
        undo: &Undo,
        one: &BackStep,
    ) -> bool {
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

    async fn back_step(
        &self,
        opened: &Opened,
        account: &Account,
        undo: &Undo,
        one: &BackStep,
    ) -> Result<(Option<String>, Option<MailAnswer>), RpcError> {
        let call = &one.step.call;
        let count = u32::try_from(one.objects.len()).unwrap_or(u32::MAX);
        let mut plan = opened.guard().begin_undo(
            &undo.account,
            &undo.entry.action,
            Class::Modify,
            count,
            std::slice::from_ref(call),
        );
        let commit = opened.guard().intent(&mut plan, 0, opened.now());
        let intent = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        let lease = opened.guard().lease(&mut plan, 0);
        let sent = match lease {
            Ok(lease) => {
                opened.upstream.mail(lease, &account.target, call, MAX_ANSWER).await.map_err(|error| error.to_string())
            }
            Err(stopped) => Err(stopped.to_string()),
        };
        let (why, answer) = match sent {
            Ok(answer) if answer.is_ok() => (None, Some(answer)),
            Ok(answer) => (Some(format!("the mail server said no: {}", answer.status.text)), None),
            Err(error) => (Some(error), None),
        };
        let text = why.clone().map_or_else(|| "put back".to_owned(), |why| format!("not put back: {why}"));
        let commit = opened.guard().outcome(&plan, intent, Some(undo.id.clone()), text, opened.now());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok((why, answer))
    }

    /// Marks messages as deleted, as they were before, or takes a mark off that they did not have.
    async fn mark(
        &self,
        opened: &Opened,
        account: &Account,
        undo: &Undo,
        objects: impl Iterator<Item = &String>,
        item: &str,
    ) -> Result<(), RpcError> {
        let mut places: BTreeMap<(String, u32), Vec<u32>> = BTreeMap::new();
        for (mailbox, uidvalidity, uid) in objects.filter_map(|object| place_of(object)) {
            places.entry((mailbox.to_owned(), uidvalidity)).or_default().push(uid);
        }
        for ((mailbox, uidvalidity), uids) in places {
            let on = On { mailbox, uidvalidity: Some(uidvalidity), uids };
            let steps = store(&on, item, vec![Token::atom(DELETED)], None, true).unwrap_or_default();
            for step in steps {
                let one = BackStep { objects: Vec::new(), step, restores: false, mark: false };
                self.back_step(opened, account, undo, &one).await?;
            }
        }
        Ok(())
    }

    /// Quarantined copies go back into their mailbox, unless the message never went; old object and new one. What the server did not take can be tried again.
    async fn reinsert_mail(
        &self,
        opened: &Opened,
        account: &Account,
        undo: &Undo,
        now: &BTreeMap<String, Present>,
        result: &mut UndoResult,
        failing: &mut BTreeSet<String>,
    ) -> Result<Vec<(String, String)>, RpcError> {
        let (mut back, mut marked) = (Vec::new(), Vec::new());
        let is_message = |change: &&Change| place_of(&change.object).is_some();
        let copied = undo.entry.changes.iter().filter(|change| change.difference == Difference::Copied);
        let copied = copied.filter(is_message);
        for Change { object: name, .. } in copied {
            let copy = opened.store.quarantine_take(&undo.id, name).await;
            let copy = copy.map_err(|error| RpcError::new(ErrorCode::Storage, error.to_string()))?;
            let kept = copy.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
            if let Some(present) = now.get(name) {
                let was = |kept: Kept| kept.flags.iter().any(|flag| flag.eq_ignore_ascii_case(DELETED));
                marked.extend(present.mark().filter(|_| kept.is_some_and(|kept| !was(kept))).map(|_| name.clone()));
                back.push((name.clone(), name.clone()));
                continue;
            }
            let mut left =
                |why: &str| result.not_restored.push(NotRestored { object: name.clone(), why: why.to_owned() });
            let (Some(kept), Some((mailbox, _, _))) = (kept, place_of(name)) else {
                left("its copy is not there any more");
                continue;
            };
            let mut args = vec![Token::text(mailbox), Token::atoms(kept.flags)];
            args.extend(kept.date.map(Token::text));
            let Some(call) = append_call(mailbox, &args, kept.body.len() as u64) else {
                left("its mailbox can't be written");
                continue;
            };
            let mut plan = opened.guard().begin_undo(
                &undo.account,
                &undo.entry.action,
                Class::Modify,
                1,
                std::slice::from_ref(&call),
            );
            let commit = opened.guard().intent(&mut plan, 0, opened.now());
            let intent = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
            let lease = opened.guard().lease(&mut plan, 0);
            let mut whole = Whole::new(kept.body);
            let sent = match lease {
                Ok(lease) => {
                    let sent = opened.upstream.mail_append(lease, &account.target, &call, &mut whole).await;
                    sent.map_err(|error| error.to_string())
                }
                Err(stopped) => Err(stopped.to_string()),
            };
            let text = match &sent {
                Ok(answer) if answer.is_ok() => "put back".to_owned(),
                Ok(answer) => format!("the mail server said no: {}", answer.status.text),
                Err(error) => error.clone(),
            };
            let commit = opened.guard().outcome(&plan, intent, Some(undo.id.clone()), text.clone(), opened.now());
            opened.store.commit(commit).await.map_err(|error| storage(&error))?;
            match sent {
                Ok(answer) if answer.is_ok() => {
                    let new = answer.statuses().find_map(Status::appended);
                    let new = new.map_or_else(|| name.clone(), |(uidvalidity, uid)| object(mailbox, uidvalidity, uid));
                    back.push((name.clone(), new));
                }
                _ => {
                    left(&text);
                    failing.insert(name.clone());
                }
            }
        }
        self.mark(opened, account, undo, marked.iter(), "-FLAGS.SILENT").await?;
        Ok(back)
    }

    /// Earlier entries know messages by UIDs that are no longer theirs: they learn the new ones.
    async fn follow(
        &self,
        opened: &Opened,
        undone: &Undo,
        renamed: &BTreeMap<String, String>,
    ) -> Result<Vec<latch_core::journal::Put>, StoreError> {
        let mut puts = Vec::new();
        let mut pages = Pages::newest_first(opened);
        while let Some(page) = pages.next().await? {
            for mut undo in page {
                if undo.account != undone.account || undo.id == undone.id || undo.undone {
                    continue;
                }
                let mut touched = false;
                for change in &mut undo.entry.changes {
                    if let Some(new) = renamed.get(&change.object) {
                        change.object.clone_from(new);
                        touched = true;
                    }
                    if let Difference::Moved { to: Some(to), .. } = &mut change.difference
                        && let Some(new) = renamed.get(to)
                    {
                        to.clone_from(new);
                        touched = true;
                    }
                }
                if touched {
                    puts.push(undo.put());
                }
            }
        }
        Ok(puts)
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
fn told_as(object: &str) -> String {
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

/// Old object and new one, for messages that a step brought home.
fn arrived(one: &BackStep, answer: &MailAnswer) -> BTreeMap<String, String> {
    let (Some(home), Some((uidvalidity, pairs))) = (&one.step.moves_to, answer.statuses().find_map(Status::copied))
    else {
        return BTreeMap::new();
    };
    let pairs: BTreeMap<u32, u32> = pairs.into_iter().collect();
    let named = one.step.uids.iter().zip(&one.objects);
    named.filter_map(|(uid, name)| Some((name.clone(), object(home, uidvalidity, *pairs.get(uid)?)))).collect()
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
