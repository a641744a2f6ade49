//! Gmail over IMAP (X-GM-EXT-1): a mailbox is a label there, and one message is in every mailbox whose label it has.
//!
//! So the same words mean something else: a copy is the message itself under one more label, a copy to the Trash trashes it, and what `\Deleted` does
//! hangs on settings that can't be seen here, up to removing for ever at once.

use super::command::Command;
use super::name::{INBOX, canonical};
use super::server::Server;
use super::token::Token;

/// What a server says that has these extensions.
pub const CAPABILITY: &str = "X-GM-EXT-1";
/// Labels of Gmail's own, in their one spelling.
const SYSTEM: [&str; 10] =
    ["\\Inbox", "\\Sent", "\\Important", "\\Starred", "\\Draft", "\\Drafts", "\\Trash", "\\Spam", "\\Junk", "\\Muted"];
const MOST: usize = 1000;

/// A label as an agent wrote it, in whatever kind of string: one of Gmail's own in its one spelling, or a person's.
#[must_use]
pub fn label(said: &[u8]) -> Option<String> {
    let word = std::str::from_utf8(said).ok().filter(|word| !word.is_empty() && word.len() <= MOST)?;
    if word.starts_with('\\') {
        return SYSTEM.iter().find(|known| known.eq_ignore_ascii_case(word)).map(|known| (*known).to_owned());
    }
    word.bytes().all(|byte| (0x20..0x7f).contains(&byte)).then(|| word.to_owned())
}

/// A label as it goes upstream.
#[must_use]
pub fn written(label: &str) -> Token {
    if SYSTEM.contains(&label) { Token::atom(label) } else { Token::text(label) }
}

/// The label that a mailbox is. `None`: it is one of Gmail's own that no label makes.
#[must_use]
pub fn label_of(mailbox: &str) -> Option<String> {
    if mailbox == INBOX {
        return Some("\\Inbox".to_owned());
    }
    let own = ["[Gmail]", "[Google Mail]"].into_iter().find_map(|root| mailbox.strip_prefix(root));
    match own {
        None => Some(mailbox.to_owned()),
        Some("/Starred") => Some("\\Starred".to_owned()),
        Some("/Important") => Some("\\Important".to_owned()),
        Some(_) => None,
    }
}

/// The mailbox that shows what has a label. One of Gmail's own that none shows is named as if one did: no grant names that.
#[must_use]
pub fn mailbox_of(label: &str, server: &Server) -> String {
    let known = |name: &Option<String>, usual: &str| name.clone().unwrap_or_else(|| format!("[Gmail]/{usual}"));
    match label {
        "\\Inbox" => INBOX.to_owned(),
        "\\Sent" => known(&server.sent, "Sent Mail"),
        "\\Trash" => known(&server.trash, "Trash"),
        "\\Spam" | "\\Junk" => known(&server.junk, "Spam"),
        "\\Draft" | "\\Drafts" => known(&None, "Drafts"),
        own => match own.strip_prefix('\\') {
            Some(name) => known(&None, name),
            None => canonical(own.as_bytes()).unwrap_or_else(|| own.to_owned()),
        },
    }
}

/// The mailbox of every message.
#[must_use]
pub fn all_mail(server: &Server) -> String {
    server.all.clone().unwrap_or_else(|| "[Gmail]/All Mail".to_owned())
}

/// Whether the answer to a command tells in which other mailboxes a message is.
#[must_use]
pub fn tells_mailboxes(command: &Command) -> bool {
    match command {
        Command::Fetch { items, .. } => names(items, &["X-GM-LABELS"]),
        Command::Search { args, .. } => names(args, &["X-GM-LABELS", "X-GM-RAW"]),
        _ => false,
    }
}

/// Whether a label takes a message out of every mailbox but the one that it names.
#[must_use]
pub fn takes_away(label: &str) -> bool {
    ["\\Trash", "\\Spam", "\\Junk"].iter().any(|one| one.eq_ignore_ascii_case(label))
}

/// Whether Gmail gives a message this label by itself, or for what it is: it says nothing of where anybody has put it.
#[must_use]
pub fn comes_by_itself(label: &str) -> bool {
    let known = ["\\Important", "\\Starred", "\\Draft", "\\Drafts", "\\Sent", "\\Muted"];
    known.iter().any(|one| one.eq_ignore_ascii_case(label))
}

/// Whether a command means something only where a server has these extensions.
#[must_use]
pub fn needs(command: &Command) -> bool {
    match command {
        Command::Store { labels, .. } => *labels,
        Command::Fetch { items: tokens, .. } | Command::Search { args: tokens, .. } => {
            names(tokens, &["X-GM-RAW", "X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS"])
        }
        _ => false,
    }
}

fn names(tokens: &[Token], words: &[&str]) -> bool {
    tokens.iter().any(|token| match token {
        Token::List(items) => names(items, words),
        Token::Atom(_) | Token::Text(_) => token.word().is_some_and(|word| words.contains(&word.as_str())),
    })
}
