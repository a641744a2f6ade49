//! Command by command.

use std::io;
use std::sync::Arc;

use latch_core::classify::imap::capability;
use latch_core::classify::imap::command::Command;
use latch_core::classify::imap::deed::{Deed, On, command, object, reading};
use latch_core::classify::imap::fetch::peeking;
use latch_core::classify::imap::gmail;
use latch_core::classify::imap::name::INBOX;
use latch_core::classify::imap::reply::{Content, Kind};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::steps::written;
use latch_core::classify::imap::token::Token;
use latch_core::recipe::Answer;

use super::act::Ruled;
use super::hide::Without;
use super::relay::Ended;
use super::{MailSession, Selected};
use crate::door::imap::passing::{Numbers, Opening, Through, tagged};
use crate::door::imap::{Next, Talk};
use crate::upstream::UpstreamError;

/// One command may name so many messages.
pub(super) const MOST: usize = 10_000;
const TOO_MANY: &str = "NO [LIMIT] More than 10000 messages at once: ask for fewer at a time";
const NONE: &str = "OK There is none of these, so nothing was changed";
/// RFC 5530 section 3.
const RENUMBERED: &str = "NO [EXPUNGEISSUED] Messages have just left the mailbox, so these numbers may mean others now. Nothing was done: look again, or use UIDs";
const NO_IDENTITY: &str = "NO [CANNOT] The mail server gives this mailbox no UIDVALIDITY, so it can't be told from another that takes its name. Nothing was done";
const NOT_OPEN: &str = "BAD Open a mailbox first: SELECT or EXAMINE";

