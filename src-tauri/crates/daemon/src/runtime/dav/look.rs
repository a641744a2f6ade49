//! The guard's own reading of a calendar server: for decisions, the dialog and undo.

use std::collections::{BTreeSet, VecDeque};

use futures_util::StreamExt;
use latch_core::call::Call;
use latch_core::classify::dav::deed::{At, Glimpse, Tree, glimpse};
use latch_core::classify::dav::hrefs::Here;
use latch_core::classify::dav::look::{Collection, Found, Holds, Listing, Member, etag_of, listing, look};
use latch_core::guard::Session;
use latch_core::lease::Epoch;
use latch_core::recipe::View;
use latch_core::undo::dav::Kept;

use crate::runtime::accounts::Account;
use crate::runtime::read::{ReadError, charge};
use crate::runtime::{Opened, Runtime};

/// Reads at the same time.
const AT_ONCE: usize = 16;
/// A collection with more entries is refused.
const MOST_MEMBERS: usize = 10_000;
/// A collection with more collections in it is refused.
const MOST_COLLECTIONS: usize = 200;

/// Who looks, and where.
pub(super) struct Looked<'a> {
    pub(super) opened: &'a Opened,
    pub(super) account: &'a Account,
    pub(super) session: &'a Session,
    pub(super) here: &'a Here,
}

/// How much of a collection must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What it is.
    Itself,
    /// All that is in it.
    Everything,
}

impl Runtime {
    /// What is at a place; with `inside` also what is directly in it. `None`: nothing is there.
    pub(super) async fn dav_look(
        &self,
        account: &Account,
        epoch: Epoch,
        here: &Here,
        path: &str,
        inside: bool,
    ) -> Result<Option<Listing>, ReadError> {
        let call = look(path, inside).ok_or(ReadError::Stopped)?;
        let Some(fetched) = self.fetch(account, epoch, call).await? else { return Ok(None) };
        let unclear = |why| ReadError::Answer(format!("the server's list can't be used: {why}"));
        listing(here, &fetched.body).map(Some).map_err(unclear)
    }

    /// What is at a place itself.
    pub(super) async fn dav_found(
        &self,
        account: &Account,
        epoch: Epoch,
        here: &Here,
        path: &str,
    ) -> Result<Option<Found>, ReadError> {
        let listing = self.dav_look(account, epoch, here, path, false).await?;
        Ok(listing.and_then(|listing| listing.at(path)))
    }

    /// How much is directly in a collection.
    pub(super) async fn dav_count(
        &self,
        account: &Account,
        epoch: Epoch,
        here: &Here,
        path: &str,
    ) -> Result<usize, ReadError> {
        let Some(listing) = self.dav_look(account, epoch, here, path, true).await? else { return Ok(0) };
        // Not every server lists the place itself.
        let inside = |one: &&str| one.trim_end_matches('/') != path.trim_end_matches('/');
        let members = listing.members.iter().map(|member| member.path.as_str());
        Ok(members.chain(listing.collections.iter().map(|one| one.path.as_str())).filter(inside).count())
    }

    /// An entry's text, of exactly this version.
    pub(super) async fn dav_text(&self, account: &Account, epoch: Epoch, member: &Member) -> Result<Kept, ReadError> {
        let changed = || ReadError::Answer(format!("{} changed while it was looked at: ask again", member.path));
        let fetched = self.fetch(account, epoch, Call::get(member.path.clone())).await?.ok_or_else(changed)?;
        let headers: Vec<(String, String)> = fetched
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        if etag_of(&headers).is_some_and(|etag| etag != member.etag) {
            return Err(changed());
        }
        let kind = headers.into_iter().find(|(name, _)| name == "content-type").map(|(_, value)| value);
        Ok(Kept { kind: kind.unwrap_or_else(|| "text/calendar; charset=utf-8".to_owned()), body: fetched.body })
    }

    /// What the collection at a place holds.
    pub(super) async fn dav_holds(&self, looked: &Looked<'_>, path: &str) -> Result<Option<Holds>, ReadError> {
        let found = self.dav_found(looked.account, looked.session.epoch, looked.here, path).await?;
        Ok(found.and_then(|found| match found {
            Found::Collection(collection) => Some(collection.holds),
            Found::Member(_) => None,
        }))
    }

