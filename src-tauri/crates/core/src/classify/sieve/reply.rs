//! What a ManageSieve server says (RFC 5804 section 1.2): data lines, then OK, NO or BYE.

use std::collections::BTreeMap;

use crate::classify::imap::token::{From, Piece, Token, tokens};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was done.
    Ok,
    /// It was not.
    No,
    /// The connection ends.
    Bye,
}

/// The last line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How it ended.
    pub kind: Kind,
    /// The response code's name in capitals (RFC 5804 section 1.3), or empty.
    pub code: String,
    /// In the server's words.
    pub text: String,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// What was asked for.
    Data(Vec<Token>),
    /// The end.
    Status(Status),
}

/// Reads a line with its literals; `None` if it is none.
#[must_use]
pub fn line(pieces: &[Piece]) -> Option<Line> {
    let all = tokens(pieces, From::Upstream)?;
    let kind = match all.first()?.word().as_deref() {
        Some("OK") => Kind::Ok,
        Some("NO") => Kind::No,
        Some("BYE") => Kind::Bye,
        _ => return Some(Line::Data(all)),
    };
    let (code, text) = match all.get(1..)? {
        [] => (String::new(), String::new()),
        [Token::List(code)] => (name(code)?, String::new()),
        [Token::Text(text)] => (String::new(), words(text)),
        [Token::List(code), Token::Text(text)] => (name(code)?, words(text)),
        _ => return None,
    };
    Some(Line::Status(Status { kind, code, text }))
}

fn name(code: &[Token]) -> Option<String> {
    code.first()?.word()
}

fn words(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}

/// What a server can do, names in capitals (RFC 5804 section 1.7); `None` if this is no list of it.
#[must_use]
pub fn capabilities(lines: &[Vec<Token>]) -> Option<BTreeMap<String, String>> {
    let one = |line: &Vec<Token>| match line.as_slice() {
        [Token::Text(name)] => Some((words(name).to_ascii_uppercase(), String::new())),
        [Token::Text(name), Token::Text(value)] => Some((words(name).to_ascii_uppercase(), words(value))),
        _ => None,
    };
    lines.iter().map(one).collect()
}

/// What LISTSCRIPTS says: names, and whether each runs. `None` if it can't be read: then nobody knows which script runs.
#[must_use]
pub fn listed(lines: &[Vec<Token>]) -> Option<Vec<(String, bool)>> {
    let one = |line: &Vec<Token>| {
        let (name, active) = match line.as_slice() {
            [Token::Text(name)] => (name, false),
            [Token::Text(name), mark] if mark.word()? == "ACTIVE" => (name, true),
            _ => return None,
        };
        Some((String::from_utf8(name.clone()).ok()?, active))
    };
    let all: Vec<(String, bool)> = lines.iter().map(one).collect::<Option<_>>()?;
    (all.iter().filter(|(_, active)| *active).count() <= 1).then_some(all)
}

/// What GETSCRIPT says.
#[must_use]
pub fn script(lines: &[Vec<Token>]) -> Option<&[u8]> {
    match lines {
        [line] => match line.as_slice() {
            [Token::Text(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}