impl MailSession {
    pub(super) async fn take(&mut self, tag: &str, command: Command, talk: &mut Talk) -> io::Result<Next> {
        if !self.stands() {
            talk.line(&format!(
                "{tag} NO [UNAVAILABLE] The access token is over, or the person stopped this or removed the account"
            ));
            talk.line("* BYE [UNAVAILABLE] Log in again with a new access token");
            return Ok(Next::Close);
        }
        if let Command::Select { .. } = command {
            // From here on the former mailbox is closed, whatever becomes of this (RFC 9051 section 6.3.2): what the client has sent ahead means the other.
            self.selected = None;
        }
        if gmail::needs(&command) && !self.wire.capabilities.iter().any(|one| one == gmail::CAPABILITY) {
            return Self::told(talk, tag, "BAD This mail server has no X-GM-EXT-1: CAPABILITY says what there is");
        }
        if gmail::tells_mailboxes(&command) && !self.reaches_all() {
            return Self::told(
                talk,
                tag,
                "NO [NOPERM] This agent may use some mailboxes only, and labels name the others: ask without X-GM-LABELS and X-GM-RAW",
            );
        }
        if let Some(text) = self.astray(&command).await {
            return match command {
                Command::Append(append) => self.append_refused(tag, &append, &text, talk).await,
                _ => Self::told(talk, tag, &text),
            };
        }
        match command {
            Command::Capability => {
                talk.line(&format!("* CAPABILITY {}", capability::after_login(&self.wire.capabilities)));
                Self::told(talk, tag, "OK That is all")
            }
            Command::Id => {
                talk.line("* ID (\"name\" \"Latchstring\")");
                Self::told(talk, tag, "OK Pleased to meet you")
            }
            Command::Logout => {
                talk.line("* BYE See you");
                talk.line(&format!("{tag} OK Logged out"));
                Ok(Next::Close)
            }
            Command::Login { .. } | Command::Authenticate { .. } => {
                Self::told(talk, tag, "BAD You are logged in already")
            }
            Command::Noop => {
                let ended = self.sync(talk).await?;
                Ok(Self::end(tag, ended, talk))
            }
            Command::Enable(asked) => self.enable(tag, &asked, talk).await,
            Command::Select { mailbox, examine, options } => self.select(tag, mailbox, examine, options, talk).await,
            Command::Close if self.selected.is_some() => self.close(tag, talk).await,
            Command::Unselect if self.selected.is_some() => self.leave(tag, "Closed", talk).await,
            Command::Close | Command::Unselect => Self::told(talk, tag, NOT_OPEN),
            Command::Idle => self.idle(tag, talk).await,
            Command::Look { verb, mailbox, args } => {
                self.read(tag, &verb, &args, (mailbox.as_deref(), Vec::new()), talk).await
            }
            Command::Search { verb, args } => match self.selected {
                None => Self::told(talk, tag, NOT_OPEN),
                Some(ref selected) => {
                    let mailbox = selected.mailbox.clone();
                    let args: Vec<Token> = args.into_iter().chain(self.but_hidden()).collect();
                    self.read(tag, &verb, &args, (Some(&mailbox), Vec::new()), talk).await
                }
            },
            Command::Fetch { uid, set, items, modifiers, bodies } => {
                self.fetch(tag, (uid, set), items, modifiers, bodies, talk).await
            }
            Command::Store { uid, set, mode, silent, labels, words, unchanged_since } => {
                let deed = Deed::Store { mode, labels, words, unchanged_since };
                self.on_messages(tag, deed, (uid, Some(set)), silent, talk).await
            }
            Command::Copy { uid, set, to } => {
                self.on_messages(tag, Deed::Copy { to }, (uid, Some(set)), true, talk).await
            }
            Command::Move { uid, set, to } => {
                self.on_messages(tag, Deed::Move { to }, (uid, Some(set)), true, talk).await
            }
            Command::Expunge { set } => self.on_messages(tag, Deed::Expunge, (true, set), true, talk).await,
            Command::Append(append) => self.append(tag, append, talk).await,
            Command::Rename { mailbox, .. } if mailbox == INBOX => Self::told(
                talk,
                tag,
                "NO [CANNOT] Renaming INBOX would move all mail out of it at once: use MOVE for the messages that you mean",
            ),
            Command::Create { mailbox } => self.on_mailbox(tag, Deed::Create, mailbox, talk).await,
            Command::Delete { mailbox } if mailbox == INBOX => {
                Self::told(talk, tag, "NO [CANNOT] INBOX can't be deleted")
            }
            Command::Delete { mailbox } => self.delete(tag, mailbox, talk).await,
            // One command would take away any number of messages, and count as one.
            Command::Rename { mailbox, to } if self.takes_away(&mailbox, &to) => Self::told(
                talk,
                tag,
                "NO [CANNOT] Renaming a mailbox into the Trash would remove all of its mail at once: use DELETE, which is asked about, or MOVE for the messages that you mean",
            ),
            Command::Rename { mailbox, to } => self.on_mailbox(tag, Deed::Rename { to }, mailbox, talk).await,
            Command::Subscribe { mailbox, off } => self.on_mailbox(tag, Deed::Subscribe { off }, mailbox, talk).await,
            Command::SetAcl { mailbox, who, rights } => {
                self.on_mailbox(tag, Deed::SetAcl { who, rights }, mailbox, talk).await
            }
            Command::Setting { mailbox, verb, args } => {
                let Some(args) = written(&args) else {
                    return Self::told(
                        talk,
                        tag,
                        "BAD Latchstring does not understand this command, so it went nowhere",
                    );
                };
                self.on_mailbox(tag, Deed::Setting { verb, args }, mailbox.unwrap_or_default(), talk).await
            }
        }
    }

    fn takes_away(&self, mailbox: &str, to: &str) -> bool {
        let gone = |name: &str| self.server.is_trash(name) || self.server.is_junk(name);
        gone(to) && !gone(mailbox)
    }

    pub(super) fn told(talk: &mut Talk, tag: &str, text: &str) -> io::Result<Next> {
        talk.line(&format!("{tag} {text}"));
        Ok(Next::Command)
    }

