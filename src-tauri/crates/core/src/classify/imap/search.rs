//! Search programs: checked key by key, so that nothing but a search reaches the upstream (RFC 9051 section 6.4.4; RFC 4731 RETURN; RFC 5032
//! OLDER, YOUNGER; RFC 5182 `$`; RFC 7162 MODSEQ; RFC 5256 SORT, THREAD; X-GM-EXT-1).

use super::set::Set;
use super::token::Token;

/// Keys may be nested as deep as this; somebody who looks for fifty addresses nests as many.
const MOST_DEPTH: usize = 100;
const BARE: [&str; 15] = [
    "ALL",
    "ANSWERED",
    "DELETED",
    "DRAFT",
    "FLAGGED",
    "NEW",
    "OLD",
    "RECENT",
    "SEEN",
    "UNANSWERED",
    "UNDELETED",
    "UNDRAFT",
    "UNFLAGGED",
    "UNSEEN",
    "SAVEDATESUPPORTED",
];
const STRINGS: [&str; 11] =
    ["BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO", "X-GM-RAW", "X-GM-LABELS", "EMAILID", "THREADID"];
const WORDS: [&str; 17] = [
    "KEYWORD",
    "UNKEYWORD",
    "BEFORE",
    "ON",
    "SINCE",
    "SENTBEFORE",
    "SENTON",
    "SENTSINCE",
    "SAVEDBEFORE",
    "SAVEDON",
    "SAVEDSINCE",
    "LARGER",
    "SMALLER",
    "OLDER",
    "YOUNGER",
    "X-GM-MSGID",
    "X-GM-THRID",
];
const SORTS: [&str; 10] =
    ["ARRIVAL", "CC", "DATE", "FROM", "REVERSE", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"];
const RETURNS: [&str; 5] = ["MIN", "MAX", "ALL", "COUNT", "SAVE"];

/// Whether these are the arguments of a SEARCH, SORT or THREAD.
pub(super) fn is_search(verb: &str, args: &[Token]) -> bool {
    let Some(rest) = returns(args) else { return false };
    match verb.strip_prefix("UID ").unwrap_or(verb) {
        "SEARCH" => {
            let rest = match rest {
                [first, charset, rest @ ..] if is(first, "CHARSET") && charset.astring().is_some() => rest,
                _ => rest,
            };
            keys(rest)
        }
        "SORT" => match rest {
            [Token::List(criteria), charset, rest @ ..] => {
                !criteria.is_empty()
                    && criteria.iter().all(|one| one.word().is_some_and(|word| SORTS.contains(&word.as_str())))
                    && charset.astring().is_some()
                    && keys(rest)
            }
            _ => false,
        },
        "THREAD" => match rest {
            [Token::Atom(_), charset, rest @ ..] => charset.astring().is_some() && keys(rest),
            _ => false,
        },
        _ => false,
    }
}

fn is(token: &Token, word: &str) -> bool {
    token.word().is_some_and(|found| found == word)
}

/// What follows `RETURN (..)`.
fn returns(args: &[Token]) -> Option<&[Token]> {
    match args {
        [first, Token::List(options), rest @ ..] if is(first, "RETURN") => {
            let known = |one: &Token| one.word().is_some_and(|word| RETURNS.contains(&word.as_str()));
            options.iter().all(known).then_some(rest)
        }
        [first, ..] if is(first, "RETURN") => None,
        rest => Some(rest),
    }
}

fn keys(rest: &[Token]) -> bool {
    keys_within(rest, MOST_DEPTH)
}

/// Whether these are keys, nested no deeper than this: each level is a call of its own here, and most likely on the server.
fn keys_within(mut rest: &[Token], depth: usize) -> bool {
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        match key(rest, depth) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// What follows the first key.
fn key(tokens: &[Token], depth: usize) -> Option<&[Token]> {
    let deeper = depth.checked_sub(1)?;
    match tokens {
        [Token::List(inner), rest @ ..] => keys_within(inner, deeper).then_some(rest),
        [first, rest @ ..] => {
            let word = first.word()?;
            match (word.as_str(), rest) {
                ("OR", rest) => key(key(rest, deeper)?, deeper),
                ("NOT" | "FUZZY", rest) => key(rest, deeper),
                ("HEADER", [field, value, rest @ ..]) => {
                    (field.astring().is_some() && value.astring().is_some()).then_some(rest)
                }
                ("UID", [Token::Atom(set), rest @ ..]) => Set::parse(set).map(|_| rest),
                ("MODSEQ", [Token::Text(_), _, number, rest @ ..]) => number.number().map(|_| rest),
                ("MODSEQ", [number, rest @ ..]) => number.number().map(|_| rest),
                (word, rest) if BARE.contains(&word) => Some(rest),
                (word, [value, rest @ ..]) if STRINGS.contains(&word) => value.astring().map(|_| rest),
                (word, [value, rest @ ..]) if WORDS.contains(&word) => value.astring().map(|_| rest),
                (word, rest) => Set::parse(word).map(|_| rest),
            }
        }
        [] => None,
    }
}
