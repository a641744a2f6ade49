//! Takes the injected credential out of what an upstream sends back (ATTACKS 28).
//!
//! Replaced by asterisks of equal length, so that lengths stay true: the secret as it is and reversed; in base64 and base64url at every alignment, and in
//! base64 twice; base32; hex, also with colons, spaces or dashes; percent-encoding, of what needs it and of every byte, and twice; quoted-printable; JSON
//! strings, `\u`, `\x` and octal escapes; HTML entities, named, decimal and hexadecimal; rot13; UTF-16 of either byte order. Compressed answers are
//! refused before they come here. Not found: a part of the secret, other encodings of an encoding, encryption. Secrets of fewer than four bytes are not
//! looked for.
//!
//! A secret may be spread over many chunks: what could be the beginning of one waits for the next chunk, and nothing else does.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

/// The shortest secret, and the shortest encoding of one, that is looked for.
const SHORTEST: usize = 4;
/// The finder knows only so many bytes of each pattern; the rest is compared where it finds them. Keeps it small and fast.
const ANCHOR: usize = 8;

/// Every encoding of some secrets.
pub struct Scrub {
    finder: Option<AhoCorasick>,
    /// By the finder's pattern: the full patterns that begin with it, longest first.
    full: Vec<Vec<Zeroizing<Vec<u8>>>>,
    begins: [bool; 256],
    longest: usize,
    shortest: usize,
}

impl std::fmt::Debug for Scrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scrub(..)")
    }
}

impl Scrub {
    /// Looks for these secrets.
    #[must_use]
    pub fn new(secrets: &[&[u8]]) -> Self {
        let mut patterns: Vec<Zeroizing<Vec<u8>>> = secrets
            .iter()
            .filter(|secret| secret.len() >= SHORTEST)
            .flat_map(|secret| encodings(secret))
            .filter(|pattern| pattern.len() >= SHORTEST)
            .collect();
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        let longest = patterns.first().map_or(0, |pattern| pattern.len());
        let shortest = patterns.last().map_or(0, |pattern| pattern.len());
        let anchor = shortest.min(ANCHOR);
        let mut begins = [false; 256];
        let mut anchors: Vec<Vec<u8>> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut full: Vec<Vec<Zeroizing<Vec<u8>>>> = Vec::new();
        for pattern in patterns {
            let start = pattern.get(..anchor).unwrap_or_default().to_vec();
            if let Some(begins) = start.first().and_then(|byte| begins.get_mut(usize::from(*byte))) {
                *begins = true;
            }
            let place = *places.entry(start.clone()).or_insert_with(|| {
                anchors.push(start);
                full.push(Vec::new());
                full.len() - 1
            });
            if let Some(group) = full.get_mut(place) {
                group.push(pattern);
            }
        }
        let finder = (!anchors.is_empty())
            .then(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(&anchors).ok())
            .flatten();
        Self { finder, full, begins, longest, shortest }
    }

    /// Whether there is anything to look for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.finder.is_none()
    }

    /// A short text that is there completely; `None` if nothing had to be taken out.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        let hits = self.hits(text);
        (!hits.is_empty()).then(|| {
            let mut text = text.to_vec();
            mask(&mut text, &hits);
            text
        })
    }

    /// The next chunk, without what may still become a secret: that stays in `held`. `last`: nothing follows.
    pub fn chunk(&self, held: &mut Bytes, chunk: Bytes, last: bool) -> Bytes {
        let mut text = if held.is_empty() {
            chunk
        } else {
            let mut both = BytesMut::with_capacity(held.len() + chunk.len());
            both.extend_from_slice(held);
            both.extend_from_slice(&chunk);
            *held = Bytes::new();
            both.freeze()
        };
        let hits = self.hits(&text);
        let after = hits.last().map_or(0, |(_, end)| *end);
        if !last {
            *held = text.split_off(self.open(&text, after));
        }
        if hits.is_empty() {
            return text;
        }
        let mut masked = text.to_vec();
        mask(&mut masked, &hits);
        Bytes::from(masked)
    }

    fn hits(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let mut hits = Vec::new();
        let Some(finder) = self.finder.as_ref().filter(|_| text.len() >= self.shortest) else { return hits };
        let mut at = 0;
        while let Some(found) = finder.find(Input::new(text).range(at..)) {
            let start = found.start();
            let rest = text.get(start..).unwrap_or_default();
            let full = self.full.get(found.pattern().as_usize()).map(Vec::as_slice).unwrap_or_default();
            at = match full.iter().find(|pattern| rest.starts_with(pattern)) {
                Some(pattern) => {
                    hits.push((start, start + pattern.len()));
                    start + pattern.len()
                }
                None => start + 1,
            };
        }
        hits
    }

    /// Where a secret may have begun that has not ended yet; the text's end if none has.
    fn open(&self, text: &[u8], after: usize) -> usize {
        let from = after.max(text.len().saturating_sub(self.longest.saturating_sub(1)));
        let tail = text.get(from..).unwrap_or_default();
        tail.iter()
            .enumerate()
            .filter(|(_, byte)| self.begins.get(usize::from(**byte)).copied().unwrap_or_default())
            .map(|(at, _)| at)
            .find(|at| {
                let rest = tail.get(*at..).unwrap_or_default();
                self.full.iter().flatten().any(|pattern| pattern.len() > rest.len() && pattern.starts_with(rest))
            })
            .map_or(text.len(), |at| from + at)
    }
}