    async fn enable(&mut self, tag: &str, asked: &[String], talk: &mut Talk) -> io::Result<Next> {
        let enabled: Vec<Token> = capability::enabled(asked)
            .into_iter()
            .filter(|one| self.wire.capabilities.contains(one))
            .map(Token::Atom)
            .collect();
        match command("ENABLE", None, &enabled) {
            Some(call) if !enabled.is_empty() => {
                let ended = self.ask(&call, talk, Through::All).await?;
                Ok(Self::end(tag, ended, talk))
            }
            _ => {
                talk.line("* ENABLED");
                Self::told(talk, tag, "OK Nothing of this is offered")
            }
        }
    }

    /// A read that the Guard decides, and its answer as the server gives it.
    async fn read(
        &mut self,
        tag: &str,
        verb: &str,
        args: &[Token],
        (mailbox, bodies): (Option<&str>, Vec<String>),
        talk: &mut Talk,
    ) -> io::Result<Next> {
        let Some(call) = command(verb, None, args) else { return Self::told(talk, tag, "BAD This can't be written") };
        match self.ruled(tag, reading(call.clone(), mailbox, bodies), talk).await? {
            Ruled::Told(next) => Ok(next),
            Ruled::Done(answer) => self.finish(tag, &answer, None, talk),
            Ruled::ReadFirst => Self::told(talk, tag, "NO [SERVERBUG] There is nothing to read first"),
            Ruled::Go { permit, hold } => {
                let ended = match self.pass(permit, &call).await {
                    Ok(redeemed) => self.relay(&redeemed, &call, Some(tag), talk, Through::All).await?,
                    Err(error) => Self::failed(&error, talk),
                };
                self.settled(hold.as_deref());
                Ok(Self::end(tag, ended, talk))
            }
        }
    }

    pub(super) fn failed(error: &UpstreamError, talk: &mut Talk) -> Ended {
        talk.line(&format!("* BYE [UNAVAILABLE] {error}"));
        Ended::Gone
    }

    /// SELECT and EXAMINE: always EXAMINE upstream.
    async fn select(
        &mut self,
        tag: &str,
        mailbox: String,
        examine: bool,
        options: Option<Token>,
        talk: &mut Talk,
    ) -> io::Result<Next> {
        let args: Vec<Token> = std::iter::once(Token::text(mailbox.as_str())).chain(options).collect();
        let Some(call) = command("EXAMINE", None, &args) else {
            return Self::told(talk, tag, "BAD This can't be written");
        };
        let (permit, hold) = match self.ruled(tag, reading(call.clone(), Some(&mailbox), Vec::new()), talk).await? {
            Ruled::Go { permit, hold } => (permit, hold),
            Ruled::Told(next) => return Ok(next),
            Ruled::Done(answer) => return self.finish(tag, &answer, None, talk),
            Ruled::ReadFirst => return Self::told(talk, tag, "NO [SERVERBUG] There is nothing to read first"),
        };
        let read_only = examine || self.is_read_only();
        let mut found = Opening::default();
        let ended = match self.pass(permit, &call).await {
            Ok(redeemed) => {
                self.relay(&redeemed, &call, Some(tag), talk, Through::Opening { found: &mut found, read_only }).await?
            }
            Err(error) => Self::failed(&error, talk),
        };
        self.settled(hold.as_deref());
        let Ended::Status(mut status) = ended else { return Ok(Self::end(tag, ended, talk)) };
        if status.kind == Kind::Ok {
            let Some(uidvalidity) = found.uidvalidity.filter(|uidvalidity| *uidvalidity > 0) else {
                return Self::told(
                    talk,
                    tag,
                    "NO [UNAVAILABLE] The mail server gives this mailbox no UIDVALIDITY, so nothing in it can be named safely",
                );
            };
            let numbers = Numbers { exists: found.exists, renumbered: 0 };
            self.selected = Some(Selected { mailbox, uidvalidity, numbers, read_only });
            status.code = Some(if read_only { "READ-ONLY" } else { "READ-WRITE" }.to_owned());
        }
        talk.line(&tagged(tag, &status));
        Ok(Next::Command)
    }

