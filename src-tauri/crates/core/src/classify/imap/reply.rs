//! What an upstream answers, as far as the guard itself must understand it (RFC 9051 section 7).

use std::collections::BTreeSet;

use super::set::Set;
use super::token::{Crowded, From, Piece, Token, encode, split_word, tokens, tokens_within};
use crate::call::Digest;
use crate::recipe::{View, cut};
use crate::undo::imap::Present;

/// How a command ended, or what a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OK.
    Ok,
    /// NO.
    No,
    /// BAD.
    Bad,
    /// BYE.
    Bye,
    /// PREAUTH.
    Preauth,
}

/// A status response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `*` or a tag.
    pub tag: String,
    /// Which.
    pub kind: Kind,
    /// What stands in brackets, without them.
    pub code: Option<String>,
    /// For people.
    pub text: String,
}

/// Reads a status response; `None` if the line is something else.
#[must_use]
pub fn status(line: &[u8]) -> Option<Status> {
    let (tag, rest) = split_word(line)?;
    let (word, rest) = split_word(rest).unwrap_or((rest, b""));
    let kind = match word.to_ascii_uppercase().as_slice() {
        b"OK" => Kind::Ok,
        b"NO" => Kind::No,
        b"BAD" => Kind::Bad,
        b"BYE" => Kind::Bye,
        b"PREAUTH" => Kind::Preauth,
        _ => return None,
    };
    let rest = String::from_utf8_lossy(rest).into_owned();
    let (code, text) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((code, text)) => (Some(code.to_owned()), text.trim_start().to_owned()),
        None => (None, rest),
    };
    Some(Status { tag: String::from_utf8_lossy(tag).into_owned(), kind, code, text })
}

impl Status {
    /// Whether a refusal says of itself that it passes (RFC 5530).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let code = self.code.as_deref().and_then(|code| code.split(' ').next()).unwrap_or_default();
        ["UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG"].iter().any(|known| code.eq_ignore_ascii_case(known))
    }

    /// A code's words, if it begins with this one.
    #[must_use]
    pub fn code_words(&self, name: &str) -> Option<Vec<&str>> {
        let mut words = self.code.as_deref()?.split(' ');
        words.next().filter(|word| word.eq_ignore_ascii_case(name))?;
        Some(words.collect())
    }

    /// COPYUID (RFC 4315): UIDVALIDITY there, and old UID to new one.
    #[must_use]
    pub fn copied(&self) -> Option<(u32, Vec<(u32, u32)>)> {
        const MOST: usize = 100_000;
        let words = self.code_words("COPYUID")?;
        let [uidvalidity, from, to] = words.as_slice() else { return None };
        let in_order = |text: &str| match Set::parse(text)? {
            // The order is the meaning: the first of one set became the first of the other.
            Set::Ranges(ranges) => {
                let mut uids = Vec::new();
                for (low, high) in ranges {
                    let (low, high) = (low?, high?);
                    if (high.max(low) - low.min(high)) as usize > MOST.checked_sub(uids.len())? {
                        return None;
                    }
                    if low <= high { uids.extend(low..=high) } else { uids.extend((high..=low).rev()) }
                }
                Some(uids)
            }
            Set::Saved => None,
        };
        let (from, to) = (in_order(from)?, in_order(to)?);
        (from.len() == to.len())
            .then(|| (uidvalidity.parse().ok(), from.into_iter().zip(to).collect()))
            .and_then(|(uidvalidity, pairs): (Option<u32>, Vec<(u32, u32)>)| Some((uidvalidity?, pairs)))
    }

    /// APPENDUID (RFC 4315): UIDVALIDITY and UID.
    #[must_use]
    pub fn appended(&self) -> Option<(u32, u32)> {
        match self.code_words("APPENDUID")?.as_slice() {
            [uidvalidity, uid] => Some((uidvalidity.parse().ok()?, uid.parse().ok()?)),
            _ => None,
        }
    }

    /// MODIFIED (RFC 7162): what a conditional STORE left alone.
    #[must_use]
    pub fn modified(&self) -> Vec<u32> {
        const MOST: usize = 100_000;
        let words = self.code_words("MODIFIED").unwrap_or_default();
        words.first().and_then(|set| Set::parse(set)?.numbers(MOST)).unwrap_or_default()
    }

    /// UIDVALIDITY.
    #[must_use]
    pub fn uidvalidity(&self) -> Option<u32> {
        self.code_words("UIDVALIDITY")?.first()?.parse().ok()
    }
}

