//! A made-up mailbox of 300 mails that behaves like Gmail's: what the demo's agent runs wild in.

use std::collections::{BTreeMap, BTreeSet};

/// How many mails it starts with.
pub(crate) const SIZE: usize = 300;
/// The person's address.
pub(crate) const OWNER: &str = "ann.example@example.org";
/// The label that the agent sorts into.
pub(crate) const TO_SORT: &str = "Label_1";
/// Milliseconds since the epoch of the newest mail: 2026-11-21T18:00:00Z.
const NEWEST: u64 = 1_795_284_000_000;
const HOUR: u64 = 3_600_000;

/// One mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) id: String,
    pub(crate) thread: String,
    pub(crate) from: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    /// Milliseconds since the epoch.
    pub(crate) date: u64,
    pub(crate) labels: BTreeSet<String>,
}

/// Every mail by id, newest ids last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mailbox {
    pub(crate) mails: BTreeMap<String, Mail>,
    /// Mails put in later get ids from here.
    inserted: u64,
}

/// Labels that every mailbox has, and the person's own two.
pub(crate) const LABELS: &[(&str, &str, &str)] = &[
    ("INBOX", "INBOX", "system"),
    ("UNREAD", "UNREAD", "system"),
    ("STARRED", "STARRED", "system"),
    ("IMPORTANT", "IMPORTANT", "system"),
    ("SENT", "SENT", "system"),
    ("DRAFT", "DRAFT", "system"),
    ("TRASH", "TRASH", "system"),
    ("SPAM", "SPAM", "system"),
    ("CATEGORY_PERSONAL", "CATEGORY_PERSONAL", "system"),
    ("CATEGORY_SOCIAL", "CATEGORY_SOCIAL", "system"),
    ("CATEGORY_PROMOTIONS", "CATEGORY_PROMOTIONS", "system"),
    ("CATEGORY_UPDATES", "CATEGORY_UPDATES", "system"),
    (TO_SORT, "To sort", "user"),
    ("Label_2", "Family", "user"),
];

/// Why the mailbox refuses, as Gmail would say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    InvalidLabel,
}

impl Mailbox {
    /// The mailbox at the start, always the same.
    pub(crate) fn new() -> Self {
        let senders: Vec<&Sender> =
            SENDERS.iter().flat_map(|sender| std::iter::repeat_n(sender, sender.weight)).collect();
        let mut mailbox = Self::default();
        let mut written: BTreeMap<&str, usize> = BTreeMap::new();
        for n in 0..SIZE {
            // 37 and the number of seats have no common factor: senders take turns without a visible pattern.
            let Some(sender) = senders.get(n * 37 % senders.len()) else { continue };
            let nth = written.entry(sender.address).or_default();
            let Some(subject) = sender.subjects.get(*nth % sender.subjects.len()) else { continue };
            let mail = sender.mail(n, *nth, subject);
            *nth += 1;
            mailbox.mails.insert(mail.id.clone(), mail);
        }
        mailbox
    }

    /// Mails that carry all of these labels, newest first; Trash and Spam only if asked for.
    pub(crate) fn list(&self, labels: &[String], hidden: bool) -> Vec<&Mail> {
        let asked = |name: &str| labels.iter().any(|label| label == name);
        let mut found: Vec<&Mail> = self
            .mails
            .values()
            .filter(|mail| labels.iter().all(|label| mail.labels.contains(label)))
            .filter(|mail| hidden || asked("TRASH") || !mail.labels.contains("TRASH"))
            .filter(|mail| hidden || asked("SPAM") || !mail.labels.contains("SPAM"))
            .collect();
        found.sort_by(|a, b| b.date.cmp(&a.date).then_with(|| b.id.cmp(&a.id)));
        found
    }

    /// A thread's mails, oldest first. Every mail begins a thread of its own here.
    pub(crate) fn thread(&self, thread: &str) -> Vec<String> {
        let mut mails: Vec<&Mail> = self.mails.values().filter(|mail| mail.thread == thread).collect();
        mails.sort_by_key(|mail| mail.date);
        mails.iter().map(|mail| mail.id.clone()).collect()
    }

