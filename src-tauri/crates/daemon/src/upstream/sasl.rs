//! What is sent to log in (RFC 4422), the same over every protocol.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::origin::Origin;

/// RFC 4616.
pub(super) fn plain(username: &str, password: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("\0{username}\0{password}"))
}

/// RFC 7628 section 3.1; `bearer` is the whole value of an `Authorization` header.
pub(super) fn oauthbearer(user: &str, origin: &Origin, bearer: &str) -> Zeroizing<String> {
    let (host, port) = (origin.bare_host(), origin.port);
    Zeroizing::new(format!("n,a={user},\x01host={host}\x01port={port}\x01auth={bearer}\x01\x01"))
}

/// Google's "SASL XOAUTH2 Mechanism", which others took over; `bearer` as above.
pub(super) fn xoauth2(user: &str, bearer: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("user={user}\x01auth={bearer}\x01\x01"))
}

/// As it goes over the wire (RFC 4648 section 4).
pub(super) fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(BASE64_STANDARD.encode(text))
}
