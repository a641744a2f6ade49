//! From a mail server to an agent, and to the engine's own reading.
//!
//! Whatever a server says: what passes is whole untagged responses that every client frames alike, none of them about what the agent may not know of, and
//! one tagged line at the end that is ours. What the engine reads for itself is bounded.

use std::time::Duration;

use latch_core::classify::imap::reply::{Status, capabilities, fetched, found, item_of, listed, numbered, vanished};
use latch_core::classify::imap::server::Server;
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::token::{From, Piece, Token, encode, pieces, tokens};
use latch_daemon::door::imap::Talk;
use latch_daemon::door::imap::passing::{Broken, Numbers, Opening, Passing, Through, tagged};
use latch_daemon::upstream::imap::Wire;
use latch_daemon::upstream::{Fault, UpstreamError};

use crate::eyes;
use crate::script::{Cut, Script, now};

const TAG: &str = "A7";
/// A mailbox that the agent may not know of.
const SECRET: &str = "Secret";

/// Panics if a promise is broken.
pub fn check(said: &[u8]) {
    for way in 0..5 {
        let whole = pass(said, Cut::Whole, way);
        for cut in [Cut::Every(1), Cut::At(said.len() / 2)] {
            assert_eq!(pass(said, cut, way), whole, "cut {cut:?}");
        }
        judge(&whole.0, whole.1.is_some());
    }
    read(said);
}

/// The same at every byte: for what is short.
pub fn check_every_cut(said: &[u8]) {
    let whole = pass(said, Cut::Whole, 0);
    for at in 1..said.len() {
        assert_eq!(pass(said, Cut::At(at), 0), whole, "cut at {at}");
    }
}

/// What the agent hears, and how the command ended.
fn pass(said: &[u8], cut: Cut, way: usize) -> (Vec<u8>, Option<Status>, Vec<u32>) {
    let (mut heard, mut unheard, mut uids) = (Vec::new(), Vec::new(), Vec::new());
    let set = Set::Ranges(vec![(Some(1), Some(4))]);
    let (mut opening, mut numbers) = (Opening::default(), Numbers { exists: 3, renumbered: 0 });
    let status = now(async {
        let mut wire = Wire::over(Script::new(said, cut, &mut unheard), "mail.example".to_owned(), SILENCE);
        let mut talk = Talk::new(Script::new(b"", Cut::Whole, &mut heard));
        let mut through = match way {
            0 => Through::All,
            1 => Through::Search(&mut uids),
            4 => Through::Uids(&set, &mut uids),
            _ => Through::Opening { found: &mut opening, read_only: way == 2 },
        };
        let mut passing =
            Passing { wire: &mut wire, numbers: Some(&mut numbers), shows: &|name| name != SECRET, stands: &|| true };
        let status = loop {
            match passing.one(Some(TAG), &mut talk, &mut through).await {
                Ok(None) => {}
                Ok(Some(status)) => {
                    talk.line(&tagged(TAG, &status));
                    break Some(status);
                }
                Err(Broken::Upstream(_)) => break None,
                Err(Broken::Agent(error)) => panic!("{error}"),
            }
        };
        talk.flush().await.expect("it takes everything");
        status
    });
    assert!(unheard.is_empty(), "nothing is said to the server");
    (heard, status, uids)
}

const SILENCE: Duration = Duration::from_secs(5);

