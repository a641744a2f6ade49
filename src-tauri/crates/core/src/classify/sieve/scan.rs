//! What a Sieve script (RFC 5228) would do to mail, read from its words. It is not an interpreter: what is behind an `if` counts as done.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

/// A script that another one runs in turn (RFC 6609).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Include {
    /// As it is written.
    pub name: String,
    /// One of the server's own (`:global`), which nobody can read over ManageSieve.
    pub global: bool,
    /// It may be missing.
    pub optional: bool,
}

/// What a script can do, beyond filing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Where mail is sent on to. An address that the script computes stands as it is written.
    pub redirects: BTreeSet<String>,
    /// Mail is sent on, and not kept.
    pub moves_away: bool,
    /// `discard`.
    pub discards: bool,
    /// `reject`, `ereject`.
    pub rejects: bool,
    /// `vacation`.
    pub answers: bool,
    /// `notify`, `enotify`.
    pub notifies: bool,
    /// Whom it notifies: addresses, or what it names instead of one.
    pub notified: BTreeSet<String>,
    /// `execute`, `pipe`, `filter`: programs on the server.
    pub runs_programs: bool,
    /// Headers or parts of mail are exchanged (RFC 5293, RFC 5703).
    pub alters: bool,
    /// Where mail is filed.
    pub files_into: BTreeSet<String>,
    /// Flags that it sets: `\Deleted` is one.
    pub flags: BTreeSet<String>,
    /// Scripts that it runs in turn.
    pub includes: BTreeSet<Include>,
    /// Actions that are not known here.
    pub others: BTreeSet<String>,
}

impl Effects {
    /// What filing is not, for the person, most important first.
    #[must_use]
    pub fn grave(&self) -> Vec<String> {
        let mut words = Vec::new();
        for address in &self.redirects {
            let keeps = if self.moves_away { "" } else { " (and keeps it)" };
            let made_up = if address.contains("${") { "an address that it makes up as it runs: " } else { "" };
            words.push(format!("Sends mail on to {made_up}{}{keeps}", on_a_line(address)));
        }
        let fixed = [
            (self.discards, "Throws mail away"),
            (self.rejects, "Refuses mail, which tells its sender"),
            (self.answers, "Answers mail by itself"),
            (self.notifies && self.notified.is_empty(), "Sends notifications"),
            (self.runs_programs, "Runs programs on the mail server"),
            (self.alters, "Changes mail itself"),
        ];
        words.extend(fixed.into_iter().filter(|(does, _)| *does).map(|(_, word)| word.to_owned()));
        words.extend(listed("Sends notifications to", &self.notified));
        words.extend(listed("Does what Latchstring does not know:", &self.others));
        words
    }

    /// Where mail is filed, and how it is marked.
    #[must_use]
    pub fn filing(&self) -> Vec<String> {
        [listed("Files mail into", &self.files_into), listed("Marks mail", &self.flags)].into_iter().flatten().collect()
    }
}

fn listed(lead: &str, all: &BTreeSet<String>) -> Option<String> {
    (!all.is_empty()).then(|| format!("{lead} {}", all.iter().map(|one| on_a_line(one)).collect::<Vec<_>>().join(", ")))
}

/// A script's own words among ours: nothing in them begins another line.
pub(super) fn on_a_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// What the script can do.
#[must_use]
pub fn effects(script: &[u8]) -> Effects {
    let text = String::from_utf8_lossy(script);
    let mut found = Effects::default();
    let mut statement: Vec<Token> = Vec::new();
    let mut encoded = false;
    for token in (Tokens { text: &text }) {
        match token {
            Token::End => {
                encoded |= asks_for(&statement, "encoded-character");
                note(&statement, &mut found);
                statement.clear();
            }
            Token::Text(text) if encoded => statement.push(Token::Text(decoded(&text))),
            other => statement.push(other),
        }
    }
    note(&statement, &mut found);
    found
}

fn asks_for(statement: &[Token], extension: &str) -> bool {
    matches!(statement.first(), Some(Token::Word(word)) if word == "require")
        && statement.iter().filter_map(Token::string).any(|name| name.eq_ignore_ascii_case(extension))
}

