//! iCalendar (RFC 5545) and vCard (RFC 6350) as far as a person must see them: content lines, read strictly.
//!
//! What another reader could take for more or other lines than this one (bare CR, control characters, lines without a name, components that do
//! not close) is refused: nobody who is invited may hide in it.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use told::{Extent, LONGEST_SHOWN, WITH, cut};

/// Longer texts are refused.
pub(super) const MOST_BYTES: usize = 10 * 1024 * 1024;
/// Texts with more lines and parameters are refused: each takes far more memory than it has bytes.
const MOST_PIECES: usize = 100_000;
/// Lines with more parameters are refused.
const MOST_PARAMETERS: usize = 200;
/// The longest name of a component, in bytes.
const LONGEST_COMPONENT: usize = 64;
/// The longest names of components in each other, in bytes: whoever compares two texts writes them at every line.
const LONGEST_PATH: usize = 256;
/// Texts with more kinds of components, by where they stand, are refused.
const MOST_PATHS: usize = 1_000;
/// Properties whose values are addresses that a server may write to.
const PEOPLE: [&str; 3] = ["ATTENDEE", "ORGANIZER", "CALENDAR-ADDRESS"];
/// Properties that change whenever a program saves.
const STAMPS: [&str; 8] =
    ["DTSTAMP", "LAST-MODIFIED", "CREATED", "SEQUENCE", "PRODID", "REV", "X-MOZ-GENERATION", "X-MOZ-LASTACK"];
/// Components that are entries of a calendar.
const ENTRIES: [&str; 4] = ["VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY"];

/// One unfolded line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// Open components, outermost first.
    path: Arc<str>,
    /// Upper-case, without a vCard group.
    name: String,
    params: Vec<(String, String)>,
    value: String,
    /// Which main component it stands in, counted over the text.
    entry: usize,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `text/calendar`
    Calendar,
    /// `text/vcard`
    Contact,
}

/// A text whose lines are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) format: Format,
    lines: Vec<Line>,
    /// How many calendars or contacts stand in it, one after the other.
    wholes: usize,
}

/// What a person is shown of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) title: String,
    pub(super) start: Option<String>,
    pub(super) organizer: Option<String>,
    pub(super) people: BTreeSet<String>,
}

/// Reads a text; the error says what is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Text, String> {
    if bytes.len() > MOST_BYTES {
        return Err(format!("it is longer than {MOST_BYTES} bytes"));
    }
    let logical = unfolded(bytes)?;
    let mut lines = Vec::with_capacity(logical.len());
    let mut open = Open::default();
    let mut pieces = logical.len();
    let mut format = None;
    let (mut entry, mut wholes) = (0, 0);
    for line in &logical {
        let (name, params, value) = split(line)?;
        pieces += params.len();
        if pieces > MOST_PIECES {
            return Err(MANY.to_owned());
        }
        match name.as_str() {
            "BEGIN" => {
                let component = value.trim().to_ascii_uppercase();
                if !is_plain(&component) || component.len() > LONGEST_COMPONENT {
                    return Err("a component has no plain name".to_owned());
                }
                if open.paths.is_empty() {
                    format = Some(outermost(&component, format)?);
                    wholes += 1;
                }
                if ENTRIES.contains(&component.as_str()) || component == "VCARD" {
                    entry += 1;
                }
                open.begin(&component)?;
            }
            "END" => {
                let ended = open.paths.pop();
                let ended = ended.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path));
                if ended != Some(value.trim().to_ascii_uppercase().as_str()) {
                    return Err("its components do not end where they should".to_owned());
                }
            }
            _ => {
                let path = open.paths.last().ok_or("a line stands outside of every component")?;
                lines.push(Line { path: Arc::clone(path), name, params, value, entry });
            }
        }
    }
    if !open.paths.is_empty() {
        return Err("it breaks off".to_owned());
    }
    let format = format.ok_or_else(|| "it is empty".to_owned())?;
    Ok(Text { format, lines, wholes })
}

/// What a text is, by a component that stands in no other.
fn outermost(component: &str, before: Option<Format>) -> Result<Format, String> {
    let this = match component {
        "VCALENDAR" => Format::Calendar,
        "VCARD" => Format::Contact,
        _ => return Err("it is neither a calendar nor a contact".to_owned()),
    };
    match before {
        Some(before) if before != this => Err("it is a calendar and a contact at once".to_owned()),
        _ => Ok(this),
    }
}

