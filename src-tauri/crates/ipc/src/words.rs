//! Counts and acts in words, for everybody who speaks to the person.

use crate::contract::UndoResult;
use crate::view::HoldView;

/// `1 message`, `12 messages`, `10,000 messages`.
#[must_use]
pub fn counted(count: u32, noun: &[String; 2]) -> String {
    let [one, several] = noun;
    format!("{} {}", grouped(count), if count == 1 { one } else { several })
}

/// `10,000`.
#[must_use]
pub fn grouped(count: u32) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A verb with its objects: `Trash 12 messages`, `Delete 214 messages for ever`, `Change the labels of 1 message`. A verb that says
/// it all (`noun` is `change`) stands alone: `Change the language`, `Change the language and 2 more`.
#[must_use]
pub fn act(verb: &str, count: u32, noun: &[String; 2]) -> String {
    let verb = verb.trim_end_matches(',');
    if noun.first().is_some_and(|one| one == "change") {
        return match count {
            0 | 1 => verb.to_owned(),
            more => format!("{verb} and {} more", grouped(more - 1)),
        };
    }
    let objects = counted(count, noun);
    if [" of", " off", " for"].iter().any(|end| verb.ends_with(end)) {
        return format!("{verb} {objects}");
    }
    match verb.split_once(' ') {
        None => format!("{verb} {objects}"),
        Some((first, rest)) => format!("{first} {objects} {rest}"),
    }
}

/// The same once it is done: `Trashed 12 messages`, `Marked 1 message as read`.
#[must_use]
pub fn acted(verb: &str, count: u32, noun: &[String; 2]) -> String {
    let (first, rest) = verb.split_once(' ').map_or((verb, String::new()), |(first, rest)| (first, format!(" {rest}")));
    act(&format!("{}{rest}", past(first)), count, noun)
}

fn past(verb: &str) -> String {
    let irregular = [
        ("Give", "Gave"),
        ("Let", "Let"),
        ("Make", "Made"),
        ("Put", "Put"),
        ("Read", "Read"),
        ("Send", "Sent"),
        ("Set", "Set"),
        ("Star", "Starred"),
        ("Stop", "Stopped"),
        ("Take", "Took"),
        ("Write", "Wrote"),
    ];
    match irregular.iter().find(|(now, _)| *now == verb) {
        Some((_, past)) => (*past).to_owned(),
        None if verb.ends_with('e') => format!("{verb}d"),
        None => format!("{verb}ed"),
    }
}

/// The role of who gets only what comes back of a mail: not to be left out by itself.
const BOUNCES: &str = "bounces";

/// What can be ticked at a hold: its objects' ids, or the addresses of those whom a mail reaches.
#[must_use]
pub fn choices(hold: &HoldView) -> Vec<&str> {
    match (&hold.audience, hold.objects.is_empty() && hold.partial) {
        (Some(audience), true) => {
            let get = audience.members.iter().filter(|member| member.role != BOUNCES);
            get.map(|member| member.address.as_str()).collect()
        }
        _ => hold.objects.iter().map(|object| object.id.as_str()).collect(),
    }
}

/// The deny button for so many: `Keep them`, `Keep it`.
#[must_use]
pub fn keep(text: &str, count: u32) -> String {
    match text.strip_suffix(" them") {
        Some(start) if count == 1 => format!("{start} it"),
        Some(_) | None => text.to_owned(),
    }
}

/// What undo did: `12 objects were put back.`, `1 object was put back, 2 were not: it was deleted since.`
#[must_use]
pub fn put_back(result: &UndoResult) -> String {
    let was = |count: u32| if count == 1 { "was" } else { "were" };
    let objects = counted(result.restored, &["object".to_owned(), "objects".to_owned()]);
    let put = format!("{objects} {} put back", was(result.restored));
    let Some(first) = result.not_restored.first() else { return format!("{put}.") };
    let left = u32::try_from(result.not_restored.len()).unwrap_or(u32::MAX);
    format!("{put}, {} {} not: {}", grouped(left), was(left), first.why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::contract::NotRestored;

    fn noun(one: &str) -> [String; 2] {
        [one.to_owned(), format!("{one}s")]
    }

    #[test]
    fn acts_read_like_this() {
        for (verb, count, one, will, done) in [
            ("Trash", 12, "message", "Trash 12 messages", "Trashed 12 messages"),
            ("Trash", 1, "message", "Trash 1 message", "Trashed 1 message"),
            ("Delete for ever", 1214, "message", "Delete 1,214 messages for ever", "Deleted 1,214 messages for ever"),
            ("Mark as read", 1, "message", "Mark 1 message as read", "Marked 1 message as read"),
            ("Take out of Trash", 2, "thread", "Take 2 threads out of Trash", "Took 2 threads out of Trash"),
            ("Take the star off", 1, "message", "Take the star off 1 message", "Took the star off 1 message"),
            (
                "Change the labels of",
                3,
                "message",
                "Change the labels of 3 messages",
                "Changed the labels of 3 messages",
            ),
            ("Archive", 20, "message", "Archive 20 messages", "Archived 20 messages"),
            ("Star", 1, "message", "Star 1 message", "Starred 1 message"),
            ("Create a label", 1, "change", "Create a label", "Created a label"),
            ("Change the language", 3, "change", "Change the language and 2 more", "Changed the language and 2 more"),
            (
                "Destroy for ever, with all that was encrypted by it,",
                1,
                "key",
                "Destroy 1 key for ever, with all that was encrypted by it",
                "Destroyed 1 key for ever, with all that was encrypted by it",
            ),
        ] {
            assert_eq!(
                (act(verb, count, &noun(one)), acted(verb, count, &noun(one))),
                (will.to_owned(), done.to_owned())
            );
        }
    }

    #[test]
    fn what_undo_did_reads_like_this() {
        let left = |count| vec![NotRestored { object: "m1".to_owned(), why: "it was moved since".to_owned() }; count];
        let said = [(0, 0), (1, 0), (12, 1), (1, 2)]
            .map(|(restored, not)| put_back(&UndoResult { restored, not_restored: left(not), notes: Vec::new() }));
        assert_eq!(
            said,
            [
                "0 objects were put back.",
                "1 object was put back.",
                "12 objects were put back, 1 was not: it was moved since",
                "1 object was put back, 2 were not: it was moved since",
            ]
        );
    }

    #[test]
    fn one_is_kept_and_many_are() {
        assert_eq!(
            [keep("Keep them", 1), keep("Keep them", 2), keep("Don't send", 1)],
            ["Keep it", "Keep them", "Don't send"]
        );
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([7, 999, 1000, 1_234_567].map(grouped), ["7", "999", "1,000", "1,234,567"]);
    }
}
