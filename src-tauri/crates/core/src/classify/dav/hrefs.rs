//! Addresses inside documents. A server names what it has by paths of its own; an agent reaches the same below `/{account}` of the door. So every
//! `DAV:href` is written anew on its way, in both directions, piece by piece while the document passes; nothing else in it changes by a byte.

use std::ops::Range;

use quick_xml::escape::{escape, unescape};
use quick_xml::events::BytesStart;
use quick_xml::name::{NamespaceResolver, ResolveResult};

use super::xml::{CALDAV, CARDDAV, DAV, declares_utf8};

/// A tag, comment or address that is longer is refused.
const LONGEST: usize = 1024 * 1024;
/// Deeper documents are refused.
const DEEPEST: usize = 64;

/// Where an account is for the agent, and where for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// `/{account}`
    pub mount: String,
    /// The names under which the agent may speak of the door: `http://127.0.0.1:4711`.
    pub doors: Vec<String>,
    /// The path of the account's base URL, without a trailing slash.
    pub base: String,
    /// The account's origin: `https://dav.example.com`, and the same with its port.
    pub origins: Vec<String>,
}

/// Which way a document goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the server to the agent.
    Inward,
    /// From the agent to the server.
    Outward,
}

impl Here {
    /// The path below the account of an address that the agent wrote; `None`: it is somewhere else.
    #[must_use]
    pub fn agents(&self, address: &str) -> Option<String> {
        below(address, &self.doors, &self.mount)
    }

    /// The path below the account of an address that the server wrote; `None`: it is somewhere else.
    #[must_use]
    pub fn servers(&self, address: &str) -> Option<String> {
        below(address, &self.origins, &self.base)
    }

    fn rewritten(&self, address: &str, way: Way) -> Option<String> {
        match way {
            Way::Inward => self.servers(address).map(|path| format!("{}{path}", self.mount)),
            Way::Outward => self.agents(address).map(|path| format!("{}{path}", self.base)),
        }
    }
}

fn below(address: &str, origins: &[String], prefix: &str) -> Option<String> {
    let path = if address.starts_with('/') && !address.starts_with("//") {
        address
    } else {
        let rest = origins.iter().find_map(|origin| {
            let (scheme_and_host, rest) = address.split_at_checked(origin.len())?;
            scheme_and_host.eq_ignore_ascii_case(origin).then_some(rest)
        })?;
        if rest.is_empty() { "/" } else { rest }
    };
    let rest = path.strip_prefix(prefix)?;
    match rest.chars().next() {
        None => Some("/".to_owned()),
        Some('/') => Some(rest.to_owned()),
        Some(_) => None,
    }
}

/// Writes the addresses of a document anew while it passes.
#[derive(Debug)]
pub struct Rewriter {
    here: Here,
    way: Way,
    held: Vec<u8>,
    scan: Scan,
    spaces: NamespaceResolver,
    depth: usize,
    /// How deep the open `DAV:href` is, and its text so far.
    href: Option<(usize, String)>,
    data: u32,
}

impl Rewriter {
    /// For one document.
    #[must_use]
    pub fn new(here: Here, way: Way) -> Self {
        let spaces = NamespaceResolver::default();
        Self { here, way, held: Vec::new(), scan: Scan::default(), spaces, depth: 0, href: None, data: 0 }
    }

    /// Entries and contacts whose texts passed since this was asked last.
    pub fn take_data(&mut self) -> u32 {
        std::mem::take(&mut self.data)
    }

