//! What every request must be before anything else looks at it (ATTACKS 10, 22, 29).
//!
//! A web page in the person's browser can reach this port: no request that a page could send gets further than this file.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, Method, StatusCode, Uri, Version};
use zeroize::Zeroizing;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// The longest request target.
pub const MAX_TARGET: usize = 16 * 1024;
/// Query parameters that carry access tokens (RFC 6750 section 2.3 and what providers accept).
const TOKEN_PARAMETERS: [&str; 4] = ["access_token", "oauth_token", "bearer_token", "auth_token"];

/// A request that is refused as such, with nothing done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) detail: String,
    /// Nothing that follows on the connection can be trusted.
    pub(super) close: bool,
    /// A token that was sent where it can be seen by others.
    pub(super) leaked: Option<Zeroizing<String>>,
}

fn unfit(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Unfit {
    Unfit { status, title, detail: detail.into(), close: true, leaked: None }
}

/// The names under which this door may be addressed.
#[derive(Debug, Clone)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn of(address: SocketAddr) -> Self {
        let port = address.port();
        let mut names: Vec<String> =
            ["127.0.0.1", "localhost", "[::1]"].iter().map(|host| format!("{host}:{port}")).collect();
        if port == 80 {
            names.extend(["127.0.0.1", "localhost", "[::1]"].map(str::to_owned));
        }
        Self(names)
    }

    /// The name that a request used.
    pub(super) fn used(&self, head: &Parts) -> Option<&str> {
        let mut hosts = head.headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
        self.0.iter().find(|name| name.as_bytes() == host.as_bytes()).map(String::as_str)
    }
}

/// Checks all that can be checked without knowing who asks.
pub(super) fn check(head: &Parts, names: &Names) -> Result<(), Unfit> {
    if names.used(head).is_none() {
        let detail = "The Host header must be 127.0.0.1, localhost or [::1] with this door's port: this door serves programs on this machine only.";
        return Err(unfit(StatusCode::MISDIRECTED_REQUEST, "Wrong host", detail));
    }
    let cross_site = head.headers.get(SEC_FETCH_SITE).is_some_and(|site| site.as_bytes() != b"none");
    if head.headers.contains_key(ORIGIN) || cross_site {
        let detail = "Requests from web pages are refused: this door is for programs, not for browsers.";
        return Err(unfit(StatusCode::FORBIDDEN, "Sent by a web page", detail));
    }
    if head.version != Version::HTTP_11 && head.version != Version::HTTP_10 {
        return Err(unfit(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "Wrong protocol", "This door speaks HTTP/1.1."));
    }
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(unfit(StatusCode::FORBIDDEN, "Method refused", "CONNECT and TRACE are not offered here."));
    }
    if head.headers.contains_key(UPGRADE) || head.headers.contains_key(HTTP2_SETTINGS) {
        let detail = "Changing the protocol (Upgrade, h2c, WebSocket) is not offered here; send the request without an Upgrade header.";
        return Err(unfit(StatusCode::FORBIDDEN, "Upgrade refused", detail));
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() || !head.uri.path().starts_with('/') {
        let detail = "The request target must be a path that starts with '/'.";
        return Err(unfit(StatusCode::BAD_REQUEST, "Malformed target", detail));
    }
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET) {
        let detail = format!("The request target is longer than {MAX_TARGET} bytes.");
        return Err(unfit(StatusCode::URI_TOO_LONG, "Target too long", detail));
    }
    if head.headers.contains_key(CONTENT_LENGTH) && head.headers.contains_key(TRANSFER_ENCODING) {
        let detail = "Content-Length and Transfer-Encoding contradict each other.";
        return Err(unfit(StatusCode::BAD_REQUEST, "Malformed framing", detail));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let known = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !known || codings.next().is_some() {
        return Err(unfit(
            StatusCode::NOT_IMPLEMENTED,
            "Unknown framing",
            "The only transfer coding known here is chunked.",
        ));
    }
    if head.headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(unfit(StatusCode::EXPECTATION_FAILED, "Unknown expectation", "Only 100-continue can be expected."));
    }
    if head.headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Err(unfit(StatusCode::BAD_REQUEST, "Two credentials", "More than one Authorization header was sent."));
    }
    query_token(&head.uri)
}