    /// Leaves the mailbox without removing anything.
    pub(super) async fn leave(&mut self, tag: &str, text: &str, talk: &mut Talk) -> io::Result<Next> {
        self.selected = None;
        if !self.wire.capabilities.iter().any(|one| one == "UNSELECT") {
            return Self::told(talk, tag, &format!("OK {text}"));
        }
        let Some(call) = command("UNSELECT", None, &[]) else { return Ok(Next::Close) };
        match self.ask(&call, talk, Through::All).await? {
            Ended::Status(status) if status.kind == Kind::Ok => Self::told(talk, tag, &format!("OK {text}")),
            ended => Ok(Self::end(tag, ended, talk)),
        }
    }

    async fn fetch(
        &mut self,
        tag: &str,
        (uid, set): (bool, Set),
        items: Vec<Token>,
        modifiers: Option<Token>,
        bodies: bool,
        talk: &mut Talk,
    ) -> io::Result<Next> {
        let Some(selected) = self.selected.clone() else { return Self::told(talk, tag, NOT_OPEN) };
        let set = if uid { set } else { set.at(selected.numbers.exists) };
        let mut named = match self.without_hidden(uid, set, talk).await? {
            Without::Set(set) => set,
            Without::Nothing => return Self::told(talk, tag, "OK There is none of these"),
            Without::Ended(ended) => return Ok(Self::end(tag, ended, talk)),
        };
        let mut read = Vec::new();
        if bodies {
            let uids = match self.resolve(uid, Some(&named), false, talk).await? {
                Ok(uids) => uids,
                Err(ended) => return Ok(Self::end(tag, ended, talk)),
            };
            if uids.len() > MOST {
                return Self::told(talk, tag, TOO_MANY);
            }
            let Some(exact) = Set::of(&uids) else { return Self::told(talk, tag, "OK There is none of these") };
            read = uids.iter().map(|uid| object(&selected.mailbox, selected.uidvalidity, *uid)).collect();
            // What arrives meanwhile was not decided.
            let bounded = if uid { Some(exact) } else { named.bounded(selected.numbers.exists) };
            let Some(bounded) = bounded else { return Self::told(talk, tag, "OK There is none of these") };
            named = bounded;
        }
        if self.is_renumbered(uid, &selected) {
            return Self::told(talk, tag, RENUMBERED);
        }
        let items: Vec<Token> = items.iter().map(peeking).collect();
        let what = match items.as_slice() {
            [one] => one.clone(),
            _ => Token::List(items),
        };
        let args: Vec<Token> = [Token::atom(named.to_string()), what].into_iter().chain(modifiers).collect();
        self.read(tag, if uid { "UID FETCH" } else { "FETCH" }, &args, (Some(&selected.mailbox), read), talk).await
    }

