//! What a calendar's or contact's text says, all of it, in words and order for people.

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe;

use super::{ENTRIES, Format, Line, STAMPS, Text, address, plain};

/// Letters of a value that are shown; the rest is counted.
pub(in super::super) const LONGEST_SHOWN: usize = 50_000;
/// Letters of a label.
const LONGEST_LABEL: usize = 200;
/// The label of all who are told.
pub(in super::super) const WITH: &str = "With";
/// Values of what says nothing to people are shown when they are longer.
const LONGEST_SILENT: usize = 64;
/// The same for identifiers.
const LONGEST_IDENTIFIER: usize = 255;
/// Names that only programs read.
const IDENTIFIERS: [&str; 4] = ["UID", "PRODID", "RELATED-TO", "X-LIC-LOCATION"];
/// Properties that say nothing to people, as long as their values are single words.
const SILENT: [&str; 22] = [
    "DTSTAMP",
    "CREATED",
    "LAST-MODIFIED",
    "SEQUENCE",
    "REV",
    "VERSION",
    "CALSCALE",
    "TRANSP",
    "CLASS",
    "PRIORITY",
    "PERCENT-COMPLETE",
    "COMPLETED",
    "RECURRENCE-ID",
    "X-MOZ-GENERATION",
    "X-MOZ-LASTACK",
    "X-MICROSOFT-CDO-BUSYSTATUS",
    "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR",
    "TRIGGER",
    "REPEAT",
    "ACKNOWLEDGED",
    "X-WR-ALARMUID",
    "KIND",
];
/// The same inside of a time zone.
const SILENT_ZONE: [&str; 7] = ["TZID", "TZOFFSETFROM", "TZOFFSETTO", "TZNAME", "DTSTART", "RRULE", "RDATE"];
/// Parameters that say nothing to people, or are shown otherwise.
const SILENT_PARAMS: [&str; 21] = [
    "LANGUAGE",
    "TZID",
    "VALUE",
    "RSVP",
    "ROLE",
    "CUTYPE",
    "FMTTYPE",
    "ENCODING",
    "SCHEDULE-AGENT",
    "SCHEDULE-STATUS",
    "SCHEDULE-FORCE-SEND",
    "RELTYPE",
    "RANGE",
    "RELATED",
    "FBTYPE",
    "CHARSET",
    "X-NUM-GUESTS",
    "TYPE",
    "PREF",
    "SIZE",
    "DERIVED",
];
/// Properties that may be files (RFC 5545, 6350, 7986).
const FILES: [&str; 6] = ["ATTACH", "IMAGE", "PHOTO", "LOGO", "SOUND", "KEY"];
/// Properties that RFC 5545 lets an entry have once: readers differ in which of two they show.
const ONCE: [&str; 20] = [
    "DTSTAMP",
    "UID",
    "DTSTART",
    "DTEND",
    "DUE",
    "DURATION",
    "CLASS",
    "CREATED",
    "LAST-MODIFIED",
    "DESCRIPTION",
    "GEO",
    "LOCATION",
    "ORGANIZER",
    "PRIORITY",
    "SEQUENCE",
    "STATUS",
    "SUMMARY",
    "TRANSP",
    "URL",
    "RECURRENCE-ID",
];

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Extent {
    /// What says something to people.
    Said,
    /// Everything but what changes with every save: for comparing.
    All,
}

impl Extent {
    fn tells(self, line: &Line) -> bool {
        match self {
            Self::Said => !line.is_silent(),
            Self::All => !STAMPS.contains(&line.name.as_str()),
        }
    }
}

/// Labels and values: one for each label, in the order in which they came first.
#[derive(Default)]
struct Told {
    order: Vec<String>,
    values: BTreeMap<String, Vec<String>>,
}

impl Told {
    fn add(&mut self, label: String, value: String) {
        if value.trim().is_empty() {
            return;
        }
        let values = self.values.entry(label.clone()).or_default();
        if values.is_empty() {
            self.order.push(label);
        }
        values.push(value);
    }

