//! What a LIST may ask for (RFC 5258): only what is known to name no mailbox but in a response of its own, by which it can be left out.

use super::token::Token;

/// Which mailboxes: RFC 5258, RFC 6154.
const SELECTED: [&str; 4] = ["SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"];
/// What is said of each: the same, and RFC 8440. `STATUS (..)` (RFC 5819) is read by itself. METADATA (RFC 9590) is not offered.
const RETURNED: [&str; 4] = ["SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"];

/// Whether these are the arguments of a LIST: `[(selection)] reference pattern|(patterns) [RETURN (options)]`.
pub(super) fn is_list(args: &[Token]) -> bool {
    let args = match args {
        [Token::List(selected), rest @ ..] if selected.iter().all(|one| is_one_of(one, &SELECTED)) => rest,
        [Token::List(_), ..] => return false,
        rest => rest,
    };
    let patterns = |token: &Token| match token {
        Token::List(inner) => !inner.is_empty() && inner.iter().all(|one| one.astring().is_some()),
        other => other.astring().is_some(),
    };
    match args {
        [reference, pattern] => reference.astring().is_some() && patterns(pattern),
        [reference, pattern, word, Token::List(options)] => {
            reference.astring().is_some()
                && patterns(pattern)
                && word.word().is_some_and(|word| word == "RETURN")
                && are_returned(options)
        }
        _ => false,
    }
}

fn are_returned(mut options: &[Token]) -> bool {
    loop {
        options = match options {
            [] => return true,
            [status, Token::List(items), rest @ ..] if is_one_of(status, &["STATUS"]) => {
                if items.is_empty() || !items.iter().all(|one| matches!(one, Token::Atom(_))) {
                    return false;
                }
                rest
            }
            [one, rest @ ..] if is_one_of(one, &RETURNED) => rest,
            _ => return false,
        };
    }
}

fn is_one_of(token: &Token, known: &[&str]) -> bool {
    token.word().is_some_and(|word| known.contains(&word.as_str()))
}
