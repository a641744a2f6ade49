//! Putting back (I9): inspect, inverse, call by call, each with its intent; owner only, also while panicked.

use std::collections::{BTreeMap, BTreeSet};

use latch_core::call::Call;
use latch_core::classify::dav::deed::PROVIDER;
use latch_core::guard::Now;
use latch_core::journal::{Commit, Put, Shelf};
use latch_core::operation::{Class, Part};
use latch_core::recipe;
use latch_core::time::{Span, Time};
use latch_core::undo::{self, Difference, Entry, Inverse};
use latch_ipc::contract::{NotRestored, UndoListParams, UndoResult, UndoRunParams};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::{QuarantineEntry, UndoView};
use latch_ipc::words;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::execute::Failure;
use super::stop::{locked, storage};
use super::{Opened, Runtime, views};
use crate::store::{Page, Store, StoreError};

/// The most entries that a list shows.
const MAX_LISTED: usize = 1000;
/// The most entries that are kept; the start of an engine reads all of them once.
const MOST_KEPT: u64 = 50_000;
/// Entries that are read at once.
const PAGE: u32 = 200;
/// So many copies are noted as back beside their entry before it is written anew without them.
pub(super) const AT_ONCE: usize = 100;
/// How far entries may be out of order.
const SLACK: Span = Span::minutes(30);

/// What one operation changed and how it can be put back; sealed at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Undo {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) account: String,
    pub(crate) verb: String,
    pub(crate) class: Class,
    pub(crate) kind: Option<String>,
    pub(crate) time: Time,
    pub(crate) wall: u64,
    pub(crate) undone: bool,
    pub(crate) entry: Entry,
}

impl Undo {
    pub(crate) fn new(id: &str, agent: &str, account: &str, part: &Part, entry: Entry, now: Now) -> Self {
        Self {
            id: id.to_owned(),
            agent: agent.to_owned(),
            account: account.to_owned(),
            verb: part.operation.verb.clone(),
            class: part.operation.class,
            kind: part.operation.objects.kind().map(str::to_owned),
            time: now.time,
            wall: now.wall,
            undone: false,
            entry,
        }
    }

    pub(crate) fn put(&self) -> Put {
        super::execute::undo_put(&self.id, serde_json::to_value(self).unwrap_or_default())
    }
}

/// Stored entries, page by page.
pub(crate) struct Pages<'a> {
    store: &'a Store,
    from: Option<Page>,
}

impl<'a> Pages<'a> {
    pub(crate) fn newest_first(opened: &'a Opened) -> Self {
        Self { store: &opened.store, from: Some(Page::Before(i64::MAX)) }
    }

    fn oldest_first(opened: &'a Opened) -> Self {
        Self { store: &opened.store, from: Some(Page::After(0)) }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Undo>>, StoreError> {
        let Some(from) = self.from else { return Ok(None) };
        let (documents, next) = self.store.page(Shelf::Undo, from, PAGE).await?;
        self.from = next;
        Ok(Some(documents.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect()))
    }
}

/// Copies of messages that an agent wrote, and the doubt that covers them while they come back.
pub(crate) struct Agents {
    pub(crate) doubt: String,
    pub(crate) messages: Vec<String>,
}

impl Runtime {
    /// What can be undone, newest first.
    pub(crate) async fn undo_list(&self, params: &UndoListParams) -> Result<Vec<UndoView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let limit = params.limit.map_or(100, |limit| usize::try_from(limit).unwrap_or(MAX_LISTED)).min(MAX_LISTED);
        let mut views = Vec::new();
        let mut pages = Pages::newest_first(opened);
        while views.len() < limit
            && let Some(page) = pages.next().await.map_err(|error| storage(&error))?
        {
            views.extend(page.iter().map(|undo| self.undo_view(undo)));
        }
        views.truncate(limit);
        Ok(views)
    }