    fn list(mut self) -> Vec<(String, String)> {
        let joined = |values: Vec<String>| {
            let apart = if values.iter().any(|value| value.contains(['\n', ' '])) { "\n" } else { ", " };
            values.join(apart)
        };
        self.order
            .into_iter()
            .filter_map(|label| {
                let values = self.values.remove(&label)?;
                Some((label, joined(values)))
            })
            .collect()
    }
}

/// As much of a value as is shown, with how much is left out.
pub(in super::super) fn cut(value: &str) -> String {
    match value.char_indices().nth(LONGEST_SHOWN) {
        None => value.to_owned(),
        Some((at, _)) => {
            let (shown, rest) = value.split_at_checked(at).unwrap_or((value, ""));
            format!("{shown}\u{2026} ({} more letters are not shown)", rest.chars().count())
        }
    }
}

/// An entry among others of its text.
struct Entry<'t> {
    number: usize,
    /// Its own lines, without those of components in it.
    own: Vec<&'t Line>,
    /// The date of a series that it changes.
    instead_of: Option<&'t Line>,
}

impl Entry<'_> {
    fn uid(&self) -> &str {
        self.own.iter().find(|line| line.name == "UID").map_or("", |line| line.value.trim())
    }

    /// What tells its labels from those of the first one.
    fn suffix(&self) -> String {
        match self.instead_of {
            Some(date) if date.param("RANGE").is_some() => format!(" from {} on", date.time()),
            Some(date) => format!(" on {}", date.time()),
            None => format!(" of entry {}", self.number),
        }
    }
}

impl Line {
    fn is_own(&self, format: Format) -> bool {
        match (format, self.path.split_once('/')) {
            (Format::Contact, None) => true,
            (Format::Calendar, Some((_, inner))) => ENTRIES.contains(&inner),
            (Format::Contact, Some(_)) | (Format::Calendar, None) => false,
        }
    }

    /// Its value for people, with parameters that say something.
    fn said(&self) -> String {
        let value = match self.name.as_str() {
            "DTSTART" | "DTEND" | "DUE" | "RECURRENCE-ID" => self.time(),
            "ATTENDEE" | "ORGANIZER" | "CALENDAR-ADDRESS" => address(&self.value),
            _ if self.is_file() => {
                format!("a file of {} bytes", self.value.len() / 4 * 3)
            }
            _ => plain(&self.value),
        };
        let params = self.spoken();
        if params.is_empty() { value } else { format!("{value} ({})", params.join(", ")) }
    }

    /// Whether readers see a file in it and no text. Any property may name an encoding that is none (RFC 5545 section 3.2.7: 8BIT), and what names one
    /// may be an address still (section 3.8.1.1).
    fn is_file(&self) -> bool {
        let coded = |coding: &str| coding.eq_ignore_ascii_case("BASE64") || coding.eq_ignore_ascii_case("B");
        let is_code = || {
            let code = |byte: u8| byte.is_ascii_alphanumeric() || b"+/= ".contains(&byte);
            self.value.bytes().all(code)
        };
        FILES.contains(&self.name.as_str())
            && ((self.param("ENCODING").is_some_and(coded) && is_code()) || self.value.starts_with("data:"))
    }

    fn spoken(&self) -> Vec<String> {
        let silent = |key: &str, value: &str| SILENT_PARAMS.contains(&key) && value.chars().count() <= LONGEST_SILENT;
        let told = self.params.iter().filter(|(key, value)| !silent(key, value) && !value.is_empty());
        // An answer to an invitation is all that many changes are about; that there is none yet says nothing.
        let unanswered = |key: &str, value: &str| key == "PARTSTAT" && value.eq_ignore_ascii_case("NEEDS-ACTION");
        told.filter(|(key, value)| !unanswered(key, value)).map(|(key, value)| format!("{key}: {value}")).collect()
    }

