//! The mail whose leaving the inbox stops everything: no agent reaches it.
//!
//! A set that names messages is resolved without it, a search never finds it, and a FETCH leaves it out. What an agent may still see is that there is one message
//! more: in EXISTS and STATUS, as a gap in the numbers, and when its flags change.

use std::io;

use latch_core::classify::imap::deed::command;
use latch_core::classify::imap::name::could_be_inbox;
use latch_core::classify::imap::reply::Kind;
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::token::Token;
use latch_core::phone::Anchor;

use super::MailSession;
use super::relay::Ended;
use crate::door::imap::Talk;
use crate::door::imap::passing::Through;

/// A set without the mail.
pub(super) enum Without {
    /// It can go upstream.
    Set(Set),
    /// Nothing is left of it.
    Nothing,
    /// It could not be found out.
    Ended(Ended),
}

impl MailSession {
    /// What the mail is found by in the open mailbox; `None` if it can't be there.
    pub(super) fn hidden(&self) -> Option<Vec<Token>> {
        let selected = self.selected.as_ref()?;
        let opened = self.runtime.opened()?;
        let guard = opened.guard();
        match guard.stop_mail(&self.account.id)? {
            // There one message is in several mailboxes, and what is done to it in one shows in the others.
            Anchor::Imap { everywhere: Some(everywhere), .. } => {
                Some(vec![Token::atom("X-GM-MSGID"), Token::atom(everywhere.to_string())])
            }
            Anchor::Imap { uidvalidity, uid, .. } => (could_be_inbox(&selected.mailbox)
                && selected.uidvalidity == *uidvalidity)
                .then(|| vec![Token::atom("UID"), Token::atom(uid.to_string())]),
            Anchor::Api { .. } => None,
        }
    }

    /// The search key that leaves it out.
    pub(super) fn but_hidden(&self) -> Vec<Token> {
        let hidden = self.hidden();
        hidden.into_iter().flat_map(|keys| std::iter::once(Token::atom("NOT")).chain(keys)).collect()
    }

    /// Leaves it out of what a command names.
    pub(super) async fn without_hidden(&mut self, uid: bool, set: Set, talk: &mut Talk) -> io::Result<Without> {
        let Some(keys) = self.hidden() else { return Ok(Without::Set(set)) };
        // What a search saved never held it.
        if set == Set::Saved {
            return Ok(Without::Set(set));
        }
        let verb = if uid { "UID SEARCH" } else { "SEARCH" };
        let found = match self.numbers(verb, &keys, talk).await? {
            Ok(found) => found,
            Err(ended) => return Ok(Without::Ended(ended)),
        };
        let Some(number) = found.first().copied() else { return Ok(Without::Set(set)) };
        let last = if uid {
            match self.numbers(verb, &[Token::atom("*")], talk).await? {
                Ok(last) => last.into_iter().max().unwrap_or(number),
                Err(ended) => return Ok(Without::Ended(ended)),
            }
        } else {
            self.selected.as_ref().map_or(number, |selected| selected.numbers.exists)
        };
        Ok(set.without(number, last).map_or(Without::Nothing, Without::Set))
    }

    /// What a search finds now, in its own words: numbers or UIDs.
    pub(super) async fn numbers(
        &mut self,
        verb: &str,
        keys: &[Token],
        talk: &mut Talk,
    ) -> io::Result<Result<Vec<u32>, Ended>> {
        let mut found = Vec::new();
        let Some(call) = command(verb, None, keys) else { return Ok(Err(Ended::Gone)) };
        match self.ask(&call, talk, Through::Search(&mut found)).await? {
            Ended::Status(status) if status.kind == Kind::Ok => Ok(Ok(found)),
            ended => Ok(Err(ended)),
        }
    }
}