    /// What is at a place, with its text or all that is in it, and what the person would see of it.
    pub(super) async fn dav_at(
        &self,
        looked: &Looked<'_>,
        path: &str,
        extent: Extent,
    ) -> Result<(At, Vec<(String, View)>), ReadError> {
        let Looked { opened, account, session, here } = *looked;
        let epoch = session.epoch;
        match self.dav_found(account, epoch, here, path).await? {
            None => Ok((At::Nothing, Vec::new())),
            Some(Found::Member(member)) => {
                let kept = self.dav_text(account, epoch, &member).await?;
                let view = glimpse(path, &kept.body).view;
                Ok((At::Entry(member, kept.body), vec![(path.to_owned(), view)]))
            }
            Some(Found::Collection(collection)) if extent == Extent::Itself => {
                let views = vec![(collection.path.clone(), named(&collection)), (path.to_owned(), named(&collection))];
                let tree = Tree { collections: vec![collection], members: Vec::new() };
                Ok((At::Tree(Box::new(tree), BTreeSet::new()), views))
            }
            Some(Found::Collection(collection)) => {
                let tree = self
                    .dav_tree(account, epoch, here, collection, |listings| charge(opened, account, session, listings));
                let tree = tree.await?;
                // The agent gets nothing of what is read for the person's answer, so it is no reading of its own.
                let _one = account.looking.acquire().await.map_err(|_| ReadError::Stopped)?;
                let glimpses = self.dav_glimpses(account, epoch, &tree.members).await?;
                let people = glimpses.iter().flat_map(|(_, one)| one.people.iter().cloned()).collect();
                let collections = tree.collections.iter().map(|one| (one.path.clone(), named(one)));
                let views: Vec<(String, View)> =
                    glimpses.into_iter().map(|(path, one)| (path, one.view)).chain(collections).collect();
                Ok((At::Tree(Box::new(tree), people), views))
            }
        }
    }

    /// A collection with all that is in it, however deep. `pays` is asked before every list.
    pub(super) async fn dav_tree(
        &self,
        account: &Account,
        epoch: Epoch,
        here: &Here,
        top: Collection,
        pays: impl Fn(usize) -> Result<(), ReadError>,
    ) -> Result<Tree, ReadError> {
        let mut tree = Tree::default();
        let mut queue = VecDeque::from([top]);
        while let Some(collection) = queue.pop_front() {
            pays(1)?;
            let gone = || ReadError::Answer(format!("{} is gone by now", collection.path));
            let listing = self.dav_look(account, epoch, here, &collection.path, true).await?.ok_or_else(gone)?;
            for inner in listing.collections {
                if inner.path.len() > collection.path.len() && inner.path.starts_with(&collection.path) {
                    queue.push_back(inner);
                }
            }
            tree.members.extend(listing.members.into_iter().filter(|member| member.path.starts_with(&collection.path)));
            tree.collections.push(collection);
            if tree.members.len() > MOST_MEMBERS {
                return Err(ReadError::Answer(format!("more than {MOST_MEMBERS} entries: change fewer at a time")));
            }
            if tree.collections.len() + queue.len() > MOST_COLLECTIONS {
                let many = format!("more than {MOST_COLLECTIONS} collections in each other: change fewer at a time");
                return Err(ReadError::Answer(many));
            }
        }
        tree.members.sort();
        tree.members.dedup();
        Ok(tree)
    }

    /// What these texts are about.
    async fn dav_glimpses(
        &self,
        account: &Account,
        epoch: Epoch,
        members: &[Member],
    ) -> Result<Vec<(String, Glimpse)>, ReadError> {
        let reads = members.iter().cloned().map(|member| async move {
            let kept = self.dav_text(account, epoch, &member).await?;
            Ok::<_, ReadError>((member.path.clone(), glimpse(&member.path, &kept.body)))
        });
        let mut glimpses = Vec::with_capacity(members.len());
        let mut stream = futures_util::stream::iter(reads).buffered(AT_ONCE);
        while let Some(read) = stream.next().await {
            glimpses.push(read?);
        }
        Ok(glimpses)
    }

    /// Reads again what the dialog shows of a hold's objects: after a restart, when a proposal is looked at.
    pub(crate) async fn prepare_dav(&self, account: &Account, id: &str) {
        let Some(opened) = self.opened() else { return };
        let hold = opened.guard().hold(id).map(|hold| {
            let objects = hold.objects.iter().filter(|held| held.view.is_none()).map(|held| held.id.clone());
            (hold.epoch, objects.collect::<Vec<String>>())
        });
        let Some((epoch, objects)) = hold else { return };
        let here = self.here(account);
        for path in objects {
            let view = match self.dav_found(account, epoch, &here, &path).await {
                Ok(None) => Ok(glimpse(&path, &[]).view),
                Ok(Some(Found::Collection(collection))) => Ok(named(&collection)),
                Ok(Some(Found::Member(member))) => {
                    self.dav_text(account, epoch, &member).await.map(|kept| glimpse(&path, &kept.body).view)
                }
                Err(error) => Err(error),
            };
            match view {
                Ok(view) => opened.guard().handle_views(id, vec![(path, view)]),
                Err(ReadError::Stopped) => return,
                Err(error) => {
                    let why = format!("could not be read, so nothing runs: {error}");
                    let commit = opened.guard().handle_unreadable(id, &why, opened.now());
                    let _ = opened.store.commit(commit).await;
                    break;
                }
            }
        }
        self.settle(opened);
    }
}

fn named(collection: &Collection) -> View {
    View { title: collection.name(), ..View::default() }
}