    fn is_silent(&self) -> bool {
        let odd = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '@');
        let word = |most: usize| self.value.len() <= most && !self.value.trim().contains(odd);
        if IDENTIFIERS.contains(&self.name.as_str()) {
            return self.value.len() <= LONGEST_IDENTIFIER;
        }
        let in_zone = self.path.contains("/VTIMEZONE");
        let known = SILENT.contains(&self.name.as_str()) || (in_zone && SILENT_ZONE.contains(&self.name.as_str()));
        // Names of zones have spaces.
        known && (word(LONGEST_SILENT) || (in_zone && self.value.len() <= LONGEST_SILENT))
    }

    /// What a person reads for it.
    fn label(&self, format: Format) -> String {
        let known = match (format, self.name.as_str()) {
            (_, "METHOD") => "Message",
            (_, "RRULE") => "Repeats",
            (_, "EXDATE") => "Except",
            (_, "RDATE") => "Also on",
            (_, "LOCATION") => "Where",
            (_, "STATUS") => "State",
            (_, "SUMMARY") => "Title",
            (_, "DESCRIPTION") => "Text",
            (_, "COMMENT") => "Comment",
            (_, "CATEGORIES") => "Categories",
            (_, "URL") => "Link",
            (_, "ATTACH") => "Attached",
            (_, "DTSTART") => "Begins",
            (_, "DTEND") => "Ends",
            (_, "DUE") => "Due",
            (_, "ATTENDEE") => "Guest",
            (Format::Calendar, "CONTACT") => "Contact",
            (Format::Contact, "FN") => "Name",
            (Format::Contact, "N") => "Parts of the name",
            (Format::Contact, "EMAIL") => "Mail",
            (Format::Contact, "TEL") => "Phone",
            (Format::Contact, "ORG") => "Organisation",
            (Format::Contact, "ADR") => "Address",
            (Format::Contact, "NOTE") => "Note",
            (Format::Contact, "MEMBER") => "Members",
            (_, name) => name,
        };
        let around = match self.path.rsplit('/').next().unwrap_or_default() {
            _ if self.is_own(format) => return known.to_owned(),
            "VCALENDAR" if self.name == "METHOD" => return known.to_owned(),
            "VCALENDAR" => "Calendar",
            "VALARM" => "Alarm",
            _ if self.path.contains("/VTIMEZONE") => "Time zone",
            other => other,
        };
        format!("{around}, {known}")
    }
}