/// Its lines, each in one piece.
fn unfolded(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let unix = text.replace("\r\n", "\n");
    let odd = |c: char| (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
    if unix.contains(odd) {
        return Err("it has control characters, or lines that end in more than one way".to_owned());
    }
    let mut logical: Vec<String> = Vec::new();
    let mut gap = false;
    for line in unix.split('\n') {
        // Other readers end a line at an empty one, and take what follows for a line of its own.
        let blank = line.chars().all(|c| c == ' ' || c == '\t');
        if (blank && !line.is_empty()) || (gap && line.starts_with([' ', '\t'])) {
            return Err("a folded line stands beside an empty one".to_owned());
        }
        gap = blank;
        if logical.len() > MOST_PIECES {
            return Err(MANY.to_owned());
        }
        match (line.strip_prefix([' ', '\t']), logical.last_mut()) {
            (Some(rest), Some(last)) => last.push_str(rest),
            (Some(_), None) => return Err("it begins with a folded line".to_owned()),
            (None, _) if line.is_empty() => {}
            (None, _) => logical.push(line.to_owned()),
        }
    }
    Ok(logical)
}

const MANY: &str = "it has too many lines";

/// The components that are open.
#[derive(Debug, Default)]
struct Open {
    /// Each with those around it, outermost first.
    paths: Vec<Arc<str>>,
    /// Every path so far: its lines share it.
    known: BTreeSet<Arc<str>>,
}

impl Open {
    fn begin(&mut self, component: &str) -> Result<(), String> {
        let path: Arc<str> = match self.paths.last() {
            Some(around) => format!("{around}/{component}").into(),
            None => component.into(),
        };
        if self.paths.len() >= 16 || path.len() > LONGEST_PATH {
            return Err("its components lie too deep in each other".to_owned());
        }
        let path = match self.known.get(&path) {
            Some(known) => Arc::clone(known),
            None if self.known.len() >= MOST_PATHS => return Err("it has too many kinds of components".to_owned()),
            None => {
                self.known.insert(Arc::clone(&path));
                path
            }
        };
        self.paths.push(path);
        Ok(())
    }
}

/// What names consist of.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Name, parameters and value.
type Split = (String, Vec<(String, String)>, String);

/// `group.NAME;PARAM="a:b";P2=c:value`
fn split(line: &str) -> Result<Split, String> {
    let mut quoted = false;
    let mut cuts = Vec::new();
    let mut colon = None;
    let mut before = ' ';
    let mut letters = line.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        let last = std::mem::replace(&mut before, c);
        match c {
            // RFC 5545 section 3.1: around a whole value, and nowhere else. Readers differ in where one that stands elsewhere ends.
            '"' if quoted && !letters.peek().is_some_and(|(_, next)| matches!(next, ',' | ';' | ':')) => {
                return Err("a quotation mark ends in the middle of a parameter".to_owned());
            }
            '"' if !quoted && !matches!(last, '=' | ',') => {
                return Err("a quotation mark begins in the middle of a parameter".to_owned());
            }
            '"' => quoted = !quoted,
            ';' if !quoted && cuts.len() >= MOST_PARAMETERS => return Err("a line has too many parameters".to_owned()),
            ';' if !quoted => cuts.push(at),
            ':' if !quoted => {
                colon = Some(at);
                break;
            }
            _ => {}
        }
    }
    let nothing = || "a line has no name and value".to_owned();
    let (head, value) = colon.and_then(|colon| line.split_at_checked(colon)).ok_or_else(nothing)?;
    let value = value.get(1..).ok_or_else(nothing)?;
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([head.len()]) {
        pieces.push(head.get(from..cut).ok_or_else(nothing)?);
        from = cut + 1;
    }
    let mut pieces = pieces.into_iter();
    let name = pieces.next().ok_or_else(nothing)?;
    let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
    if !is_plain(name) {
        return Err(nothing());
    }
    let mut params = Vec::new();
    for piece in pieces {
        let (key, value) = piece.split_once('=').unwrap_or(("TYPE", piece));
        if !is_plain(key) {
            return Err("a parameter has no name".to_owned());
        }
        params.push((key.to_ascii_uppercase(), value.trim_matches('"').to_owned()));
    }
    Ok((name.to_ascii_uppercase(), params, value.to_owned()))
}

