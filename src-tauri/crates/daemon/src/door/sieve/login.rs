//! AUTHENTICATE (RFC 5804 section 2.1): the question of a mechanism, and the answer to it.

use std::io;

use latch_core::classify::imap::command::Hidden;
use latch_core::classify::imap::token::{From, Token, tokens};
use latch_core::classify::sieve::response::Response;
use latch_ipc::Secret;

use super::talk::{Heard, Talk};
use crate::door::admit::LOGIN;
use crate::door::sasl;

/// Account id and access token, or the answer to something else.
pub(super) async fn exchange(
    talk: &mut Talk,
    mechanism: &str,
    initial: Option<Hidden>,
) -> io::Result<Result<(String, Secret), Response>> {
    let malformed = || Response::no("", "This is not what the mechanism asks for");
    if !sasl::MECHANISMS.contains(&mechanism) {
        let text = format!("This mechanism is not offered: use {}", sasl::MECHANISMS.join(" or "));
        return Ok(Err(Response::no("", &text)));
    }
    let response = match initial {
        Some(Hidden(initial)) => Secret::new(initial),
        None => {
            talk.ask().await?;
            match talk.hear(LOGIN).await? {
                Heard::Command(pieces) => match tokens(&pieces, From::Agent).as_deref() {
                    Some([Token::Text(text)]) => match String::from_utf8(text.clone()) {
                        Ok(text) if text == "*" => return Ok(Err(Response::no("", "Cancelled"))),
                        Ok(text) => Secret::new(text),
                        Err(_) => return Ok(Err(malformed())),
                    },
                    _ => return Ok(Err(malformed())),
                },
                Heard::Unfit(response) => return Ok(Err(response)),
                Heard::Silence | Heard::End => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client left while it logged in"));
                }
            }
        }
    };
    let found = sasl::read(mechanism, response.expose());
    Ok(found.map(|(user, token)| (user, Secret::new(token))).ok_or_else(malformed))
}
