//! AUTH (RFC 4954): the questions of a mechanism, and the answers to them.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_core::classify::smtp::{Mechanism, Reply};
use latch_ipc::Secret;

use super::{Heard, Talk};
use crate::door::admit::LOGIN;
use crate::door::sasl;

/// Account id and access token, or the answer to something else.
pub(super) async fn exchange(
    talk: &mut Talk,
    mechanism: Mechanism,
    initial: Option<String>,
) -> io::Result<Result<(String, Secret), Reply>> {
    let malformed = || Err(Reply::new(501, "5.5.2", "This is not what the mechanism asks for"));
    let name = match mechanism {
        Mechanism::Login => {
            let mut said = Vec::new();
            said.extend(initial.map(Secret::new));
            for prompt in ["Username:", "Password:"].into_iter().skip(said.len()) {
                match ask(talk, &BASE64_STANDARD.encode(prompt)).await? {
                    Ok(line) => said.push(line),
                    Err(reply) => return Ok(Err(reply)),
                }
            }
            let mut texts = said.iter().map(|line| sasl::text(line.expose()));
            return Ok(match (texts.next().flatten(), texts.next().flatten()) {
                (Some(user), Some(token)) => Ok((user, Secret::new(token))),
                _ => malformed(),
            });
        }
        Mechanism::Plain => "PLAIN",
        Mechanism::XOAuth2 => "XOAUTH2",
        Mechanism::OAuthBearer => "OAUTHBEARER",
    };
    let response = match initial {
        Some(initial) => Secret::new(initial),
        None => match ask(talk, "").await? {
            Ok(line) => line,
            Err(reply) => return Ok(Err(reply)),
        },
    };
    let found = sasl::read(name, response.expose());
    Ok(found.map_or_else(malformed, |(user, token)| Ok((user, Secret::new(token)))))
}

async fn ask(talk: &mut Talk, prompt: &str) -> io::Result<Result<Secret, Reply>> {
    talk.say(&Reply::new(334, "", prompt)).await?;
    let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "the client left while it logged in");
    match talk.line(LOGIN).await? {
        Heard::Line(line) => match std::str::from_utf8(&line).map(str::trim) {
            Ok("*") => Ok(Err(Reply::new(501, "5.7.0", "Cancelled"))),
            Ok(text) => Ok(Ok(Secret::new(text.to_owned()))),
            Err(_) => Ok(Err(Reply::new(501, "5.5.2", "This is not base64"))),
        },
        Heard::Unfit(reply) => Ok(Err(reply)),
        Heard::Silence | Heard::End => Err(gone()),
    }
}