    /// The next piece; what can already be handed on. The error says what is wrong with the document.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, String> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(piece);
        let mut out = Vec::with_capacity(piece.len());
        let mut rest: &[u8] = &held;
        while let Some(token) = self.scan.next(rest)? {
            let (this, after) = rest.split_at_checked(token.length()).ok_or("it can't be read")?;
            self.scan.begin();
            self.token(&token, this, &mut out)?;
            rest = after;
        }
        if rest.len() > LONGEST {
            return Err("a tag or an address in it is too long".to_owned());
        }
        let (left, is_text) = (rest.len(), !rest.starts_with(b"<"));
        // Nothing moves while a token is not whole: what comes is put behind it.
        held.drain(..held.len() - left);
        // Text can go as it comes, but for an address, which must be whole, and the half of a letter.
        if self.href.is_none() && is_text {
            out.append(&mut held);
            self.scan.begin();
        }
        self.held = held;
        Ok(out)
    }

    /// The end; an error if the document was not whole.
    pub fn finish(self) -> Result<(), String> {
        if self.held.is_empty() && self.depth == 0 { Ok(()) } else { Err("it breaks off".to_owned()) }
    }

    fn token(&mut self, token: &Token, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let text = || std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned());
        match token {
            Token::Text(_) => match &mut self.href {
                Some((_, href)) => {
                    href.push_str(text()?);
                    if href.len() > LONGEST {
                        return Err("an address in it is too long".to_owned());
                    }
                }
                None => out.extend_from_slice(bytes),
            },
            Token::Aside(_) => {
                if self.href.is_some() {
                    return Err("an address in it is written in pieces".to_owned());
                }
                if !declares_utf8(text()?) {
                    return Err("it is not UTF-8".to_owned());
                }
                out.extend_from_slice(bytes);
            }
            Token::Tag(_) => self.tag(text()?, out)?,
        }
        Ok(())
    }

    fn tag(&mut self, tag: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let inner = tag.strip_prefix('<').and_then(|tag| tag.strip_suffix('>')).ok_or("a tag is malformed")?;
        if inner.starts_with('/') {
            if self.href.as_ref().is_some_and(|(depth, _)| *depth == self.depth)
                && let Some((_, href)) = self.href.take()
            {
                out.extend_from_slice(self.address(&href)?.as_bytes());
            }
            self.depth = self.depth.checked_sub(1).ok_or("it has an end without a beginning")?;
            self.spaces.pop();
            out.extend_from_slice(tag.as_bytes());
            return Ok(());
        }
        if self.href.is_some() {
            return Err("an address in it has elements inside".to_owned());
        }
        let (inner, empty) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
        let length = inner.find(|c: char| c.is_ascii_whitespace()).unwrap_or(inner.len());
        let start = BytesStart::from_content(inner, length);
        self.spaces.push(&start).map_err(|error| error.to_string())?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("its elements lie too deep in each other".to_owned());
        }
        let (space, name) = self.spaces.resolve_element(start.name());
        let named = |wanted: &str, local: &str| {
            matches!(&space, ResolveResult::Bound(space) if space.0 == wanted) && name.as_ref() == local
        };
        if named(CALDAV, "calendar-data") || named(CARDDAV, "address-data") {
            self.data = self.data.saturating_add(1);
        }
        let is_href = named(DAV, "href");
        if empty {
            self.depth -= 1;
            self.spaces.pop();
        } else if is_href {
            self.href = Some((self.depth, String::new()));
        }
        out.extend_from_slice(tag.as_bytes());
        Ok(())
    }

    fn address(&self, raw: &str) -> Result<String, String> {
        let address = unescape(raw).map_err(|error| error.to_string())?;
        Ok(match self.here.rewritten(address.trim(), self.way) {
            Some(new) => escape(new).into_owned(),
            None => raw.to_owned(),
        })
    }
}

/// Writes a whole document anew.
pub fn rewrite(here: &Here, way: Way, document: &[u8]) -> Result<Vec<u8>, String> {
    let mut rewriter = Rewriter::new(here.clone(), way);
    let out = rewriter.push(document)?;
    rewriter.finish()?;
    Ok(out)
}

/// A piece of markup with its length in bytes.
enum Token {
    Text(usize),
    Tag(usize),
    /// A comment, a processing instruction, unparsed text.
    Aside(usize),
}

impl Token {
    fn length(&self) -> usize {
        match self {
            Self::Text(length) | Self::Tag(length) | Self::Aside(length) => *length,
        }
    }
}

/// How far the token that is not whole yet was looked at.
#[derive(Debug, Default)]
struct Scan {
    at: usize,
    /// The quote that is open there.
    quote: Option<u8>,
    #[cfg(test)]
    looked_at: usize,
}

impl Scan {
    /// Another token begins.
    fn begin(&mut self) {
        self.at = 0;
        self.quote = None;
    }

    /// What lies between was looked at.
    fn reached(&mut self, looked_at: Range<usize>) {
        self.at = looked_at.end;
        #[cfg(test)]
        {
            self.looked_at += looked_at.len();
        }
    }

    /// The first whole token; `None` until more has come. Until [`Scan::begin`] the bytes are the same as before, or more.
    fn next(&mut self, bytes: &[u8]) -> Result<Option<Token>, String> {
        if !bytes.starts_with(b"<") {
            let fresh = bytes.get(self.at..).unwrap_or_default();
            let end = fresh.iter().position(|byte| *byte == b'<').map(|at| self.at + at);
            self.reached(self.at..end.unwrap_or(bytes.len()));
            return Ok(end.filter(|at| *at > 0).map(Token::Text));
        }
        for (begin, end) in [(&b"<!--"[..], &b"-->"[..]), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")] {
            if bytes.starts_with(begin) {
                // The end may have begun among what was looked at.
                let from = self.at.saturating_sub(end.len() - 1).max(begin.len());
                let inner = bytes.get(from..).unwrap_or_default();
                let at = inner.windows(end.len()).position(|window| window == end);
                self.reached(from..bytes.len());
                return Ok(at.map(|at| Token::Aside(from + at + end.len())));
            }
            if begin.starts_with(bytes) {
                return Ok(None);
            }
        }
        if bytes.starts_with(b"<!") {
            return Err("it has a document type".to_owned());
        }
        let from = self.at.max(1);
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            match (self.quote, *byte) {
                (Some(open), byte) if byte == open => self.quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => self.quote = Some(*byte),
                (None, b'>') => {
                    self.reached(from..at + 1);
                    return Ok(Some(Token::Tag(at + 1)));
                }
                (None, b'<') => return Err("a tag is malformed".to_owned()),
                (None, _) => {}
            }
        }
        self.reached(from..bytes.len());
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn here() -> Here {
        Here {
            mount: "/cal".to_owned(),
            doors: vec!["http://127.0.0.1:4711".to_owned()],
            base: "/dav".to_owned(),
            origins: vec!["https://dav.example.com".to_owned(), "https://dav.example.com:443".to_owned()],
        }
    }