    /// Forgets entries from before this wall time, and the oldest beyond [`MOST_KEPT`]. One whose copies are kept stays as long as they do.
    pub(super) async fn forget_old_undos(&self, opened: &Opened, older_than: u64) -> Result<(), StoreError> {
        // What is being put back just now must not go.
        let _one = opened.undoing.lock().await;
        let copies = opened.store.quarantine_list().await?;
        let copied: std::collections::HashSet<String> = copies.into_iter().map(|copy| copy.entry).collect();
        let mut excess = opened.store.count(Shelf::Undo).await?.saturating_sub(MOST_KEPT);
        let mut pages = Pages::oldest_first(opened);
        while let Some(page) = pages.next().await? {
            let mut commit = Commit::default();
            let mut young = false;
            for undo in page {
                if undo.wall >= older_than && excess == 0 {
                    young = true;
                } else if !copied.contains(&undo.id) {
                    excess = excess.saturating_sub(1);
                    commit.deletes.extend([halfway(&undo.id), undo.id].map(|id| (Shelf::Undo, id)));
                }
            }
            if !commit.deletes.is_empty() {
                opened.store.commit(commit).await?;
            }
            if young {
                break;
            }
        }
        Ok(())
    }

    /// Copies whose entry was never stored: the engine ended between the copy and the intent, so nothing went. Where the database may be another one than
    /// it was, nobody knows that.
    pub(super) async fn forget_stray_copies(&self, opened: &Opened) -> Result<(), StoreError> {
        if opened.guard().panicked().is_some() {
            return Ok(());
        }
        let mut copies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for copy in opened.store.quarantine_list().await? {
            copies.entry(copy.entry).or_default().push(copy.object);
        }
        for (entry, objects) in copies {
            if !opened.store.is_stored(Shelf::Undo, &entry).await? {
                opened.store.quarantine_forget(&entry, objects).await?;
            }
        }
        Ok(())
    }

    fn undo_view(&self, undo: &Undo) -> UndoView {
        let is_dav = undo.entry.provider == PROVIDER;
        let count = if is_dav { undo::dav::count(&undo.entry) } else { undo.entry.changes.len() };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let copied = undo.entry.changes.iter().any(|change| matches!(change.difference, Difference::Copied));
        UndoView {
            entry: undo.id.clone(),
            agent: undo.agent.clone(),
            account: undo.account.clone(),
            text: words::acted(&undo.verb, count, &opened_noun(self, undo)),
            at: views::rfc3339(undo.wall),
            count,
            undone: undo.undone,
            limits: match is_dav {
                true => undo::dav::limits(&undo.entry),
                false => copied.then(|| "Undo brings copies back, under new ids.".to_owned()),
            },
        }
    }

    /// What the copies in the quarantine are of, newest first.
    pub(crate) async fn quarantined(&self, opened: &Opened) -> Result<Vec<QuarantineEntry>, StoreError> {
        let mut sizes: BTreeMap<String, (u32, u64)> = BTreeMap::new();
        for copy in opened.store.quarantine_list().await? {
            let (items, bytes) = sizes.entry(copy.entry).or_default();
            (*items, *bytes) = (items.saturating_add(1), bytes.saturating_add(copy.bytes));
        }
        let mut entries = Vec::new();
        for (entry, (items, bytes)) in sizes {
            let stored = opened.store.document(Shelf::Undo, &entry).await?;
            let undo = stored.and_then(|value| serde_json::from_value::<Undo>(value).ok());
            entries.push(QuarantineEntry { undo: undo.map(|undo| self.undo_view(&undo)), items, bytes });
        }
        let at = |entry: &QuarantineEntry| entry.undo.as_ref().map(|undo| undo.at.clone());
        entries.sort_by_key(|entry| std::cmp::Reverse(at(entry)));
        Ok(entries)
    }

