//! From a permit to an answer: still as it was seen, copies, intent, lease, one call, outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use latch_core::call::{CallBody, Digest};
use latch_core::classify::dav::deed::{Deed, Frozen, Sent, Tree, frozen};
use latch_core::classify::dav::hrefs::Here;
use latch_core::classify::dav::look::{Collection, Found, Member, etag_of};
use latch_core::journal::{Commit, Shelf};
use latch_core::lease::Epoch;
use latch_core::operation::Request;
use latch_core::plan::{Permit, Plan};
use latch_core::recipe::Answer;
use latch_core::undo::Entry;
use latch_core::undo::dav::{Kept, destroyed, entry, leaves, left, left_made, moving, replaced};

use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::read::ReadError;
use crate::runtime::single::Begun;
use crate::runtime::undo::Undo;
use crate::runtime::{Opened, Runtime};
use crate::store::Copied;

/// Copies that are read at the same time, and kept together.
pub(super) const AT_ONCE: usize = 16;

/// Where something runs.
#[derive(Clone, Copy)]
pub(super) struct On<'a> {
    pub(super) opened: &'a Opened,
    pub(super) account: &'a Account,
    pub(super) epoch: Epoch,
    pub(super) here: &'a Here,
}

/// What was read before a change.
struct Before {
    /// The texts that it replaces.
    old: BTreeMap<String, Kept>,
    /// What it moves.
    moved: Option<Sent>,
    /// The texts of a collection that moves.
    texts: BTreeMap<String, Digest>,
}