    const ANSWER: &str = concat!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:multistatus xmlns:d='DAV:' xmlns:c=\"urn:ietf:params:xml:ns:caldav\">",
        "<!-- <d:href>/dav/x</d:href> --><d:response><d:href>/dav/erin/w%20k/</d:href><d:propstat a='>'><d:prop>",
        "<c:calendar-data>BEGIN:VCALENDAR\r\nURL:/dav/x &lt;href&gt;\r\n</c:calendar-data><href>/dav/no</href>",
        "<d:owner><href xmlns='DAV:'>https://DAV.example.com/dav/erin?a&amp;b</href></d:owner><d:x><![CDATA[<d:href>/dav/]]></d:x>",
        "<d:group><d:href>https://other.example/dav/x</d:href><d:href> /davx </d:href><d:href/></d:group>",
        "</d:prop></d:propstat></d:response></d:multistatus>\n"
    );
    const REWRITTEN: &str = concat!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:multistatus xmlns:d='DAV:' xmlns:c=\"urn:ietf:params:xml:ns:caldav\">",
        "<!-- <d:href>/dav/x</d:href> --><d:response><d:href>/cal/erin/w%20k/</d:href><d:propstat a='>'><d:prop>",
        "<c:calendar-data>BEGIN:VCALENDAR\r\nURL:/dav/x &lt;href&gt;\r\n</c:calendar-data><href>/dav/no</href>",
        "<d:owner><href xmlns='DAV:'>/cal/erin?a&amp;b</href></d:owner><d:x><![CDATA[<d:href>/dav/]]></d:x>",
        "<d:group><d:href>https://other.example/dav/x</d:href><d:href> /davx </d:href><d:href/></d:group>",
        "</d:prop></d:propstat></d:response></d:multistatus>\n"
    );

    #[test]
    fn addresses_of_the_account_are_rewritten_and_nothing_else() {
        let out = rewrite(&here(), Way::Inward, ANSWER.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), REWRITTEN);
        let asked = "<m xmlns='DAV:'><href>/cal/a/b.ics</href><href>http://127.0.0.1:4711/cal/c</href><href>/other/c</href></m>";
        let out = rewrite(&here(), Way::Outward, asked.as_bytes()).unwrap();
        let wanted = "<m xmlns='DAV:'><href>/dav/a/b.ics</href><href>/dav/c</href><href>/other/c</href></m>";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_document_arrives(cuts in proptest::collection::vec(0..ANSWER.len(), 0..40)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut rewriter = Rewriter::new(here(), Way::Inward);
            let mut out = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([ANSWER.len()]) {
                out.extend(rewriter.push(&ANSWER.as_bytes()[from..cut]).unwrap());
                from = cut;
            }
            prop_assert_eq!(rewriter.take_data(), 1);
            rewriter.finish().unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), REWRITTEN);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = rewrite(&here(), Way::Inward, &bytes);
        }
    }

    #[test]
    fn every_byte_is_looked_at_once_however_a_document_arrives() {
        let long = "x".repeat(20_000);
        for document in [
            format!("<x a='{long}'/>"),
            format!("<x><!--{long}--></x>"),
            format!("<x><?y {long}?></x>"),
            format!("<x xmlns='DAV:'><href>/dav/{long}</href></x>"),
            format!("<x>{long}</x>"),
        ] {
            let mut rewriter = Rewriter::new(here(), Way::Inward);
            let mut out = Vec::new();
            for byte in document.as_bytes() {
                out.extend(rewriter.push(std::slice::from_ref(byte)).unwrap());
            }
            let looked_at = rewriter.scan.looked_at;
            rewriter.finish().unwrap();
            assert_eq!(out, rewrite(&here(), Way::Inward, document.as_bytes()).unwrap());
            assert!(looked_at <= 4 * document.len(), "{looked_at} of {}", document.len());
        }
    }

    #[test]
    fn what_can_hide_an_address_is_refused() {
        for bad in [
            "<!DOCTYPE x><x/>",
            "<x xmlns='DAV:'><href>/d<!-- -->av/</href></x>",
            "<x xmlns='DAV:'><href><y/>/dav</href></x>",
            "<x xmlns='DAV:'><href><![CDATA[/dav]]></href></x>",
            "<?xml version='1.0' encoding='utf-16'?><x/>",
            "<x",
            "</x>",
            "<x>",
        ] {
            assert!(rewrite(&here(), Way::Inward, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