/// `* 12 EXISTS`, `* 3 EXPUNGE`: number and word.
#[must_use]
pub fn numbered(line: &[u8]) -> Option<(u32, String)> {
    let (star, rest) = split_word(line)?;
    let (number, rest) = split_word(rest)?;
    let word = split_word(rest).map_or(rest, |(word, _)| word);
    if star != b"*" {
        return None;
    }
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, String::from_utf8_lossy(word).to_ascii_uppercase()))
}

/// How many messages leave the open mailbox by this VANISHED response (RFC 7162 section 3.2.10), which stands for EXPUNGE; `None` if it is none. Those of
/// `(EARLIER)` had left before.
#[must_use]
pub fn vanished(line: &[u8]) -> Option<u32> {
    let (_, rest) =
        split_word(line).filter(|_| topic(line).is_some_and(|word| word.eq_ignore_ascii_case(b"VANISHED")))?;
    let (_, set) = split_word(rest)?;
    if set.first() == Some(&b'(') {
        return None;
    }
    let ranges = match std::str::from_utf8(set).ok().and_then(Set::parse) {
        Some(Set::Ranges(ranges)) => ranges,
        _ => Vec::new(),
    };
    let count = |(from, to): (Option<u32>, Option<u32>)| Some(from?.abs_diff(to?).saturating_add(1));
    Some(ranges.into_iter().filter_map(count).fold(0, u32::saturating_add))
}

/// The word after `*`: `CAPABILITY`, `LIST`, a number, ...; `None` if the line begins no untagged response.
#[must_use]
pub fn topic(line: &[u8]) -> Option<&[u8]> {
    let (star, rest) = split_word(line)?;
    let word = split_word(rest).map_or(rest, |(word, _)| word);
    (star == b"*" && !word.is_empty()).then_some(word)
}

/// An untagged response's tokens after `*`.
#[must_use]
pub fn untagged(pieces: &[Piece]) -> Option<Vec<Token>> {
    starred(tokens(pieces, From::Upstream)?)
}

/// The same with each token's own cost taken from `room`: a line of `1 1 1` takes many times its length.
pub fn untagged_within(pieces: &[Piece], room: &mut usize) -> Result<Option<Vec<Token>>, Crowded> {
    Ok(tokens_within(pieces, From::Upstream, room)?.and_then(starred))
}

fn starred(mut all: Vec<Token>) -> Option<Vec<Token>> {
    match all.first() {
        Some(Token::Atom(star)) if star == "*" => {
            all.remove(0);
            Some(all)
        }
        _ => None,
    }
}

/// The capabilities in a CAPABILITY response.
#[must_use]
pub fn capabilities(tokens: &[Token]) -> Option<Vec<String>> {
    match tokens {
        [first, rest @ ..] if first.word()? == "CAPABILITY" => rest.iter().map(Token::word).collect(),
        _ => None,
    }
}

/// What an agent may hear of an untagged response, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// It is about the open mailbox or the server, and names none.
    Nothing,
    /// It names one: what follows its first word, or what stands behind attributes and delimiter.
    One {
        /// As in LIST.
        listed: bool,
    },
    /// Not known: it may name any.
    Unknown,
}