    /// Adds and takes labels as Gmail does: into the Trash means out of the inbox, out of the Trash means nowhere in particular.
    pub(crate) fn modify(&mut self, ids: &[String], add: &[String], take: &[String]) -> Result<(), Refused> {
        let known = |label: &String| LABELS.iter().any(|(id, _, _)| id == label);
        if !add.iter().chain(take).all(known) {
            return Err(Refused::InvalidLabel);
        }
        if !ids.iter().all(|id| self.mails.contains_key(id)) {
            return Err(Refused::NotFound);
        }
        for id in ids {
            let Some(mail) = self.mails.get_mut(id) else { continue };
            mail.labels.retain(|label| !take.contains(label));
            for label in add {
                if label == "TRASH" || label == "SPAM" {
                    mail.labels.retain(|label| !matches!(label.as_str(), "INBOX" | "TRASH" | "SPAM"));
                }
                mail.labels.insert(label.clone());
            }
        }
        Ok(())
    }

    /// Deletes for ever.
    pub(crate) fn delete(&mut self, ids: &[String]) -> Result<(), Refused> {
        if !ids.iter().all(|id| self.mails.contains_key(id)) {
            return Err(Refused::NotFound);
        }
        for id in ids {
            self.mails.remove(id);
        }
        Ok(())
    }

    /// Puts a mail in; it gets a new id.
    pub(crate) fn insert(&mut self, raw: &str, labels: &[String]) -> Mail {
        self.inserted += 1;
        let header = |name: &str| {
            let prefix = format!("{name}: ");
            raw.lines()
                .take_while(|line| !line.is_empty())
                .find_map(|line| line.strip_prefix(&prefix))
                .unwrap_or_default()
        };
        let id = format!("1a0f{:012x}", self.inserted);
        let date = header("X-Demo-Date").parse().unwrap_or(NEWEST);
        let mail = Mail {
            thread: id.clone(),
            id: id.clone(),
            from: header("From").to_owned(),
            subject: header("Subject").to_owned(),
            body: raw.split_once("\n\n").map(|(_, body)| body.to_owned()).unwrap_or_default(),
            date,
            labels: labels.iter().cloned().collect(),
        };
        self.mails.insert(id, mail.clone());
        mail
    }
}

impl Mail {
    /// RFC 5322 text with bare line ends.
    pub(crate) fn raw(&self) -> String {
        format!(
            "From: {}\nTo: {OWNER}\nSubject: {}\nDate: {}\nX-Demo-Date: {}\nMessage-ID: <{}@demo.example>\n\n{}",
            self.from,
            self.subject,
            self.date_header(),
            self.date,
            self.id,
            self.body
        )
    }

    /// The date as RFC 5322 has it.
    pub(crate) fn date_header(&self) -> String {
        i64::try_from(self.date)
            .ok()
            .and_then(|date| jiff::Timestamp::from_millisecond(date).ok())
            .map(|date| date.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
            .unwrap_or_default()
    }
}

struct Sender {
    address: &'static str,
    /// Seats in the round: about how many mails.
    weight: usize,
    category: &'static str,
    /// Every how many mails one is starred; 0: never.
    starred: usize,
    important: bool,
    subjects: &'static [&'static str],
    body: &'static str,
}

impl Sender {
    fn mail(&self, n: usize, nth: usize, subject: &str) -> Mail {
        let mut labels = BTreeSet::from(["INBOX".to_owned(), self.category.to_owned()]);
        if self.starred > 0 && nth.is_multiple_of(self.starred) {
            labels.insert("STARRED".to_owned());
        }
        if self.important {
            labels.insert("IMPORTANT".to_owned());
        }
        if n.is_multiple_of(3) {
            labels.insert("UNREAD".to_owned());
        }
        if self.category == "CATEGORY_PERSONAL" && n.is_multiple_of(4) {
            labels.insert("Label_2".to_owned());
        }
        let id = format!("19a{n:05x}{:08x}", n.wrapping_mul(2_654_435_761) % 0xffff_ffff);
        let round = nth / self.subjects.len();
        let subject = match round {
            1.. if self.category == "CATEGORY_PERSONAL" => format!("Re: {subject}"),
            _ => subject.to_owned(),
        };
        let date = NEWEST.saturating_sub((SIZE - 1 - n) as u64 * 11 * HOUR);
        Mail {
            thread: id.clone(),
            id,
            from: self.address.to_owned(),
            subject,
            body: self.body.to_owned(),
            date,
            labels,
        }
    }
}