fn mask(text: &mut [u8], hits: &[(usize, usize)]) {
    for (start, end) in hits {
        if let Some(hit) = text.get_mut(*start..*end) {
            hit.fill(b'*');
        }
    }
}

fn encodings(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let every =
        |one: &dyn Fn(u8) -> String| secret.iter().flat_map(|byte| one(*byte).into_bytes()).collect::<Vec<u8>>();
    let mut all = vec![
        secret.to_vec(),
        secret.iter().rev().copied().collect(),
        every(&|byte| format!("{byte:02x}")),
        every(&|byte| format!("{byte:02X}")),
        every(&|byte| format!("%{byte:02x}")),
        every(&|byte| format!("%{byte:02X}")),
        every(&|byte| format!("={byte:02X}")),
        every(&|byte| format!("\\x{byte:02x}")),
        every(&|byte| format!("\\x{byte:02X}")),
        every(&|byte| format!("\\u{byte:04x}")),
        every(&|byte| format!("\\u{byte:04X}")),
        every(&|byte| format!("&#{byte};")),
        every(&|byte| format!("&#x{byte:x};")),
        every(&|byte| format!("&#x{byte:X};")),
        every(&|byte| escape(byte, format!("%{byte:02X}"))),
        every(&|byte| escape(byte, format!("%{byte:02x}"))),
        every(&|byte| escape(byte, format!("={byte:02X}"))),
        every(&|byte| escape(byte, format!("%25{byte:02X}"))),
        every(&|byte| format!("\\{byte:03o}")),
        secret.iter().map(|byte| rot13(*byte)).collect(),
        base32(secret),
    ];
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
        all.push(json.as_bytes().to_vec());
        all.push(json.replace('/', "\\/").into_bytes());
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        all.push(html.replace('\'', "&#39;").into_bytes());
        all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    for separator in [":", " ", "-"] {
        let bytes: Vec<String> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        all.push(bytes.join(separator).into_bytes());
        all.push(bytes.join(separator).to_uppercase().into_bytes());
    }
    let once = Zeroizing::new(base64(&BASE64_STANDARD_NO_PAD, 0, secret));
    for lead in 0..3 {
        all.push(base64(&BASE64_STANDARD_NO_PAD, lead, &once));
        all.push(base64(&BASE64_STANDARD_NO_PAD, lead, secret));
        all.push(base64(&BASE64_URL_SAFE_NO_PAD, lead, secret));
    }
    all.into_iter().map(Zeroizing::new).collect()
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'm' | b'A'..=b'M' => byte + 13,
        b'n'..=b'z' | b'N'..=b'Z' => byte - 13,
        _ => byte,
    }
}

/// Leaves RFC 3986's unreserved characters as they are.
fn escape(byte: u8, escaped: String) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) { char::from(byte).to_string() } else { escaped }
}

