//! Mailbox names: modified UTF-7 on the wire (RFC 3501 section 5.1.3), text for people.

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The one name whose case does not matter (RFC 9051 section 5.1).
pub const INBOX: &str = "INBOX";
/// What stands between a mailbox and its children on servers there are.
const DELIMITERS: [char; 4] = ['/', '.', '\\', '|'];
const MOST: usize = 1000;

fn engine() -> Option<GeneralPurpose> {
    let alphabet = Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").ok()?;
    let config =
        GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone);
    Some(GeneralPurpose::new(&alphabet, config))
}

/// A mailbox name from the wire, `INBOX` in capitals; `None` if it is not the one spelling that modified UTF-7 has for its text. Wildcards are part of
/// no name here: a server that takes them for one could be led to another mailbox than the one that is shown.
#[must_use]
pub fn canonical(wire: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(wire).ok().filter(|name| !name.is_empty() && name.len() <= MOST)?;
    if name.bytes().any(|byte| !(0x20..0x7f).contains(&byte) || matches!(byte, b'*' | b'%')) {
        return None;
    }
    let text = shown(name)?;
    if text.chars().any(char::is_control) || wire_name(&text)? != name {
        return None;
    }
    // No server's `a/` is anything but its `a`, and `./a` or `b/../a` may be that, too.
    if name.ends_with('/') || (name.contains('/') && name.split('/').any(|part| matches!(part, "." | ".."))) {
        return None;
    }
    // `inbox/Sub` lies below INBOX whatever its case.
    match below_inbox(name) {
        Some("") => Some(INBOX.to_owned()),
        // With a namespace `INBOX/`, `INBOX/` and `INBOX/INBOX` are the INBOX itself, and neither is listed.
        Some(rest) if rest.len() == 1 || below_inbox(rest.get(1..)?).is_some() => None,
        Some(rest) => Some(format!("{INBOX}{rest}")),
        None => Some(name.to_owned()),
    }
}

/// What follows INBOX in the name of the INBOX or of a mailbox below it, with the delimiter.
fn below_inbox(name: &str) -> Option<&str> {
    let (head, rest) = name.split_at_checked(INBOX.len())?;
    let below = rest.chars().next().is_none_or(|first| DELIMITERS.contains(&first));
    (head.eq_ignore_ascii_case(INBOX) && below).then_some(rest)
}

/// Whether a name could be one of the INBOX: its last part is that, below whatever a server puts before it.
#[must_use]
pub fn could_be_inbox(name: &str) -> bool {
    name.rsplit(DELIMITERS).next().is_some_and(|last| last.eq_ignore_ascii_case(INBOX))
}

/// A wire name as text.
#[must_use]
pub fn shown(wire: &str) -> Option<String> {
    let engine = engine()?;
    let mut text = String::new();
    let mut rest = wire;
    while let Some((plain, shifted)) = rest.split_once('&') {
        text.push_str(plain);
        let (inner, after) = shifted.split_once('-')?;
        if inner.is_empty() {
            text.push('&');
        } else {
            let bytes = engine.decode(inner).ok()?;
            let (units, odd) = bytes.as_chunks::<2>();
            if !odd.is_empty() {
                return None;
            }
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            for decoded in char::decode_utf16(units) {
                text.push(decoded.ok()?);
            }
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// A name as it goes over the wire.
#[must_use]
pub fn wire_name(text: &str) -> Option<String> {
    let engine = engine()?;
    let mut wire = String::new();
    let mut shifted: Vec<u8> = Vec::new();
    let flush = |shifted: &mut Vec<u8>, wire: &mut String| {
        if !shifted.is_empty() {
            wire.push('&');
            wire.push_str(&engine.encode(&*shifted));
            wire.push('-');
            shifted.clear();
        }
    };
    for character in text.chars() {
        if (' '..='~').contains(&character) {
            flush(&mut shifted, &mut wire);
            wire.push(character);
            if character == '&' {
                wire.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend(character.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut shifted, &mut wire);
    Some(wire)
}