const SENDERS: &[Sender] = &[
    Sender {
        address: "Alice Okafor <alice.okafor@example.org>",
        weight: 6,
        category: "CATEGORY_PERSONAL",
        starred: 5,
        important: true,
        subjects: &[
            "Sunday lunch?",
            "The photos from Porto",
            "Can you read my application?",
            "Your spare keys",
            "Birthday list",
            "That recipe",
        ],
        body: "Hi Ann,\n\nsee you on Sunday then. I will bring the cake.\n\nAlice\n",
    },
    Sender {
        address: "Mum <ruth.example@example.org>",
        weight: 5,
        category: "CATEGORY_PERSONAL",
        starred: 4,
        important: true,
        subjects: &[
            "Call me when you can",
            "Dad's operation is on the 4th",
            "The old house",
            "Christmas",
            "Scans of the letters",
        ],
        body: "Dear Ann,\n\nnothing urgent, but do call.\n\nMum\n",
    },
    Sender {
        address: "Tom Lindqvist <tom.lindqvist@northpier.example>",
        weight: 5,
        category: "CATEGORY_PERSONAL",
        starred: 6,
        important: true,
        subjects: &[
            "Contract, signed version",
            "Notes from Tuesday",
            "Invoice 2026-117",
            "Budget for the spring",
            "Who presents?",
        ],
        body: "Ann,\n\nattached as promised. Please keep the original.\n\nTom\n",
    },
    Sender {
        address: "Harbour Bank <statements@harbourbank.example>",
        weight: 4,
        category: "CATEGORY_UPDATES",
        starred: 6,
        important: true,
        subjects: &[
            "Your statement is ready",
            "New login from a device we don't know",
            "Your standing order was changed",
            "Yearly tax certificate",
        ],
        body: "Your statement for this month is ready.\n",
    },
    Sender {
        address: "City Tax Office <no-reply@tax.city.example>",
        weight: 1,
        category: "CATEGORY_UPDATES",
        starred: 2,
        important: true,
        subjects: &["Assessment notice 2025", "Deadline 30 November: your objection"],
        body: "Please find your notice in the portal. The deadline can't be extended.\n",
    },
    Sender {
        address: "Dr. Hanna Weiss <praxis@weiss-clinic.example>",
        weight: 2,
        category: "CATEGORY_PERSONAL",
        starred: 3,
        important: true,
        subjects: &["Your results", "Appointment moved to 9:40", "Referral letter"],
        body: "Your results are in. Please call us.\n",
    },
    Sender {
        address: "Maple Street School <office@maplestreet.example>",
        weight: 3,
        category: "CATEGORY_UPDATES",
        starred: 0,
        important: false,
        subjects: &["Trip on Friday: permission slip", "No classes on Monday", "Parents' evening", "Lost property"],
        body: "Dear parents, please note the changed times.\n",
    },
    Sender {
        address: "Northwind Air <bookings@northwindair.example>",
        weight: 3,
        category: "CATEGORY_UPDATES",
        starred: 4,
        important: false,
        subjects: &["Your booking QX7R2M", "Check-in is open", "Your flight was moved by 40 minutes"],
        body: "Your booking is confirmed. Seats 14A and 14B.\n",
    },
    Sender {
        address: "The Daily Byte <news@dailybyte.example>",
        weight: 14,
        category: "CATEGORY_UPDATES",
        starred: 0,
        important: false,
        subjects: &["Morning briefing", "What we learned about batteries", "The week in five charts", "Readers ask"],
        body: "Good morning. Five things to know today.\n",
    },
    Sender {
        address: "Garden Weekly <letter@gardenweekly.example>",
        weight: 8,
        category: "CATEGORY_PROMOTIONS",
        starred: 0,
        important: false,
        subjects: &["Bulbs: now or never", "Ten plants for shade", "Your garden in November"],
        body: "It is time to plant.\n",
    },
    Sender {
        address: "Brightcart <offers@brightcart.example>",
        weight: 18,
        category: "CATEGORY_PROMOTIONS",
        starred: 0,
        important: false,
        subjects: &["40% off until midnight", "You left something in your cart", "Only for you, Ann", "Last chance"],
        body: "Buy now.\n",
    },
    Sender {
        address: "Brightcart Orders <orders@brightcart.example>",
        weight: 5,
        category: "CATEGORY_UPDATES",
        starred: 7,
        important: false,
        subjects: &["Your order 77-1042 has shipped", "Your invoice", "Your return was received"],
        body: "Thank you for your order. Keep this mail as your proof of purchase.\n",
    },
    Sender {
        address: "Circles <notify@circles.example>",
        weight: 14,
        category: "CATEGORY_SOCIAL",
        starred: 0,
        important: false,
        subjects: &[
            "Ben liked your photo",
            "3 people you may know",
            "You have 5 new notifications",
            "Eva wrote in Book Club",
        ],
        body: "See what happened in your circles.\n",
    },
    Sender {
        address: "buildbot <ci@northpier.example>",
        weight: 12,
        category: "CATEGORY_UPDATES",
        starred: 0,
        important: false,
        subjects: &["[main] build passed", "[main] build failed: 2 tests", "[release] waiting for approval"],
        body: "See the build page for details.\n",
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn ids(mailbox: &Mailbox, count: usize) -> Vec<String> {
        mailbox.list(&[], false).iter().take(count).map(|mail| mail.id.clone()).collect()
    }

    #[test]
    fn it_has_300_believable_mails_and_is_always_the_same() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.mails.len(), SIZE);
        assert_eq!(mailbox, Mailbox::new());
        assert_eq!(mailbox.list(&["INBOX".to_owned()], false).len(), SIZE);
        let starred = mailbox.list(&["STARRED".to_owned()], false).len();
        assert!((10..60).contains(&starred), "{starred}");
        let senders: BTreeSet<&str> = mailbox.mails.values().map(|mail| mail.from.as_str()).collect();
        assert_eq!(senders.len(), SENDERS.len());
    }

    #[test]
    fn trash_leaves_the_inbox_and_untrash_does_not_come_back_to_it() {
        let mut mailbox = Mailbox::new();
        let id = ids(&mailbox, 1);
        mailbox.modify(&id, &["TRASH".to_owned()], &[]).unwrap();
        assert!(!mailbox.mails[&id[0]].labels.contains("INBOX"));
        assert_eq!(mailbox.list(&[], false).len(), SIZE - 1);
        mailbox.modify(&id, &[], &["TRASH".to_owned()]).unwrap();
        assert!(!mailbox.mails[&id[0]].labels.contains("INBOX"));
    }

    #[test]
    fn one_unknown_id_or_label_changes_nothing() {
        let mut mailbox = Mailbox::new();
        let before = mailbox.clone();
        let mut some = ids(&mailbox, 2);
        some.push("nope".to_owned());
        assert_eq!(mailbox.modify(&some, &["TRASH".to_owned()], &[]), Err(Refused::NotFound));
        assert_eq!(mailbox.delete(&some), Err(Refused::NotFound));
        assert_eq!(mailbox.modify(&some, &["NOPE".to_owned()], &[]), Err(Refused::InvalidLabel));
        assert_eq!(mailbox, before);
    }

    #[test]
    fn a_copy_comes_back_under_a_new_id() {
        let mut mailbox = Mailbox::new();
        let id = ids(&mailbox, 1);
        let mail = mailbox.mails[&id[0]].clone();
        mailbox.delete(&id).unwrap();
        let labels: Vec<String> = mail.labels.iter().cloned().collect();
        let copy = mailbox.insert(&mail.raw(), &labels);
        assert_ne!(copy.id, mail.id);
        assert_eq!(
            (&copy.subject, &copy.from, copy.date, &copy.labels),
            (&mail.subject, &mail.from, mail.date, &mail.labels)
        );
    }
}
