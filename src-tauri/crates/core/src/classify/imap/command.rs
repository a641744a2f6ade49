//! An agent's command, understood or refused.

use super::fetch;
use super::gmail;
use super::list::is_list;
use super::name::canonical;
use super::search::is_search;
use super::set::Set;
use super::token::{Announced, From, Piece, Token, announced, split_word, tokens_within};

/// What the words of a command may take in memory beside their bytes.
const MOST_TOKENS: usize = 1024 * 1024;

/// Words that must not be seen in any log.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// How a STORE changes a set of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// A mail that follows an APPEND (RFC 9051 section 6.3.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where it goes.
    pub mailbox: String,
    /// Its flags, as asked.
    pub flags: Vec<String>,
    /// Its internal date, as asked.
    pub date: Option<String>,
    /// The literal that carries it.
    pub literal: Announced,
}

/// A command of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY.
    Capability,
    /// NOOP, CHECK: what is new?
    Noop,
    /// LOGOUT.
    Logout,
    /// ID (RFC 2971): answered here.
    Id,
    /// LOGIN.
    Login {
        /// The account.
        user: String,
        /// The access token.
        token: Hidden,
    },
    /// AUTHENTICATE (RFC 4422, RFC 4959).
    Authenticate {
        /// In capitals.
        mechanism: String,
        /// The initial response.
        initial: Option<Hidden>,
    },
    /// ENABLE (RFC 5161).
    Enable(Vec<String>),
    /// SELECT, EXAMINE.
    Select {
        /// Which.
        mailbox: String,
        /// EXAMINE.
        examine: bool,
        /// `(CONDSTORE)`, `(QRESYNC (..))`.
        options: Option<Token>,
    },
    /// UNSELECT (RFC 3691).
    Unselect,
    /// CLOSE.
    Close,
    /// IDLE (RFC 2177).
    Idle,
    /// Looks at one mailbox without opening it, or at none.
    Look {
        /// STATUS, GETACL, LIST, ...
        verb: String,
        /// The mailbox that it is about.
        mailbox: Option<String>,
        /// Its arguments, understood.
        args: Vec<Token>,
    },
    /// Looks for messages: SEARCH, SORT, THREAD.
    Search {
        /// With `UID ` where UIDs are asked for.
        verb: String,
        /// Its arguments, understood.
        args: Vec<Token>,
    },
    /// FETCH.
    Fetch {
        /// UID FETCH.
        uid: bool,
        /// Of which.
        set: Set,
        /// What.
        items: Vec<Token>,
        /// `(CHANGEDSINCE 5 VANISHED)`.
        modifiers: Option<Token>,
        /// Whether texts of mails are among it.
        bodies: bool,
    },
    /// STORE.
    Store {
        /// UID STORE.
        uid: bool,
        /// Of which.
        set: Set,
        /// How.
        mode: Mode,
        /// Without answers.
        silent: bool,
        /// X-GM-LABELS instead of FLAGS.
        labels: bool,
        /// The flags or labels.
        words: Vec<String>,
        /// RFC 7162.
        unchanged_since: Option<u64>,
    },
    /// COPY.
    Copy {
        /// UID COPY.
        uid: bool,
        /// Which.
        set: Set,
        /// Where to.
        to: String,
    },
    /// MOVE (RFC 6851).
    Move {
        /// UID MOVE.
        uid: bool,
        /// Which.
        set: Set,
        /// Where to.
        to: String,
    },
    /// EXPUNGE, UID EXPUNGE.
    Expunge {
        /// Of these UIDs only.
        set: Option<Set>,
    },
    /// APPEND; its literal has not been read.
    Append(Append),
    /// CREATE.
    Create {
        /// Its name.
        mailbox: String,
    },
    /// DELETE.
    Delete {
        /// Its name.
        mailbox: String,
    },
    /// RENAME.
    Rename {
        /// From.
        mailbox: String,
        /// To.
        to: String,
    },
    /// SUBSCRIBE, UNSUBSCRIBE.
    Subscribe {
        /// Its name.
        mailbox: String,
        /// UNSUBSCRIBE.
        off: bool,
    },
    /// SETACL, DELETEACL (RFC 4314).
    SetAcl {
        /// Which mailbox.
        mailbox: String,
        /// Who.
        who: String,
        /// Which rights; `None`: taken away.
        rights: Option<String>,
    },
    /// SETMETADATA, SETQUOTA: settings of the server.
    Setting {
        /// Of one mailbox; `None`: of all there is.
        mailbox: Option<String>,
        /// The verb.
        verb: String,
        /// Its arguments.
        args: Vec<Token>,
    },
}