    /// A change of messages in the open mailbox: named one by one first.
    async fn on_messages(
        &mut self,
        tag: &str,
        deed: Deed,
        (uid, set): (bool, Option<Set>),
        silent: bool,
        talk: &mut Talk,
    ) -> io::Result<Next> {
        let Some(selected) = self.selected.clone() else { return Self::told(talk, tag, NOT_OPEN) };
        let copies = matches!(deed, Deed::Copy { .. });
        if selected.read_only && !copies {
            return Self::told(talk, tag, "NO [NOPERM] This mailbox is open for reading only");
        }
        let set = match set {
            Some(set) if !uid => match self.without_hidden(false, set.at(selected.numbers.exists), talk).await? {
                Without::Set(set) => Some(set),
                Without::Nothing => return Self::told(talk, tag, NONE),
                Without::Ended(ended) => return Ok(Self::end(tag, ended, talk)),
            },
            set => set,
        };
        let expunges = deed == Deed::Expunge;
        // It is about what others have marked by now, too.
        if expunges && let ended @ Ended::Gone = self.sync(talk).await? {
            return Ok(Self::end(tag, ended, talk));
        }
        let uids = match self.resolve(uid, set.as_ref(), expunges, talk).await? {
            Ok(uids) => uids,
            Err(ended) => return Ok(Self::end(tag, ended, talk)),
        };
        if self.is_renumbered(uid, &selected) {
            return Self::told(talk, tag, RENUMBERED);
        }
        if uids.is_empty() {
            return Self::told(talk, tag, NONE);
        }
        if uids.len() > MOST {
            return Self::told(talk, tag, TOO_MANY);
        }
        // What a flag means hangs on no mailbox.
        if !matches!(deed, Deed::Store { .. })
            && let Err(why) = self.renew().await
        {
            return Self::told(talk, tag, &format!("NO [UNAVAILABLE] {why}"));
        }
        let on = On { mailbox: selected.mailbox, uidvalidity: Some(selected.uidvalidity), uids };
        let part = deed.part(&on, &self.server);
        let answer = match self.ruled(tag, part, talk).await? {
            Ruled::Told(next) => return Ok(next),
            Ruled::Done(answer) => answer,
            Ruled::Go { .. } | Ruled::ReadFirst => {
                return Self::told(talk, tag, "NO [SERVERBUG] Latchstring did not run this");
            }
        };
        super::act::untagged(&answer, talk);
        let answer = match self.with_conflicts(answer, uid, talk).await? {
            Ok(answer) => answer,
            Err(ended) => return Ok(Self::end(tag, ended, talk)),
        };
        // While numbers are stored to, none may change (RFC 9051 section 7.5.1): what a FETCH of them brings up to date is enough.
        let numbered = set.filter(|_| !uid && matches!(deed, Deed::Store { .. }));
        if numbered.is_none()
            && let Ended::Gone = self.sync(talk).await?
        {
            return Ok(Self::end(tag, Ended::Gone, talk));
        }
        let done = answer.status == 200;
        let echo = !silent && done;
        // RFC 7162 section 3.1.3: whoever asks on condition hears where it stands now.
        let asks = done && matches!(deed, Deed::Store { unchanged_since: Some(_), .. });
        let (verb, changed) = match numbered {
            Some(set) => ("FETCH", set.bounded(selected.numbers.exists)),
            None => ("UID FETCH", Set::of(&on.uids).filter(|_| echo || asks)),
        };
        let items: &[&str] = match (echo, asks) {
            (true, true) => &["FLAGS", "MODSEQ"],
            (true, false) => &["FLAGS"],
            (false, true) => &["MODSEQ"],
            (false, false) => &["UID"],
        };
        let items = Token::atoms(items.iter().copied());
        if let Some(set) = changed
            && let Some(call) = command(verb, None, &[Token::atom(set.to_string()), items])
        {
            let mut known = Vec::new();
            let through = if echo || asks { Through::All } else { Through::Uids(&set, &mut known) };
            if let Ended::Gone = self.ask(&call, talk, through).await? {
                return Ok(Self::end(tag, Ended::Gone, talk));
            }
        }
        self.finish(tag, &answer, Some(on.uids.len()), talk)
    }

    /// The answer with its conflicts in the words of the question: by number, or by UID (RFC 7162 section 3.1.3).
    async fn with_conflicts(
        &mut self,
        answer: Arc<Answer>,
        uid: bool,
        talk: &mut Talk,
    ) -> io::Result<Result<Arc<Answer>, Ended>> {
        let Some((_, uids)) = answer.headers.iter().find(|(name, _)| name == "modified") else { return Ok(Ok(answer)) };
        let set = if uid {
            Some(uids.clone())
        } else {
            let keys = [Token::atom("UID"), Token::atom(uids.as_str())];
            match self.numbers("SEARCH", &keys, talk).await? {
                Ok(numbers) => Set::of(&numbers).map(|set| set.to_string()),
                Err(ended) => return Ok(Err(ended)),
            }
        };
        let mut answer = Answer::clone(&answer);
        answer.headers.extend(set.map(|set| ("code".to_owned(), format!("MODIFIED {set}"))));
        Ok(Ok(Arc::new(answer)))
    }