    /// Puts back one entry, or all of an agent's since a while ago, newest first.
    pub(crate) async fn undo_run(&self, params: UndoRunParams) -> Result<UndoResult, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        // One at a time: two at once would both find an entry not yet undone, and put copies back twice.
        let _one = opened.undoing.lock().await;
        let chosen: Vec<Undo> = match params {
            UndoRunParams::Entry { entry } => {
                let stored = opened.store.document(Shelf::Undo, &entry).await.map_err(|error| storage(&error))?;
                let undo = stored
                    .and_then(|value| serde_json::from_value::<Undo>(value).ok())
                    .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "there is no such undo entry: see undo.list"))?;
                vec![undo]
            }
            UndoRunParams::Agent { agent, since } => {
                let span: jiff::SignedDuration = since.parse().map_err(|_| {
                    RpcError::new(ErrorCode::InvalidParams, "since is a duration such as 30m, 1h or 24h")
                })?;
                let span = Span(u64::try_from(span.as_millis()).unwrap_or_default());
                let from = opened.clock.now() - span;
                let mut chosen = Vec::new();
                let mut pages = Pages::newest_first(opened);
                while let Some(page) = pages.next().await.map_err(|error| storage(&error))? {
                    // Entries are stored in the order in which their first calls left; preparing may take a while.
                    let over = page.last().is_none_or(|undo| undo.time < from - SLACK);
                    chosen.extend(
                        page.into_iter().filter(|undo| undo.agent == agent && undo.time >= from && !undo.undone),
                    );
                    if over {
                        break;
                    }
                }
                chosen
            }
        };
        let mut result = UndoResult::default();
        let single = chosen.len() == 1;
        for undo in chosen {
            // Taking back a later one may have told this one where its objects are now.
            let stored = opened.store.document(Shelf::Undo, &undo.id).await.map_err(|error| storage(&error))?;
            let undo = stored.and_then(|value| serde_json::from_value(value).ok()).unwrap_or(undo);
            let objects: Vec<String> = undo.entry.changes.iter().map(|change| change.object.clone()).collect();
            let one = match self.put_back(opened, undo).await {
                Err(error) if !single => {
                    let why = error.message;
                    result
                        .not_restored
                        .extend(objects.into_iter().map(|object| NotRestored { object, why: why.clone() }));
                    continue;
                }
                other => other?,
            };
            result.restored = result.restored.saturating_add(one.restored);
            result.not_restored.extend(one.not_restored);
            result.notes.extend(one.notes);
        }
        self.settle(opened);
        Ok(result)
    }

    async fn put_back(&self, opened: &Opened, undo: Undo) -> Result<UndoResult, RpcError> {
        if undo.undone {
            return Err(RpcError::new(ErrorCode::Conflict, "this was undone already"));
        }
        let account = opened.account(&undo.account).ok_or_else(|| {
            RpcError::new(ErrorCode::NotFound, "its account was removed: add it again to put this back")
        })?;
        if undo::sieve::is_about_filters(&undo.entry) {
            return Box::pin(self.put_back_filters(opened, undo, &account)).await;
        }
        if account.target.is_mail() {
            return self.put_back_mail(opened, undo, &account).await;
        }
        if self.is_dav(&account) {
            return Box::pin(self.put_back_dav(opened, undo, &account)).await;
        }
        let provider = self
            .catalog
            .provider(&undo.entry.provider)
            .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "its provider file is not there any more"))?;
        let (undo, back_before) = opened.taken_up(undo).await?;
        if undo.undone {
            return Ok(UndoResult { restored: back_before, ..UndoResult::default() });
        }
        let epoch = opened.gate.current();
        let now = self
            .read_all(&account, epoch, undo::inspect(provider, &undo.entry))
            .await
            .map_err(|error| RpcError::new(ErrorCode::Upstream, format!("nothing was put back: {error}")))?;
        let mut inverse = undo::inverse(provider, &undo.entry, &now);
        let copied: Vec<String> = undo
            .entry
            .changes
            .iter()
            .filter(|change| matches!(change.difference, Difference::Copied))
            .map(|change| change.object.clone())
            .filter(|object| !inverse.not_restored.iter().any(|(left, _)| left == object))
            .collect();
        // They stay for another try, and keep no other from coming back.
        let mut unread = Vec::new();
        if !copied.is_empty() {
            let mut copies = Vec::new();
            for object in &copied {
                match opened.copy_of::<Value>(&undo.id, object).await {
                    Ok(Some(copy)) => copies.push((object.to_owned(), copy)),
                    Ok(None) => {
                        inverse.not_restored.push((object.to_owned(), "its copy is not there any more".to_owned()));
                    }
                    Err(why) => {
                        inverse.not_restored.push((object.to_owned(), why));
                        unread.push(object.to_owned());
                    }
                }
            }
            let again = undo::reinsert(provider, &undo.entry, &copies);
            inverse.calls.extend(again.calls);
            inverse.not_restored.extend(again.not_restored);
            inverse.notes.extend(again.notes);
        }
        let agents = self.brings_back_agents(opened, &undo, &copied).await?;
        let mut result = UndoResult { restored: back_before, ..UndoResult::default() };
        let (answers, mut failed) = self.run_inverse(opened, &undo, inverse, &copied, &mut result).await?;
        failed.extend(unread);
        if let Some(agents) = agents {
            let made: Vec<String> = answers
                .iter()
                .filter(|(ids, _)| ids.iter().any(|id| agents.messages.contains(id)))
                .filter_map(|(_, answer)| recipe::sent::id_of(provider, answer))
                .collect();
            // Otherwise it stays in doubt: one that nobody knows of may be back, too.
            if made.len() == agents.messages.len() {
                let commit = opened.guard().wrote(&agents.doubt, made);
                opened.store.commit(commit).await.map_err(|error| storage(&error))?;
            }
        }
        let follow = undo::follow(provider, &undo.entry, &answers);
        let mut after = UndoResult::default();
        self.run_inverse(opened, &undo, follow, &[], &mut after).await?;
        result.not_restored.extend(after.not_restored);
        result.notes.extend(after.notes);
        let done = rest(undo, &failed);
        let commit =
            Commit { puts: vec![done.put()], deletes: vec![(Shelf::Undo, halfway(&done.id))], ..Default::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        opened.guard().forget_answers(&done.account);
        let back: Vec<String> = copied
            .into_iter()
            .filter(|object| !result.not_restored.iter().any(|left| left.object == *object))
            .collect();
        opened.forget_copies_of(&done.id, back).await;
        Ok(result)
    }

    /// Messages that an agent put among the sent mail come back under new ids: that they prove nothing is noted before they can be there.
    pub(crate) async fn brings_back_agents(
        &self,
        opened: &Opened,
        undo: &Undo,
        copied: &[String],
    ) -> Result<Option<Agents>, RpcError> {
        let (doubt, puts, messages) = {
            let mut guard = opened.guard();
            let persons = guard.by_the_person(copied.to_vec());
            let messages: Vec<String> = copied.iter().filter(|id| !persons.contains(id)).cloned().collect();
            if messages.is_empty() {
                return Ok(None);
            }
            let (doubt, puts) = guard.writing(&undo.account, recipe::sent::Writes::New(None));
            (doubt, puts, messages)
        };
        let commit = latch_core::journal::Commit { puts, ..Default::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(Some(Agents { doubt, messages }))
    }

    /// Answers by objects, and the objects whose calls did not succeed. Of what comes back from `copied` it is noted at once: it must not come twice.
    async fn run_inverse(
        &self,
        opened: &Opened,
        undo: &Undo,
        inverse: Inverse,
        copied: &[String],
        result: &mut UndoResult,
    ) -> Result<(Vec<(Vec<String>, Value)>, Vec<String>), RpcError> {
        let account = opened
            .account(&undo.account)
            .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "its account was removed"))?;
        result.not_restored.extend(inverse.not_restored.into_iter().map(|(object, why)| NotRestored { object, why }));
        for (_, note) in inverse.notes {
            if !result.notes.contains(&note) {
                result.notes.push(note);
            }
        }
        let calls: Vec<Call> = inverse.calls.iter().map(|(_, call)| call.clone()).collect();
        let count = inverse.calls.iter().map(|(ids, _)| ids.len()).sum::<usize>();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut plan = opened.guard().begin_undo(&undo.account, &undo.entry.action, Class::Modify, count, &calls);
        let mut answers = Vec::new();
        let mut failed = Vec::new();
        let (mut noted, mut left) = (BTreeSet::new(), undo.clone());
        for (index, (ids, call)) in inverse.calls.into_iter().enumerate() {
            if self.tasks.is_ending() {
                let why = Failure::Ending.to_string();
                failed.extend(ids.iter().cloned());
                result.not_restored.extend(ids.into_iter().map(|object| NotRestored { object, why: why.clone() }));
                continue;
            }
            let commit = opened.guard().intent(&mut plan, index, opened.now());
            crate::fail::point("before-intent");
            let intent = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
            crate::fail::point("after-intent");
            let lease = opened.guard().lease(&mut plan, index);
            let sent = match lease {
                Ok(lease) => self.send(opened, &account, lease, call).await,
                Err(stopped) => Err(stopped.into()),
            };
            crate::fail::point("before-outcome");
            let (text, why) = match &sent {
                Ok(answer) if (200..300).contains(&answer.status) => ("put back".to_owned(), None),
                Ok(answer) => {
                    let why = format!("the provider answered {}", answer.status);
                    (why.clone(), Some(why))
                }
                Err(failure) => (format!("unknown: {failure}"), Some(failure.to_string())),
            };
            let mut commit = opened.guard().outcome(&plan, intent, Some(undo.id.clone()), text, opened.now());
            let mut forgotten = Vec::new();
            if why.is_none() && ids.iter().all(|id| copied.contains(id)) {
                noted.extend(ids.iter().cloned());
                if noted.len() < AT_ONCE {
                    commit.puts.push(noted_put(&undo.id, &noted));
                } else {
                    commit.extend(left.without(&noted));
                    forgotten = std::mem::take(&mut noted).into_iter().collect();
                }
            }
            opened.store.commit(commit).await.map_err(|error| storage(&error))?;
            opened.forget_copies_of(&undo.id, forgotten).await;
            match (why, sent) {
                (None, Ok(answer)) => {
                    result.restored = result.restored.saturating_add(u32::try_from(ids.len()).unwrap_or(u32::MAX));
                    let value = serde_json::from_slice(&answer.body).unwrap_or_default();
                    answers.push((ids, value));
                }
                (why, _) => {
                    let why = why.unwrap_or_default();
                    failed.extend(ids.iter().cloned());
                    result.not_restored.extend(ids.into_iter().map(|object| NotRestored { object, why: why.clone() }));
                }
            }
        }
        Ok((answers, failed))
    }
}

