//! SASL responses (RFC 4422): PLAIN (RFC 4616), XOAUTH2, OAUTHBEARER (RFC 7628). Whichever a client prefers, the secret is the access token.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// What the doors offer, besides LOGIN, which is two questions.
pub(super) const MECHANISMS: [&str; 3] = ["PLAIN", "XOAUTH2", "OAUTHBEARER"];

/// Account id and access token in a response of one of the [`MECHANISMS`].
pub(super) fn read(mechanism: &str, response: &str) -> Option<(String, String)> {
    let text = text(response)?;
    match mechanism {
        "PLAIN" => plain(&text),
        "XOAUTH2" => bearer(&text, "user="),
        "OAUTHBEARER" => bearer(&text, "n,a="),
        _ => None,
    }
}

/// What a line of base64 says.
pub(super) fn text(line: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(line.trim()).ok()?).ok()
}

/// `[authzid] NUL authcid NUL password`
fn plain(text: &str) -> Option<(String, String)> {
    let mut parts = text.split('\0');
    let (_, user, token) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then(|| (user.to_owned(), token.to_owned()))
}

/// `user=U ^A auth=Bearer T ^A ^A`, or `n,a=U, ^A .. auth=Bearer T ^A ^A`.
fn bearer(text: &str, lead: &str) -> Option<(String, String)> {
    let mut fields = text.split('\x01');
    let user = fields.next()?.strip_prefix(lead)?.trim_end_matches(',').to_owned();
    let auth = fields.find_map(|field| field.strip_prefix("auth="))?;
    let (kind, token) = auth.split_once(' ')?;
    kind.eq_ignore_ascii_case("Bearer").then(|| (user, token.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn responses_are_read() {
        let of = |found: Option<(String, String)>| found.map(|(user, token)| format!("{user} {token}"));
        assert_eq!(of(plain("\0mail\0tok")).unwrap(), "mail tok");
        assert_eq!(of(plain("other\0mail\0tok")).unwrap(), "mail tok");
        assert_eq!(of(plain("mail\0tok")), None);
        assert_eq!(of(plain("\0mail\0tok\0more")), None);
        assert_eq!(of(bearer("user=mail\x01auth=Bearer tok\x01\x01", "user=")).unwrap(), "mail tok");
        assert_eq!(of(bearer("n,a=mail,\x01host=h\x01port=1\x01auth=bearer tok\x01\x01", "n,a=")).unwrap(), "mail tok");
        assert_eq!(of(bearer("user=mail\x01auth=Basic tok\x01\x01", "user=")), None);
        assert_eq!(of(read("PLAIN", "AG1haWwAdG9r")).unwrap(), "mail tok");
        assert_eq!(of(read("PLAIN", "no base64")), None);
        assert_eq!(of(read("CRAM-MD5", "AG1haWwAdG9r")), None);
    }
}
