//! What leaves while an entry is put back: call by call, each with its intent. What came back as a copy is noted with the call's outcome, so that whatever
//! cuts an undo off, nothing comes back twice.

use std::collections::{BTreeMap, BTreeSet};

use latch_core::call::Call;
use latch_core::classify::imap::deed::{On, Server, append_call, mailbox_object, object, place_of};
use latch_core::classify::imap::reply::Status;
use latch_core::classify::imap::steps::store;
use latch_core::classify::imap::token::Token;
use latch_core::journal::{Commit, Put, Shelf};
use latch_core::operation::Class;
use latch_core::plan::Plan;
use latch_core::undo::Difference;
use latch_core::undo::imap::{BackStep, DELETED, Present};
use latch_ipc::contract::{NotRestored, UndoResult};
use latch_ipc::rpc::RpcError;

use super::execute::MAX_ANSWER;
use super::ready::Kept;
use super::undo::{Whole, told_as};
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::stop::storage;
use crate::runtime::undo::{AT_ONCE, Pages, Undo, halfway, rest};
use crate::runtime::{Opened, Runtime};
use crate::upstream::imap::{MailAnswer, Still};
use crate::upstream::{Fault, UpstreamError};

const UNCOPIED: &str = "the mail server did not say that it copied it back, so it was left where it is, too";
const NOT_KEPT: &str = "its copy is not there any more";
/// So many copies in a row may get no answer before the rest waits for another time.
const MOST_UNANSWERED: usize = 3;

/// An entry on its way back.
pub(super) struct Returning<'a> {
    runtime: &'a Runtime,
    opened: &'a Opened,
    account: &'a Account,
    /// What is left of it.
    pub(super) undo: Undo,
    pub(super) result: UndoResult,
    pub(super) restored: BTreeSet<String>,
    /// They stay to be undone later.
    pub(super) failing: BTreeSet<String>,
    /// Old object and new one.
    pub(super) renamed: BTreeMap<String, String>,
    /// Copies that are back, and are still named by the stored entry.
    noted: BTreeMap<String, String>,
    /// What its messages were called at first.
    names: BTreeSet<String>,
    /// Entries that name some of these, too.
    others: Option<Vec<Undo>>,
}

/// A call that has left, or was kept from it.
struct Sent {
    plan: Plan,
    intent: u64,
    answer: Result<MailAnswer, String>,
    /// The server did not say what became of it.
    unanswered: bool,
}

enum What<'a> {
    /// A command.
    Plain,
    /// One that leaves only while its mailbox is like this.
    While(Still),
    /// A mail's.
    Mail(&'a mut Whole),
}

impl<'a> Returning<'a> {
    /// Takes up what an undo that was cut off has noted.
    pub(super) async fn of(
        runtime: &'a Runtime,
        opened: &'a Opened,
        account: &'a Account,
        undo: Undo,
    ) -> Result<Self, RpcError> {
        let noted = opened.store.document(Shelf::Undo, &halfway(&undo.id)).await.map_err(|error| storage(&error))?;
        let noted: BTreeMap<String, String> =
            noted.and_then(|noted| serde_json::from_value(noted).ok()).unwrap_or_default();
        let names = undo.entry.changes.iter().map(|change| change.object.clone()).collect();
        let mut back = Self {
            runtime,
            opened,
            account,
            undo,
            result: UndoResult::default(),
            restored: noted.keys().cloned().collect(),
            failing: BTreeSet::new(),
            renamed: noted.clone(),
            noted,
            names,
            others: None,
        };
        if !back.noted.is_empty() {
            let commit = back.without_noted().await?;
            opened.store.commit(commit).await.map_err(|error| storage(&error))?;
            opened.forget_copies_of(&back.undo.id, back.renamed.keys().cloned().collect()).await;
        }
        Ok(back)
    }

    /// These stay as they are, and can be tried again.
    pub(super) fn fails(&mut self, objects: impl IntoIterator<Item = String>, why: &str) {
        for object in objects {
            self.left(&object, why);
            self.failing.insert(object);
        }
    }

    /// This one stays as it is.
    pub(super) fn left(&mut self, object: &str, why: &str) {
        self.result.not_restored.push(NotRestored { object: told_as(object), why: why.to_owned() });
    }