/// The characters that depend on the secret alone when it stands `lead` bytes after a group's beginning.
fn base64(engine: &impl base64::Engine, lead: usize, secret: &[u8]) -> Vec<u8> {
    let mut bytes = Zeroizing::new(vec![0; lead]);
    bytes.extend_from_slice(secret);
    let text = engine.encode(&*bytes).into_bytes();
    let skip = if lead == 0 { 0 } else { lead + 1 };
    let end = text.len() - usize::from(!bytes.len().is_multiple_of(3));
    text.get(skip..end).unwrap_or_default().to_vec()
}

/// RFC 4648 section 6, without padding and without the last, incomplete character.
fn base32(secret: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bit = |at: usize| secret.get(at / 8).map_or(0, |byte| (byte >> (7 - at % 8)) & 1);
    (0..secret.len() * 8 / 5)
        .map(|group| (0..5).fold(0, |value, at| (value << 1) | bit(group * 5 + at)))
        .filter_map(|value| ALPHABET.get(usize::from(value)).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    const SECRET: &str = "ya29.a0/Af+\"canary\"<secret>&0123456789=";

    fn through(scrub: &Scrub, text: &[u8], sizes: impl Fn(usize) -> usize) -> Vec<u8> {
        let (mut held, mut out, mut at, mut turn) = (Bytes::new(), Vec::new(), 0, 0);
        while at < text.len() {
            let end = (at + sizes(turn).max(1)).min(text.len());
            out.extend_from_slice(&scrub.chunk(&mut held, Bytes::copy_from_slice(&text[at..end]), false));
            (at, turn) = (end, turn + 1);
        }
        out.extend_from_slice(&scrub.chunk(&mut held, Bytes::new(), true));
        out
    }

    #[test]
    fn no_encoding_gets_through_whatever_the_chunks() {
        let scrub = Scrub::new(&[SECRET.as_bytes()]);
        let mut echoes: Vec<Vec<u8>> =
            encodings(SECRET.as_bytes()).into_iter().map(|pattern| pattern.to_vec()).collect();
        for lead in ["", "a", "ab", "abc"] {
            echoes.push(BASE64_STANDARD.encode(format!("{lead}{SECRET}tail")).into_bytes());
        }
        for echo in echoes {
            for size in [1, 2, 3, 7, 16, 64] {
                let text = [b"before ", &echo[..], b" between ", &echo[..], b" after"].concat();
                let out = through(&scrub, &text, |_| size);
                assert_eq!(out.len(), text.len());
                assert!(out.starts_with(b"before ") && out.ends_with(b" after"));
                // The middle of the echo is far from what neighbours share with it.
                let middle = &echo[8..echo.len() - 8];
                let shown = String::from_utf8_lossy(&out).into_owned();
                assert!(!out.windows(middle.len()).any(|window| window == middle), "size {size}: {shown}");
            }
        }
    }

    #[test]
    fn other_text_is_neither_changed_nor_held_back() {
        let scrub = Scrub::new(&[SECRET.as_bytes()]);
        let mut held = Bytes::new();
        let text = Bytes::from_static(b"data: {\"id\": 1}\n\n");
        assert_eq!(scrub.chunk(&mut held, text.clone(), false), text);
        assert!(held.is_empty());
        let begun = Bytes::from_static(b"data: ya29.a");
        assert_eq!(scrub.chunk(&mut held, begun, false), "data: ");
        assert_eq!(scrub.chunk(&mut held, Bytes::from_static(b"pple\n"), false), "ya29.apple\n");
    }

    #[test]
    fn short_and_no_secrets_are_not_looked_for() {
        assert!(Scrub::new(&[b"abc"]).is_idle());
        assert!(Scrub::new(&[]).is_idle());
        assert_eq!(Scrub::new(&[b"abcd"]).text(b"xabcdx").unwrap(), b"x****x");
        assert_eq!(Scrub::new(&[b"abcd"]).text(b"xabcx"), None);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Scrub::new(&[SECRET.as_bytes()])), "Scrub(..)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunks_do_not_matter(secret in "[ab]{4,6}", text in "[abc]{0,200}", sizes in proptest::collection::vec(1_usize..9, 1..20)) {
            let scrub = Scrub::new(&[secret.as_bytes()]);
            let out = through(&scrub, text.as_bytes(), |turn| sizes[turn % sizes.len()]);
            prop_assert_eq!(out.len(), text.len());
            let shown = String::from_utf8(out).unwrap();
            prop_assert!(!shown.contains(&secret), "{} in {}", secret, shown);
        }
    }
}
