//! `locations` of RFC 9396 section 2.2: at which addresses a grant is good.

use http::Uri;

/// The one spelling of a location: scheme and host in lower case, no default port, no slash at the end. `None` if it is no absolute `http` or `https`
/// URL, or has a user, a query or a fragment.
#[must_use]
pub fn normal(text: &str) -> Option<String> {
    if text.len() > 2000 || text.contains('#') {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    if uri.query().is_some() || authority.host().is_empty() {
        return None;
    }
    let port = match authority.as_str().strip_prefix(authority.host())?.strip_prefix(':') {
        None => None,
        Some(_) => Some(authority.port_u16()?).filter(|port| *port != default),
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = uri.path().trim_end_matches('/');
    Some(format!("{scheme}://{}{port}{path}", authority.host().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for same in [
            "https://gmail.googleapis.com",
            "HTTPS://Gmail.GoogleAPIs.com/",
            "https://gmail.googleapis.com:443",
            "https://gmail.googleapis.com:0443//",
        ] {
            assert_eq!(normal(same).unwrap(), "https://gmail.googleapis.com", "{same}");
        }
        assert_eq!(normal("http://127.0.0.1:8080/mail/").unwrap(), "http://127.0.0.1:8080/mail");
        assert_eq!(normal("http://[::1]:80/A").unwrap(), "http://[::1]/A");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "INBOX",
            "",
            "/mail",
            "gmail.googleapis.com",
            "ftp://a.b",
            "https://",
            "https://u@a.b",
            "https://a.b?x=1",
            "https://a.b#x",
            "https://a.b:x",
            "https://a b",
            "urn:x:y",
            "https://a.b:99999",
        ] {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }
}