    /// A step that can't be taken, since an earlier one failed for some of its objects.
    pub(super) fn skips(&mut self, one: BackStep) {
        let others: Vec<String> = one.objects.into_iter().filter(|object| !self.failing.contains(object)).collect();
        self.stops(others, "it was not tried, because what had to be done before failed for others");
    }

    /// No further steps for these. What is back by now must not come back again.
    fn stops(&mut self, objects: Vec<String>, why: &str) {
        let (back, others): (Vec<String>, Vec<String>) =
            objects.into_iter().partition(|object| self.renamed.contains_key(object));
        for object in back {
            self.left(&object, &format!("it is back, and may still be where it was put, too: {why}"));
        }
        self.fails(others, why);
    }

    /// One step; `still`: it leaves only while its mailbox is like this.
    pub(super) async fn step(&mut self, one: BackStep, still: Option<Still>, server: &Server) -> Result<(), RpcError> {
        let sent = self.sent(&one.step.call, one.objects.len(), still.map_or(What::Plain, What::While)).await?;
        self.note(&sent, Commit::default()).await?;
        let answer = match sent.answer {
            Ok(answer) => answer,
            Err(why) => {
                self.stops(one.objects, &why);
                return Ok(());
            }
        };
        let arrived = arrived(&one, &answer);
        if one.mark {
            for (object, why) in self.mark(arrived.values(), "+FLAGS.SILENT").await? {
                self.left(&object, &format!("it is back, but not marked as deleted as it was: {why}"));
            }
        }
        // What nobody said to be copied is not removed by the steps that follow.
        let said = |object: &String| server.moves || one.step.moves_to.is_none() || arrived.contains_key(object);
        let (come, unsaid): (Vec<String>, Vec<String>) = one.objects.into_iter().partition(said);
        self.renamed.extend(arrived);
        if one.restores {
            self.restored.extend(come);
        }
        self.fails(unsaid, UNCOPIED);
        Ok(())
    }

    /// Quarantined copies go back into their mailbox, unless the message never went. What the server did not take can be tried again.
    pub(super) async fn reinsert(&mut self, now: &BTreeMap<String, Present>) -> Result<(), RpcError> {
        let copied = self.undo.entry.changes.iter().filter(|change| change.difference == Difference::Copied);
        let names: Vec<String> =
            copied.map(|change| change.object.clone()).filter(|name| place_of(name).is_some()).collect();
        let (mut marked, mut unanswered) = (Vec::new(), (0, String::new()));
        for name in names {
            let Some((mailbox, ..)) = place_of(&name) else { continue };
            if let Some(present) = now.get(&name) {
                let kept = self.opened.copy_of::<Kept>(&self.undo.id, &name).await.ok().flatten();
                let was = |kept: Kept| kept.flags.iter().any(|flag| flag.eq_ignore_ascii_case(DELETED));
                if present.mark().is_some() && kept.is_some_and(|kept| !was(kept)) {
                    marked.push(name);
                } else {
                    self.came(name.clone(), name);
                }
                continue;
            }
            if self.runtime.tasks.is_ending() {
                self.fails([name], &Failure::Ending.to_string());
            } else if self.failing.contains(&mailbox_object(mailbox)) {
                self.fails([name], "its mailbox could not be made again");
            } else if unanswered.0 >= MOST_UNANSWERED {
                self.fails([name], &unanswered.1);
            } else {
                match self.opened.copy_of::<Kept>(&self.undo.id, &name).await {
                    Ok(Some(kept)) => match self.append(&name, kept).await? {
                        None => unanswered.0 = 0,
                        Some(why) => unanswered = (unanswered.0 + 1, why),
                    },
                    Ok(None) => self.left(&name, NOT_KEPT),
                    Err(why) => self.fails([name], &why),
                }
            }
        }
        let unmarked = self.mark(marked.iter(), "-FLAGS.SILENT").await?;
        for name in marked {
            match unmarked.get(&name) {
                Some(why) => self.fails([name], &format!("it is still marked as deleted: {why}")),
                None => self.came(name.clone(), name),
            }
        }
        Ok(())
    }

    fn came(&mut self, name: String, new: String) {
        self.restored.insert(name.clone());
        self.renamed.insert(name, new);
    }

