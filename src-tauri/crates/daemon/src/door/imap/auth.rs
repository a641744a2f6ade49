//! AUTHENTICATE: the questions of a mechanism, and the answers to them.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_core::classify::imap::command::Hidden;

use super::talk::Talk;
use crate::door::sasl;

/// Account id and access token, or the words of the tagged answer.
pub(super) async fn exchange(
    talk: &mut Talk,
    mechanism: &str,
    initial: Option<Hidden>,
) -> io::Result<Result<(String, Hidden), &'static str>> {
    const MALFORMED: &str = "BAD This is not what the mechanism asks for";
    const CANCELLED: &str = "BAD Cancelled";
    if mechanism == "LOGIN" {
        let mut said = Vec::new();
        if let Some(initial) = initial {
            said.push(initial);
        }
        for prompt in ["Username:", "Password:"].into_iter().skip(said.len()) {
            let Some(line) = answer(talk, &BASE64_STANDARD.encode(prompt)).await? else { return Ok(Err(CANCELLED)) };
            said.push(line);
        }
        let mut texts = said.iter().map(|line| sasl::text(&line.0));
        return Ok(match (texts.next().flatten(), texts.next().flatten()) {
            (Some(user), Some(token)) => Ok((user, Hidden(token))),
            _ => Err(MALFORMED),
        });
    }
    if !sasl::MECHANISMS.contains(&mechanism) {
        return Ok(Err("NO This mechanism is not offered: use PLAIN, LOGIN, XOAUTH2 or OAUTHBEARER"));
    }
    let response = match initial {
        Some(initial) => initial,
        None => match answer(talk, "").await? {
            Some(line) => line,
            None => return Ok(Err(CANCELLED)),
        },
    };
    let found = sasl::read(mechanism, &response.0);
    Ok(found.map(|(user, token)| (user, Hidden(token))).ok_or(MALFORMED))
}

async fn answer(talk: &mut Talk, prompt: &str) -> io::Result<Option<Hidden>> {
    talk.line(&format!("+ {prompt}"));
    talk.flush().await?;
    let line = talk.bare_line().await?;
    Ok((line != "*").then_some(Hidden(line)))
}