impl Runtime {
    /// Runs a change to its end.
    pub(crate) async fn execute_dav(
        &self,
        account: &Account,
        permit: Permit,
        request: Request,
    ) -> Result<Answer, Failure> {
        let opened = self.opened().ok_or(Failure::Stopped)?;
        let part = request.parts.into_iter().next().ok_or(Failure::NotDivisible)?;
        let frozen = frozen(&part).ok_or(Failure::NotDivisible)?;
        let here = self.here(account);
        let on = On { opened, account, epoch: permit.epoch(), here: &here };
        self.unchanged(on, &frozen).await?;
        let (undo_id, counter) = opened.guard().next_undo();
        let forget = || async {
            let objects: Vec<String> = destroyed(&frozen).into_iter().map(|member| member.path).collect();
            if !objects.is_empty()
                && let Err(error) = opened.store.quarantine_forget(&undo_id, objects).await
            {
                tracing::warn!(%error, "copies of what was not changed stay in the quarantine");
            }
        };
        let prepared = match self.remember(on, &frozen, &undo_id).await {
            Ok(before) => {
                let entry = entry(&part, &frozen, &before.old);
                let undo =
                    entry.map(|entry| Undo::new(&undo_id, permit.agent(), &account.id, &part, entry, opened.now()));
                let puts = undo.iter().map(Undo::put).chain(undo.is_some().then_some(counter)).collect();
                self.begin_one(opened, permit, &part.call, puts).await.map(|begun| (begun, undo, before))
            }
            Err(failure) => Err(failure),
        };
        let (Begun { plan, intent, lease }, undo, before) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                forget().await;
                return Err(failure);
            }
        };
        let sent = self.send(opened, account, lease, part.call.clone()).await;
        crate::fail::point("before-outcome");
        let nothing = match &sent {
            Ok(answer) => (300..500).contains(&answer.status),
            Err(failure) => matches!(failure, Failure::Upstream(error) if !error.sent),
        };
        self.tell_outcome(opened, &plan, intent, undo.as_ref().map(|undo| (undo.id.as_str(), nothing)), &sent).await?;
        if nothing {
            forget().await;
        }
        let answer = sent?;
        // Of anything else than a plain yes it is not known what it left.
        if let Some(undo) = undo.filter(|_| (200..207).contains(&answer.status)) {
            let sent = match &part.call.body {
                CallBody::Bytes(body) if frozen.deed != Deed::Move => Sent::of(body),
                _ => before.moved,
            };
            let entry = undo.entry.clone();
            let entry = match frozen.deed {
                Deed::MoveAll => self.what_arrived(on, &frozen, &before.texts, entry).await,
                _ => self.what_is_left(on, &frozen, sent, &answer, entry).await,
            };
            let known = Undo { entry, ..undo };
            let commit = Commit { puts: vec![known.put()], ..Commit::default() };
            opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
        }
        Ok(answer)
    }

    /// Reads what a change takes away or moves, and keeps copies of what will be gone.
    async fn remember(&self, on: On<'_>, frozen: &Frozen, undo_id: &str) -> Result<Before, Failure> {
        let mut old = BTreeMap::new();
        for member in replaced(frozen) {
            let kept = self.dav_text(on.account, on.epoch, &member).await.map_err(snapshot)?;
            old.insert(member.path, kept);
        }
        let mut moved = None;
        if let Some(member) = moving(frozen) {
            let kept = self.dav_text(on.account, on.epoch, &member).await.map_err(snapshot)?;
            moved = Sent::of(&kept.body);
        }
        let texts = match (frozen.deed, &frozen.tree) {
            (Deed::MoveAll, Some(tree)) => self.dav_prints(on, &tree.members).await.map_err(snapshot)?,
            _ => BTreeMap::new(),
        };
        let copied = destroyed(frozen);
        self.keep_texts(on, &copied, undo_id).await?;
        if !copied.is_empty() || !texts.is_empty() {
            // Reading a whole calendar takes its time.
            self.unchanged(on, frozen).await?;
        }
        Ok(Before { old, moved, texts })
    }

    /// Records what became of it. `undo`: its entry, and whether there is nothing to take back.
    async fn tell_outcome(
        &self,
        opened: &Opened,
        plan: &Plan,
        intent: u64,
        undo: Option<(&str, bool)>,
        sent: &Result<Answer, Failure>,
    ) -> Result<(), Failure> {
        let text = match sent {
            Ok(answer) => format!("the server answered {}", answer.status),
            Err(Failure::Upstream(error)) if !error.sent => format!("not done: {error}"),
            Err(failure) => format!("unknown: {failure}"),
        };
        let (kept, nothing) = match undo {
            Some((id, false)) => (Some(id.to_owned()), None),
            Some((id, true)) => (None, Some(id.to_owned())),
            None => (None, None),
        };
        let mut commit = opened.guard().outcome(plan, intent, kept, text, opened.now());
        commit.deletes.extend(nothing.map(|id| (Shelf::Undo, id)));
        opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
        Ok(())
    }

    /// The entry with the versions that a change left; without them, what it did is taken back only where that is certain.
    async fn what_is_left(
        &self,
        on: On<'_>,
        frozen: &Frozen,
        sent: Option<Sent>,
        answer: &Answer,
        entry: Entry,
    ) -> Entry {
        let On { account, epoch, here, .. } = on;
        if frozen.deed == Deed::ReplaceAll {
            let now = self.tree_now(account, epoch, here, &frozen.path).await.ok().flatten().unwrap_or_default();
            let before = frozen.tree.iter().flat_map(|tree| &tree.members).collect::<BTreeSet<_>>();
            let (untouched, new): (Vec<Member>, Vec<Member>) =
                now.members.into_iter().partition(|member| before.contains(member));
            let came =
                futures_util::stream::iter(new).map(|member| self.came_from(account, epoch, member, sent.as_ref()));
            let came: Vec<Option<Member>> = came.buffered(AT_ONCE).collect().await;
            return left(entry, &came.into_iter().flatten().collect::<Vec<_>>(), &untouched);
        }
        let Some(path) = leaves(frozen) else { return entry };
        // What answers to these say is not always about the place where it went.
        let elsewhere = matches!(frozen.deed, Deed::Copy | Deed::Move | Deed::Make);
        let etag = etag_of(&answer.headers).filter(|_| !elsewhere);
        let member = match etag {
            Some(etag) => Some(Member { path: path.clone(), etag }),
            None => match self.dav_found(account, epoch, here, path).await {
                Ok(Some(Found::Collection(made))) if frozen.deed == Deed::Make => return left_made(entry, &made),
                Ok(Some(Found::Member(member))) => {
                    let sent = match frozen.deed {
                        Deed::Copy => self.text_of(account, epoch, here, &frozen.path).await,
                        _ => sent,
                    };
                    self.came_from(account, epoch, member, sent.as_ref()).await
                }
                _ => None,
            },
        };
        left(entry, &member.into_iter().collect::<Vec<_>>(), &[])
    }

    /// An entry, if it came from what was sent: somebody else may have stored another one meanwhile.
    async fn came_from(&self, account: &Account, epoch: Epoch, member: Member, sent: Option<&Sent>) -> Option<Member> {
        let sent = sent?;
        let now = self.dav_text(account, epoch, &member).await.ok()?;
        sent.holds(&now.body).then_some(member)
    }

    async fn text_of(&self, account: &Account, epoch: Epoch, here: &Here, path: &str) -> Option<Sent> {
        let Ok(Some(Found::Member(member))) = self.dav_found(account, epoch, here, path).await else { return None };
        self.dav_text(account, epoch, &member).await.ok().and_then(|kept| Sent::of(&kept.body))
    }

    pub(super) async fn tree_now(
        &self,
        account: &Account,
        epoch: Epoch,
        here: &Here,
        path: &str,
    ) -> Result<Option<Tree>, ReadError> {
        match self.dav_found(account, epoch, here, path).await? {
            Some(Found::Collection(top)) => self.dav_tree(account, epoch, here, top, |_| Ok(())).await.map(Some),
            Some(Found::Member(_)) | None => Ok(None),
        }
    }

    /// Whether all is as it was when it was decided. The call itself carries If-Match besides, where the server has versions.
    async fn unchanged(&self, on: On<'_>, frozen: &Frozen) -> Result<(), Failure> {
        let On { account, epoch, here, .. } = on;
        for (path, expected) in &frozen.expects {
            let now = self.dav_found(account, epoch, here, path).await.map_err(snapshot)?;
            let fits = match (&now, expected) {
                (None, None) => true,
                (Some(Found::Member(member)), Some(etag)) => member.etag == *etag,
                _ => false,
            };
            if !fits {
                return Err(Failure::Changed(format!("{path} is no longer what it was when this was asked")));
            }
        }
        if !frozen.before.is_empty() {
            let now = self.dav_found(account, epoch, here, &frozen.path).await.map_err(snapshot)?;
            let same = matches!(&now, Some(Found::Collection(now)) if before_is(now, &frozen.before));
            if !same {
                return Err(Failure::Changed(format!(
                    "the settings of {} are no longer what they were when this was asked",
                    frozen.path
                )));
            }
        }
        if let Some(tree) = &frozen.tree {
            let now = self.tree_now(account, epoch, here, &frozen.path).await.map_err(snapshot)?;
            let same = now.is_some_and(|now| {
                let paths = |tree: &Tree| tree.collections.iter().map(|one| one.path.clone()).collect::<Vec<_>>();
                now.members == tree.members && paths(&now) == paths(tree)
            });
            if !same {
                return Err(Failure::Changed(format!(
                    "what is in {} is no longer what it was when this was asked",
                    frozen.path
                )));
            }
        }
        Ok(())
    }

    /// Copies of what will be gone; an error means that nothing may go.
    async fn keep_texts(&self, on: On<'_>, members: &[Member], entry: &str) -> Result<(), Failure> {
        let On { opened, account, epoch, .. } = on;
        for some in members.chunks(AT_ONCE) {
            let reads = some.iter().cloned().map(|member| async move {
                let kept = self.dav_text(account, epoch, &member).await.map_err(snapshot)?;
                let content = serde_json::to_vec(&kept).map_err(|error| Failure::Quarantine(error.to_string()))?;
                Ok::<_, Failure>(Copied { entry: entry.to_owned(), object: member.path.clone(), content })
            });
            let reads: Vec<_> = futures_util::stream::iter(reads).buffered(AT_ONCE).collect().await;
            let copies = reads.into_iter().collect::<Result<Vec<Copied>, Failure>>()?;
            let put = opened.store.quarantine_put(copies).await;
            put.map_err(|error| Failure::Quarantine(error.to_string()))?;
        }
        Ok(())
    }
}

/// Whether these settings are what they were.
fn before_is(now: &Collection, before: &[(String, Option<String>)]) -> bool {
    before.iter().all(|(name, was)| {
        let is = now.settings.iter().find(|(known, _)| known == name).map(|(_, text)| text);
        is == was.as_ref()
    })
}

fn snapshot(error: ReadError) -> Failure {
    match error {
        ReadError::Stopped => Failure::Stopped,
        other => Failure::Snapshot(other),
    }
}