/// A token in a query ends up in logs and histories: it is refused, and no longer good for anything.
fn query_token(uri: &Uri) -> Result<(), Unfit> {
    let Some(query) = uri.query() else { return Ok(()) };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if TOKEN_PARAMETERS.iter().any(|parameter| name.eq_ignore_ascii_case(parameter)) {
            let detail = format!(
                "An access token was sent in the query ({name}), where logs keep it. If it was one of ours it has been revoked; get a new one and send it in the Authorization header."
            );
            return Err(Unfit {
                status: StatusCode::BAD_REQUEST,
                title: "Token in the query",
                detail,
                close: false,
                leaked: Some(Zeroizing::new(value.into_owned())),
            });
        }
    }
    Ok(())
}

/// The bearer token of RFC 6750 section 2.1.
pub(super) fn bearer(head: &Parts) -> Option<&str> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// User name and password of RFC 7617: programs for calendars and contacts know nothing else. The account's id, and the access token.
pub(super) fn basic(head: &Parts) -> Option<(String, Zeroizing<String>)> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim_matches(' ')).ok()?);
    let (user, token) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (!token.is_empty()).then(|| (user.to_owned(), Zeroizing::new(token.to_owned())))
}

/// The account to which a client should go that looks for calendars and contacts at the door's top (RFC 6764): the one whose id is its user name.
pub(super) fn looks_around(head: &Parts) -> Option<Option<String>> {
    matches!(head.uri.path(), "/.well-known/caldav" | "/.well-known/carddav").then(|| {
        let (user, _) = basic(head)?;
        is_account(&user).then_some(user)
    })
}

fn is_account(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}

