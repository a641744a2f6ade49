//! What a Sieve script (RFC 5228) would do to mail, read from its words. It is not an interpreter: what is behind an `if` counts as done.

use std::collections::BTreeSet;

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
    /// Whom it notifies by mail.
    pub notified: BTreeSet<String>,
    /// `execute`, `pipe`, `filter`: programs on the server.
    pub runs_programs: bool,
    /// Where mail is filed.
    pub files_into: BTreeSet<String>,
    /// Flags that it sets: `\Deleted` is one.
    pub flags: BTreeSet<String>,
    /// Scripts that it runs in turn.
    pub includes: BTreeSet<String>,
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
            words.push(format!("Sends mail on to {address}{keeps}"));
        }
        let fixed = [
            (self.discards, "Throws mail away"),
            (self.rejects, "Refuses mail, which tells its sender"),
            (self.answers, "Answers mail by itself"),
            (self.notifies && self.notified.is_empty(), "Sends notifications"),
            (self.runs_programs, "Runs programs on the mail server"),
        ];
        words.extend(fixed.into_iter().filter(|(does, _)| *does).map(|(_, word)| word.to_owned()));
        words.extend(listed("Sends notifications to", &self.notified));
        words.extend(listed("Runs the script", &self.includes));
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
    (!all.is_empty()).then(|| format!("{lead} {}", all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")))
}

/// What the script can do.
#[must_use]
pub fn effects(script: &[u8]) -> Effects {
    let text = String::from_utf8_lossy(script);
    let mut found = Effects::default();
    let mut statement: Vec<Token> = Vec::new();
    for token in (Tokens { text: &text }) {
        match token {
            Token::End => {
                note(&statement, &mut found);
                statement.clear();
            }
            other => statement.push(other),
        }
    }
    note(&statement, &mut found);
    found
}

/// One statement: its first word outside of tests is the action.
fn note(statement: &[Token], found: &mut Effects) {
    let Some((Token::Word(action), args)) = statement.split_first() else { return };
    let strings = || args.iter().filter_map(Token::string).map(str::to_owned);
    let tagged = |tag: &str| args.iter().any(|one| matches!(one, Token::Tag(name) if name == tag));
    // These are actions, and in some servers tests, too.
    let runs =
        |token: &Token| matches!(token, Token::Word(word) if matches!(word.as_str(), "execute" | "pipe" | "filter"));
    found.runs_programs |= statement.iter().any(runs);
    match action.as_str() {
        "redirect" => {
            found.moves_away |= !tagged("copy");
            found.redirects.extend(strings());
        }
        "discard" => found.discards = true,
        "reject" | "ereject" => found.rejects = true,
        "vacation" => found.answers = true,
        "notify" | "enotify" => {
            found.notifies = true;
            let to = strings().filter_map(|text| {
                let (scheme, rest) = text.split_once(':')?;
                let address = rest.split('?').next().unwrap_or_default();
                scheme.eq_ignore_ascii_case("mailto").then(|| address.to_owned())
            });
            found.notified.extend(to);
        }
        "execute" | "pipe" | "filter" => {}
        "keep" => found.flags.extend(strings()),
        "fileinto" => {
            // The last one names the mailbox, unless `:specialuse` says which first (RFC 8579).
            if tagged("specialuse") {
                found.files_into.extend(strings());
            }
            found.files_into.extend(strings().next_back());
            if tagged("flags") {
                found.flags.extend(strings().take(strings().count().saturating_sub(1)));
            }
        }
        "setflag" | "addflag" => found.flags.extend(strings()),
        "include" => found.includes.extend(strings()),
        "stop" | "require" | "removeflag" | "set" | "return" | "global" | "if" | "elsif" | "else" | "foreverypart"
        | "break" => {}
        other => _ = found.others.insert(other.to_owned()),
    }
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
