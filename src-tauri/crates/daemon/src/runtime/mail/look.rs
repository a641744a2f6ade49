//! The guard's own reading over IMAP: for decisions, the dialog and undo.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use latch_core::call::Call;
use latch_core::classify::imap::command::Command;
use latch_core::classify::imap::deed::{On, Server, chunks, command, mailbox_named, object, place_of};
use latch_core::classify::imap::name::{INBOX, shown};
use latch_core::classify::imap::reply::{self, Content, Fetched, Listed};
use latch_core::classify::imap::server::mailboxes;
use latch_core::classify::imap::token::Token;
use latch_core::lease::Epoch;
use latch_core::operation::Request;
use latch_core::recipe::View;
use latch_core::scope::{self, Views};

use super::MailSession;
use crate::runtime::accounts::Account;
use crate::runtime::read::ReadError;
use crate::runtime::{Opened, Runtime};
use crate::upstream::imap::MailAnswer;

/// What the answer to one read may take in memory, in bytes: envelopes of some thousand messages, or one mail.
const MAX_READ: usize = 96 * 1024 * 1024;
/// So many messages are looked at before what the dialog needs of them is all that is kept.
const AT_ONCE: usize = 500;
/// What is read of a message for the dialog.
const SHOWN: [&str; 5] = ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"];
/// Messages that are shown before the rest has been read.
const FIRST_PAGE: usize = 50;

impl Runtime {
    /// One read.
    pub(crate) async fn mail_read(
        &self,
        account: &Account,
        epoch: Epoch,
        call: &Call,
    ) -> Result<MailAnswer, ReadError> {
        self.mail_read_within(account, epoch, call, MAX_READ).await
    }

