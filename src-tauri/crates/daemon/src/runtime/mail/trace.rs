//! Moves whose answer is lost: what is noted before, and where their messages are found again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use latch_core::classify::imap::deed::{On, Server, command, object};
use latch_core::classify::imap::token::Token;
use latch_core::lease::Epoch;
use latch_core::undo::imap::{Present, homes, stayed};
use latch_core::undo::{Difference, Next};
use tokio::time::Instant;

use super::ready::Standing;
use super::undo::is_gone;
use crate::runtime::Runtime;
use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;
use crate::runtime::undo::Undo;
use crate::upstream::Fault;

/// What [`Present::print`] is made of, and the mark as deleted.
const PRINT: [&str; 4] = ["UID", "FLAGS", "RFC822.SIZE", "ENVELOPE"];
/// So many messages are asked about at once.
const AT_ONCE: usize = 200;
/// What the answer about these may take, in bytes: anybody can send mails whose headers take a thousand times as much as those of others.
const MOST: usize = 16 * 1024 * 1024;
/// So often is looked closer at which of them it is: each time takes a new connection.
const MOST_CLOSER: usize = 20;
/// So many answers may take too much, or so much time pass, before the rest is left alone.
const MOST_FAILING: usize = 40;
const PATIENCE: Duration = Duration::from_secs(120);
/// Among so many of the newest messages of a mailbox, lost ones are looked for.
const MOST_LOOKED_AT: usize = 20_000;

impl Runtime {
    /// What messages are like before they move. Of one whose headers are too large only the flags are known.
    pub(super) async fn before_moving(
        &self,
        account: &Account,
        epoch: Epoch,
        on: &On,
    ) -> Result<BTreeMap<u32, Present>, ReadError> {
        let mut before = BTreeMap::new();
        let note = |uid, present| {
            before.insert(uid, present);
            true
        };
        let uids = self.prints(account, epoch, on, note).await?;
        if !uids.is_empty() {
            let on = On { uids, ..on.clone() };
            let flags = self.mail_fetch(account, epoch, &on, &["UID", "FLAGS"]).await?;
            before.extend(flags.into_iter().map(|(uid, one)| (uid, marks(one.present))));
        }
        Ok(before)
    }