    /// A mailbox with exactly what is in it now.
    async fn delete(&mut self, tag: &str, mailbox: String, talk: &mut Talk) -> io::Result<Next> {
        let content = match self.may_look(&mailbox) {
            true => self.content(&mailbox).await,
            false => Ok(Content { uidvalidity: 0, uids: Vec::new() }),
        };
        let Content { uidvalidity, uids } = match content {
            Ok(content) => content,
            Err(text) => return Self::told(talk, tag, &format!("NO {text}")),
        };
        if uids.len() > MOST {
            return Self::told(talk, tag, "NO [LIMIT] More than 10000 messages are in it: move them elsewhere first");
        }
        if let Err(why) = self.renew().await {
            return Self::told(talk, tag, &format!("NO [UNAVAILABLE] {why}"));
        }
        let messages = u32::try_from(uids.len()).unwrap_or(u32::MAX);
        let on = On { mailbox, uidvalidity: Some(uidvalidity), uids };
        self.on_whole(tag, Deed::Delete { messages }, &on, talk).await
    }

    /// A change of a mailbox itself.
    async fn on_mailbox(&mut self, tag: &str, deed: Deed, mailbox: String, talk: &mut Talk) -> io::Result<Next> {
        if let Err(why) = self.renew().await {
            return Self::told(talk, tag, &format!("NO [UNAVAILABLE] {why}"));
        }
        if let Deed::Rename { .. } = deed
            && self.reaches(&mailbox)
            && self.server.below(&mailbox).any(|below| !self.reaches(below))
        {
            return Self::told(
                talk,
                tag,
                "NO [NOPERM] There are mailboxes below it that this agent may not use, and they would go with it",
            );
        }
        let uidvalidity = match &deed {
            Deed::SetAcl { .. } | Deed::Rename { .. } if self.may_look(&mailbox) => {
                let (account, epoch) = (&self.account, self.session.epoch);
                match self.runtime.mail_identity(account, epoch, &mailbox).await {
                    Ok(identity) if identity.is_some() || matches!(deed, Deed::Rename { .. }) => identity,
                    Ok(_) => return Self::told(talk, tag, NO_IDENTITY),
                    Err(error) => return Self::told(talk, tag, &format!("NO [UNAVAILABLE] {error}")),
                }
            }
            _ => None,
        };
        self.on_whole(tag, deed, &On { mailbox, uidvalidity, uids: Vec::new() }, talk).await
    }

    /// Whether a mailbox is looked into for a change: of one that the agent may not use, whether there is one is not its business.
    fn may_look(&self, mailbox: &str) -> bool {
        !self.is_read_only() && self.reaches(mailbox)
    }

    fn reaches_all(&self) -> bool {
        self.runtime.opened().is_some_and(|opened| {
            let now = opened.now();
            opened.guard().reaches_all(&self.session, &self.account.id, now)
        })
    }

    fn reaches(&self, mailbox: &str) -> bool {
        self.runtime.opened().is_some_and(|opened| {
            let now = opened.now();
            opened.guard().reaches(&self.session, &self.account.id, mailbox, now)
        })
    }

    async fn on_whole(&mut self, tag: &str, deed: Deed, on: &On, talk: &mut Talk) -> io::Result<Next> {
        let part = deed.part(on, &self.server);
        match self.ruled(tag, part, talk).await? {
            Ruled::Told(next) => Ok(next),
            Ruled::Done(answer) => self.finish(tag, &answer, None, talk),
            Ruled::Go { .. } | Ruled::ReadFirst => Self::told(talk, tag, "NO [SERVERBUG] Latchstring did not run this"),
        }
    }
}