/// What `${hex:…}` and `${unicode:…}` stand for (RFC 5228 section 2.4.2.4). One that is wrong stands for itself.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        bytes.extend_from_slice(before.as_bytes());
        // None has a `$` in it, and whoever writes many that do not end is not looked for far.
        let end = after.find(['}', '$']).filter(|end| after.get(*end..).is_some_and(|rest| rest.starts_with('}')));
        let (inside, behind) = end.map_or(("", after), |end| after.split_at(end));
        match character(inside).and_then(|found| Some((found, behind.strip_prefix('}')?))) {
            Some((found, after)) => {
                bytes.extend(found);
                rest = after;
            }
            None => {
                bytes.extend_from_slice(b"${");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn character(inside: &str) -> Option<Vec<u8>> {
    let (kind, numbers) = inside.split_once(':')?;
    let one = |number: &str| -> Option<Vec<u8>> {
        if !number.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        match kind.to_ascii_lowercase().as_str() {
            "hex" => Some(vec![u8::from_str_radix(number, 16).ok().filter(|_| number.len() <= 2)?]),
            "unicode" => Some(char::from_u32(u32::from_str_radix(number, 16).ok()?)?.to_string().into_bytes()),
            _ => None,
        }
    };
    let found: Vec<Vec<u8>> = numbers.split_ascii_whitespace().map(one).collect::<Option<_>>()?;
    (!found.is_empty()).then(|| found.concat())
}

/// One statement. Its first word is the action; an action that stands anywhere else counts, too.
fn note(statement: &[Token], found: &mut Effects) {
    let mut is_first = true;
    let mut rest = statement;
    while let Some((token, args)) = rest.split_first() {
        if let Token::Word(action) = token {
            if !act(action, args, found) && is_first {
                found.others.insert(action.clone());
            }
            is_first = false;
        }
        rest = args;
    }
}

/// Whether it is an action that is known, or none.
fn act(action: &str, args: &[Token], found: &mut Effects) -> bool {
    let strings = || args.iter().filter_map(Token::string).map(str::to_owned);
    let tagged = |tag: &str| args.iter().any(|one| one.is_tag(tag));
    match action {
        "redirect" => {
            found.moves_away |= !tagged("copy");
            found.redirects.extend(strings());
        }
        "discard" => found.discards = true,
        "reject" | "ereject" => found.rejects = true,
        "vacation" => found.answers = true,
        "notify" | "enotify" => {
            found.notifies = true;
            found.notified.extend(strings().filter_map(|text| mailed(&text)).flatten());
            // The method comes last (RFC 5435), or behind `:method` as before there was a standard, its addresses behind `:options`.
            let behind = |tag: &'static str| {
                let after = args.iter().skip_while(move |one| !one.is_tag(tag)).skip(1);
                after.map_while(Token::string).map(str::to_owned)
            };
            let method = strings().next_back().filter(|_| !tagged("method"));
            let to = method.into_iter().chain(behind("method")).chain(behind("options"));
            found.notified.extend(to.filter(|text| mailed(text).is_none() && !text.eq_ignore_ascii_case("mailto")));
        }
        // Dovecot's: a mail about the mail.
        "report" => {
            found.notifies = true;
            found.notified.extend(strings().next_back());
        }
        // These are actions, and in some servers tests, too.
        "execute" | "pipe" | "filter" => found.runs_programs = true,
        "addheader" | "deleteheader" | "replaceheader" | "replace" | "enclose" | "convert" => found.alters = true,
        "keep" => found.flags.extend(strings()),
        "fileinto" => {
            // The last one names the mailbox, unless another says which first (RFC 8579, RFC 9042).
            if tagged("specialuse") || tagged("mailboxid") {
                found.files_into.extend(strings());
            }
            found.files_into.extend(strings().next_back());
            if tagged("flags") {
                found.flags.extend(strings().take(strings().count().saturating_sub(1)));
            }
        }
        "setflag" | "addflag" => found.flags.extend(strings()),
        "include" => {
            let (global, optional) = (tagged("global"), tagged("optional"));
            let include = |global| move |name| Include { name, global, optional };
            found.includes.extend(strings().map(include(global)));
            if global && tagged("personal") {
                found.includes.extend(strings().map(include(false)));
            }
        }
        "stop" | "require" | "removeflag" | "set" | "return" | "global" | "if" | "elsif" | "else" | "foreverypart"
        | "break" | "extracttext" | "error" => {}
        _ => return false,
    }
    true
}

/// Whom a `mailto:` writes to (RFC 6068): also those in its `to`, `cc` and `bcc`. `None` if it is none.
fn mailed(uri: &str) -> Option<Vec<String>> {
    let (_, rest) = uri.split_once(':').filter(|(scheme, _)| scheme.trim().eq_ignore_ascii_case("mailto"))?;
    let (to, query) = rest.split_once('?').unwrap_or((rest, ""));
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let fields = query.split(['&', ';']).filter_map(|field| field.split_once('='));
    let more = fields.filter(|(name, _)| ["to", "cc", "bcc"].contains(&plain(name).to_ascii_lowercase().as_str()));
    let lists = std::iter::once(to).chain(more.map(|(_, value)| value)).map(plain);
    let found: Vec<String> = lists
        .flat_map(|list| list.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>())
        .filter(|one| !one.is_empty())
        .collect();
    Some(if found.is_empty() { vec![uri.to_owned()] } else { found })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An identifier, in small letters.
    Word(String),
    /// `:copy`, without its colon, in small letters.
    Tag(String),
    /// A quoted string or a `text:` block.
    Text(String),
    /// `;`, `{` and `}`: a statement ends.
    End,
}

impl Token {
    fn string(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Word(_) | Self::Tag(_) | Self::End => None,
        }
    }

    fn is_tag(&self, tag: &str) -> bool {
        matches!(self, Self::Tag(name) if name == tag)
    }
}