/// RFC 5545 section 3.3.11.
fn plain(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    text
}

/// `mailto:Someone@Example.com` as a bare address with a lower-case domain; other addresses as they are.
fn address(value: &str) -> String {
    let value = value.trim();
    let bare = match value.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => value.get(7..).unwrap_or_default(),
        _ => value,
    };
    match bare.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => bare.to_owned(),
    }
}

impl Line {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A time as people write it: `2026-03-01 14:00 (Europe/Berlin)`.
    fn time(&self) -> String {
        let value = self.value.trim();
        let digits = |from: usize, to: usize| {
            value.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or("??")
        };
        if value.len() < 8 {
            return value.to_owned();
        }
        let date = format!("{}-{}-{}", digits(0, 4), digits(4, 6), digits(6, 8));
        if value.len() < 15 {
            return date;
        }
        let zone = match self.param("TZID") {
            Some(zone) => format!(" ({zone})"),
            None if value.ends_with('Z') => " UTC".to_owned(),
            None => String::new(),
        };
        format!("{date} {}:{}{zone}", digits(9, 11), digits(11, 13))
    }

    /// RFC 3339 if that can be said without knowing time zones, otherwise the date alone.
    fn sortable(&self) -> Option<String> {
        let value = self.value.trim();
        let part =
            |from: usize, to: usize| value.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
        match (part(9, 11), part(11, 13), part(13, 15)) {
            (Some(hour), Some(minute), Some(second)) if value.ends_with('Z') => {
                Some(format!("{date}T{hour}:{minute}:{second}Z"))
            }
            _ => Some(date),
        }
    }
}

impl Text {
    /// How many entries or contacts it holds.
    pub(super) fn entries(&self) -> usize {
        self.lines.iter().map(|line| line.entry).collect::<BTreeSet<_>>().into_iter().filter(|entry| *entry > 0).count()
    }

    /// UIDs in it: entries of one series share theirs.
    pub(super) fn uids(&self) -> BTreeSet<&str> {
        self.lines.iter().filter(|line| line.entry > 0 && line.name == "UID").map(|line| line.value.as_str()).collect()
    }

    /// `METHOD` of a message between calendars (RFC 5546).
    pub(super) fn method(&self) -> Option<String> {
        let method = self.lines.iter().find(|line| &*line.path == "VCALENDAR" && line.name == "METHOD")?;
        Some(method.value.trim().to_ascii_uppercase())
    }

    /// Whether its entries are tasks.
    pub(super) fn are_tasks(&self) -> bool {
        self.lines.iter().any(|line| line.path.ends_with("VTODO"))
    }

    pub(super) fn summary(&self) -> Summary {
        let own = self.main();
        let first = |name: &str| own.iter().find(|line| line.name == name).copied();
        let text = |name: &str| first(name).map(|line| plain(&line.value)).filter(|text| !text.trim().is_empty());
        let people = self.people();
        match self.format {
            Format::Calendar => Summary {
                title: text("SUMMARY").unwrap_or_default(),
                start: first("DTSTART").or_else(|| first("DUE")).and_then(Line::sortable),
                organizer: first("ORGANIZER").map(|line| address(&line.value)),
                people,
            },
            Format::Contact => {
                let title = text("FN").or_else(|| text("N")).or_else(|| text("ORG")).unwrap_or_default();
                Summary { title, people, ..Summary::default() }
            }
        }
    }

    /// Everyone whom a server may write to about it, if there is anybody beside the organiser.
    fn people(&self) -> BTreeSet<String> {
        let named = |name: &'static str| self.lines.iter().filter(move |line| line.name == name);
        if self.format == Format::Contact
            || PEOPLE.iter().filter(|name| **name != "ORGANIZER").all(|name| named(name).next().is_none())
        {
            return BTreeSet::new();
        }
        PEOPLE
            .iter()
            .flat_map(|name| named(name))
            .map(|line| address(&line.value))
            .filter(|one| !one.is_empty())
            .collect()
    }

