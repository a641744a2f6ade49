//! Putting back on a calendar server (I9).

use std::collections::{BTreeMap, BTreeSet};

use latch_core::classify::dav::hrefs::Here;
use latch_core::classify::dav::look::{Found, parent, refusals};
use latch_core::journal::Commit;
use latch_core::lease::Epoch;
use latch_core::recipe::Answer;
use latch_core::undo::dav::elsewhere::ends;
use latch_core::undo::dav::{BackStep, Kept, Only, inverse, whereabouts};
use latch_core::undo::{Difference, Entry};
use latch_ipc::contract::{NotRestored, UndoResult};
use latch_ipc::rpc::{ErrorCode, RpcError};

use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::stop::storage;
use crate::runtime::undo::{Undo, rest};
use crate::runtime::{Opened, Runtime};

const NOT_KEPT: &str = "its copy is not there any more, so what is there now stays";
const NEW_VERSIONS: &str = "What is back has new versions (ETags): programs fetch it again.";

impl Runtime {
    pub(crate) async fn put_back_dav(
        &self,
        opened: &Opened,
        undo: Undo,
        account: &Account,
    ) -> Result<UndoResult, RpcError> {
        let epoch = opened.gate.current();
        let here = self.here(account);
        let mut now: BTreeMap<String, Found> = BTreeMap::new();
        for path in whereabouts(&undo.entry) {
            let found = self.dav_found(account, epoch, &here, &path).await;
            let found =
                found.map_err(|error| RpcError::new(ErrorCode::Upstream, format!("nothing was put back: {error}")))?;
            now.extend(found.map(|found| (path, found)));
        }
        for change in undo.entry.changes.iter().filter(|_| undo.entry.recipe == "made") {
            let held = self.dav_count(account, epoch, &here, &change.object).await;
            let held =
                held.map_err(|error| RpcError::new(ErrorCode::Upstream, format!("nothing was put back: {error}")))?;
            if held > 0 {
                let why = inside(held);
                let not_restored = vec![NotRestored { object: change.object.clone(), why }];
                return Ok(UndoResult { not_restored, ..UndoResult::default() });
            }
        }
        let stays = self.stays(account, &here, epoch, &undo.entry).await;
        let stays =
            stays.map_err(|error| RpcError::new(ErrorCode::Upstream, format!("nothing was put back: {error}")))?;
        if let (Some(why), Some((from, _))) = (stays, ends(&undo.entry)) {
            // It can be asked for again once nothing is in its way.
            let not_restored = vec![NotRestored { object: from.to_owned(), why }];
            return Ok(UndoResult { not_restored, ..UndoResult::default() });
        }
        if let Some(object) = self.is_without_its_collection(account, epoch, &here, &undo.entry, &now).await? {
            let why = "its calendar or address book is not at its address now".to_owned();
            return Ok(UndoResult { not_restored: vec![NotRestored { object, why }], ..UndoResult::default() });
        }
        let mut copies: BTreeMap<String, Kept> = BTreeMap::new();
        // They stay for another try, and keep no other from coming back.
        let mut unread: BTreeMap<String, String> = BTreeMap::new();
        for change in undo.entry.changes.iter().filter(|change| change.difference == Difference::Copied) {
            match opened.copy_of::<Kept>(&undo.id, &change.object).await {
                Ok(kept) => copies.extend(kept.map(|kept| (change.object.clone(), kept))),
                Err(why) => drop(unread.insert(change.object.clone(), why)),
            }
        }
        let copied = undo.entry.changes.iter().filter(|change| change.difference == Difference::Copied);
        let missing: Vec<&String> =
            copied.map(|change| &change.object).filter(|object| !copies.contains_key(*object)).collect();
        if undo.entry.recipe == "replaced-all" && !missing.is_empty() {
            // What the agent put there goes only for what was there before.
            let why = |object: &String| unread.get(object).cloned().unwrap_or_else(|| NOT_KEPT.to_owned());
            let not_restored =
                missing.into_iter().map(|object| NotRestored { object: object.clone(), why: why(object) }).collect();
            return Ok(UndoResult { not_restored, ..UndoResult::default() });
        }
        let back = inverse(&undo.entry, &now, &copies, &here);
        let told =
            |(object, why): (String, String)| NotRestored { why: unread.get(&object).unwrap_or(&why).clone(), object };
        let mut result = UndoResult { notes: back.notes, ..UndoResult::default() };
        result.not_restored.extend(back.not_restored.into_iter().map(told));
        let mut restored = BTreeSet::new();
        let mut failing: BTreeSet<String> = unread.into_keys().collect();
        for step in back.steps {
            match self.back_call(opened, account, &undo, &step, &here).await? {
                None if step.restores => {
                    restored.insert(step.object);
                    restored.extend(step.with);
                }
                None => {}
                Some(why) => {
                    failing.insert(step.object.clone());
                    failing.extend(step.with);
                    result.not_restored.push(NotRestored { object: step.object, why });
                }
            }
        }
        result.restored = u32::try_from(restored.len()).unwrap_or(u32::MAX);
        if !restored.is_empty() && ends(&undo.entry).is_none() {
            result.notes.push(NEW_VERSIONS.to_owned());
        }
        let failing: Vec<String> = failing.into_iter().collect();
        let done = rest(undo, &failing);
        let commit = Commit { puts: vec![done.put()], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        opened.guard().forget_answers(&done.account);
        let back: Vec<String> = copies.into_keys().filter(|object| restored.contains(object)).collect();
        opened.forget_copies_of(&done.id, back).await;
        Ok(result)
    }

    /// An object that is not there, nor what it should be in: that may be somewhere else, and come back.
    async fn is_without_its_collection(
        &self,
        account: &Account,
        epoch: Epoch,
        here: &Here,
        entry: &Entry,
        now: &BTreeMap<String, Found>,
    ) -> Result<Option<String>, RpcError> {
        let mut known: BTreeMap<String, bool> = BTreeMap::new();
        let brings = |collection: &String| entry.changes.iter().any(|change| change.object == *collection);
        for path in whereabouts(entry).into_iter().filter(|path| !now.contains_key(path) && ends(entry).is_none()) {
            let around = parent(&path);
            if brings(&around) || entry.recipe == "made" {
                continue;
            }
            let is_there = match known.get(&around) {
                Some(is_there) => *is_there,
                None => {
                    let found = self.dav_found(account, epoch, here, &around).await;
                    found
                        .map_err(|error| RpcError::new(ErrorCode::Upstream, format!("nothing was put back: {error}")))?
                        .is_some()
                }
            };
            if !is_there {
                return Ok(Some(path));
            }
            known.insert(around, is_there);
        }
        Ok(None)
    }

    /// One call between its records; why it did not succeed.
    async fn back_call(
        &self,
        opened: &Opened,
        account: &Account,
        undo: &Undo,
        step: &BackStep,
        here: &Here,
    ) -> Result<Option<String>, RpcError> {
        let call = &step.call;
        let mut plan =
            opened.guard().begin_undo(&undo.account, &undo.entry.action, step.class, 1, std::slice::from_ref(call));
        let commit = opened.guard().intent(&mut plan, 0, opened.now());
        let intent = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        // What came into it until now goes nowhere with it.
        let epoch = opened.gate.current();
        let in_the_way = match step.only {
            Only::Empty => {
                let held = self.dav_count(account, epoch, here, &call.target).await;
                held.map(|held| (held > 0).then(|| inside(held)))
            }
            Only::AsMoved => self.stays(account, here, epoch, &undo.entry).await,
            Only::Bound => Ok(None),
        };
        let sent = match in_the_way {
            Ok(None) => {
                let lease = opened.guard().lease(&mut plan, 0);
                match lease {
                    Ok(lease) => Some(self.send(opened, account, lease, call.clone()).await),
                    Err(stopped) => Some(Err(stopped.into())),
                }
            }
            Ok(Some(_)) | Err(_) => None,
        };
        let why = match sent.ok_or(in_the_way) {
            Err(Ok(in_the_way)) => in_the_way,
            Err(Err(error)) => Some(format!("it can't be known what is in it: {error}")),
            Ok(sent) => why(sent),
        };
        let text = why.clone().map_or_else(|| "put back".to_owned(), |why| format!("not put back: {why}"));
        let commit = opened.guard().outcome(&plan, intent, Some(undo.id.clone()), text, opened.now());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(why)
    }
}

fn inside(held: usize) -> String {
    format!("{held} entries are in it by now")
}

/// Why a call did not succeed.
fn why(sent: Result<Answer, Failure>) -> Option<String> {
    match sent {
        Ok(answer) if answer.status == 207 => refused_within(&answer.body),
        Ok(answer) if (200..300).contains(&answer.status) => None,
        Ok(answer) if answer.status == 412 => Some("somebody changed it since".to_owned()),
        Ok(answer) => Some(format!("the server answered {}", answer.status)),
        Err(failure) => Some(failure.to_string()),
    }
}

/// What of several answers in one is a refusal (RFC 4918 section 13).
fn refused_within(body: &[u8]) -> Option<String> {
    match refusals(body) {
        Ok(None) => None,
        Ok(Some(status)) => Some(format!("the server refused a part of it: {status}")),
        Err(why) => Some(format!("the server's answer can't be read: {why}")),
    }
}