/// Takes `/{account}` off the front and returns the account; the rest stays byte for byte.
pub(super) fn split_account(uri: &mut Uri) -> Option<String> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (account, target) = rest.split_at_checked(end)?;
    if !is_account(account) {
        return None;
    }
    let account = account.to_owned();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    *uri = Uri::from(PathAndQuery::try_from(target).ok()?);
    Some(account)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use http::Request;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let names = Names::of("127.0.0.1:8080".parse().unwrap());
        check(&head(method, uri, headers), &names).map_or_else(|unfit| unfit.status.as_u16(), |()| 200)
    }

    #[test]
    fn hosts() {
        let check = |host: &str, expected| assert_eq!(status("GET", "/a/x", &[("host", host)]), expected, "{host}");
        check("127.0.0.1:8080", 200);
        check("localhost:8080", 200);
        check("[::1]:8080", 200);
        for host in [
            "evil.com",
            "evil.com:8080",
            "localhost",
            "localhost.:8080",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.1:8080",
            "0.0.0.0:8080",
            "127.0.0.1:8080.evil.com",
            "a.127.0.0.1.nip.io:8080",
            "localhost:8080@evil.com",
            "",
            "[::1]",
            "[::ffff:127.0.0.1]:8080",
            "127.0.0.1:08080",
        ] {
            check(host, 421);
        }
        assert_eq!(status("GET", "/a/x", &[]), 421);
        assert_eq!(status("GET", "/a/x", &[("host", "localhost:8080"), ("host", "localhost:8080")]), 421);
    }

    #[test]
    fn pages_upgrades_and_odd_heads() {
        let check = |method: &str, uri: &str, headers: &[(&str, &str)], expected| {
            let mut all = vec![("host", "localhost:8080")];
            all.extend(headers);
            assert_eq!(status(method, uri, &all), expected, "{method} {uri} {headers:?}");
        };
        check("GET", "/a/x", &[("origin", "https://evil.com")], 403);
        check("GET", "/a/x", &[("origin", "null")], 403);
        check("GET", "/a/x", &[("origin", "http://localhost:8080")], 403);
        check("OPTIONS", "/a/x", &[("origin", "null"), ("access-control-request-method", "DELETE")], 403);
        check("GET", "/a/x", &[("sec-fetch-site", "cross-site")], 403);
        check("GET", "/a/x", &[("sec-fetch-site", "same-site")], 403);
        check("GET", "/a/x", &[("sec-fetch-site", "none")], 200);
        check("GET", "/a/x", &[("upgrade", "websocket")], 403);
        check("GET", "/a/x", &[("upgrade", "h2c")], 403);
        check("GET", "/a/x", &[("http2-settings", "AAMAAABkAAQAAP__")], 403);
        check("TRACE", "/a/x", &[], 403);
        check("CONNECT", "evil.com:443", &[], 403);
        check("GET", "http://evil.com/a/x", &[], 400);
        check("OPTIONS", "*", &[], 400);
        check("GET", &format!("/a/{}", "x".repeat(MAX_TARGET)), &[], 414);
        check("POST", "/a/x", &[("content-length", "3"), ("transfer-encoding", "chunked")], 400);
        check("POST", "/a/x", &[("transfer-encoding", "gzip, chunked")], 501);
        check("POST", "/a/x", &[("expect", "magic")], 417);
        check("POST", "/a/x", &[("expect", "100-Continue")], 200);
        check("GET", "/a/x", &[("authorization", "Bearer a"), ("authorization", "Bearer b")], 400);
    }

    #[test]
    fn a_token_in_the_query_is_reported_as_leaked() {
        let names = Names::of("127.0.0.1:8080".parse().unwrap());
        for query in ["access_token=abc", "x=1&ACCESS_TOKEN=abc", "access%5Ftoken=abc", "oauth_token=abc"] {
            let head = head("GET", &format!("/a/x?{query}"), &[("host", "localhost:8080")]);
            let unfit = check(&head, &names).unwrap_err();
            assert_eq!(unfit.status, StatusCode::BAD_REQUEST);
            assert_eq!(unfit.leaked.as_deref().map(String::as_str), Some("abc"), "{query}");
            assert!(!unfit.detail.contains("abc"));
        }
    }

    #[test]
    fn accounts_come_off_the_front() {
        let check = |uri: &str, account: Option<&str>, target: &str| {
            let mut parsed: Uri = uri.parse().unwrap();
            assert_eq!(split_account(&mut parsed).as_deref(), account, "{uri}");
            if account.is_some() {
                assert_eq!(parsed.to_string(), target, "{uri}");
            }
        };
        check("/work/gmail/v1/users/me?a=b%2F", Some("work"), "/gmail/v1/users/me?a=b%2F");
        check("/work//x/%2e%2e/y;p", Some("work"), "//x/%2e%2e/y;p");
        check("/work", Some("work"), "/");
        check("/work?q=1", Some("work"), "/?q=1");
        check("/", None, "");
        check("//x", None, "");
        check("/a%2fb/x", None, "");
        check(&format!("/{}/x", "a".repeat(65)), None, "");
    }

    #[test]
    fn user_names_and_passwords() {
        let check = |value: &str, expected: Option<(&str, &str)>| {
            let found = basic(&head("GET", "/", &[("authorization", value)]));
            let found = found.as_ref().map(|(user, token)| (user.as_str(), token.as_str()));
            assert_eq!(found, expected, "{value}");
        };
        check("Basic Y2FsOmFiYzpk", Some(("cal", "abc:d")));
        check("basic Y2FsOg==", None);
        check("Basic Y2Fs", None);
        check("Basic !", None);
        check("Bearer Y2FsOmFiYw==", None);
    }

    #[test]
    fn clients_that_look_around_are_sent_to_their_account() {
        let found = |uri: &str, headers: &[(&str, &str)]| looks_around(&head("PROPFIND", uri, headers));
        let own = [("authorization", "Basic Y2FsOmFiYw==")];
        assert_eq!(found("/.well-known/caldav", &own), Some(Some("cal".to_owned())));
        assert_eq!(found("/.well-known/carddav", &[]), Some(None));
        // "../x:abc"
        assert_eq!(found("/.well-known/caldav", &[("authorization", "Basic Li4veDphYmM=")]), Some(None));
        assert_eq!(found("/cal/.well-known/caldav", &own), None);
    }

    #[test]
    fn bearer_tokens() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(bearer(&head("GET", "/", &[("authorization", value)])), expected, "{value}");
        };
        check("Bearer abc", Some("abc"));
        check("bearer  abc", Some("abc"));
        check("Basic abc", None);
        check("Bearer ", None);
        check("Bearer", None);
    }
}
