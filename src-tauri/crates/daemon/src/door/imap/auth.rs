//! SASL (RFC 4422): PLAIN (RFC 4616), LOGIN, XOAUTH2, OAUTHBEARER (RFC 7628). Whichever a client prefers, the secret is the access token.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_core::classify::imap::command::Hidden;

use super::talk::Talk;

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
        let mut texts = said.iter().map(text);
        return Ok(match (texts.next().flatten(), texts.next().flatten()) {
            (Some(user), Some(token)) => Ok((user, Hidden(token))),
            _ => Err(MALFORMED),
        });
    }
    if !matches!(mechanism, "PLAIN" | "XOAUTH2" | "OAUTHBEARER") {
        return Ok(Err("NO This mechanism is not offered: use PLAIN, LOGIN, XOAUTH2 or OAUTHBEARER"));
    }
    let response = match initial {
        Some(initial) => initial,
        None => match answer(talk, "").await? {
            Some(line) => line,
            None => return Ok(Err(CANCELLED)),
        },
    };
    let Some(text) = text(&response) else { return Ok(Err(MALFORMED)) };
    let found = match mechanism {
        "PLAIN" => plain(&text),
        "XOAUTH2" => bearer(&text, "user="),
        _ => bearer(&text, "n,a="),
    };
    Ok(found.ok_or(MALFORMED))
}

async fn answer(talk: &mut Talk, prompt: &str) -> io::Result<Option<Hidden>> {
    talk.line(&format!("+ {prompt}"));
    talk.flush().await?;
    let line = talk.bare_line().await?;
    Ok((line != "*").then_some(Hidden(line)))
}

fn text(response: &Hidden) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(response.0.trim()).ok()?).ok()
}

/// `[authzid] NUL authcid NUL password`
fn plain(text: &str) -> Option<(String, Hidden)> {
    let mut parts = text.split('\0');
    let (_, user, token) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then(|| (user.to_owned(), Hidden(token.to_owned())))
}

/// `user=U ^A auth=Bearer T ^A ^A`, or `n,a=U, ^A .. auth=Bearer T ^A ^A`.
fn bearer(text: &str, lead: &str) -> Option<(String, Hidden)> {
    let mut fields = text.split('\x01');
    let user = fields.next()?.strip_prefix(lead)?.trim_end_matches(',').to_owned();
    let auth = fields.find_map(|field| field.strip_prefix("auth="))?;
    let (kind, token) = auth.split_once(' ')?;
    kind.eq_ignore_ascii_case("Bearer").then(|| (user, Hidden(token.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn responses_are_read() {
        let of = |found: Option<(String, Hidden)>| found.map(|(user, token)| format!("{user} {}", token.0));
        assert_eq!(of(plain("\0mail\0tok")).unwrap(), "mail tok");
        assert_eq!(of(plain("other\0mail\0tok")).unwrap(), "mail tok");
        assert_eq!(of(plain("mail\0tok")), None);
        assert_eq!(of(plain("\0mail\0tok\0more")), None);
        assert_eq!(of(bearer("user=mail\x01auth=Bearer tok\x01\x01", "user=")).unwrap(), "mail tok");
        assert_eq!(of(bearer("n,a=mail,\x01host=h\x01port=1\x01auth=bearer tok\x01\x01", "n,a=")).unwrap(), "mail tok");
        assert_eq!(of(bearer("user=mail\x01auth=Basic tok\x01\x01", "user=")), None);
    }
}