/// Whether the untagged response that this line begins names a mailbox.
#[must_use]
pub fn names(line: &[u8]) -> Names {
    const NOTHING: [&str; 10] =
        ["FLAGS", "SEARCH", "SORT", "THREAD", "VANISHED", "ENABLED", "NAMESPACE", "QUOTA", "ID", "ESEARCH"];
    let Some(word) = topic(line).and_then(|word| std::str::from_utf8(word).ok()).map(str::to_ascii_uppercase) else {
        return Names::Unknown;
    };
    match word.as_str() {
        "LIST" | "LSUB" | "XLIST" => Names::One { listed: true },
        "STATUS" | "MYRIGHTS" | "ACL" | "LISTRIGHTS" | "METADATA" | "QUOTAROOT" => Names::One { listed: false },
        // RFC 7377: of a search through many mailboxes, which nobody asked for.
        "ESEARCH" if line.to_ascii_uppercase().windows(8).any(|words| words == b"MAILBOX ") => Names::Unknown,
        known if NOTHING.contains(&known) => Names::Nothing,
        _ if numbered(line).is_some() => Names::Nothing,
        _ => Names::Unknown,
    }
}

/// The names of mailboxes in such a response; `None` if it can't be read. A mailbox may have had another name (RFC 9051 section 7.3.1).
#[must_use]
pub fn mailboxes_named(tokens: &[Token], listed: bool) -> Option<Vec<&[u8]>> {
    let (name, more) = match tokens {
        [_, _, _, name, more @ ..] if listed => (name, more),
        [_, name, ..] if !listed => (name, &[][..]),
        _ => return None,
    };
    let mut names = vec![name.astring()?];
    let extended = more.iter().filter_map(Token::items).flatten();
    let mut renamed = false;
    for one in extended {
        if renamed {
            names.extend(one.items().unwrap_or(std::slice::from_ref(one)).iter().filter_map(Token::astring));
        }
        renamed = one.astring().is_some_and(|word| word.eq_ignore_ascii_case(b"OLDNAME"));
    }
    Some(names)
}

/// Whether a line is a SEARCH response, or the ESEARCH that IMAP4rev2 has in its place.
#[must_use]
pub fn is_search(line: &[u8]) -> bool {
    topic(line).is_some_and(|topic| topic.eq_ignore_ascii_case(b"SEARCH") || topic.eq_ignore_ascii_case(b"ESEARCH"))
}

/// The most messages that one search may find.
pub const MOST_FOUND: usize = 2_000_000;
const LONGEST_RANGED: usize = 1024 * 1024;

/// `(TAG "L1") UID ALL 1:3,7` (RFC 9051 section 7.3.4).
fn ranged(rest: &[u8]) -> Option<Vec<u32>> {
    // A handful of words, however long the one with the numbers is.
    let mut room = 4096;
    let all = tokens_within(&[Piece::Text(rest.to_vec())], From::Upstream, &mut room).ok()??;
    let rest = match all.as_slice() {
        [Token::List(_), rest @ ..] => rest,
        rest => rest,
    };
    let rest = match rest {
        [uid, rest @ ..] if uid.word().is_some_and(|word| word == "UID") => rest,
        rest => rest,
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    match pairs.iter().find(|[name, _]| name.word().is_some_and(|word| word == "ALL")) {
        Some([_, Token::Atom(set)]) if set.len() <= LONGEST_RANGED => Set::parse(set)?.numbers(MOST_FOUND),
        Some(_) => None,
        None => Some(Vec::new()),
    }
}

/// The numbers in a SEARCH response (RFC 9051 section 7.3.4, with the modification sequence of RFC 7162), read from the line itself: there may be
/// hundreds of thousands. `None` if it holds anything else.
#[must_use]
pub fn found(line: &[u8]) -> Option<Vec<u32>> {
    let (_, rest) = split_word(line).filter(|_| is_search(line))?;
    let (word, rest) = split_word(rest).unwrap_or((rest, b""));
    if word.len() > "SEARCH".len() && !rest.is_empty() {
        return ranged(rest);
    }
    let numbers = rest.split(|byte| *byte == b'(').next().unwrap_or_default();
    let words = numbers.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let number =
        |word: &[u8]| std::str::from_utf8(word).ok().filter(|_| word.iter().all(u8::is_ascii_digit))?.parse().ok();
    words.map(number).collect()
}

/// A mailbox of a LIST response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As on the wire.
    pub name: String,
    /// `\Trash`, `\Noselect`, ...
    pub attributes: Vec<String>,
    /// Between it and its children.
    pub delimiter: Option<char>,
}