    /// Where a mailbox stands; `None` if the server does not say.
    pub(super) async fn next_of(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
    ) -> Result<Option<Next>, ReadError> {
        match self.mail_numbers(account, epoch, mailbox, ["UIDVALIDITY", "UIDNEXT"]).await {
            Ok([uidvalidity, uid]) => Ok(Some(Next { uidvalidity, uid })),
            Err(ReadError::Answer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands out messages, the newest first, until `take` has enough. Returns those whose headers could not be read.
    async fn prints(
        &self,
        account: &Account,
        epoch: Epoch,
        on: &On,
        mut take: impl FnMut(u32, Present) -> bool,
    ) -> Result<Vec<u32>, ReadError> {
        let mut uids = on.uids.clone();
        uids.sort_unstable();
        let mut waiting: Vec<Vec<u32>> = uids.chunks(AT_ONCE).map(<[u32]>::to_vec).collect();
        let (mut left, mut failing, until) = (Vec::new(), 0, Instant::now() + PATIENCE);
        while let Some(mut uids) = waiting.pop() {
            if failing >= MOST_FAILING || Instant::now() >= until {
                left.extend(uids);
                continue;
            }
            let these = On { uids: uids.clone(), ..on.clone() };
            match self.mail_fetch_within(account, epoch, &these, &PRINT, MOST).await {
                Ok(found) => {
                    for (uid, one) in found.into_iter().rev() {
                        if !take(uid, marks(one.present)) {
                            return Ok(left);
                        }
                    }
                }
                Err(error) if is_about_these(&error) => {
                    failing += 1;
                    if uids.len() == 1 || failing > MOST_CLOSER {
                        left.extend(uids);
                    } else {
                        let newer = uids.split_off(uids.len() / 2);
                        waiting.extend([uids, newer]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    /// Where the answer to a move was lost, its messages are still at home, or among the newest of the mailbox that they were to go to. Also returns the
    /// objects that may be there although they were not found, because not everything could be looked at.
    pub(super) async fn found_again(
        &self,
        account: &Account,
        epoch: Epoch,
        server: &Server,
        mut undo: Undo,
    ) -> Result<(Undo, BTreeSet<String>), ReadError> {
        let mut at_home: BTreeMap<String, Present> = BTreeMap::new();
        for ((mailbox, uidvalidity), uids) in homes(&undo.entry, server) {
            let on = On { mailbox: mailbox.clone(), uidvalidity: Some(uidvalidity), uids };
            match self.mail_fetch(account, epoch, &on, &["UID", "FLAGS"]).await {
                Ok(found) => at_home
                    .extend(found.into_iter().map(|(uid, one)| (object(&mailbox, uidvalidity, uid), one.present))),
                Err(ReadError::Upstream(error)) if is_gone(&error.fault, server) => {}
                Err(error) => return Err(error),
            }
        }
        stayed(&mut undo.entry, &at_home, server);
        let mut lost: BTreeMap<String, (Option<Next>, BTreeMap<String, usize>)> = BTreeMap::new();
        for change in &undo.entry.changes {
            if let Difference::Moved { to: None, trace: Some(trace), .. } = &change.difference
                && let Some(print) = &trace.print
            {
                let (next, prints) = lost.entry(trace.mailbox.clone()).or_default();
                *next = next.or(trace.next);
                *prints.entry(print.clone()).or_default() += 1;
            }
        }
        let mut arrived: BTreeMap<String, (BTreeMap<String, VecDeque<String>>, bool)> = BTreeMap::new();
        for (mailbox, (next, prints)) in lost {
            if let Some(next) = next {
                let found = self.arrived_since(account, epoch, (&mailbox, next), prints).await?;
                arrived.insert(mailbox, found);
            }
        }
        let mut missed = BTreeSet::new();
        for change in &mut undo.entry.changes {
            if let Difference::Moved { to: to @ None, trace: Some(trace), .. } = &mut change.difference
                && let Some(print) = &trace.print
            {
                let Some((found, all)) = arrived.get_mut(&trace.mailbox) else { continue };
                *to = found.get_mut(print).and_then(VecDeque::pop_front);
                if to.is_none() && !*all {
                    missed.insert(change.object.clone());
                }
            }
        }
        Ok((undo, missed))
    }

    /// The messages with these prints that came into a mailbox since it stood there, of equals the newest first; and whether all could be looked at.
    async fn arrived_since(
        &self,
        account: &Account,
        epoch: Epoch,
        (mailbox, next): (&str, Next),
        mut wanted: BTreeMap<String, usize>,
    ) -> Result<(BTreeMap<String, VecDeque<String>>, bool), ReadError> {
        let mut found: BTreeMap<String, VecDeque<String>> = BTreeMap::new();
        match self.standing(account, epoch, mailbox, Some(next.uidvalidity)).await? {
            Standing::Same => {}
            Standing::Another => return Ok((found, true)),
            Standing::Unsaid => return Ok((found, false)),
        }
        let place = Some((mailbox, Some(next.uidvalidity)));
        let keys = [Token::atom("UID"), Token::atom(format!("{}:*", next.uid))];
        let call = command("UID SEARCH", place, &keys).ok_or(ReadError::Stopped)?;
        let mut uids = self.mail_read(account, epoch, &call).await?.sorted();
        // `*` is the last message, however old it is.
        uids.retain(|uid| *uid >= next.uid);
        let uids = uids.split_off(uids.len().saturating_sub(MOST_LOOKED_AT));
        let on = On { mailbox: mailbox.to_owned(), uidvalidity: Some(next.uidvalidity), uids };
        let take = |uid, present: Present| {
            if let Some(print) = present.print
                && let Some(left) = wanted.get_mut(&print)
            {
                *left -= 1;
                if *left == 0 {
                    wanted.remove(&print);
                }
                found.entry(print).or_default().push_back(object(mailbox, next.uidvalidity, uid));
            }
            !wanted.is_empty()
        };
        let left = self.prints(account, epoch, &on, take).await?;
        Ok((found, left.is_empty()))
    }
}

/// Without the flags that nothing depends on.
fn marks(mut present: Present) -> Present {
    let mark = present.mark().cloned();
    present.flags.retain(|flag| Some(flag) == mark.as_ref());
    present
}

/// Whether it lies in what was asked for, and not in the connection.
fn is_about_these(error: &ReadError) -> bool {
    match error {
        ReadError::Upstream(error) => matches!(error.fault, Fault::TooLarge { .. } | Fault::Malformed { .. }),
        ReadError::Answer(_) => true,
        _ => false,
    }
}
