//! A collection that was moved with all that is in it: whether what arrived is what went, and whether it still is when it is to go back.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use latch_core::call::Digest;
use latch_core::classify::dav::deed::Frozen;
use latch_core::classify::dav::hrefs::Here;
use latch_core::classify::dav::look::Member;
use latch_core::lease::Epoch;
use latch_core::undo::Entry;
use latch_core::undo::dav::elsewhere::{arrived, ends, hindrance, moved};

use super::execute::{AT_ONCE, On};
use crate::runtime::Runtime;
use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;

impl Runtime {
    /// What these texts are, by path: a server may give them other versions at their new address.
    pub(super) async fn dav_prints(
        &self,
        on: On<'_>,
        members: &[Member],
    ) -> Result<BTreeMap<String, Digest>, ReadError> {
        let reads = members.iter().cloned().map(|member| async move {
            let kept = self.dav_text(on.account, on.epoch, &member).await?;
            Ok::<_, ReadError>((member.path, Digest::of(&[&kept.body])))
        });
        futures_util::stream::iter(reads).buffered(AT_ONCE).try_collect().await
    }

    /// The entry with the versions of what arrived, where it is byte by byte what went.
    pub(super) async fn what_arrived(
        &self,
        on: On<'_>,
        frozen: &Frozen,
        texts: &BTreeMap<String, Digest>,
        entry: Entry,
    ) -> Entry {
        let Some((from, to)) = ends(&entry) else { return entry };
        let Ok(Some(now)) = self.tree_now(on.account, on.epoch, on.here, to).await else { return entry };
        let before: BTreeMap<String, Digest> =
            texts.iter().filter_map(|(path, print)| Some((moved(path, from, to)?, *print))).collect();
        let went = frozen.tree.iter().flat_map(|tree| &tree.members);
        let same: BTreeSet<Member> = went
            .filter_map(|member| Some(Member { path: moved(&member.path, from, to)?, etag: member.etag.clone() }))
            .collect();
        let new: Vec<Member> = now.members.into_iter().filter(|member| !same.contains(member)).collect();
        let Ok(prints) = self.dav_prints(on, &new).await else { return entry };
        let is_same =
            |member: &Member| before.get(&member.path).is_some_and(|was| prints.get(&member.path) == Some(was));
        let same: Vec<Member> = new.into_iter().filter(is_same).collect();
        arrived(entry, &same)
    }

    /// Why a moved collection has to stay where it is.
    pub(super) async fn stays(
        &self,
        account: &Account,
        here: &Here,
        epoch: Epoch,
        entry: &Entry,
    ) -> Result<Option<String>, ReadError> {
        let Some((from, to)) = ends(entry) else { return Ok(None) };
        let home = self.dav_found(account, epoch, here, from).await?;
        let now = self.tree_now(account, epoch, here, to).await?;
        Ok(hindrance(entry, home.is_some(), now.as_ref()))
    }
}
