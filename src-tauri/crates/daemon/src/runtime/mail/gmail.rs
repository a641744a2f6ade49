//! Messages on Gmail: one is in every mailbox whose label it has, under another UID in each, and otherwise among all mail or in the Trash.

use std::collections::BTreeMap;

use latch_core::classify::imap::deed::{On, Server, command, object};
use latch_core::classify::imap::reply::Fetched;
use latch_core::classify::imap::token::Token;
use latch_core::lease::Epoch;
use latch_core::undo::imap::{APPENDED, Present};

use super::execute::LABELS;
use crate::runtime::Runtime;
use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;
use crate::runtime::undo::Undo;

impl Runtime {
    /// Where what left its mailbox is, and what an agent stored: Gmail may have taken that for a message that was there before.
    pub(super) async fn wherever(
        &self,
        account: &Account,
        epoch: Epoch,
        undo: &Undo,
        server: &Server,
        now: &mut BTreeMap<String, Present>,
    ) -> Result<(), ReadError> {
        let known =
            undo.entry.params.iter().filter(|(name, _)| undo.entry.recipe == "labels" && !now.contains_key(name));
        let mut missing: BTreeMap<u64, String> =
            known.filter_map(|(name, id)| Some((id.parse().ok()?, name.clone()))).collect();
        for mailbox in [&server.all, &server.trash, &server.junk].into_iter().flatten() {
            let ids: Vec<u64> = missing.keys().copied().collect();
            for (at, one) in self.by_ids(account, epoch, mailbox, &ids).await? {
                if let Some(name) = one.present.id.and_then(|id| missing.remove(&id)) {
                    now.insert(name, Present { at: Some(at), ..one.present });
                }
            }
        }
        let Some(all) = server.all.as_ref().filter(|_| server.gmail && undo.entry.recipe == APPENDED) else {
            return Ok(());
        };
        let ids: Vec<u64> = now.values().filter_map(|present| present.id).collect();
        for (at, one) in self.by_ids(account, epoch, all, &ids).await? {
            for present in now.values_mut().filter(|present| present.id.is_some() && present.id == one.present.id) {
                present.at = Some(at.clone());
                // Here no label goes untold.
                present.labels.clone_from(&one.present.labels);
            }
        }
        Ok(())
    }

    /// Messages of a mailbox by X-GM-MSGID, with their objects there.
    async fn by_ids(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        ids: &[u64],
    ) -> Result<Vec<(String, Fetched)>, ReadError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let uidvalidity = self.mail_status(account, epoch, mailbox, "UIDVALIDITY").await?;
        let mut uids = Vec::new();
        for id in ids {
            let keys = [Token::atom("X-GM-MSGID"), Token::atom(id.to_string())];
            let call = command("UID SEARCH", Some((mailbox, Some(uidvalidity))), &keys).ok_or(ReadError::Stopped)?;
            let answer = self.mail_read(account, epoch, &call).await?;
            uids.extend(answer.found);
        }
        let on = On { mailbox: mailbox.to_owned(), uidvalidity: Some(uidvalidity), uids };
        let fetched = self.mail_fetch(account, epoch, &on, &LABELS).await?;
        Ok(fetched.into_iter().map(|(uid, one)| (object(mailbox, uidvalidity, uid), one)).collect())
    }

    /// All mail before a mail is stored: its UIDVALIDITY, and the UID that its next message gets. Where that can't be said, what is stored counts as known before.
    pub(super) async fn all_before(&self, account: &Account, epoch: Epoch, server: &Server) -> Option<(u32, u32)> {
        let all = server.all.as_ref().filter(|_| server.gmail)?;
        let said = self.mail_numbers(account, epoch, all, ["UIDVALIDITY", "UIDNEXT"]).await.ok()?;
        Some(said.into())
    }
}
