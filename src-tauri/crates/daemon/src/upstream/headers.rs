//! What of a head goes to an upstream, and what of an upstream's head goes to an agent.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, HOST, LOCATION, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::body::OutBody;
use super::oauth::Access;
use super::{AccountTarget, Fault, Origin};

/// Never handed to an agent: hop-by-hop (RFC 9110 section 7.6.1), what sets state in a browser, what speaks of the upstream's authentication or of
/// other ways to the upstream, and the coding, which is identity.
fn is_dropped(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-encoding"
            | "set-cookie"
            | "set-cookie2"
            | "www-authenticate"
            | "authentication-info"
            | "alt-svc"
            | "strict-transport-security"
            | "clear-site-data"
            | "refresh"
            | "server-timing"
            | "nel"
    ) || name.starts_with("access-control-")
}

/// Never sent on behalf of a call, whoever put it there.
const OURS: [&str; 8] =
    ["authorization", "host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te"];

/// The headers with a WebDAV destination (RFC 4918 section 10.3) made absolute: always on the account's own origin. `None`: there is none.
pub(super) fn with_destination(headers: &[(String, String)], origin: &Origin) -> Option<Vec<(String, String)>> {
    let at = headers.iter().position(|(name, _)| name == "destination")?;
    let mut headers = headers.to_vec();
    let (_, value) = headers.get_mut(at)?;
    *value = format!("{}{value}", origin.spellings().pop()?);
    Some(headers)
}

/// The request as it leaves.
pub(super) fn request(
    method: &Method,
    target: &str,
    host: HeaderValue,
    headers: &[(String, String)],
    access: Option<&Access>,
    body: OutBody,
) -> Result<Request<OutBody>, Fault> {
    let target = PathAndQuery::try_from(target).map_err(|_| Fault::Unsendable("its path is malformed".to_owned()))?;
    if !target.as_str().starts_with('/') {
        return Err(Fault::Unsendable("its path does not start with '/'".to_owned()));
    }
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::from(target);
    let map = request.headers_mut();
    map.reserve(headers.len() + 3);
    map.insert(HOST, host);
    map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(access) = access {
        map.insert(AUTHORIZATION, access.header().clone());
    }
    for (name, value) in headers {
        if OURS.contains(&name.as_str()) {
            continue;
        }
        let unsendable = || Fault::Unsendable(format!("its header {name} is malformed"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable())?;
        map.append(name, HeaderValue::from_str(value).map_err(|_| unsendable())?);
    }
    Ok(request)
}

/// Why an answer can't be handed on; `None` if it can.
pub(super) fn unusable(headers: &HeaderMap) -> Option<&'static str> {
    let other = |name: HeaderName, known: &[u8]| {
        headers.get_all(name).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(known))
    };
    if other(CONTENT_ENCODING, b"identity") {
        return Some(
            "it is compressed although that was not asked for, so the credential could not be taken out of it",
        );
    }
    other(TRANSFER_ENCODING, b"chunked").then_some("its transfer coding is not chunked")
}

/// Takes out of an answer's head what an agent must not get.
pub(super) fn clean(headers: &mut HeaderMap, target: &AccountTarget, access: Option<&Access>) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named =
        named.flat_map(|value| value.split(',')).filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
    let dropped: Vec<HeaderName> =
        headers.keys().filter(|name| is_dropped(name.as_str())).cloned().chain(named).collect();
    for name in dropped {
        headers.remove(name);
    }
    if let Some(location) = headers.get(LOCATION)
        && let Some(location) = here(location, target)
    {
        headers.insert(LOCATION, location);
    }
    let Some(access) = access else { return };
    let carries = |value: &HeaderValue| access.scrub().text(value.as_bytes());
    if headers.get(LOCATION).is_some_and(|location| carries(location).is_some()) {
        headers.remove(LOCATION);
    }
    for value in headers.values_mut() {
        if let Some(scrubbed) = carries(value) {
            *value = HeaderValue::from_bytes(&scrubbed).unwrap_or_else(|_| HeaderValue::from_static("*"));
        }
    }
}

/// A location on the account's own origin becomes a path of the door, `/{account}/...`; another one stays as it is: the credential does not follow.
fn here(location: &HeaderValue, target: &AccountTarget) -> Option<HeaderValue> {
    let text = location.to_str().ok()?;
    let path = if text.starts_with('/') && !text.starts_with("//") {
        text.to_owned()
    } else {
        let (origin, path) = Origin::endpoint(text).ok()?;
        if origin != target.origin {
            return None;
        }
        path
    };
    let rest = path.strip_prefix(&target.base_path)?;
    HeaderValue::from_str(&format!("/{}{rest}", target.id)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::sync::Arc;

    use latch_ipc::Secret;

    use super::*;
    use crate::vault::Credential;

    fn target() -> AccountTarget {
        let credential = Credential::Bearer { token: Secret::new("canary-0123456789".to_owned()) };
        AccountTarget::new("work", "https://api.example.com/v3", Arc::new(credential)).unwrap()
    }

    fn cleaned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let target = target();
        clean(&mut map, &target, target.access().as_deref());
        map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn hop_by_hop_and_browser_state_are_dropped() {
        let headers = [
            ("content-type", "text/plain"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("set-cookie", "a=b"),
            ("www-authenticate", "Bearer realm=upstream"),
            ("alt-svc", "h3=\":443\""),
        ];
        assert_eq!(cleaned(&headers), [("content-type".to_owned(), "text/plain".to_owned())]);
    }

    #[test]
    fn locations() {
        let check = |location: &str, expected: Option<&str>| {
            let found = cleaned(&[("location", location)]).into_iter().next().map(|(_, value)| value);
            assert_eq!(found.as_deref(), expected, "{location}");
        };
        check("https://api.example.com/v3/upload?id=1", Some("/work/upload?id=1"));
        check("https://API.example.com:443/v3/x", Some("/work/x"));
        check("/v3/x", Some("/work/x"));
        check("https://evil.com/v3/x", Some("https://evil.com/v3/x"));
        check("http://api.example.com/v3/x", Some("http://api.example.com/v3/x"));
        check("https://api.example.com:444/v3/x", Some("https://api.example.com:444/v3/x"));
        check("//evil.com/x", Some("//evil.com/x"));
        check("https://evil.com/?t=canary-0123456789", None);
        check("https://evil.com/?t=Y2FuYXJ5LTAxMjM0NTY3ODk", None);
    }

    #[test]
    fn the_credential_is_taken_out_of_any_header() {
        let found = cleaned(&[("x-echo", "Bearer canary-0123456789;")]);
        assert_eq!(found, [("x-echo".to_owned(), "Bearer *****************;".to_owned())]);
    }

    #[test]
    fn a_call_cannot_choose_the_credential_or_the_host() {
        let target = target();
        let headers: Vec<(String, String)> = ["authorization", "host", "te", "accept-encoding", "x-fine"]
            .iter()
            .map(|name| ((*name).to_owned(), "theirs".to_owned()))
            .collect();
        let access = target.access();
        let request =
            request(&Method::GET, "/x", target.host.clone(), &headers, access.as_deref(), OutBody::Whole(None))
                .unwrap();
        let mut found: Vec<&str> = request.headers().iter().map(|(_, value)| value.to_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, ["Bearer canary-0123456789", "api.example.com", "identity", "theirs"]);
        assert!(!format!("{:?}", request.headers()).contains("canary"));
    }
}
