//! What a mail server is like: what it can, what its mailboxes are called, and what some of them are for.
//!
//! What is the Trash is answered twice. Where deleted mail is put must be one mailbox, the likeliest. What counts as removing is any mailbox that could be one: an
//! agent that makes a second Trash must not thereby turn the real one into a mailbox like others.

use std::collections::BTreeSet;

use super::command::Command;
use super::gmail;
use super::name::{INBOX, canonical, shown};
use super::reply::Listed;

/// Names of the Trash on servers that do not say which it is; the likelier first.
const TRASH: [&str; 17] = [
    "Trash",
    "Deleted Items",
    "Deleted Messages",
    "Deleted",
    "Bin",
    "Papierkorb",
    "Gelöschte Elemente",
    "Gelöscht",
    "Corbeille",
    "Éléments supprimés",
    "Papelera",
    "Elementos eliminados",
    "Cestino",
    "Posta eliminata",
    "Prullenbak",
    "Verwijderde items",
    "Lixeira",
];
/// The same for spam.
const JUNK: [&str; 14] = [
    "Junk",
    "Spam",
    "Junk E-mail",
    "Junk Email",
    "Junk-E-Mail",
    "Bulk Mail",
    "Bulk",
    "Spamverdacht",
    "Unerwünscht",
    "Courrier indésirable",
    "Indésirables",
    "Correo no deseado",
    "Posta indesiderata",
    "Ongewenste e-mail",
];

/// The same for what was sent.
const SENT: [&str; 8] = [
    "Sent",
    "Sent Items",
    "Sent Messages",
    "Sent Mail",
    "Sent-Mail",
    "Gesendet",
    "Gesendete Objekte",
    "Éléments envoyés",
];

/// What the server is like, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Where deleted mail goes.
    pub trash: Option<String>,
    /// Where spam goes.
    pub junk: Option<String>,
    /// Where the person's mail programs keep what was sent.
    pub sent: Option<String>,
    /// Where every message is (RFC 6154 `\All`).
    pub all: Option<String>,
    /// Every mailbox that is marked as Trash or spam.
    pub marked: (BTreeSet<String>, BTreeSet<String>),
    /// Between a mailbox and its children.
    pub delimiter: Option<char>,
    /// Every mailbox that it lists and that can be named.
    pub listed: BTreeSet<String>,
    /// Those of them that are only names above others and hold no messages (RFC 9051 section 7.3.1).
    pub bare: BTreeSet<String>,
    /// It has MOVE (RFC 6851).
    pub moves: bool,
    /// It has UIDPLUS (RFC 4315): it says where copies went, and expunges by UID.
    pub uidplus: bool,
    /// It is Gmail (X-GM-EXT-1): mailboxes are labels.
    pub gmail: bool,
}

impl Server {
    /// From what it answered to LIST, and what it says that it can.
    #[must_use]
    pub fn of(mailboxes: &[Listed], has: impl Fn(&str) -> bool) -> Self {
        let marked = |attribute: &str| -> BTreeSet<String> {
            let is = |one: &&Listed| one.attributes.iter().any(|word| word.eq_ignore_ascii_case(attribute));
            mailboxes.iter().filter(is).filter_map(|one| canonical(one.name.as_bytes())).collect()
        };
        Self {
            trash: special(mailboxes, "\\Trash", &TRASH),
            junk: special(mailboxes, "\\Junk", &JUNK),
            sent: special(mailboxes, "\\Sent", &SENT),
            all: special(mailboxes, "\\All", &[]),
            marked: (marked("\\Trash"), marked("\\Junk")),
            delimiter: mailboxes.iter().find_map(|one| one.delimiter),
            listed: mailboxes.iter().filter_map(|one| canonical(one.name.as_bytes())).collect(),
            bare: marked("\\Noselect").into_iter().chain(marked("\\NonExistent")).collect(),
            moves: has("MOVE"),
            uidplus: has("UIDPLUS"),
            gmail: has(gmail::CAPABILITY),
        }
    }

