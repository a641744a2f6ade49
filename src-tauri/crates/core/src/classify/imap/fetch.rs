//! FETCH items: which are understood, and which of them read a mail's text.

use super::command::{Command, set_of};
use super::token::Token;

const PLAIN: [&str; 16] = [
    "ALL",
    "FAST",
    "FULL",
    "FLAGS",
    "UID",
    "ENVELOPE",
    "INTERNALDATE",
    "RFC822.SIZE",
    "BODYSTRUCTURE",
    "BODY",
    "MODSEQ",
    "SAVEDATE",
    "EMAILID",
    "THREADID",
    "X-GM-MSGID",
    "X-GM-THRID",
];

/// The same item, asked for so that no mark is left: the answer names it the same way. RFC822 and RFC822.TEXT have no such form.
#[must_use]
pub fn peeking(item: &Token) -> Token {
    let Token::Atom(word) = item else { return item.clone() };
    let without = |name: &str| word.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name)).is_some();
    for (name, peeks) in [("BODY[", "BODY.PEEK["), ("BINARY[", "BINARY.PEEK[")] {
        if without(name) {
            return Token::Atom(format!("{peeks}{}", word.get(name.len()..).unwrap_or_default()));
        }
    }
    item.clone()
}

enum Item {
    Plain,
    Body,
}

pub(super) fn parse(uid: bool, set: &Token, what: &Token, rest: &[Token]) -> Option<Command> {
    let items = match what {
        Token::List(items) => items.clone(),
        one => vec![one.clone()],
    };
    let kinds = items.iter().map(item).collect::<Option<Vec<_>>>().filter(|kinds| !kinds.is_empty())?;
    let modifiers = match rest {
        [] => None,
        [modifiers] if is_modifiers(modifiers) => Some(modifiers.clone()),
        _ => return None,
    };
    let bodies = kinds.iter().any(|kind| matches!(kind, Item::Body));
    Some(Command::Fetch { uid, set: set_of(set)?, items, modifiers, bodies })
}

/// RFC 7162: `(CHANGEDSINCE 5 VANISHED)`.
fn is_modifiers(token: &Token) -> bool {
    match token.items() {
        Some([word, number]) => word.word().is_some_and(|word| word == "CHANGEDSINCE") && number.number().is_some(),
        Some([word, number, vanished]) => {
            word.word().is_some_and(|word| word == "CHANGEDSINCE")
                && number.number().is_some()
                && vanished.word().is_some_and(|word| word == "VANISHED")
        }
        _ => false,
    }
}

fn item(token: &Token) -> Option<Item> {
    let word = token.word()?;
    if PLAIN.contains(&word.as_str()) || matches!(word.as_str(), "RFC822.HEADER" | "X-GM-LABELS") {
        return Some(Item::Plain);
    }
    if matches!(word.as_str(), "RFC822" | "RFC822.TEXT" | "PREVIEW") {
        return Some(Item::Body);
    }
    let (name, section) = word.split_once('[')?;
    let (section, partial) = section.rsplit_once(']')?;
    if !is_partial(partial) {
        return None;
    }
    match name {
        "BODY" | "BODY.PEEK" => is_section(section).then(|| if is_header(section) { Item::Plain } else { Item::Body }),
        "BINARY" | "BINARY.PEEK" => is_numbers(section).then_some(Item::Body),
        "BINARY.SIZE" => (is_numbers(section) && partial.is_empty()).then_some(Item::Plain),
        _ => None,
    }
}

/// `<0.100>`, or nothing.
fn is_partial(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) else { return text.is_empty() };
    inner
        .split('.')
        .all(|number| !number.is_empty() && number.len() <= 10 && number.bytes().all(|byte| byte.is_ascii_digit()))
        && inner.split('.').count() <= 2
}

fn is_numbers(text: &str) -> bool {
    text.is_empty()
        || text.split('.').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_section(section: &str) -> bool {
    let text = section.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let numbers = section.get(..section.len() - text.len()).unwrap_or_default();
    let numbers = if text.is_empty() { numbers } else { numbers.strip_suffix('.').unwrap_or(numbers) };
    if !is_numbers(numbers) {
        return false;
    }
    match text.split_once(' ') {
        None => matches!(text, "" | "HEADER" | "TEXT" | "MIME"),
        Some(("HEADER.FIELDS" | "HEADER.FIELDS.NOT", list)) => {
            let inner = list.strip_prefix('(').and_then(|list| list.strip_suffix(')'));
            inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['(', ')']))
        }
        Some(_) => false,
    }
}

fn is_header(section: &str) -> bool {
    let text = section.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    text.starts_with("HEADER") || text == "MIME"
}
