//! The account's own sent mail: whom the person wrote to, and what agents put among it.

use std::collections::{BTreeSet, HashSet};

use latch_core::classify::imap::deed::{Deed, On, Server, command, object};
use latch_core::classify::imap::reply;
use latch_core::classify::imap::sent::{self, Enters};
use latch_core::classify::imap::token::Token;
use latch_core::journal::Put;
use latch_core::lease::Epoch;
use latch_core::recipe::sent::{Writes, also_at};

use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;
use crate::runtime::{Opened, Runtime};
use crate::upstream::imap::MailAnswer;

/// Sent messages that are read to find one that really went to an address.
const PROOFS: usize = 50;
/// So many of those that a search found are looked at together.
const AT_ONCE: usize = 1000;

/// Where sent mail is kept.
#[derive(Debug, Clone)]
pub(crate) struct SentMail {
    mailbox: String,
    uidvalidity: u32,
}

/// What an agent is about to put among the sent mail, noted before it can be there.
pub(super) struct Entering {
    id: String,
    puts: Vec<Put>,
    made: BTreeSet<String>,
}

impl Runtime {
    /// Where sent mail is kept, if what is there proves anything.
    pub(crate) async fn sent_mail(&self, account: &Account, epoch: Epoch) -> Result<Option<SentMail>, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        let Some(mailbox) = self.mail_server_now(opened, account, epoch).await?.sent else { return Ok(None) };
        let uidvalidity = self.mail_status(account, epoch, &mailbox, "UIDVALIDITY").await?;
        let host = account.target.origin().name();
        let elsewhere: Vec<String> = {
            let accounts = opened.accounts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let others = accounts.values().filter(|one| one.target.is_mail() && one.target.origin().name() != host);
            others.map(|one| one.id.clone()).collect()
        };
        let by_api = self.catalog.providers().iter().any(|provider| also_at(provider, host));
        let proves = opened.guard().tells_apart(&mailbox, uidvalidity, &elsewhere, by_api);
        Ok(proves.then_some(SentMail { mailbox, uidvalidity }))
    }

    /// A sent message of the person's own to this address.
    pub(crate) async fn mail_history(
        &self,
        account: &Account,
        epoch: Epoch,
        place: &SentMail,
        address: &str,
    ) -> Result<Option<String>, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        if !opened.guard().history_counts(address) {
            return Ok(None);
        }
        let Some(keys) = sent::search(address) else { return Ok(None) };
        let SentMail { mailbox, uidvalidity } = place;
        let call = command("UID SEARCH", Some((mailbox, Some(*uidvalidity))), &keys).ok_or(ReadError::Stopped)?;
        let answer = self.mail_read(account, epoch, &call).await?;
        let found = answer.sorted();
        let mut uids = Vec::new();
        // By and by: a search may have found any number.
        for some in found.rchunks(AT_ONCE) {
            let named = some.iter().map(|uid| object(mailbox, *uidvalidity, *uid)).collect();
            let persons: HashSet<String> = opened.guard().by_the_person(named).into_iter().collect();
            let is_persons = |uid: &&u32| persons.contains(&object(mailbox, *uidvalidity, **uid));
            uids.extend(some.iter().rev().filter(is_persons).take(PROOFS.saturating_sub(uids.len())));
            if uids.len() >= PROOFS {
                break;
            }
        }
        if uids.is_empty() {
            return Ok(None);
        }
        let on = On { mailbox: mailbox.clone(), uidvalidity: Some(*uidvalidity), uids };
        let read = self.mail_fetch(account, epoch, &on, &["UID", "ENVELOPE"]).await?;
        let went =
            |envelope: &Vec<Token>| sent::recipients(envelope).iter().any(|one| one.eq_ignore_ascii_case(address));
        let proof = read.into_iter().rev().find(|(_, message)| message.envelope.as_ref().is_some_and(went));
        Ok(proof.map(|(uid, _)| object(mailbox, *uidvalidity, uid)))
    }

    /// Notes what a deed may put among the sent mail.
    pub(super) async fn entering(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        (deed, on, server): (&Deed, &On, &Server),
    ) -> Result<Option<Entering>, ReadError> {
        let writes = match sent::enters(deed, on, server) {
            None => return Ok(None),
            Some(Enters::Anything) => Writes::New(None),
            Some(Enters::These) => {
                let read = self.mail_fetch(account, epoch, on, &["UID", "ENVELOPE"]).await?;
                let envelopes = on.uids.iter().map(|uid| read.get(uid)?.envelope.as_deref());
                let named: Option<Vec<&[Token]>> = envelopes.collect();
                Writes::New(named.map(|all| all.into_iter().flat_map(sent::recipients).collect()))
            }
        };
        Ok(Some(Entering::new(opened, account, writes)))
    }
}

impl Entering {
    pub(super) fn new(opened: &Opened, account: &Account, writes: Writes) -> Self {
        let (id, puts) = opened.guard().writing(&account.id, writes);
        Self { id, puts, made: BTreeSet::new() }
    }

    /// What must be durable before anything leaves.
    pub(super) fn puts(&mut self) -> Vec<Put> {
        std::mem::take(&mut self.puts)
    }

    /// What a command's answer says that it put there.
    pub(super) fn came(&mut self, answer: &MailAnswer, to: &str) {
        if let Some((uidvalidity, pairs)) = answer.statuses().find_map(reply::Status::copied) {
            self.made.extend(pairs.iter().map(|(_, uid)| object(to, uidvalidity, *uid)));
        }
        if let Some((uidvalidity, uid)) = answer.statuses().find_map(reply::Status::appended) {
            self.made.insert(object(to, uidvalidity, uid));
        }
    }

    /// To be stored once all of it is known: `count` messages were made. If not all of them are known, whom they name stays in doubt.
    pub(super) fn known(self, opened: &Opened, count: usize) -> latch_core::journal::Commit {
        match self.made.len() == count {
            true => opened.guard().wrote(&self.id, self.made),
            false => latch_core::journal::Commit::default(),
        }
    }
}