    async fn mail_read_within(
        &self,
        account: &Account,
        epoch: Epoch,
        call: &Call,
        most: usize,
    ) -> Result<MailAnswer, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        let lease = opened.guard().lease_preview(&account.id, call, epoch).map_err(|_| ReadError::Stopped)?;
        let answer = opened
            .upstream
            .mail(lease, &account.target, call, most)
            .await
            .map_err(|error| ReadError::Upstream(Arc::new(error)))?;
        if answer.is_ok() { Ok(answer) } else { Err(ReadError::Answer(answer.status.text)) }
    }

    /// What the server is like.
    pub(crate) async fn mail_server(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        capabilities: &[String],
    ) -> Result<Server, ReadError> {
        let _ = opened;
        let has = |one: &str| capabilities.iter().any(|known| known == one);
        let mut args = vec![Token::text(""), Token::text("*")];
        if has("SPECIAL-USE") && has("LIST-EXTENDED") {
            args.extend([Token::atom("RETURN"), Token::atoms(["SPECIAL-USE"])]);
        }
        let call = command("LIST", None, &args).ok_or(ReadError::Stopped)?;
        let answer = self.mail_read(account, epoch, &call).await?;
        let listed: Vec<Listed> = answer.untagged.iter().filter_map(|tokens| reply::listed(tokens)).collect();
        let server = Server::of(&listed, has);
        account.note_mailboxes(server.trash.clone(), server.sent.clone());
        Ok(server)
    }

    /// Messages with these items.
    pub(crate) async fn mail_fetch(
        &self,
        account: &Account,
        epoch: Epoch,
        on: &On,
        items: &[&str],
    ) -> Result<BTreeMap<u32, Fetched>, ReadError> {
        self.mail_fetch_within(account, epoch, on, items, MAX_READ).await
    }

    /// The same, taking at most so much memory: chunk by chunk.
    pub(super) async fn mail_fetch_within(
        &self,
        account: &Account,
        epoch: Epoch,
        on: &On,
        items: &[&str],
        mut room: usize,
    ) -> Result<BTreeMap<u32, Fetched>, ReadError> {
        let wanted: BTreeSet<u32> = on.uids.iter().copied().collect();
        let mut found = BTreeMap::new();
        for (_, set) in chunks(&on.uids) {
            let args = [Token::atom(set.to_string()), Token::atoms(items.iter().copied())];
            let place = Some((on.mailbox.as_str(), on.uidvalidity));
            let call = command("UID FETCH", place, &args).ok_or(ReadError::Stopped)?;
            let answer = self.mail_read_within(account, epoch, &call, room).await?;
            room = room.saturating_sub(answer.cost);
            for tokens in &answer.untagged {
                let Some(uid) = reply::fetched_uid(tokens).filter(|uid| wanted.contains(uid)) else { continue };
                let mut one: Fetched = found.remove(&uid).unwrap_or_default();
                if one.absorb(tokens).is_some() {
                    found.insert(uid, one);
                }
            }
        }
        Ok(found)
    }

    /// Everything that is in a mailbox now.
    pub(crate) async fn mail_content(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
    ) -> Result<Content, ReadError> {
        let uidvalidity = self.mail_status(account, epoch, mailbox, "UIDVALIDITY").await?;
        let place = Some((mailbox, Some(uidvalidity)));
        let call = command("UID SEARCH", place, &[Token::atom("ALL")]).ok_or(ReadError::Stopped)?;
        let uids = self.mail_read(account, epoch, &call).await?.sorted();
        Ok(Content { uidvalidity, uids })
    }

    /// Whether there are mailboxes below one.
    pub(crate) async fn mail_has_below(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        server: &Server,
    ) -> Result<bool, ReadError> {
        let Some(delimiter) = server.delimiter else { return Ok(false) };
        let args = [Token::text(""), Token::text(format!("{mailbox}{delimiter}*"))];
        let call = command("LIST", None, &args).ok_or(ReadError::Stopped)?;
        let answer = self.mail_read(account, epoch, &call).await?;
        Ok(answer.untagged.iter().any(|tokens| reply::listed(tokens).is_some()))
    }

    /// Whether the person's programs show a mailbox.
    pub(crate) async fn mail_subscribed(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
    ) -> Result<bool, ReadError> {
        let call = command("LSUB", None, &[Token::text(""), Token::text(mailbox)]).ok_or(ReadError::Stopped)?;
        let answer = self.mail_read(account, epoch, &call).await?;
        Ok(answer.untagged.iter().filter_map(|tokens| reply::listed(tokens)).any(|one| one.name == mailbox))
    }

    /// Messages in a mailbox.
    pub(crate) async fn mail_count(&self, account: &Account, epoch: Epoch, mailbox: &str) -> Result<u32, ReadError> {
        self.mail_status(account, epoch, mailbox, "MESSAGES").await
    }

    /// What a mailbox is told from others by, whatever it is called. `None`: it holds no messages itself, or the server does not say.
    pub(super) async fn mail_identity(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
    ) -> Result<Option<u32>, ReadError> {
        match self.mail_status(account, epoch, mailbox, "UIDVALIDITY").await {
            Ok(uidvalidity) => Ok(Some(uidvalidity).filter(|uidvalidity| *uidvalidity > 0)),
            Err(ReadError::Answer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A number that the server says of a mailbox.
    pub(super) async fn mail_status(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        item: &str,
    ) -> Result<u32, ReadError> {
        self.mail_numbers(account, epoch, mailbox, [item]).await.map(|[number]| number)
    }

    /// Several of them, of one moment.
    pub(super) async fn mail_numbers<const N: usize>(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        items: [&str; N],
    ) -> Result<[u32; N], ReadError> {
        let call = command("STATUS", None, &[Token::text(mailbox), Token::atoms(items)]).ok_or(ReadError::Stopped)?;
        let answer = self.mail_read(account, epoch, &call).await?;
        let mut numbers = [0; N];
        for (number, item) in numbers.iter_mut().zip(items) {
            let said = answer.untagged.iter().find_map(|tokens| reply::status_item(tokens, item));
            let said = said.and_then(|said| u32::try_from(said).ok());
            let unsaid = || ReadError::Answer(format!("the mail server does not say {item} of it"));
            *number = said.ok_or_else(unsaid)?;
        }
        Ok(numbers)
    }

    /// What the dialog would show of a request's messages. What can't be read is left out.
    pub(crate) async fn mail_views(&self, account: &Account, epoch: Epoch, request: &Request) -> Views {
        let objects = request.parts.iter().flat_map(|part| part.operation.objects.ids());
        let (places, _) = by_place(objects);
        let mut views = Views::new();
        for ((mailbox, uidvalidity), uids) in places {
            views.extend(self.seen(account, epoch, (&mailbox, uidvalidity), &uids).await.unwrap_or_default());
        }
        views
    }

    /// What the dialog shows of these messages, by object.
    async fn seen(
        &self,
        account: &Account,
        epoch: Epoch,
        (mailbox, uidvalidity): (&str, u32),
        uids: &[u32],
    ) -> Result<Views, ReadError> {
        let view = |(uid, fetched): (u32, Fetched)| {
            let mut view = fetched.view();
            if mailbox == INBOX {
                view.flags.push(scope::INBOX.to_owned());
            }
            (object(mailbox, uidvalidity, uid), view)
        };
        let mut views = Views::new();
        for uids in uids.chunks(AT_ONCE) {
            let on = On { mailbox: mailbox.to_owned(), uidvalidity: Some(uidvalidity), uids: uids.to_vec() };
            let found = self.mail_fetch(account, epoch, &on, &SHOWN).await?;
            views.extend(found.into_iter().map(view));
        }
        Ok(views)
    }

    /// Reads what the dialog shows of a hold's messages and mailboxes.
    pub(crate) async fn prepare_mail(&self, account: &Account, id: &str) {
        let Some(opened) = self.opened() else { return };
        let Some((epoch, objects)) = opened
            .guard()
            .hold(id)
            .map(|hold| (hold.epoch, hold.objects.iter().map(|held| held.id.clone()).collect::<Vec<_>>()))
        else {
            return;
        };
        let (places, mailboxes) = by_place(&objects);
        let mut failed = None;
        for mailbox in mailboxes {
            let name = mailbox_named(&mailbox);
            let counted = self.mail_count(account, epoch, name).await;
            let name = shown(name).unwrap_or_else(|| name.to_owned());
            let title = match counted {
                Ok(1) => format!("{name} (1 message)"),
                Ok(count) => format!("{name} ({count} messages)"),
                // It does not exist yet, or can't be counted: its name says what it is about.
                Err(ReadError::Answer(_)) => name,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            opened.guard().handle_views(id, vec![(mailbox, View { title, ..View::default() })]);
        }
        for ((mailbox, uidvalidity), uids) in places {
            let (first, rest) = uids.split_at(uids.len().min(FIRST_PAGE));
            for uids in [first, rest].into_iter().filter(|uids| !uids.is_empty()) {
                match self.seen(account, epoch, (&mailbox, uidvalidity), uids).await {
                    Ok(mut found) => {
                        let view = |uid: &u32| {
                            let id = object(&mailbox, uidvalidity, *uid);
                            let gone = || View { title: "(not there any more)".to_owned(), ..View::default() };
                            let view = found.remove(&id).unwrap_or_else(gone);
                            (id, view)
                        };
                        opened.guard().handle_views(id, uids.iter().map(view).collect());
                        self.settle(opened);
                    }
                    Err(error) => failed = Some(error),
                }
            }
        }
        match failed {
            None | Some(ReadError::Stopped) => {}
            Some(error) => {
                let why = format!("could not be read, so nothing runs: {error}");
                let commit = opened.guard().handle_unreadable(id, &why, opened.now());
                let _ = opened.store.commit(commit).await;
            }
        }
        self.settle(opened);
    }
}

/// UIDs by mailbox and UIDVALIDITY.
type Places = BTreeMap<(String, u32), Vec<u32>>;

/// Messages by place, and the objects that are mailboxes themselves.
fn by_place<'a>(objects: impl IntoIterator<Item = &'a String>) -> (Places, Vec<String>) {
    let mut places = Places::new();
    let mut mailboxes = Vec::new();
    for object in objects {
        match place_of(object) {
            Some((mailbox, uidvalidity, uid)) => {
                places.entry((mailbox.to_owned(), uidvalidity)).or_default().push(uid);
            }
            None => mailboxes.push(object.clone()),
        }
    }
    (places, mailboxes)
}

impl MailSession {
    /// What the server is like now: others make, rename and remove mailboxes, too, and so does this agent on other connections.
    pub(super) async fn renew(&mut self) -> Result<(), String> {
        let runtime = Arc::clone(&self.runtime);
        let opened = runtime.opened().ok_or_else(|| "stopped".to_owned())?;
        let server = runtime.mail_server(opened, &self.account, self.session.epoch, &self.wire.capabilities).await;
        self.server = server.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Why a command goes nowhere that names a mailbox otherwise than the server lists it. Of what its grant does not reach an agent hears nothing here.
    pub(super) async fn astray(&mut self, command: &Command) -> Option<String> {
        if self.server.reaches(command).is_ok() {
            return None;
        }
        let granted = |name: &&str| {
            self.runtime.opened().is_some_and(|opened| {
                let now = opened.now();
                opened.guard().reaches(&self.session, &self.account.id, name, now)
            })
        };
        let (there, made) = mailboxes(command);
        if !there.iter().chain(&made).all(granted) {
            return None;
        }
        match self.renew().await {
            Ok(()) => self.server.reaches(command).err().map(str::to_owned),
            Err(why) => Some(format!("NO [UNAVAILABLE] {why}")),
        }
    }

    /// What is in a mailbox, or why it can't be deleted.
    pub(super) async fn content(&self, mailbox: &str) -> Result<Content, String> {
        let (account, epoch) = (&self.account, self.session.epoch);
        let unknown = |error: ReadError| format!("[NONEXISTENT] {error}");
        if self.runtime.mail_has_below(account, epoch, mailbox, &self.server).await.map_err(unknown)? {
            return Err("[HASCHILDREN] There are mailboxes below it: delete those first".to_owned());
        }
        self.runtime.mail_content(account, epoch, mailbox).await.map_err(unknown)
    }
}