impl Opened {
    /// What was copied before it went; an error, in words, if the copy can't be read.
    pub(super) async fn copy_of<T: serde::de::DeserializeOwned>(
        &self,
        entry: &str,
        object: &str,
    ) -> Result<Option<T>, String> {
        let unread = |why: &dyn std::fmt::Display| format!("its copy can't be read: {why}");
        let copy = self.store.quarantine_take(entry, object).await.map_err(|error| unread(&error))?;
        copy.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(|_| unread(&"it is none"))
    }

    /// Copies of what is back.
    pub(super) async fn forget_copies_of(&self, entry: &str, objects: Vec<String>) {
        if !objects.is_empty()
            && let Err(error) = self.store.quarantine_forget(entry, objects).await
        {
            tracing::warn!(%error, "copies of what is back stay in the quarantine");
        }
    }

    /// The entry without what an undo that was cut off has brought back, and how much that was.
    async fn taken_up(&self, mut undo: Undo) -> Result<(Undo, u32), RpcError> {
        let noted = self.store.document(Shelf::Undo, &halfway(&undo.id)).await.map_err(|error| storage(&error))?;
        let noted: BTreeSet<String> = noted.and_then(|noted| serde_json::from_value(noted).ok()).unwrap_or_default();
        if noted.is_empty() {
            return Ok((undo, 0));
        }
        let commit = undo.without(&noted);
        self.store.commit(commit).await.map_err(|error| storage(&error))?;
        let count = u32::try_from(noted.len()).unwrap_or(u32::MAX);
        self.forget_copies_of(&undo.id, noted.into_iter().collect()).await;
        Ok((undo, count))
    }
}

