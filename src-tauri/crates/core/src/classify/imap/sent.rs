//! Whom the person wrote to, by the mailbox where sent mail is kept; and what an agent puts there, which proves nothing.

use super::command::Mode;
use super::deed::{Deed, On, Server, mailboxes};
use super::token::Token;
use crate::call::CallBody;
use crate::classify::mail;
use crate::operation::Part;
use crate::recipe::sent::{Writes, is_searchable};

/// The search program for sent mail to an address. `None` where it has letters that could be read as a part of one.
#[must_use]
pub fn search(address: &str) -> Option<Vec<Token>> {
    let one = |key: &str| [Token::atom(key), Token::text(address)];
    let keys = [Token::atom("UNDRAFT"), Token::atom("OR"), Token::atom("OR")];
    is_searchable(address).then(|| keys.into_iter().chain(one("TO")).chain(one("CC")).chain(one("BCC")).collect())
}

/// Whom an ENVELOPE names in To, Cc and Bcc, in lower case.
#[must_use]
pub fn recipients(envelope: &[Token]) -> Vec<String> {
    let named = envelope.get(5..8).unwrap_or_default().iter().filter_map(Token::items).flatten();
    let address = |one: &Token| match one.items()? {
        // A group has no host (RFC 9051 section 7.5.2).
        [_, _, mailbox, host] => Some(format!("{}@{}", mailbox.nstring()?, host.nstring()?).to_ascii_lowercase()),
        _ => None,
    };
    named.filter_map(address).collect()
}

/// What a deed may put where sent mail is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enters {
    /// The messages that it is done to.
    These,
    /// Another mailbox may take that one's place, with whatever is in it.
    Anything,
}

/// What a deed may put where sent mail is kept; `None`: nothing.
#[must_use]
pub fn enters(deed: &Deed, on: &On, server: &Server) -> Option<Enters> {
    match deed {
        Deed::Copy { to } | Deed::Move { to } => server.is_sent(to).then_some(Enters::These),
        // Once the one is out of the way, its name is free for another; and while there is none, the server may take whatever comes for it.
        Deed::Rename { to } => (server.sent.is_none()
            || server.is_sent(to)
            || server.is_sent(&on.mailbox)
            || server.holds_sent(&on.mailbox))
        .then_some(Enters::Anything),
        Deed::Create => server.sent.is_none().then_some(Enters::Anything),
        // RFC 6154 section 5.4: what a mailbox is for can be set.
        Deed::Setting { args, .. } => args.to_ascii_lowercase().contains("specialuse").then_some(Enters::Anything),
        // On Gmail a label is a mailbox.
        Deed::Store { labels: true, mode, words, .. } => (*mode != Mode::Remove
            && words.iter().any(|word| word.eq_ignore_ascii_case("\\Sent") || server.is_sent(word)))
        .then_some(Enters::Anything),
        Deed::Delete { .. } => {
            (server.is_sent(&on.mailbox) || server.holds_sent(&on.mailbox)).then_some(Enters::Anything)
        }
        Deed::Store { .. } | Deed::Expunge | Deed::Subscribe { .. } | Deed::SetAcl { .. } => None,
    }
}

/// What an APPEND puts there; `None`: nothing.
#[must_use]
pub fn appends(part: &Part, server: &Server) -> Option<Writes> {
    if !mailboxes(part).any(|mailbox| server.is_sent(mailbox)) {
        return None;
    }
    match &part.call.body {
        CallBody::Bytes(message) => Some(Writes::New(mail::everybody(message))),
        CallBody::Aside(_) | CallBody::Streamed => Some(Writes::New(None)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::reply::untagged;
    use super::super::token::{Piece, encode};
    use super::*;

    fn server() -> Server {
        Server { sent: Some("INBOX.Envoyes".to_owned()), delimiter: Some('.'), ..Server::default() }
    }

    #[test]
    fn an_address_is_searched_for_as_one() {
        let keys = String::from_utf8(encode(&search("bob@b.example").unwrap()).unwrap()).unwrap();
        assert_eq!(keys, "UNDRAFT OR OR TO \"bob@b.example\" CC \"bob@b.example\" BCC \"bob@b.example\"");
        for odd in ["\"a b\"@c.example", "a", "a@b\" ALL \"", "-a@b.example", "a@b.example)"] {
            assert_eq!(search(odd), None, "{odd}");
        }
    }

    #[test]
    fn whom_an_envelope_names() {
        let line = "* 1 FETCH (ENVELOPE (\"d\" \"s\" ((NIL NIL \"me\" \"a.example\")) NIL NIL ((\"Bob\" NIL \"Bob\" \"B.example\")(NIL NIL \"team\" NIL)(NIL NIL \"c\" \"c.example\")(NIL NIL NIL NIL)) NIL ((NIL NIL \"d\" \"d.example\")) NIL \"<x>\"))";
        let tokens = untagged(&[Piece::Text(line.as_bytes().to_vec())]).unwrap();
        let fetched = super::super::reply::fetched(&tokens).unwrap();
        assert_eq!(recipients(&fetched.envelope.unwrap()), ["bob@b.example", "c@c.example", "d@d.example"]);
        assert!(recipients(&[]).is_empty());
    }

    #[test]
    fn what_could_become_sent_mail_is_seen() {
        let server = server();
        let on = |mailbox: &str| On { mailbox: mailbox.to_owned(), uidvalidity: None, uids: Vec::new() };
        let to = |to: &str| to.to_owned();
        let check = |deed: Deed, from: &str, expected: Option<Enters>| {
            assert_eq!(enters(&deed, &on(from), &server), expected, "{deed:?} on {from}");
        };
        check(Deed::Copy { to: to("INBOX.Envoyes") }, "INBOX", Some(Enters::These));
        check(Deed::Move { to: to("Old/Sent") }, "INBOX", Some(Enters::These));
        check(Deed::Move { to: to("INBOX.Work") }, "INBOX", None);
        check(Deed::Rename { to: to("INBOX.Envoyes") }, "INBOX.Evil", Some(Enters::Anything));
        check(Deed::Rename { to: to("INBOX.Old") }, "INBOX.Envoyes", Some(Enters::Anything));
        check(Deed::Rename { to: to("sent") }, "Evil", Some(Enters::Anything));
        check(Deed::Rename { to: to("Good") }, "Evil", None);
        check(Deed::Delete { messages: 1 }, "INBOX.Envoyes", Some(Enters::Anything));
        check(Deed::Expunge, "INBOX.Envoyes", None);
        let label = |mode: Mode, word: &str| Deed::Store {
            mode,
            labels: true,
            words: vec![word.to_owned()],
            unchanged_since: None,
        };
        check(label(Mode::Add, "\\Sent"), "INBOX", Some(Enters::Anything));
        check(label(Mode::Replace, "\\SENT"), "INBOX", Some(Enters::Anything));
        check(label(Mode::Remove, "\\Sent"), "INBOX", None);
        check(label(Mode::Add, "Work"), "INBOX", None);
        let special =
            Deed::Setting { verb: "SETMETADATA".to_owned(), args: "X (/private/SpecialUse \"\\\\Sent\")".to_owned() };
        check(special, "", Some(Enters::Anything));
        check(Deed::Create, "INBOX.New", None);
        let none = Server { delimiter: Some('.'), ..Server::default() };
        assert_eq!(enters(&Deed::Create, &on("New"), &none), Some(Enters::Anything));
        assert_eq!(enters(&Deed::Rename { to: to("New") }, &on("Evil"), &none), Some(Enters::Anything));
    }
}
