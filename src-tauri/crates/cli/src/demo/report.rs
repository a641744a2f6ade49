//! What the agent asked for and what became of it, and the mailbox message by message against the start.

use std::collections::BTreeSet;
use std::fmt::Write;

use latch_daemon::confirm::tty::show::plain;

use super::agent::Step;
use super::mailbox::{Mail, Mailbox};

/// One step of the agent, counted in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) step: Step,
    pub(crate) asked: usize,
    /// What waited for the person.
    pub(crate) held: usize,
    /// Which messages were changed.
    pub(crate) changed: BTreeSet<String>,
}

/// Messages that are not the same in two mailboxes.
pub(crate) fn changed(before: &Mailbox, after: &Mailbox) -> BTreeSet<String> {
    let ids: BTreeSet<&String> = before.mails.keys().chain(after.mails.keys()).collect();
    ids.into_iter().filter(|id| before.mails.get(*id) != after.mails.get(*id)).cloned().collect()
}

/// asked, ran, held, denied, undone.
pub(crate) fn table(rows: &[Row], start: &Mailbox, end: &Mailbox) -> String {
    let mut text = format!("{:<22}{:>7}{:>7}{:>7}{:>8}{:>8}\n", "messages", "asked", "ran", "held", "denied", "undone");
    let mut sums = [0_usize; 5];
    for row in rows {
        let ran = row.changed.len();
        let undone = row.changed.iter().filter(|id| start.mails.get(*id) == end.mails.get(*id)).count();
        let numbers = [row.asked, ran, row.held, row.asked.saturating_sub(ran), undone];
        let _ = writeln!(text, "{}", line(row.step.title(), numbers));
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += number;
        }
    }
    let _ = writeln!(text, "{}", line("together", sums));
    text
}

fn line(title: &str, [asked, ran, held, denied, undone]: [usize; 5]) -> String {
    format!("{title:<22}{asked:>7}{ran:>7}{held:>7}{denied:>8}{undone:>8}")
}

/// Every message that is not as it was, one a line; empty when all are.
pub(crate) fn differences(start: &Mailbox, end: &Mailbox) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, before) in &start.mails {
        match end.mails.get(id) {
            Some(after) if after == before => {}
            Some(after) => lines.push(format!("{}: {}", plain(&before.subject), labels(before, after))),
            None => {
                match end.mails.values().find(|copy| is_copy(copy, before) && !start.mails.contains_key(&copy.id)) {
                    Some(copy) => {
                        lines.push(format!("{}: came back as a copy, {}", plain(&before.subject), labels(before, copy)))
                    }
                    None => lines.push(format!("{}: gone for ever", plain(&before.subject))),
                }
            }
        }
    }
    let known = |mail: &&Mail| !start.mails.values().any(|before| before.id == mail.id || is_copy(mail, before));
    lines
        .extend(end.mails.values().filter(known).map(|mail| format!("{}: was not there before", plain(&mail.subject))));
    lines
}

fn is_copy(copy: &Mail, mail: &Mail) -> bool {
    copy.from == mail.from && copy.subject == mail.subject && copy.date == mail.date
}

fn labels(before: &Mail, after: &Mail) -> String {
    let names = |set: Vec<&String>| set.into_iter().cloned().collect::<Vec<_>>().join(", ");
    let gained = names(after.labels.difference(&before.labels).collect());
    let lost = names(before.labels.difference(&after.labels).collect());
    match (gained.is_empty(), lost.is_empty()) {
        (true, true) => "same labels".to_owned(),
        (false, true) => format!("has {gained} now"),
        (true, false) => format!("lost {lost}"),
        (false, false) => format!("has {gained} now and lost {lost}"),
    }
}

/// The comparison in words.
pub(crate) fn verdict(start: &Mailbox, differences: &[String]) -> String {
    const SHOWN: usize = 20;
    if differences.is_empty() {
        return format!("All {} messages are where they were at the start, with the same labels.\n", start.mails.len());
    }
    let mut text = format!("{} of {} messages are not as they were:\n", differences.len(), start.mails.len());
    for line in differences.iter().take(SHOWN) {
        let _ = writeln!(text, "  {line}");
    }
    if differences.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", differences.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn nothing_that_changed_is_missed() {
        let start = Mailbox::new();
        assert!(differences(&start, &start).is_empty());
        let mut end = start.clone();
        let ids: Vec<String> = start.mails.keys().take(4).cloned().collect();
        end.modify(&ids[..1], &["TRASH".to_owned()], &[]).unwrap();
        end.delete(&ids[1..3]).unwrap();
        let copied = &start.mails[&ids[2]];
        end.insert(&copied.raw(), &copied.labels.iter().cloned().collect::<Vec<_>>());
        let found = differences(&start, &end).join("\n");
        assert_eq!(found.lines().count(), 3, "{found}");
        assert!(found.contains("has TRASH now and lost INBOX") && found.contains("gone for ever"), "{found}");
        assert!(found.contains("came back as a copy, same labels"), "{found}");
        assert_eq!(changed(&start, &end).len(), 4);
    }

    #[test]
    fn the_table_reads_like_this() {
        let start = Mailbox::new();
        let ids: Vec<String> = start.mails.keys().take(5).cloned().collect();
        let mut end = start.clone();
        end.modify(&ids[..1], &["TRASH".to_owned()], &[]).unwrap();
        let rows = [
            Row { step: Step::TrashEach, asked: 8, held: 5, changed: ids.iter().cloned().collect() },
            Row { step: Step::Archive, asked: 80, held: 80, changed: BTreeSet::new() },
        ];
        insta::assert_snapshot!(format!(
            "{}\n{}",
            table(&rows, &start, &end),
            verdict(&start, &differences(&start, &end))
        ));
    }
}