fn judge(heard: &[u8], ended: bool) {
    let (responses, left) = eyes::responses(heard);
    assert!(!left || !ended, "a response has no end: {:?}", String::from_utf8_lossy(heard));
    for (at, response) in responses.iter().enumerate() {
        let first = &response[0];
        let is_last = ended && at + 1 == responses.len();
        let lead: &[u8] = if is_last { b"A7 " } else { b"* " };
        assert!(first.starts_with(lead), "{:?}", String::from_utf8_lossy(heard));
        for line in response.iter().step_by(2) {
            assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{:?}", String::from_utf8_lossy(line));
        }
        let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
        let is = |word: &str| words.get(1).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()));
        assert!(is_last || !is("CAPABILITY"), "{:?}", String::from_utf8_lossy(first));
        let named = ["STATUS", "MYRIGHTS", "ACL", "LISTRIGHTS", "METADATA", "QUOTAROOT"];
        let named = named.iter().any(|one| is(one));
        if !is_last && (named || ["LIST", "LSUB"].iter().any(|one| is(one))) {
            let at = if named { 2 } else { 4 };
            let words = eyes::command(&eyes::joined(response)).unwrap_or_default();
            let name = words.get(at).and_then(Token::astring);
            assert_ne!(name, Some(SECRET.as_bytes()), "{:?}", String::from_utf8_lossy(first));
        }
    }
    let tagged = responses.iter().filter(|response| response[0].starts_with(b"A7 ")).count();
    assert_eq!(tagged, usize::from(ended), "{:?}", String::from_utf8_lossy(heard));
}

/// What the engine reads for itself.
fn read(said: &[u8]) {
    const LIMIT: usize = 4096;
    let mut unheard = Vec::new();
    let answer = now(async {
        let mut wire = Wire::over(Script::new(said, Cut::Whole, &mut unheard), "mail.example".to_owned(), SILENCE);
        wire.answer(TAG, LIMIT).await
    });
    let Ok(answer) = answer else { return };
    assert_eq!(answer.status.tag, TAG);
    let size: usize = answer.untagged.iter().flatten().map(bytes).sum();
    assert!(size <= LIMIT, "{size} bytes were kept");
    let many: usize = answer.untagged.iter().flatten().map(count).sum();
    assert!(many <= LIMIT / 32, "{many} tokens were kept");
    for status in answer.statuses() {
        let (copied, _, _) = (status.copied(), status.appended(), status.uidvalidity());
        assert!(copied.is_none_or(|(_, pairs)| pairs.len() <= 200_000));
    }
    let mut mailboxes = Vec::new();
    for line in &answer.untagged {
        let _ = (capabilities(line), item_of(line, 1, "X-GM-MSGID"));
        let _ = fetched(line).map(|fetched| fetched.view());
        mailboxes.extend(listed(line));
        // What can be read can be written, and is the same then.
        let again =
            encode(line).and_then(|written| pieces(&written)).and_then(|pieces| tokens(&pieces, From::Upstream));
        assert_eq!(again.as_ref(), Some(line));
    }
    let server = Server::of(&mailboxes, |_| true);
    for name in &server.listed {
        let _ = (server.is_trash(name), server.is_junk(name));
    }
    let _ = (numbered(said), found(said), vanished(said));
}

fn count(token: &Token) -> usize {
    1 + token.items().unwrap_or_default().iter().map(count).sum::<usize>()
}

fn bytes(token: &Token) -> usize {
    match token {
        Token::Atom(word) => word.len(),
        Token::Text(text) => text.len(),
        Token::List(items) => items.iter().map(bytes).sum(),
    }
}

/// Reads from a server that never stops saying this.
pub fn flood(said: &[u8], limit: usize) {
    let mut unheard = Vec::new();
    let (response, answer) = now(async {
        let mut wire = Wire::over(Script::flood(said, &mut unheard), "mail.example".to_owned(), SILENCE);
        (wire.response(limit).await, wire.answer(TAG, limit).await)
    });
    let too_large = |error: &UpstreamError| matches!(error.fault, Fault::TooLarge { .. } | Fault::Malformed { .. });
    let kept: Option<usize> = response.as_ref().ok().map(|pieces| {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(bytes) | Piece::Literal(bytes) => bytes.len(),
            })
            .sum()
    });
    assert!(kept.is_none_or(|kept| kept <= limit), "{kept:?}");
    assert!(response.as_ref().err().is_none_or(too_large), "{response:?}");
    assert!(answer.as_ref().err().is_some_and(too_large), "{answer:?}");
}