    /// Its lines without those that change with every save, for telling whether two texts say the same.
    pub(super) fn canonical(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .lines
            .iter()
            .filter(|line| !STAMPS.contains(&line.name.as_str()))
            .map(|line| {
                let params: Vec<String> = line.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{}/{} {};{}:{}", line.entry, line.path, line.name, params.join(";"), line.value)
            })
            .collect();
        lines.sort();
        lines
    }

    /// Names of the properties in which two texts differ.
    pub(super) fn differs(&self, other: &Self) -> BTreeSet<String> {
        let group = |text: &Self| {
            let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in text.lines.iter().filter(|line| !STAMPS.contains(&line.name.as_str())) {
                let inner = line.path.rsplit('/').next().unwrap_or_default();
                let inner = if ENTRIES.contains(&inner) || matches!(inner, "VCARD" | "VCALENDAR") {
                    line.name.clone()
                } else {
                    inner.to_owned()
                };
                let said = format!("{}/{} {} {:?} {}", line.entry, line.path, line.name, line.params, line.value);
                groups.entry(inner).or_default().push(said);
            }
            groups.values_mut().for_each(|lines| lines.sort());
            groups
        };
        let (one, two) = (group(self), group(other));
        one.keys().chain(two.keys()).filter(|name| one.get(*name) != two.get(*name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn wrap(inner: &str) -> String {
        format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{inner}END:VEVENT\nEND:VCALENDAR\n")
    }

    fn nested(names: &[String]) -> String {
        let begin: String = names.iter().map(|name| format!("BEGIN:{name}\n")).collect();
        let end: String = names.iter().rev().map(|name| format!("END:{name}\n")).collect();
        wrap(&format!("{begin}X:1\n{end}"))
    }

    #[test]
    fn components_have_short_plain_names() {
        let name = |length: usize| "X".repeat(length);
        assert!(parse(nested(&[name(64), name(64)]).as_bytes()).is_ok());
        for bad in [name(65), "A/B".to_owned(), "A B".to_owned(), "\u{e4}".to_owned(), String::new()] {
            let why = parse(nested(std::slice::from_ref(&bad)).as_bytes()).unwrap_err();
            assert_eq!(why, "a component has no plain name", "{bad}");
        }
        for deep in [vec![name(64); 4], vec![name(1); 15]] {
            let why = parse(nested(&deep).as_bytes()).unwrap_err();
            assert_eq!(why, "its components lie too deep in each other");
        }
        assert!(parse(nested(&vec![name(1); 14]).as_bytes()).is_ok());
        let kinds: String = (0..MOST_PATHS).map(|n| format!("BEGIN:X{n}\nEND:X{n}\n")).collect();
        assert_eq!(parse(wrap(&kinds).as_bytes()).unwrap_err(), "it has too many kinds of components");
    }

    #[test]
    fn lines_share_the_names_of_their_components() {
        let alarm = "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:1\nEND:VALARM\n";
        let text = parse(wrap(&format!("A:1\n{alarm}B:1\n{alarm}")).as_bytes()).unwrap();
        let distinct: BTreeSet<*const u8> = text.lines.iter().map(|line| line.path.as_ptr()).collect();
        assert_eq!((text.lines.len(), distinct.len()), (6, 2));
    }

    #[test]
    fn a_text_has_no_more_pieces_than_fit_into_memory() {
        assert!(parse(wrap(&"X:1\n".repeat(MOST_PIECES - 4)).as_bytes()).is_ok());
        assert_eq!(parse(wrap(&"X:1\n".repeat(MOST_PIECES)).as_bytes()).unwrap_err(), MANY);
        assert_eq!(parse(wrap(&"X\n".repeat(MOST_PIECES)).as_bytes()).unwrap_err(), MANY);
        let many = format!("X{}:1\n", ";".repeat(MOST_PARAMETERS));
        assert!(parse(wrap(&many).as_bytes()).is_ok());
        assert_eq!(parse(wrap(&many.repeat(MOST_PIECES / MOST_PARAMETERS)).as_bytes()).unwrap_err(), MANY);
        let why = parse(wrap(&format!("X{}:1\n", ";".repeat(MOST_PARAMETERS + 1))).as_bytes()).unwrap_err();
        assert_eq!(why, "a line has too many parameters");
    }
}
