//! XML as far as WebDAV needs it: small trees, no document types, no entities of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use quick_xml::NsReader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

/// `DAV:` (RFC 4918).
pub(super) const DAV: &str = "DAV:";
/// CalDAV (RFC 4791).
pub(super) const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
/// CardDAV (RFC 6352).
pub(super) const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
/// What calendar servers share beside the standards.
pub(super) const SERVER: &str = "http://calendarserver.org/ns/";
/// Colours and order.
pub(super) const APPLE: &str = "http://apple.com/ns/ical/";
/// Deeper documents are refused.
const DEEPEST: usize = 64;
/// The longest name of a namespace, in bytes.
const LONGEST_SPACE: usize = 256;
/// An agent's documents with more elements are refused.
const MOST_NODES: usize = 20_000;
/// A server's answers may have an element for so many bytes, ...
const BYTES_A_NODE: usize = 16;
/// ... and no more than this, whatever their length: a list of 10000 entries needs 250000.
const MOST_ANSWERED: usize = 400_000;
/// Elements with more attributes are refused: each is compared with all before it.
const MOST_ATTRIBUTES: usize = 64;

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// Its namespace; empty for none.
    pub(super) space: Arc<str>,
    /// Its local name.
    pub(super) name: String,
    /// Its own text, without that of its children.
    pub(super) text: String,
    /// Attributes without a namespace.
    pub(super) attributes: Vec<(String, String)>,
    /// Elements in it.
    pub(super) children: Vec<Node>,
}

impl Node {
    pub(super) fn is(&self, space: &str, name: &str) -> bool {
        &*self.space == space && self.name == name
    }

    pub(super) fn child(&self, space: &str, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(space, name))
    }

    pub(super) fn all<'n>(&'n self, space: &'n str, name: &'n str) -> impl Iterator<Item = &'n Self> {
        self.children.iter().filter(move |child| child.is(space, name))
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Its text without the space around it.
    pub(super) fn trimmed(&self) -> &str {
        self.text.trim()
    }

    /// Every element below it with this name, however deep.
    pub(super) fn below<'n>(&'n self, space: &str, name: &str, found: &mut Vec<&'n Self>) {
        for child in &self.children {
            if child.is(space, name) {
                found.push(child);
            }
            child.below(space, name, found);
        }
    }
}

/// Reads an agent's whole document; the error says what is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, String> {
    parse_most(bytes, MOST_NODES)
}

/// The same for a server's answer, which may be much longer.
pub(super) fn parse_answer(bytes: &[u8]) -> Result<Node, String> {
    parse_most(bytes, (bytes.len() / BYTES_A_NODE).clamp(MOST_NODES, MOST_ANSWERED))
}

fn parse_most(bytes: &[u8], most: usize) -> Result<Node, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !declares_utf8(text) {
        return Err("it is not UTF-8".to_owned());
    }
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    let mut spaces = BTreeSet::new();
    let mut count = 0_usize;
    let wrong = |error: &dyn std::fmt::Display| format!("it is not well-formed: {error}");
    loop {
        let (space, event) = reader.read_resolved_event().map_err(|error| wrong(&error))?;
        let closed = match event {
            Event::Start(start) => {
                count += 1;
                open.push(element(space, &mut spaces, &start)?);
                None
            }
            Event::Empty(start) => {
                count += 1;
                Some(element(space, &mut spaces, &start)?)
            }
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                add(&mut open, &unescape(&text.into_inner()).map_err(|error| wrong(&error))?)?;
                None
            }
            Event::GeneralRef(reference) => {
                let raw = format!("&{};", &*reference);
                add(&mut open, &unescape(&raw).map_err(|error| wrong(&error))?)?;
                None
            }
            Event::CData(text) => {
                add(&mut open, &text.into_inner())?;
                None
            }
            Event::DocType(_) => return Err("it has a document type".to_owned()),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => None,
            Event::Eof => break,
        };
        if open.len() > DEEPEST || count > most {
            return Err("it has too many elements, or too deep ones".to_owned());
        }
        let Some(closed) = closed else { continue };
        match open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None if root.is_none() => root = Some(closed),
            None => return Err("it has two roots".to_owned()),
        }
    }
    if !open.is_empty() {
        return Err("it breaks off".to_owned());
    }
    root.ok_or_else(|| "it is empty".to_owned())
}