struct Tokens<'a> {
    text: &'a str,
}

impl Tokens<'_> {
    fn skip(&mut self, bytes: usize) {
        self.text = self.text.get(bytes..).unwrap_or_default();
    }

    fn name(&mut self) -> String {
        let end =
            self.text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(self.text.len());
        let name = self.text.get(..end).unwrap_or_default().to_ascii_lowercase();
        self.skip(end);
        name
    }

    fn quoted(&mut self) -> String {
        let mut text = String::new();
        let mut chars = self.text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.skip(at + 1);
                    return text;
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                other => text.push(other),
            }
        }
        self.text = "";
        text
    }

    /// `text:` up to a line with a dot alone (RFC 5228 section 2.4.2).
    fn block(&mut self) -> String {
        let start = self.text.find('\n').map_or(self.text.len(), |at| at + 1);
        self.skip(start);
        let mut text = String::new();
        while !self.text.is_empty() {
            let end = self.text.find('\n').map_or(self.text.len(), |at| at + 1);
            let line = self.text.get(..end).unwrap_or_default();
            self.text = self.text.get(end..).unwrap_or_default();
            // Exactly that: a server reads `. ` as text.
            if matches!(line, "." | ".\n" | ".\r\n") {
                break;
            }
            text.push_str(line.strip_prefix('.').filter(|rest| rest.starts_with('.')).unwrap_or(line));
        }
        text
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let first = self.text.chars().next()?;
            match first {
                '#' => self.skip(self.text.find('\n').unwrap_or(self.text.len())),
                '/' if self.text.starts_with("/*") => {
                    let end = self.text.get(2..).and_then(|rest| rest.find("*/"));
                    self.skip(end.map_or(self.text.len(), |at| at + 4));
                }
                ';' | '{' | '}' => {
                    self.skip(1);
                    return Some(Token::End);
                }
                '"' => {
                    self.skip(1);
                    return Some(Token::Text(self.quoted()));
                }
                ':' => {
                    self.skip(1);
                    return Some(Token::Tag(self.name()));
                }
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let name = self.name();
                    if name == "text" && self.text.starts_with(':') {
                        return Some(Token::Text(self.block()));
                    }
                    return Some(Token::Word(name));
                }
                other => self.skip(other.len_utf8()),
            }
        }
    }
}