impl Undo {
    /// Takes out what is back, and stores that.
    fn without(&mut self, noted: &BTreeSet<String>) -> Commit {
        self.entry.changes.retain(|change| !noted.contains(&change.object));
        self.undone = self.entry.changes.is_empty();
        Commit { puts: vec![self.put()], deletes: vec![(Shelf::Undo, halfway(&self.id))], ..Commit::default() }
    }
}

fn noted_put(id: &str, noted: &BTreeSet<String>) -> Put {
    Put { shelf: Shelf::Undo, id: halfway(id), value: serde_json::to_value(noted).unwrap_or_default() }
}

/// The entry after an undo: over, or what of it can be tried again because its calls failed.
pub(super) fn rest(undo: Undo, failed: &[String]) -> Undo {
    let mut entry = undo.entry.clone();
    entry.changes.retain(|change| failed.contains(&change.object));
    if entry.changes.is_empty() { Undo { undone: true, ..undo } } else { Undo { entry, ..undo } }
}

/// The document that says how far an undo has come, while it runs or when it was cut off.
pub(super) fn halfway(id: &str) -> String {
    format!("{id}.halfway")
}

fn opened_noun(runtime: &Runtime, undo: &Undo) -> [String; 2] {
    runtime.catalog.provider(&undo.entry.provider).map_or_else(
        || ["object".to_owned(), "objects".to_owned()],
        |provider| views::noun(provider, undo.kind.as_deref(), undo.class),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_failed_can_be_tried_again_and_nothing_else() {
        let change = |object: &str| json!({ "object": object, "did": "done" });
        let undo: Undo = serde_json::from_value(json!({
            "id": "u1", "agent": "a", "account": "mail", "verb": "Trash", "class": "remove", "kind": "message",
            "time": 1, "wall": 1, "undone": false,
            "entry": { "provider": "gmail", "recipe": "trashed", "action": "gmail.users.messages.trash", "params": [],
                       "changes": [change("m1"), change("m2")] },
        }))
        .unwrap();
        let left = rest(undo.clone(), &["m2".to_owned()]);
        assert!(!left.undone);
        assert_eq!(left.entry.changes.iter().map(|change| change.object.as_str()).collect::<Vec<_>>(), ["m2"]);
        assert!(rest(undo, &[]).undone);
    }

    async fn entries(runtime: &Runtime) -> Vec<String> {
        let listed = runtime.undo_list(&UndoListParams::default()).await.unwrap();
        listed.into_iter().map(|undo| undo.entry).collect()
    }

    #[tokio::test]
    async fn old_entries_are_forgotten_unless_their_copies_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let options = crate::runtime::Options {
            home: Some(home.path().to_owned()),
            http: None,
            imap: None,
            smtp: None,
            sieve: None,
            optional: false,
            nameserver: None,
            roots: Vec::new(),
            vault: crate::vault::VaultKind::Memory,
            owner: crate::runtime::OwnerKind::Nobody,
            on_eof: crate::runtime::OnEof::Exit,
            started_by: Vec::new(),
            warnings: Vec::new(),
        };
        let engine = crate::runtime::Engine::start(options).await.unwrap();
        let runtime = engine.runtime();
        let opened = runtime.opened().unwrap();
        for (id, wall, did) in [("u1", 10, "done"), ("u2", 10, "copied"), ("u3", 1000, "done"), ("u4", 10, "done")] {
            let value = json!({
                "id": id, "agent": "a", "account": "mail", "verb": "Trash", "class": "remove", "kind": "message",
                "time": 1, "wall": wall, "undone": false,
                "entry": { "provider": "gmail", "recipe": "trashed", "action": "x", "params": [],
                           "changes": [{ "object": "m1", "did": did }] },
            });
            let put = Put { shelf: Shelf::Undo, id: id.to_owned(), value };
            opened.store.commit(Commit { puts: vec![put], ..Commit::default() }).await.unwrap();
        }
        let copy = crate::store::Copied { entry: "u2".to_owned(), object: "m1".to_owned(), content: vec![1] };
        opened.store.quarantine_put(vec![copy]).await.unwrap();
        assert_eq!(entries(runtime).await, ["u4", "u3", "u2", "u1"]);
        runtime.forget_old_undos(opened, 100).await.unwrap();
        assert_eq!(entries(runtime).await, ["u3", "u2"]);
        opened.store.quarantine_clear().await.unwrap();
        runtime.forget_old_undos(opened, 100).await.unwrap();
        assert_eq!(entries(runtime).await, ["u3"]);
        let gone = runtime.undo_run(UndoRunParams::Entry { entry: "u1".to_owned() }).await.unwrap_err();
        assert_eq!(gone.code, ErrorCode::NotFound as i32, "{gone:?}");
    }
}