/// Why a command is answered here and goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not even a tag: `* BAD`.
    #[error("This is no command: it has no tag.")]
    NoTag,
    /// A tagged BAD.
    #[error("{0}")]
    Bad(&'static str),
    /// A tagged NO.
    #[error("{0}")]
    No(&'static str),
}

const MALFORMED: Refused =
    Refused::Bad("Latchstring does not understand this command, so it went nowhere. Check its arguments.");
const CROWDED: Refused = Refused::Bad("This command has too many words: ask for less at a time.");
const UNKNOWN: Refused = Refused::Bad("Latchstring does not offer this command. CAPABILITY says what it offers.");

/// A command's tag, if it has one: an answer needs it even where the rest is wrong.
#[must_use]
pub fn tag(line: &[u8]) -> Option<String> {
    let (tag, _) = split_word(line)?;
    let good = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    (!tag.is_empty() && tag.len() <= 64 && tag.iter().all(good)).then(|| String::from_utf8_lossy(tag).into_owned())
}

/// Whether a line opens a mailbox, however wrong its arguments are: that closes the one before.
#[must_use]
pub fn selects(line: &[u8]) -> bool {
    let verb = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(1).unwrap_or_default();
    [&b"SELECT"[..], b"EXAMINE"].iter().any(|known| verb.eq_ignore_ascii_case(known))
}

/// Reads a whole command without its tag.
pub fn parse(pieces: &[Piece]) -> Result<Command, Refused> {
    let all = tokens_within(pieces, From::Agent, &mut { MOST_TOKENS }).map_err(|_| CROWDED)?.ok_or(MALFORMED)?;
    let [tag, verb, args @ ..] = all.as_slice() else { return Err(UNKNOWN) };
    let verb = verb.word().ok_or(MALFORMED)?;
    let (verb, uid, args) = match (verb.as_str(), args) {
        ("UID", [inner, args @ ..]) => (inner.word().ok_or(MALFORMED)?, true, args),
        _ => (verb, false, args),
    };
    if !is_plain(tag) || (verb != "FETCH" && !args.iter().all(is_plain)) {
        return Err(MALFORMED);
    }
    match on_messages(&verb, uid, args) {
        Some(command) => command,
        None if uid => Err(UNKNOWN),
        None => other(&verb, args),
    }
}

/// Whether an atom is one word to every reader. Only a FETCH item's section holds more (`BODY[HEADER.FIELDS (DATE)]`); elsewhere a server takes `a[ OR b ]`
/// for four words.
fn is_plain(token: &Token) -> bool {
    match token {
        Token::Atom(word) => !word.bytes().any(|byte| matches!(byte, b' ' | b'(' | b')' | b'"')),
        Token::Text(_) => true,
        Token::List(items) => items.iter().all(is_plain),
    }
}

/// An APPEND's first line, before its mail's literal: `None` if it is no APPEND, or if its mailbox comes as a literal first.
#[must_use]
pub fn append(line: &[u8]) -> Option<Result<Append, Refused>> {
    let (_, rest) = split_word(line)?;
    let (verb, args) = split_word(rest)?;
    if !verb.eq_ignore_ascii_case(b"APPEND") {
        return None;
    }
    let literal = announced(line)?;
    let before = args.len().saturating_sub(line.len() - literal.at);
    if args.iter().take(before).all(|byte| *byte == b' ') {
        return None;
    }
    Some(read_append(&[Piece::Text(line.get(..literal.at)?.to_vec())], literal))
}

/// The same where the mailbox came as a literal of its own; `pieces` ends before the mail's announcement.
pub fn read_append(pieces: &[Piece], literal: Announced) -> Result<Append, Refused> {
    let all = tokens_within(pieces, From::Agent, &mut { MOST_TOKENS }).map_err(|_| CROWDED)?.ok_or(MALFORMED)?;
    let [tag, _, mailbox, rest @ ..] = all.as_slice() else { return Err(MALFORMED) };
    if !is_plain(tag) {
        return Err(MALFORMED);
    }
    let (flags, date) = match rest {
        [] => (Vec::new(), None),
        [Token::List(flags)] => (words(flags)?, None),
        [Token::Text(date)] => (Vec::new(), Some(date)),
        [Token::List(flags), Token::Text(date)] => (words(flags)?, Some(date)),
        _ => return Err(MALFORMED),
    };
    let date = date.map(|date| String::from_utf8(date.clone()).map_err(|_| MALFORMED)).transpose()?;
    if flags.iter().any(|flag| flag.eq_ignore_ascii_case("\\Recent")) {
        return Err(MALFORMED);
    }
    Ok(Append { mailbox: mailbox_of(mailbox)?, flags, date, literal })
}

fn on_messages(verb: &str, uid: bool, args: &[Token]) -> Option<Result<Command, Refused>> {
    let command = match (verb, args) {
        ("FETCH", [set, what, rest @ ..]) => fetch::parse(uid, set, what, rest),
        ("STORE", [set, rest @ ..]) => store(uid, set, rest),
        ("COPY", [set, to]) => {
            Some((set, to)).and_then(|(set, to)| Some(Command::Copy { uid, set: set_of(set)?, to: name(to)? }))
        }
        ("MOVE", [set, to]) => {
            Some((set, to)).and_then(|(set, to)| Some(Command::Move { uid, set: set_of(set)?, to: name(to)? }))
        }
        ("EXPUNGE", []) if !uid => Some(Command::Expunge { set: None }),
        ("EXPUNGE", [set]) if uid => set_of(set).map(|set| Command::Expunge { set: Some(set) }),
        ("SEARCH" | "SORT" | "THREAD", args) => {
            let verb = if uid { format!("UID {verb}") } else { verb.to_owned() };
            is_search(&verb, args).then(|| Command::Search { verb, args: args.to_vec() })
        }
        ("FETCH" | "STORE" | "COPY" | "MOVE" | "EXPUNGE", _) => None,
        _ => return None,
    };
    Some(command.ok_or(MALFORMED))
}

fn store(uid: bool, set: &Token, rest: &[Token]) -> Option<Command> {
    let (unchanged_since, rest) = match rest {
        [Token::List(modifier), rest @ ..] => match modifier.as_slice() {
            [word, number] if word.word()? == "UNCHANGEDSINCE" => (Some(number.number()?), rest),
            _ => return None,
        },
        rest => (None, rest),
    };
    let [item, rest @ ..] = rest else { return None };
    let item = item.word()?;
    let (item, silent) = item.strip_suffix(".SILENT").map_or((item.as_str(), false), |item| (item, true));
    let (mode, labels) = match item {
        "FLAGS" => (Mode::Replace, false),
        "+FLAGS" => (Mode::Add, false),
        "-FLAGS" => (Mode::Remove, false),
        "X-GM-LABELS" => (Mode::Replace, true),
        "+X-GM-LABELS" => (Mode::Add, true),
        "-X-GM-LABELS" => (Mode::Remove, true),
        _ => return None,
    };
    let listed = match rest {
        [Token::List(listed)] => listed.as_slice(),
        [] => return None,
        flags => flags,
    };
    let words = if labels {
        listed.iter().map(|one| gmail::label(one.astring()?)).collect::<Option<Vec<_>>>()?
    } else {
        words(listed).ok()?
    };
    if words.is_empty() && mode != Mode::Replace {
        return None;
    }
    Some(Command::Store { uid, set: set_of(set)?, mode, silent, labels, words, unchanged_since })
}

fn other(verb: &str, args: &[Token]) -> Result<Command, Refused> {
    let none = |command: Command| if args.is_empty() { Ok(command) } else { Err(MALFORMED) };
    match verb {
        "CAPABILITY" => none(Command::Capability),
        "NOOP" | "CHECK" => none(Command::Noop),
        "LOGOUT" => none(Command::Logout),
        "UNSELECT" => none(Command::Unselect),
        "CLOSE" => none(Command::Close),
        "IDLE" => none(Command::Idle),
        "ID" => Ok(Command::Id),
        "STARTTLS" => Err(Refused::Bad("This door is on your own machine: it has no TLS. Log in.")),
        "LOGIN" => match args {
            [user, token] => Ok(Command::Login {
                user: string(user).ok_or(MALFORMED)?,
                token: Hidden(string(token).ok_or(MALFORMED)?),
            }),
            _ => Err(MALFORMED),
        },
        "AUTHENTICATE" => match args {
            [mechanism] => Ok(Command::Authenticate { mechanism: mechanism.word().ok_or(MALFORMED)?, initial: None }),
            [mechanism, initial] => Ok(Command::Authenticate {
                mechanism: mechanism.word().ok_or(MALFORMED)?,
                initial: Some(Hidden(string(initial).ok_or(MALFORMED)?)),
            }),
            _ => Err(MALFORMED),
        },
        "ENABLE" => {
            let asked = args.iter().map(Token::word).collect::<Option<Vec<_>>>().filter(|asked| !asked.is_empty());
            asked.map(Command::Enable).ok_or(MALFORMED)
        }
        "SELECT" | "EXAMINE" => {
            let (mailbox, options) = match args {
                [mailbox] => (mailbox, None),
                [mailbox, options] if is_select_options(options) => (mailbox, Some(options.clone())),
                _ => return Err(MALFORMED),
            };
            Ok(Command::Select { mailbox: mailbox_of(mailbox)?, examine: verb == "EXAMINE", options })
        }
        _ => look(verb, args).or_else(|| change(verb, args)).unwrap_or(Err(UNKNOWN)),
    }
}

/// `(CONDSTORE)` and `(QRESYNC (uidvalidity modseq [known-uids] [seq-match]))` (RFC 7162).
fn is_select_options(options: &Token) -> bool {
    let plain = |token: &Token| match token {
        Token::Atom(_) => true,
        Token::List(inner) => inner.iter().all(|one| matches!(one, Token::Atom(_))),
        Token::Text(_) => false,
    };
    match options.items() {
        Some([one]) => one.word().is_some_and(|word| word == "CONDSTORE"),
        Some([one, Token::List(inner)]) => one.word().is_some_and(|word| word == "QRESYNC") && inner.iter().all(plain),
        _ => false,
    }
}

/// What only looks, but not at the selected mailbox.
fn look(verb: &str, args: &[Token]) -> Option<Result<Command, Refused>> {
    let first = |args: &[Token]| args.first().and_then(name);
    let words =
        |token: &Token| token.items().is_some_and(|items| items.iter().all(|one| matches!(one, Token::Atom(_))));
    let (mailbox, good) = match (verb, args) {
        ("NAMESPACE", []) => (None, true),
        ("STATUS", [_, items]) => (first(args), words(items)),
        ("GETACL" | "MYRIGHTS" | "GETQUOTAROOT", [_]) => (first(args), true),
        ("LISTRIGHTS", [_, who]) => (first(args), who.astring().is_some()),
        ("GETQUOTA", [root]) => (None, root.astring().is_some()),
        ("GETMETADATA", [mailbox, entries]) | ("GETMETADATA", [Token::List(_), mailbox, entries]) => {
            let entries = entries.items().unwrap_or(std::slice::from_ref(entries));
            let whole = mailbox.astring().is_some_and(<[u8]>::is_empty);
            let good = entries.iter().all(|one| one.astring().is_some());
            if whole { (None, good) } else { (name(mailbox), good && name(mailbox).is_some()) }
        }
        ("LSUB", [reference, pattern]) => (None, reference.astring().is_some() && pattern.astring().is_some()),
        ("LIST" | "XLIST", args) => (None, is_list(args)),
        (
            "STATUS" | "GETACL" | "MYRIGHTS" | "GETQUOTAROOT" | "LISTRIGHTS" | "GETQUOTA" | "GETMETADATA" | "LSUB"
            | "NAMESPACE",
            _,
        ) => {
            return Some(Err(MALFORMED));
        }
        _ => return None,
    };
    let needs = matches!(verb, "STATUS" | "GETACL" | "MYRIGHTS" | "GETQUOTAROOT" | "LISTRIGHTS");
    if !good || (needs && mailbox.is_none()) {
        return Some(Err(MALFORMED));
    }
    let verb = if verb == "XLIST" { "LIST" } else { verb };
    let args = mailbox.as_ref().map_or_else(|| args.to_vec(), |mailbox| canonically(args, mailbox));
    Some(Ok(Command::Look { verb: verb.to_owned(), mailbox, args }))
}

fn change(verb: &str, args: &[Token]) -> Option<Result<Command, Refused>> {
    let command = match (verb, args) {
        ("CREATE", [mailbox]) => name(mailbox).map(|mailbox| Command::Create { mailbox }),
        ("DELETE", [mailbox]) => name(mailbox).map(|mailbox| Command::Delete { mailbox }),
        ("RENAME", [mailbox, to]) => name(mailbox).and_then(|mailbox| Some(Command::Rename { mailbox, to: name(to)? })),
        ("SUBSCRIBE", [mailbox]) => name(mailbox).map(|mailbox| Command::Subscribe { mailbox, off: false }),
        ("UNSUBSCRIBE", [mailbox]) => name(mailbox).map(|mailbox| Command::Subscribe { mailbox, off: true }),
        ("SETACL", [mailbox, who, rights]) => name(mailbox)
            .and_then(|mailbox| Some(Command::SetAcl { mailbox, who: string(who)?, rights: Some(string(rights)?) })),
        ("DELETEACL", [mailbox, who]) => {
            name(mailbox).and_then(|mailbox| Some(Command::SetAcl { mailbox, who: string(who)?, rights: None }))
        }
        ("SETMETADATA", [of, _]) if of.astring().is_some_and(|of| !of.is_empty()) => name(of).map(|mailbox| {
            let args = canonically(args, &mailbox);
            Command::Setting { mailbox: Some(mailbox), verb: verb.to_owned(), args }
        }),
        ("SETMETADATA" | "SETQUOTA", [of, _]) if of.astring().is_some() => {
            Some(Command::Setting { mailbox: None, verb: verb.to_owned(), args: args.to_vec() })
        }
        // A mail as a quoted string is none, and one that was read whole never streams.
        ("CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE" | "UNSUBSCRIBE" | "SETACL" | "DELETEACL" | "APPEND", _) => None,
        _ => return None,
    };
    Some(command.ok_or(MALFORMED))
}

/// Flags: system ones in their one spelling, so that no other reader takes them for something else.
fn words(tokens: &[Token]) -> Result<Vec<String>, Refused> {
    const SYSTEM: [&str; 6] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft", "\\Recent"];
    let one = |token: &Token| {
        let Token::Atom(word) = token else { return Err(MALFORMED) };
        let known = SYSTEM.iter().find(|known| known.eq_ignore_ascii_case(word));
        match known {
            Some(known) => Ok((*known).to_owned()),
            None if word.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)) => {
                Ok(word.clone())
            }
            None => Err(MALFORMED),
        }
    };
    tokens.iter().map(one).collect()
}

pub(super) fn set_of(token: &Token) -> Option<Set> {
    match token {
        Token::Atom(word) => Set::parse(word),
        Token::Text(_) | Token::List(_) => None,
    }
}

fn name(token: &Token) -> Option<String> {
    canonical(token.astring()?)
}

/// With the mailbox as it was decided about: servers differ in which spellings are the same.
fn canonically(args: &[Token], mailbox: &str) -> Vec<Token> {
    let mut args = args.to_vec();
    if let Some(named) = args.iter_mut().find(|token| name(token).is_some_and(|one| one == mailbox)) {
        *named = Token::text(mailbox);
    }
    args
}

fn mailbox_of(token: &Token) -> Result<String, Refused> {
    name(token).ok_or(MALFORMED)
}

fn string(token: &Token) -> Option<String> {
    String::from_utf8(token.astring()?.to_vec())
        .ok()
        .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}