    fn lies_in(&self, mailbox: &str, place: &str) -> bool {
        let (mailbox, place) = (mailbox.to_ascii_lowercase(), place.to_ascii_lowercase());
        let below =
            |delimiter: char| mailbox.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with(delimiter));
        mailbox == place || self.delimiter.is_some_and(below)
    }

    /// The mailboxes that lie below one.
    pub fn below<'a>(&'a self, mailbox: &'a str) -> impl Iterator<Item = &'a str> {
        let lies = move |name: &&String| name.as_str() != mailbox && self.lies_in(name, mailbox);
        self.listed.iter().filter(lies).map(String::as_str)
    }

    fn could_be(&self, mailbox: &str, place: Option<&String>, marked: &BTreeSet<String>, names: &[&str]) -> bool {
        let known = place.into_iter().chain(marked).any(|place| self.lies_in(mailbox, place));
        known || self.parts(mailbox).any(|part| is_called(part, names))
    }

    fn parts<'a>(&self, mailbox: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let delimiter = self.delimiter;
        mailbox.split(move |one: char| delimiter.map_or(matches!(one, '/' | '.'), |known| one == known))
    }

    /// Whether a mailbox could be a Trash or lie in one: what goes there is removed.
    #[must_use]
    pub fn is_trash(&self, mailbox: &str) -> bool {
        self.could_be(mailbox, self.trash.as_ref(), &self.marked.0, &TRASH)
    }

    /// The same for spam.
    #[must_use]
    pub fn is_junk(&self, mailbox: &str) -> bool {
        self.could_be(mailbox, self.junk.as_ref(), &self.marked.1, &JUNK)
    }

    /// Whether it is where sent mail is kept, or could be taken for it by its name.
    #[must_use]
    pub fn is_sent(&self, mailbox: &str) -> bool {
        let last = mailbox.rsplit(['/', '.', '\\']).next().unwrap_or(mailbox);
        let own = self.parts(mailbox).last().unwrap_or(mailbox);
        self.sent.as_deref() == Some(mailbox) || is_called(last, &SENT) || is_called(own, &SENT)
    }

    /// Whether a mailbox holds the one where sent mail is kept, or is it.
    pub(super) fn holds_sent(&self, mailbox: &str) -> bool {
        self.sent.as_deref().is_some_and(|sent| self.lies_in(sent, mailbox))
    }

    /// Whether a mailbox is the one where deleted mail goes, or lies in it: nothing can be softened there.
    #[must_use]
    pub fn is_in_trash(&self, mailbox: &str) -> bool {
        self.trash.as_ref().is_some_and(|trash| self.lies_in(mailbox, trash))
    }

    /// Whether a command names each mailbox in the one way in which the server does. Servers know mailboxes by names that they list to nobody: a delimiter too
    /// many, a namespace's prefix, one that is hidden. `Err` says what to answer.
    pub fn reaches(&self, command: &Command) -> Result<(), &'static str> {
        let (there, made) = mailboxes(command);
        let odd = |name: &&str| {
            *name != INBOX && self.delimiter.is_some_and(|delimiter| name.split(delimiter).any(str::is_empty))
        };
        if there.iter().chain(&made).any(odd) {
            return Err("BAD The name of a mailbox neither begins nor ends with the delimiter, nor has it twice");
        }
        if there.iter().all(|name| *name == INBOX || self.listed.contains(*name)) {
            return Ok(());
        }
        Err(match command {
            Command::Copy { .. } | Command::Move { .. } | Command::Append(_) => {
                "NO [TRYCREATE] The mail server lists no mailbox of this name"
            }
            _ => "NO [NONEXISTENT] The mail server lists no mailbox of this name",
        })
    }
}

/// The mailboxes that a command names: those that must be there, and those that need not.
#[must_use]
pub fn mailboxes(command: &Command) -> (Vec<&str>, Vec<&str>) {
    match command {
        Command::Select { mailbox, .. }
        | Command::Look { mailbox: Some(mailbox), .. }
        | Command::Copy { to: mailbox, .. }
        | Command::Move { to: mailbox, .. }
        | Command::Delete { mailbox }
        | Command::SetAcl { mailbox, .. } => (vec![mailbox.as_str()], Vec::new()),
        Command::Append(append) => (vec![append.mailbox.as_str()], Vec::new()),
        Command::Setting { mailbox, .. } => (mailbox.iter().map(String::as_str).collect(), Vec::new()),
        Command::Rename { mailbox, to } => (vec![mailbox.as_str()], vec![to.as_str()]),
        Command::Create { mailbox } | Command::Subscribe { mailbox, .. } => (Vec::new(), vec![mailbox.as_str()]),
        _ => (Vec::new(), Vec::new()),
    }
}

fn is_called(part: &str, names: &[&str]) -> bool {
    let text = shown(part).unwrap_or_else(|| part.to_owned()).to_lowercase();
    names.iter().any(|name| name.to_lowercase() == text)
}

/// Which mailbox is used for what: RFC 6154 attributes first, then names that servers without them use, as near to the top as there is one.
#[must_use]
pub fn special(mailboxes: &[Listed], attribute: &str, names: &[&str]) -> Option<String> {
    let has = |one: &Listed, word: &str| one.attributes.iter().any(|known| known.eq_ignore_ascii_case(word));
    let holds = |one: &&Listed| !has(one, "\\Noselect") && !has(one, "\\NonExistent");
    let parts = |one: &Listed| one.delimiter.map_or(1, |delimiter| one.name.split(delimiter).count());
    let rank = |one: &Listed| {
        let last = one.delimiter.and_then(|delimiter| one.name.rsplit(delimiter).next()).unwrap_or(&one.name);
        names.iter().position(|name| is_called(last, &[name]))
    };
    let usable = || mailboxes.iter().filter(holds);
    let marked = usable().filter(|one| has(one, attribute)).min_by_key(|one| parts(one));
    let named = || usable().filter_map(|one| Some(((parts(one), rank(one)?), one))).min_by_key(|(key, _)| *key);
    marked.or_else(|| named().map(|(_, one)| one)).and_then(|one| canonical(one.name.as_bytes()))
}