/// Reads a LIST response.
#[must_use]
pub fn listed(tokens: &[Token]) -> Option<Listed> {
    match tokens {
        [first, Token::List(attributes), delimiter, name, ..] if matches!(first.word()?.as_str(), "LIST" | "LSUB") => {
            Some(Listed {
                name: String::from_utf8(name.astring()?.to_vec()).ok()?,
                attributes: attributes.iter().filter_map(Token::word).collect(),
                delimiter: delimiter.nstring().and_then(|text| text.chars().next()),
            })
        }
        _ => None,
    }
}

/// A number of a STATUS response, such as MESSAGES.
#[must_use]
pub fn status_item(tokens: &[Token], item: &str) -> Option<u64> {
    let [word, _, Token::List(items)] = tokens else { return None };
    let (pairs, _) = items.as_chunks::<2>();
    let named = pairs.iter().find(|[name, _]| name.word().is_some_and(|name| name == item));
    (word.word()? == "STATUS").then(|| named?.get(1)?.number())?
}

/// The mailbox and the UIDs of a look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// When it was looked at.
    pub uidvalidity: u32,
    /// All of them.
    pub uids: Vec<u32>,
}

/// What a FETCH response says of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Its UID.
    pub uid: Option<u32>,
    /// Flags and labels.
    pub present: Present,
    /// INTERNALDATE as on the wire.
    pub date: Option<String>,
    /// RFC822.SIZE.
    pub size: Option<u64>,
    /// ENVELOPE.
    pub envelope: Option<Vec<Token>>,
    /// BODY[].
    pub body: Option<Vec<u8>>,
}

/// Reads a FETCH response.
#[must_use]
pub fn fetched(tokens: &[Token]) -> Option<Fetched> {
    let mut fetched = Fetched::default();
    fetched.absorb(tokens)?;
    Some(fetched)
}

/// Of which message a FETCH response is, if it says so by UID.
#[must_use]
pub fn fetched_uid(tokens: &[Token]) -> Option<u32> {
    let [_, word, Token::List(items)] = tokens else { return None };
    let (pairs, _) = items.as_chunks::<2>();
    let uid = pairs.iter().find(|[name, _]| name.word().is_some_and(|name| name == "UID"))?.get(1)?.number()?;
    (word.word()? == "FETCH").then(|| u32::try_from(uid).ok())?
}