    /// Stores one copy; why, if the server did not say what became of it.
    async fn append(&mut self, name: &str, kept: Kept) -> Result<Option<String>, RpcError> {
        let Some((mailbox, ..)) = place_of(name) else { return Ok(None) };
        let mut args = vec![Token::text(mailbox), Token::atoms(kept.flags)];
        args.extend(kept.date.map(Token::text));
        let Some(call) = append_call(mailbox, &args, kept.body.len() as u64) else {
            self.left(name, "its mailbox can't be written");
            return Ok(None);
        };
        let mut whole = Whole::new(kept.body);
        let sent = self.sent(&call, 1, What::Mail(&mut whole)).await?;
        let answer = match &sent.answer {
            Ok(answer) => answer,
            Err(why) => {
                self.note(&sent, Commit::default()).await?;
                self.fails([name.to_owned()], why);
                return Ok(sent.unanswered.then(|| why.clone()));
            }
        };
        let new = answer.statuses().find_map(Status::appended);
        let new = new.map_or_else(|| name.to_owned(), |(uidvalidity, uid)| object(mailbox, uidvalidity, uid));
        self.noted.insert(name.to_owned(), new.clone());
        self.came(name.to_owned(), new);
        let noted = if self.noted.len() < AT_ONCE {
            let value = serde_json::to_value(&self.noted).unwrap_or_default();
            let put = Put { shelf: Shelf::Undo, id: halfway(&self.undo.id), value };
            Commit { puts: vec![put], ..Commit::default() }
        } else {
            self.without_noted().await?
        };
        self.note(&sent, noted).await?;
        self.opened.forget_copies_of(&self.undo.id, vec![name.to_owned()]).await;
        Ok(None)
    }

    /// The entry without what is noted as back, which others learn of.
    async fn without_noted(&mut self) -> Result<Commit, RpcError> {
        let noted = std::mem::take(&mut self.noted);
        let mut puts = self.follow(&noted).await?;
        let entry = &mut self.undo.entry;
        entry.changes.retain(|change| !noted.contains_key(&change.object));
        self.undo.undone = entry.changes.is_empty();
        puts.push(self.undo.put());
        Ok(Commit { puts, deletes: vec![(Shelf::Undo, halfway(&self.undo.id))], ..Commit::default() })
    }

    /// What can be tried again stays; everything else is over.
    pub(super) async fn over(mut self) -> Result<UndoResult, RpcError> {
        let renamed = self.renamed.clone();
        let mut puts = self.follow(&renamed).await?;
        let copied = |name: &&String| {
            let is_copy = |change: &latch_core::undo::Change| change.difference == Difference::Copied;
            self.undo.entry.changes.iter().any(|change| change.object == **name && is_copy(change))
        };
        let copies = renamed.keys().filter(|name| !self.failing.contains(*name)).filter(copied).cloned().collect();
        let failing: Vec<String> = self.failing.iter().cloned().collect();
        let done = rest(self.undo.clone(), &failing);
        puts.push(done.put());
        let commit = Commit { puts, deletes: vec![(Shelf::Undo, halfway(&self.undo.id))], ..Commit::default() };
        self.opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.opened.guard().forget_answers(&done.account);
        self.opened.forget_copies_of(&self.undo.id, copies).await;
        self.result.restored = u32::try_from(self.restored.len()).unwrap_or(u32::MAX);
        Ok(self.result)
    }

    /// A call's intent and the call; its outcome is for [`Self::note`].
    async fn sent(&self, call: &Call, objects: usize, what: What<'_>) -> Result<Sent, RpcError> {
        let count = u32::try_from(objects).unwrap_or(u32::MAX);
        let Undo { account, entry, .. } = &self.undo;
        let calls = std::slice::from_ref(call);
        let mut plan = self.opened.guard().begin_undo(account, &entry.action, Class::Modify, count, calls);
        let commit = self.opened.guard().intent(&mut plan, 0, self.opened.now());
        crate::fail::point("before-intent");
        let intent = self.opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        crate::fail::point("after-intent");
        let (upstream, target) = (&self.opened.upstream, &self.account.target);
        let lease = self.opened.guard().lease(&mut plan, 0);
        let sent = match (lease, what) {
            (Err(stopped), _) => Err((stopped.to_string(), false)),
            (Ok(lease), What::Plain) => upstream.mail(lease, target, call, MAX_ANSWER).await.map_err(told),
            (Ok(lease), What::While(still)) => {
                upstream.mail_while(lease, target, call, &still, MAX_ANSWER).await.map_err(changed)
            }
            (Ok(lease), What::Mail(mail)) => upstream.mail_append(lease, target, call, mail).await.map_err(told),
        };
        crate::fail::point("before-outcome");
        let unanswered = sent.is_err();
        let answer = match sent {
            Ok(answer) if answer.is_ok() => Ok(answer),
            Ok(answer) => Err(format!("the mail server said no: {}", answer.status.text)),
            Err((why, true)) => Err(format!("it may be back already, look before you try again: {why}")),
            Err((why, false)) => Err(why),
        };
        Ok(Sent { plan, intent, answer, unanswered })
    }