/// Whether a document's declaration, if it has one, says what it is: others would read it as something else.
pub(super) fn declares_utf8(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("<?xml").filter(|rest| rest.starts_with(|c: char| c.is_ascii_whitespace()))
    else {
        return true;
    };
    let declaration = rest.split("?>").next().unwrap_or(rest).to_ascii_lowercase();
    let Some((_, name)) = declaration.split_once("encoding") else { return true };
    let Some(name) = name.trim_start().strip_prefix('=').map(str::trim_start) else { return false };
    let quoted = |quote: char| name.strip_prefix(quote).and_then(|name| name.split_once(quote)).map(|(name, _)| name);
    matches!(quoted('"').or_else(|| quoted('\'')), Some("utf-8" | "us-ascii"))
}

/// `spaces`: those that were seen; elements share them.
fn element(space: ResolveResult<'_>, spaces: &mut BTreeSet<Arc<str>>, start: &BytesStart<'_>) -> Result<Node, String> {
    let space = match space {
        ResolveResult::Bound(space) if space.0.len() > LONGEST_SPACE => {
            return Err("the name of a namespace in it is too long".to_owned());
        }
        ResolveResult::Bound(space) => space.0,
        ResolveResult::Unbound => "",
        ResolveResult::Unknown(prefix) => return Err(format!("the prefix {prefix} is not declared")),
    };
    let space = match spaces.get(space) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<str> = space.into();
            spaces.insert(Arc::clone(&new));
            new
        }
    };
    let mut attributes = Vec::new();
    for (count, attribute) in start.attributes().enumerate() {
        if count >= MOST_ATTRIBUTES {
            return Err("an element in it has too many attributes".to_owned());
        }
        let attribute = attribute.map_err(|error| format!("an attribute is malformed: {error}"))?;
        if attribute.key.prefix().is_none() && attribute.key.as_namespace_binding().is_none() {
            let value = unescape(&attribute.value).map_err(|error| format!("an attribute is malformed: {error}"))?;
            attributes.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
        }
    }
    Ok(Node { space, name: start.local_name().as_ref().to_owned(), attributes, ..Node::default() })
}

fn add(open: &mut [Node], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(node) => node.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("it has text outside its root".to_owned()),
    }
    Ok(())
}

/// Text as it stands in a document.
pub(crate) fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn trees_have_namespaces_and_decoded_text() {
        let node = parse(
            b"<?xml version='1.0'?><a:x xmlns:a='DAV:' xmlns='urn:b'><!-- no --><y>1 &amp;&#32;<![CDATA[<2>]]></y><a:z/></a:x>",
        )
        .unwrap();
        assert!(node.is(DAV, "x"));
        assert_eq!(node.child("urn:b", "y").unwrap().text, "1 & <2>");
        assert!(node.child(DAV, "z").is_some());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            "",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "x<a/>",
            "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
            "<a>&unknown;</a>",
            "<p:a/>",
            "<a",
            "<?xml\tversion='1.0' encoding='utf-7'?><a/>",
            "<?xml version='1.0' encoding = \"utf-8x\"?><a/>",
            "<?xml version='1.0' encoding=?><a/>",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(format!("<x xmlns='{}'><a/></x>", "A".repeat(300)).as_bytes()).is_err());
        for good in ["<?xml version='1.0' encoding='UTF-8'?><a/>", "<?xml\nversion='1.0'?><a/>", "<?xmlish ?><a/>"] {
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(parse("<a>".repeat(100).as_bytes()).is_err());
        assert!(parse(b"<a>\xff</a>").is_err());
    }

    #[test]
    fn a_tree_has_no_more_elements_than_fit_into_memory() {
        let tree = |count: usize| format!("<x xmlns='DAV:'>{}</x>", "<a/>".repeat(count - 1));
        let node = parse(tree(MOST_NODES).as_bytes()).unwrap();
        assert!(node.children.iter().all(|child| Arc::ptr_eq(&child.space, &node.space)));
        assert!(parse(tree(MOST_NODES + 1).as_bytes()).is_err());
        // Answers in proportion to their length.
        assert!(parse_answer(tree(MOST_NODES + 1).as_bytes()).is_err());
        let long = |count: usize| format!("<x>{}</x>", "<a>twelve bytes</a>".repeat(count));
        assert!(parse_answer(long(MOST_NODES * 2).as_bytes()).is_ok());
        let attributes = |count: usize| (0..count).map(|n| format!(" a{n}=''")).collect::<String>();
        assert!(parse(format!("<x{}/>", attributes(MOST_ATTRIBUTES)).as_bytes()).is_ok());
        assert!(parse(format!("<x{}/>", attributes(MOST_ATTRIBUTES + 1)).as_bytes()).is_err());
    }
}