impl Fetched {
    /// Adds what one more response says of the same message: it can come in several (RFC 9051 section 7.5.2).
    pub fn absorb(&mut self, tokens: &[Token]) -> Option<()> {
        let [_, word, Token::List(items)] = tokens else { return None };
        if word.word()? != "FETCH" {
            return None;
        }
        let (pairs, _) = items.as_chunks::<2>();
        for [name, value] in pairs {
            let words = |value: &Token| -> BTreeSet<String> {
                let items = value.items().unwrap_or_default().iter();
                items.filter_map(|one| one.nstring().map(std::borrow::Cow::into_owned)).collect()
            };
            match name.word()?.as_str() {
                "UID" => self.uid = value.number().and_then(|uid| u32::try_from(uid).ok()),
                "FLAGS" => {
                    self.present.flags = words(value);
                    self.present.flags.retain(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
                }
                "X-GM-LABELS" => self.present.labels = words(value),
                "X-GM-MSGID" => self.present.id = value.number(),
                "INTERNALDATE" => self.date = value.nstring().map(std::borrow::Cow::into_owned),
                "RFC822.SIZE" => self.size = value.number(),
                "ENVELOPE" => self.envelope = value.items().map(<[Token]>::to_vec),
                "BODY[]" => {
                    if let Token::Text(body) = value {
                        self.body = Some(body.clone());
                    }
                }
                _ => {}
            }
        }
        if let (Some(size), Some(envelope)) = (self.size, &self.envelope) {
            let envelope = encode(envelope);
            self.present.print = envelope.map(|envelope| Digest::of(&[&size.to_be_bytes(), &envelope]).to_string());
        }
        Some(())
    }
}

/// A number that a FETCH response says of the message with this UID, such as X-GM-MSGID.
#[must_use]
pub fn item_of(tokens: &[Token], uid: u32, item: &str) -> Option<u64> {
    let [_, word, Token::List(items)] = tokens else { return None };
    let (pairs, _) = items.as_chunks::<2>();
    let value = |name: &str| pairs.iter().find(|[known, _]| known.word().as_deref() == Some(name))?.get(1)?.number();
    (word.word()? == "FETCH" && value("UID") == Some(u64::from(uid))).then(|| value(item))?
}

/// The longest name and the longest address.
const LONGEST_NAME: usize = 200;
const LONGEST_ADDRESS: usize = 320;

impl Fetched {
    /// What the dialog shows.
    #[must_use]
    pub fn view(&self) -> View {
        let envelope = self.envelope.as_deref().unwrap_or_default();
        let text = |at: usize| envelope.get(at).and_then(Token::nstring).map(|text| decoded(&text));
        let subject = text(1).filter(|subject| !subject.trim().is_empty());
        View {
            title: subject.unwrap_or_else(|| "(no subject)".to_owned()),
            from: envelope.get(2).and_then(Token::items).and_then(<[Token]>::first).and_then(sender),
            date: self.date.as_deref().and_then(rfc3339),
            flags: self.words(),
            size: self.size,
        }
        .bounded()
    }

    fn words(&self) -> Vec<String> {
        let has = |flag: &str| self.present.flags.iter().any(|one| one.eq_ignore_ascii_case(flag));
        let words = [
            (has("\\Flagged"), "starred"),
            (!has("\\Seen"), "unread"),
            (has("$Important") || self.present.labels.contains("\\Important"), "important"),
            (has("\\Answered"), "answered"),
            (has("\\Deleted"), "marked as deleted"),
            (has("\\Draft"), "draft"),
        ];
        words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()).collect()
    }
}

/// `(name adl mailbox host)`
fn sender(address: &Token) -> Option<String> {
    let [name, _, mailbox, host] = address.items()? else { return None };
    let bare = cut(format!("{}@{}", mailbox.nstring()?, host.nstring().unwrap_or_default()), LONGEST_ADDRESS);
    Some(match name.nstring().map(|name| cut(decoded(&name), LONGEST_NAME)).filter(|name| !name.trim().is_empty()) {
        Some(name) => format!("{name} <{bare}>"),
        None => bare,
    })
}

/// RFC 2047 words as text.
fn decoded(text: &str) -> String {
    if !text.contains("=?") {
        return text.to_owned();
    }
    let line: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let mail = format!("Subject: {line}\r\n\r\n");
    let parsed = mail_parser::MessageParser::default().parse(mail.as_bytes());
    parsed.and_then(|mail| mail.subject().map(str::to_owned)).unwrap_or(line)
}

/// ` 2-Jan-2026 10:00:00 +0100` as RFC 3339.
fn rfc3339(date: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let mut words = date.split_whitespace();
    let (day, time, zone) = (words.next()?, words.next()?, words.next()?);
    let mut parts = day.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?.to_ascii_lowercase(), parts.next()?);
    let month = MONTHS.iter().position(|one| *one == month)? + 1;
    let day: u8 = day.parse().ok()?;
    let (hours, minutes) = (zone.get(..3)?, zone.get(3..)?);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if time.len() != 8 || year.len() != 4 || !digits(year) || minutes.len() != 2 || !digits(minutes) {
        return None;
    }
    Some(format!("{year}-{month:02}-{day:02}T{time}{hours}:{minutes}"))
}