    /// A call's outcome, and what is stored together with it.
    async fn note(&self, sent: &Sent, beside: Commit) -> Result<(), RpcError> {
        let text = match &sent.answer {
            Ok(_) => "put back".to_owned(),
            Err(why) => format!("not put back: {why}"),
        };
        let undo = Some(self.undo.id.clone());
        let mut commit = self.opened.guard().outcome(&sent.plan, sent.intent, undo, text, self.opened.now());
        commit.extend(beside);
        self.opened.store.commit(commit).await.map(|_| ()).map_err(|error| storage(&error))
    }

    /// Marks messages as deleted, as they were before, or takes a mark off that they did not have. Those for which that failed, and why.
    async fn mark(
        &self,
        objects: impl Iterator<Item = &String>,
        item: &str,
    ) -> Result<BTreeMap<String, String>, RpcError> {
        let mut places: BTreeMap<(String, u32), Vec<u32>> = BTreeMap::new();
        for (mailbox, uidvalidity, uid) in objects.filter_map(|object| place_of(object)) {
            places.entry((mailbox.to_owned(), uidvalidity)).or_default().push(uid);
        }
        let mut failed = BTreeMap::new();
        for ((mailbox, uidvalidity), uids) in places {
            let on = On { mailbox, uidvalidity: Some(uidvalidity), uids };
            let steps = store(&on, item, vec![Token::atom(DELETED)], None, true).unwrap_or_default();
            for step in steps {
                let sent = self.sent(&step.call, step.uids.len(), What::Plain).await?;
                self.note(&sent, Commit::default()).await?;
                if let Err(why) = &sent.answer {
                    let named = step.uids.iter().map(|uid| (object(&on.mailbox, uidvalidity, *uid), why.clone()));
                    failed.extend(named);
                }
            }
        }
        Ok(failed)
    }

    /// Other entries know messages by UIDs that are no longer theirs: they learn the new ones.
    async fn follow(&mut self, renamed: &BTreeMap<String, String>) -> Result<Vec<Put>, RpcError> {
        if renamed.iter().all(|(old, new)| old == new) {
            return Ok(Vec::new());
        }
        if self.others.is_none() {
            self.others = Some(self.naming_the_same().await?);
        }
        let mut puts = Vec::new();
        for undo in self.others.iter_mut().flatten() {
            let mut touched = false;
            for name in undo.entry.changes.iter_mut().flat_map(names_of) {
                if let Some(new) = renamed.get(name).filter(|new| *new != name) {
                    name.clone_from(new);
                    touched = true;
                }
            }
            if touched {
                puts.push(undo.put());
            }
        }
        Ok(puts)
    }

    async fn naming_the_same(&mut self) -> Result<Vec<Undo>, RpcError> {
        self.names.extend(self.undo.entry.changes.iter().map(|change| change.object.clone()));
        let mut others = Vec::new();
        let mut pages = Pages::newest_first(self.opened);
        while let Some(page) = pages.next().await.map_err(|error| storage(&error))? {
            let theirs = page
                .into_iter()
                .filter(|undo| undo.account == self.undo.account && undo.id != self.undo.id && !undo.undone);
            others.extend(theirs.filter_map(|mut undo| {
                let named = undo.entry.changes.iter_mut().flat_map(names_of).any(|name| self.names.contains(name));
                named.then_some(undo)
            }));
        }
        Ok(others)
    }
}

/// What a change calls its message, and where that went.
fn names_of(change: &mut latch_core::undo::Change) -> impl Iterator<Item = &mut String> {
    let to = match &mut change.difference {
        Difference::Moved { to, .. } => to.as_mut(),
        _ => None,
    };
    std::iter::once(&mut change.object).chain(to)
}

fn told(error: UpstreamError) -> (String, bool) {
    (error.to_string(), error.sent)
}

fn changed(error: UpstreamError) -> (String, bool) {
    match error.fault {
        Fault::Changed { .. } => ("something came into it just now, or another has its name".to_owned(), false),
        _ => told(error),
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