impl Text {
    /// Its entries, the one that is no exception of a series first.
    fn in_order(&self) -> Vec<Entry<'_>> {
        let mut entries: BTreeMap<usize, Vec<&Line>> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.entry > 0 && line.is_own(self.format)) {
            entries.entry(line.entry).or_default().push(line);
        }
        let mut entries: Vec<Entry<'_>> = entries
            .into_iter()
            .map(|(number, own)| {
                let instead_of = own.iter().find(|line| line.name == "RECURRENCE-ID").copied();
                Entry { number, own, instead_of }
            })
            .collect();
        entries.sort_by_key(|entry| (entry.instead_of.is_some(), entry.number));
        entries
    }

    /// The lines of what it is about: the entry that is no exception of a series.
    pub(super) fn main(&self) -> Vec<&Line> {
        self.in_order().into_iter().next().map(|entry| entry.own).unwrap_or_default()
    }

    /// All that it says, by label.
    pub(in super::super) fn told(&self, extent: Extent) -> Vec<(String, String)> {
        let mut told = Told::default();
        if let Some(method) = self.method() {
            told.add("Message".to_owned(), method);
        }
        let entries = self.in_order();
        let main = entries.first().map(|entry| self.first(entry, &entries, extent)).unwrap_or_default();
        for (label, value) in &main {
            told.add(label.clone(), value.clone());
        }
        let main: BTreeSet<(String, String)> = main.into_iter().collect();
        for entry in entries.iter().skip(1) {
            let mut own = Told::default();
            self.entry(entry, &mut own, extent);
            // What it has in common with the series was told there.
            let news = own.list().into_iter().filter(|one| extent == Extent::All || !main.contains(one));
            news.for_each(|(label, value)| told.add(format!("{label}{}", entry.suffix()), value));
        }
        let is_action = |line: &&Line| line.path.ends_with("/VALARM") && line.name == "ACTION";
        let alarms: Vec<String> =
            self.lines.iter().filter(is_action).map(|line| line.value.to_ascii_lowercase()).collect();
        told.add("Alarms".to_owned(), alarms.join(", "));
        let is_method = |line: &&Line| &*line.path == "VCALENDAR" && line.name == "METHOD";
        let inner = self.lines.iter().filter(|line| !line.is_own(self.format) && extent.tells(line));
        for line in inner.filter(|line| !is_action(line) && !is_method(line)) {
            told.add(line.label(self.format), line.said());
        }
        let mut known = BTreeSet::new();
        let bounded = |(label, value): (String, String)| {
            let short = recipe::cut(label, LONGEST_LABEL);
            // Two that begin alike stay two.
            let more = (2..).map(|number: u32| format!("{short} ({number})"));
            let label = std::iter::once(short.clone()).chain(more).find(|label| known.insert(label.clone()));
            (label.unwrap_or(short), cut(&value))
        };
        told.list().into_iter().map(bounded).collect()
    }

    /// What the entry says that the text is about, with what is said of all of them.
    fn first(&self, entry: &Entry<'_>, entries: &[Entry<'_>], extent: Extent) -> Vec<(String, String)> {
        let mut own = Told::default();
        self.entry(entry, &mut own, extent);
        if let Some(date) = entry.instead_of {
            own.add("Instead of".to_owned(), date.time());
        }
        let exceptions = entries.iter().filter(|entry| entry.instead_of.is_some()).count();
        if exceptions > 0 {
            own.add("Changed single dates".to_owned(), exceptions.to_string());
        }
        own.add(WITH.to_owned(), self.people().into_iter().collect::<Vec<_>>().join(", "));
        own.list()
    }

    /// What one entry says itself.
    fn entry(&self, entry: &Entry<'_>, told: &mut Told, extent: Extent) {
        let every = |name: &'static str| entry.own.iter().filter(move |line| line.name == name);
        let add = |told: &mut Told, name: &'static str| {
            every(name).for_each(|line| told.add(line.label(self.format), line.said()));
        };
        let mut known = vec!["SUMMARY", "DTSTART", "DTEND", "DURATION"];
        add(told, "SUMMARY");
        let ends: Vec<&&Line> = every("DTEND").chain(every("DURATION")).collect();
        let ends: Vec<String> = ends.into_iter().map(|line| line.said()).collect();
        let begins: Vec<String> = every("DTSTART").map(|line| line.said()).collect();
        let when = match (begins.is_empty(), ends.is_empty()) {
            (false, false) => format!("{} to {}", begins.join(" or "), ends.join(" or ")),
            (false, true) => begins.join(" or "),
            (true, false) => format!("until {}", ends.join(" or ")),
            (true, true) => String::new(),
        };
        told.add("When".to_owned(), when);
        let first: &[&'static str] = match self.format {
            Format::Calendar => &["DUE", "RRULE", "EXDATE", "RDATE", "LOCATION", "STATUS", "ORGANIZER"],
            Format::Contact => &["FN", "EMAIL", "TEL", "ORG", "ADR", "NOTE", "MEMBER"],
        };
        for name in first {
            match *name {
                "ORGANIZER" => every(name).for_each(|line| told.add("Organiser".to_owned(), line.said())),
                name => add(told, name),
            }
        }
        known.extend(first);
        // Their addresses are told together; what else they are called is not theirs to say.
        for line in every("ATTENDEE").filter(|line| !line.spoken().is_empty()) {
            told.add("Guests are called".to_owned(), line.said());
        }
        known.push("ATTENDEE");
        let others = entry.own.iter().filter(|line| !known.contains(&line.name.as_str()));
        for line in others {
            if extent.tells(line) {
                told.add(line.label(self.format), line.said());
            }
        }
    }

    /// Why it is no single invitation that everybody reads in the same way; `None`: it is one.
    pub(in super::super) fn ambiguity(&self) -> Option<String> {
        if self.wholes > 1 {
            return Some("it has more than one VCALENDAR".to_owned());
        }
        let entries = self.in_order();
        let uids: BTreeSet<&str> = entries.iter().map(Entry::uid).collect();
        if uids.len() > 1 {
            return Some("it is about more than one UID".to_owned());
        }
        let mut dates = BTreeSet::new();
        for entry in &entries {
            let date = entry.instead_of.map(|line| (line.value.trim(), line.param("TZID")));
            if !dates.insert(date) {
                return Some(
                    match date {
                        None => "it has several entries of one UID, of which only one may have no RECURRENCE-ID",
                        Some(_) => "it has several entries of one RECURRENCE-ID",
                    }
                    .to_owned(),
                );
            }
            let mut names = BTreeSet::new();
            let doubled = entry.own.iter().map(|line| line.name.as_str()).find(|name| {
                ONCE.contains(name) && !(*name == "DESCRIPTION" && self.has_journals()) && !names.insert(*name)
            });
            if let Some(name) = doubled {
                return Some(format!("{name} stands twice in one entry"));
            }
        }
        let methods = self.lines.iter().filter(|line| &*line.path == "VCALENDAR" && line.name == "METHOD").count();
        (methods > 1).then(|| "METHOD stands twice in it".to_owned())
    }

    /// Journals may have several texts.
    fn has_journals(&self) -> bool {
        self.lines.iter().any(|line| line.path.ends_with("/VJOURNAL"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::super::parse;
    use super::*;

    fn lines(text: &str, extent: Extent) -> String {
        let told = parse(text.as_bytes()).unwrap().told(extent);
        told.into_iter().map(|(label, value)| format!("{label}: {}\n", value.replace('\n', " | "))).collect()
    }

    const INVITATION: &str = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//EN\nMETHOD:REQUEST\nX-WR-CALNAME:Free money\n\
        BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nCOMMENT:in the zone\nBEGIN:STANDARD\nTZNAME:Central European Time\nDTSTART:19700101T000000\n\
        TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n\
        BEGIN:VEVENT\nUID:u1\nDTSTAMP:20260101T000000Z\nSEQUENCE:1\nTRANSP:OPAQUE\nDTSTART;TZID=Europe/Berlin:20260302T090000\nDURATION:PT1H\n\
        RRULE:FREQ=WEEKLY\nRDATE:20260401T090000Z\nSUMMARY:Talk\nDESCRIPTION;ALTREP=\"https://evil.example/alt\":Harmless\n\
        X-ALT-DESC;FMTTYPE=text/html:<b>Pay here</b>\nCOMMENT:Look\nCOMMENT:And here\nCLASS:https://evil.example\n\
        ORGANIZER;CN=Me:mailto:me@example.com\nATTENDEE;CN=\"Call 555\";RSVP=TRUE:mailto:bob@example.org\n\
        BEGIN:VALARM\nACTION:EMAIL\nTRIGGER:-PT5M\nSUMMARY:Alarm!\nDESCRIPTION:Wire it\nATTENDEE:mailto:eve@evil.example\nEND:VALARM\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:u1\nDTSTAMP:20260101T000000Z\nRECURRENCE-ID;TZID=Europe/Berlin:20260309T090000\nDTSTART;TZID=Europe/Berlin:20260309T100000\n\
        DURATION:PT1H\nSUMMARY:Invoice\nDESCRIPTION:Pay\\nnow\nURL:https://evil.example/\nEND:VEVENT\nEND:VCALENDAR\n";

    #[test]
    fn everything_that_an_invitation_says_is_told() {
        insta::assert_snapshot!(lines(INVITATION, Extent::Said));
    }

    #[test]
    fn what_says_nothing_is_compared_all_the_same() {
        let all = lines(INVITATION, Extent::All);
        for told in ["TRANSP: OPAQUE\n", "Alarm, TRIGGER: -PT5M\n", "Time zone, TZOFFSETTO: +0100\n"] {
            assert!(all.contains(told), "{told}{all}");
        }
        assert!(!all.contains("DTSTAMP"), "{all}");
    }

    #[test]
    fn a_contact_is_told_whole() {
        let contact = "BEGIN:VCARD\nVERSION:3.0\nUID:1\nFN:Ann\nN:A;nn;;;\nitem1.EMAIL;TYPE=work:ann@example.org\nTEL:1\nTEL:2\nPHOTO;ENCODING=b:QUJDRA==\nX-NICK:Annie\nEND:VCARD\n";
        insta::assert_snapshot!(lines(contact, Extent::Said));
    }

    #[test]
    fn long_values_end_with_how_much_is_left_out() {
        let long = format!(
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:{}\nEND:VEVENT\nEND:VCALENDAR\n",
            "\u{e4}".repeat(LONGEST_SHOWN + 7)
        );
        let told = parse(long.as_bytes()).unwrap().told(Extent::Said);
        assert!(told[0].1.ends_with("\u{e4}\u{2026} (7 more letters are not shown)"), "{}", told[0].1.len());
        let uid = format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:{}\nEND:VEVENT\nEND:VCALENDAR\n", "x ".repeat(200));
        assert_eq!(parse(uid.as_bytes()).unwrap().told(Extent::Said)[0].0, "UID");
    }

    #[test]
    fn what_readers_take_for_different_things_is_ambiguous() {
        let wrap = |inner: &str| format!("BEGIN:VCALENDAR\n{inner}END:VCALENDAR\n");
        let entry = |lines: &str| format!("BEGIN:VEVENT\n{lines}END:VEVENT\n");
        let one = entry("UID:a\nSUMMARY:x\n");
        let why = |text: String| parse(text.as_bytes()).unwrap().ambiguity();
        assert_eq!(why(INVITATION.to_owned()), None);
        assert_eq!(why(wrap(&one)), None);
        assert_eq!(why(wrap("BEGIN:VJOURNAL\nUID:a\nDESCRIPTION:1\nDESCRIPTION:2\nEND:VJOURNAL\n")), None);
        for (text, part) in [
            (wrap(&format!("{one}{one}")), "only one"),
            (wrap(&format!("{one}{}", entry("UID:b\n"))), "more than one UID"),
            (wrap(&format!("{one}{}", entry("SUMMARY:x\n"))), "more than one UID"),
            (wrap(&format!("{one}{0}{0}", entry("UID:a\nRECURRENCE-ID:20260101\n"))), "one RECURRENCE-ID"),
            (wrap(&entry("UID:a\nDESCRIPTION:1\nDESCRIPTION:2\n")), "DESCRIPTION stands twice"),
            (wrap(&format!("METHOD:REQUEST\nMETHOD:CANCEL\n{one}")), "METHOD"),
            (format!("{0}{0}", wrap(&one)), "more than one VCALENDAR"),
        ] {
            let why = why(text.clone()).unwrap_or_default();
            assert!(why.contains(part), "{why}: {text}");
        }
        // One that stands alone says which date it is about.
        let alone = wrap(&entry("UID:a\nRECURRENCE-ID:20260101\nBEGIN:X-A\nACTION:see\nEND:X-A\n"));
        assert_eq!(lines(&alone, Extent::Said), "Instead of: 2026-01-01\nChanged single dates: 1\nX-A, ACTION: see\n");
        // An exception within something else is none.
        let nested = wrap(&format!("{}{}", entry("UID:a\nBEGIN:X\nRECURRENCE-ID:20260101\nEND:X\n"), one));
        assert!(why(nested).unwrap().contains("only one"));
    }
}
