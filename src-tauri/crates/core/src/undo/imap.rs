//! Taking back what was done over IMAP: what to remember of a deed, and the commands that reverse it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Change, Difference, Entry, Next, Trace};
use crate::call::Call;
use crate::classify::imap::command::Mode;
use crate::classify::imap::deed::{
    Deed, On, PROVIDER, Server, command, mailbox_named, mailbox_object, object, place_of,
};
use crate::classify::imap::gmail;
use crate::classify::imap::steps::{Step, moving, store};
use crate::classify::imap::token::Token;
use crate::operation::Part;

/// The undo recipe of what changes Gmail's labels.
const LABELS: &str = "labels";
/// The flag of what an EXPUNGE removes (RFC 9051 section 2.3.2).
pub const DELETED: &str = "\\Deleted";
/// That of a mail that was stored.
pub const APPENDED: &str = "appended";
/// What an entry says of all mail as it was before a mail was stored: its UIDVALIDITY, and the UID that its next message was to get.
const ALL_BEFORE: &str = "all-before";
/// The UIDVALIDITY of the mailbox that an entry is about, as it is after the deed; empty if it has none.
const IDENTITY: &str = "uidvalidity";

/// What was read of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// Its flags without `\Recent`.
    pub flags: BTreeSet<String>,
    /// Its Gmail labels, where the server has them.
    pub labels: BTreeSet<String>,
    /// A digest of its size and envelope, if both were read.
    pub print: Option<String>,
    /// Its X-GM-MSGID: the same in every mailbox.
    pub id: Option<u64>,
    /// Where it was found, if not where it was looked for.
    pub at: Option<String>,
}

impl Present {
    /// Its mark as deleted, as the server spells it.
    #[must_use]
    pub fn mark(&self) -> Option<&String> {
        self.flags.iter().find(|flag| flag.eq_ignore_ascii_case(DELETED))
    }
}

/// What a deed is about to change, from what its messages are like before, and where the mailbox stands that they go to. `end`: how softened or
/// quarantined removals end.
#[must_use]
pub fn entry(
    part: &Part,
    deed: &Deed,
    on: &On,
    (before, next): (&BTreeMap<u32, Present>, Option<Next>),
    end: &End,
) -> Option<Entry> {
    let id = |uid: u32| object(&on.mailbox, on.uidvalidity.unwrap_or_default(), uid);
    let each = |difference: &dyn Fn(u32) -> Option<Difference>| -> Vec<Change> {
        let one = |uid: &u32| Some(Change { object: id(*uid), difference: difference(*uid)? });
        on.uids.iter().filter_map(one).collect()
    };
    let whole = |difference: Difference| vec![Change { object: mailbox_object(&on.mailbox), difference }];
    let moved = |uid: u32, mailbox: Option<&String>, marked: bool| {
        let known = mailbox.zip(before.get(&uid));
        let trace = known.map(|(mailbox, present)| Trace {
            mailbox: mailbox.clone(),
            print: present.print.clone(),
            next,
            unmarked: present.mark().is_none(),
        });
        Some(Difference::Moved { to: None, marked, trace, version: None })
    };
    let changes = match deed {
        Deed::Store { labels: false, .. } if *end != End::Plain => match end {
            End::Trashed { mailbox } => each(&|uid| moved(uid, mailbox.as_ref(), false)),
            End::Copied { .. } | End::Shared { .. } | End::Plain => each(&|_| Some(Difference::Copied)),
        },
        Deed::Store { mode, labels, words, .. } => {
            each(&|uid| changed(&words_of(before.get(&uid)?, *labels, &on.mailbox), *mode, words))
        }
        Deed::Copy { to } if part.operation.undo.as_deref() == Some(LABELS) => {
            let words: Vec<String> = gmail::label_of(to).into_iter().collect();
            each(&|uid| changed(&words_of(before.get(&uid)?, true, &on.mailbox), Mode::Add, &words))
        }
        Deed::Copy { .. } => Vec::new(),
        Deed::Move { to } => each(&|uid| moved(uid, Some(to), false)),
        Deed::Expunge => match end {
            End::Trashed { mailbox } => each(&|uid| moved(uid, mailbox.as_ref(), true)),
            End::Copied { .. } => each(&|_| Some(Difference::Copied)),
            End::Shared { .. } | End::Plain => Vec::new(),
        },
        Deed::Create => whole(Difference::Created { marker: None }),
        Deed::Delete { .. } => match end {
            End::Trashed { mailbox } => {
                let to = mailbox.as_deref().map(mailbox_object);
                whole(Difference::Moved { to, marked: false, trace: None, version: None })
            }
            End::Copied { subscribed } => {
                let again = subscribed.then_some(Difference::Done).into_iter();
                let again = again.map(|difference| Change { object: mailbox_object(&on.mailbox), difference });
                let messages = each(&|_| Some(Difference::Copied));
                whole(Difference::Copied).into_iter().chain(again).chain(messages).collect()
            }
            End::Shared { .. } | End::Plain => Vec::new(),
        },
        Deed::Rename { to } => {
            whole(Difference::Moved { to: Some(mailbox_object(to)), marked: false, trace: None, version: None })
        }
        Deed::Subscribe { .. } => whole(Difference::Done),
        Deed::SetAcl { who, rights: set } => match end {
            End::Shared { rights } => {
                let after = set.as_deref().and_then(|set| changed_rights(rights.as_deref(), set));
                whole(Difference::Fields {
                    before: vec![(who.clone(), json!(rights))],
                    after: vec![(who.clone(), json!(after))],
                })
            }
            End::Trashed { .. } | End::Copied { .. } | End::Plain => Vec::new(),
        },
        Deed::Setting { .. } => Vec::new(),
    };
    if changes.is_empty() {
        return None;
    }
    let mut entry = of(part, changes);
    // One that leaves its mailbox by losing its label is still known by this.
    let known = |(uid, present): (&u32, &Present)| Some((id(*uid), present.id?.to_string()));
    entry.params = before.iter().filter_map(known).collect();
    if let Deed::Rename { .. } | Deed::Delete { .. } | Deed::SetAcl { .. } = deed {
        note_identity(&mut entry, on.uidvalidity);
    }
    Some(entry)
}

/// Notes what the mailbox that a deed made, renamed or shared is told from others by.
pub fn note_identity(entry: &mut Entry, uidvalidity: Option<u32>) {
    entry.params.retain(|(name, _)| name != IDENTITY);
    entry.params.push((IDENTITY.to_owned(), uidvalidity.map(|one| one.to_string()).unwrap_or_default()));
}

/// The mailbox that a deed made, renamed or shared, by the name that it has since.
#[must_use]
pub fn arranged(entry: &Entry) -> Option<&str> {
    entry.changes.iter().find_map(|change| match &change.difference {
        Difference::Created { .. } | Difference::Fields { .. } if place_of(&change.object).is_none() => {
            Some(mailbox_named(&change.object))
        }
        Difference::Moved { to: Some(to), .. } if place_of(&change.object).is_none() => Some(mailbox_named(to)),
        _ => None,
    })
}

/// What that mailbox is told from others by; `None`: nobody noted it.
#[must_use]
pub fn identity(entry: &Entry) -> Option<Option<u32>> {
    let noted = entry.params.iter().find(|(name, _)| name == IDENTITY);
    noted.map(|(_, uidvalidity)| uidvalidity.parse().ok())
}

/// Notes what rights somebody has after a deed.
pub fn note_rights(entry: &mut Entry, rights: Option<&str>) {
    for change in &mut entry.changes {
        if let Difference::Fields { after, .. } = &mut change.difference {
            for (_, known) in after {
                *known = json!(rights);
            }
        }
    }
}

/// Whose rights in a mailbox an entry is about, and what they were to be after the deed.
#[must_use]
pub fn rights_after(entry: &Entry) -> Option<(&str, Option<&str>)> {
    entry.changes.iter().find_map(|change| match &change.difference {
        Difference::Fields { after, .. } => after.first().map(|(who, rights)| (who.as_str(), rights.as_str())),
        _ => None,
    })
}

/// Whether these are the same rights, in whatever order (RFC 4314 section 2.1). Those that stand for others are told by some servers only.
#[must_use]
pub fn same_rights(one: Option<&str>, other: Option<&str>) -> bool {
    let set = |rights: Option<&str>| -> BTreeSet<char> {
        rights.unwrap_or_default().chars().filter(|right| !matches!(right, 'c' | 'd')).collect()
    };
    set(one) == set(other)
}

/// What rights become by a SETACL (RFC 4314 section 3.1).
fn changed_rights(before: Option<&str>, set: &str) -> Option<String> {
    let before: BTreeSet<char> = before.unwrap_or_default().chars().collect();
    let after: BTreeSet<char> = match (set.strip_prefix('+'), set.strip_prefix('-')) {
        (Some(more), _) => before.into_iter().chain(more.chars()).collect(),
        (_, Some(less)) => before.into_iter().filter(|right| !less.contains(*right)).collect(),
        (None, None) => set.chars().collect(),
    };
    (!after.is_empty()).then(|| after.into_iter().collect())
}

/// Whether of all flags and labels that an entry was to change none is changed: what was refused in the middle may have begun.
#[must_use]
pub fn untouched(entry: &Entry, now: &BTreeMap<String, Present>) -> bool {
    entry.changes.iter().all(|change| match (&change.difference, now.get(&change.object)) {
        (Difference::Set { added, removed, .. }, Some(present)) => {
            let own = place_of(&change.object).map_or("", |(mailbox, ..)| mailbox);
            let words = words_of(present, entry.recipe == LABELS, own);
            !added.iter().any(|word| words.contains(word)) && removed.iter().all(|word| words.contains(word))
        }
        (Difference::Set { .. }, None) => false,
        _ => true,
    })
}

/// Notes what All Mail was like before a mail was stored on Gmail.
pub fn note_all(entry: &mut Entry, uidvalidity: u32, next: u32) {
    entry.params.push((ALL_BEFORE.to_owned(), format!("{uidvalidity};{next}")));
}

/// Whether a stored message, found among all mail, was not there before.
fn is_new(entry: &Entry, present: &Present) -> bool {
    let before = entry.params.iter().find(|(name, _)| name == ALL_BEFORE).and_then(|(_, said)| said.split_once(';'));
    let before =
        before.and_then(|(uidvalidity, next)| Some((uidvalidity.parse::<u32>().ok()?, next.parse::<u32>().ok()?)));
    let now = present.at.as_deref().and_then(place_of);
    before.zip(now).is_some_and(|((known, next), (_, uidvalidity, uid))| known == uidvalidity && uid >= next)
}

/// An entry with these changes.
#[must_use]
pub fn of(part: &Part, changes: Vec<Change>) -> Entry {
    Entry {
        provider: PROVIDER.to_owned(),
        recipe: part.operation.undo.clone().unwrap_or_default(),
        action: part.operation.action.clone(),
        params: Vec::new(),
        changes,
    }
}

/// How something ends that is more than a change of flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As asked.
    Plain,
    /// In the Trash; a mailbox under this name.
    Trashed {
        /// Its new name.
        mailbox: Option<String>,
    },
    /// Somebody else has other rights in a mailbox.
    Shared {
        /// What they had before.
        rights: Option<String>,
    },
    /// Gone, with a copy in quarantine.
    Copied {
        /// A mailbox that the person's programs showed.
        subscribed: bool,
    },
}

/// A message's flags or labels. Gmail does not tell the label of the mailbox that is open.
fn words_of(present: &Present, labels: bool, mailbox: &str) -> BTreeSet<String> {
    let own = gmail::label_of(mailbox).filter(|_| labels);
    let words = if labels { &present.labels } else { &present.flags };
    words.iter().cloned().chain(own).collect()
}

fn changed(present: &BTreeSet<String>, mode: Mode, words: &[String]) -> Option<Difference> {
    let has = |word: &String| present.iter().any(|one| one.eq_ignore_ascii_case(word));
    let named = |one: &String| words.iter().any(|word| word.eq_ignore_ascii_case(one));
    let added: Vec<String> = match mode {
        Mode::Add | Mode::Replace => words.iter().filter(|word| !has(word)).cloned().collect(),
        Mode::Remove => Vec::new(),
    };
    let removed: Vec<String> = match mode {
        Mode::Add => Vec::new(),
        Mode::Remove => present.iter().filter(|one| named(one)).cloned().collect(),
        Mode::Replace => present.iter().filter(|one| !named(one)).cloned().collect(),
    };
    (!added.is_empty() || !removed.is_empty()).then(|| Difference::Set { added, removed, presumed: Vec::new() })
}

/// The entry once its answers said where the messages went: old UID to new one, in this mailbox with this UIDVALIDITY.
#[must_use]
pub fn arrived(
    entry: Option<Entry>,
    part: &Part,
    on: &On,
    to: &str,
    uidvalidity: u32,
    pairs: &[(u32, u32)],
) -> Option<Entry> {
    let pairs: BTreeMap<u32, u32> = pairs.iter().copied().collect();
    let Some(mut entry) = entry else {
        if !matches!(part.operation.undo.as_deref(), Some("copied" | "appended")) {
            return None;
        }
        let made = |uid: &u32| Change {
            object: object(to, uidvalidity, *uid),
            difference: Difference::Created { marker: None },
        };
        let changes: Vec<Change> = pairs.values().map(made).collect();
        return (!changes.is_empty()).then(|| of(part, changes));
    };
    for change in &mut entry.changes {
        let Some((mailbox, old, uid)) = place_of(&change.object) else { continue };
        if mailbox != on.mailbox || Some(old) != on.uidvalidity {
            continue;
        }
        if let (Difference::Moved { to: place, .. }, Some(new)) = (&mut change.difference, pairs.get(&uid)) {
            *place = Some(object(to, uidvalidity, *new));
        }
    }
    // A copy in several commands: each says what it made.
    if entry.changes.iter().all(|change| matches!(change.difference, Difference::Created { .. })) {
        let made = |uid: &u32| Change {
            object: object(to, uidvalidity, *uid),
            difference: Difference::Created { marker: None },
        };
        entry.changes.extend(pairs.values().map(made));
    }
    Some(entry)
}

/// The messages that must be looked at before an entry is taken back: where they are now, by mailbox and UIDVALIDITY.
#[must_use]
pub fn whereabouts(entry: &Entry) -> BTreeMap<(String, u32), Vec<u32>> {
    let mut places: BTreeMap<(String, u32), Vec<u32>> = BTreeMap::new();
    for (mailbox, uidvalidity, uid) in entry.changes.iter().filter_map(whereabout) {
        places.entry((mailbox.to_owned(), uidvalidity)).or_default().push(uid);
    }
    places
}

/// Where the message of one change is now: mailbox, UIDVALIDITY and UID.
fn whereabout(change: &Change) -> Option<(&str, u32, u32)> {
    let at = match &change.difference {
        Difference::Moved { to, .. } => to.as_deref(),
        Difference::Set { .. } | Difference::Created { .. } | Difference::Copied => Some(change.object.as_str()),
        Difference::Fields { .. } | Difference::Deleted { .. } | Difference::Done => None,
    };
    at.and_then(place_of)
}

/// The objects whose message was in one of these mailboxes, which are not there, and is not known to be elsewhere. One that comes back as a copy needs none.
#[must_use]
pub fn out_of_reach(
    entry: &Entry,
    gone: &BTreeSet<(String, u32)>,
    now: &BTreeMap<String, Present>,
) -> BTreeSet<String> {
    let lies = |change: &&Change| {
        change.difference != Difference::Copied
            && !now.contains_key(&change.object)
            && whereabout(change)
                .is_some_and(|(mailbox, uidvalidity, _)| gone.contains(&(mailbox.to_owned(), uidvalidity)))
    };
    entry.changes.iter().filter(lies).map(|change| change.object.clone()).collect()
}

/// The messages that a move was to take away, by the mailbox and UIDVALIDITY that they were in: some may be there still. Where the server moves by itself
/// and says where they went, what is at home is meant to be there: Gmail's All Mail keeps what is moved out of it.
#[must_use]
pub fn homes(entry: &Entry, server: &Server) -> BTreeMap<(String, u32), Vec<u32>> {
    let mut homes: BTreeMap<(String, u32), Vec<u32>> = BTreeMap::new();
    let in_steps = !server.moves && !server.gmail;
    for change in &entry.changes {
        if let (Difference::Moved { to, trace: Some(_), .. }, Some((mailbox, uidvalidity, uid))) =
            (&change.difference, place_of(&change.object))
            && (to.is_none() || in_steps)
        {
            homes.entry((mailbox.to_owned(), uidvalidity)).or_default().push(uid);
        }
    }
    homes
}

/// What is left to take back of moves whose messages are found at home, by object: the mark of one that was to be removed there, a mark that was taken
/// off, and the copy of it elsewhere, which goes as everything does that was made. One in the Trash stays.
pub fn stayed(entry: &mut Entry, at_home: &BTreeMap<String, Present>, server: &Server) {
    let mut copies = Vec::new();
    entry.changes.retain_mut(|change| {
        let (Difference::Moved { to, marked, trace: Some(trace), .. }, Some(present)) =
            (&change.difference, at_home.get(&change.object))
        else {
            return true;
        };
        let set = |added: Vec<String>, removed: Vec<String>| Difference::Set { added, removed, presumed: Vec::new() };
        let left = match present.mark() {
            None if *marked => Some(set(Vec::new(), vec![DELETED.to_owned()])),
            Some(mark) if !*marked && trace.unmarked => Some(set(vec![mark.clone()], Vec::new())),
            _ => None,
        };
        let copy = to.clone().filter(|to| place_of(to).is_some_and(|(mailbox, ..)| !server.is_in_trash(mailbox)));
        copies.extend(copy.map(|object| Change { object, difference: Difference::Created { marker: None } }));
        match left {
            Some(left) => change.difference = left,
            None => return false,
        }
        true
    });
    entry.changes.extend(copies);
}

/// One command of an undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackStep {
    /// The objects as the entry names them.
    pub objects: Vec<String>,
    /// What leaves.
    pub step: Step,
    /// Whether its success is what puts them back.
    pub restores: bool,
    /// Flags to put on the messages where they arrive.
    pub mark: bool,
}

/// The commands that take an entry back, and what they can't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Back {
    /// In order.
    pub steps: Vec<BackStep>,
    /// Object and why.
    pub not_restored: Vec<(String, String)>,
}

/// UIDs with their objects.
type Named = Vec<(u32, String)>;
/// Mailbox, UIDVALIDITY, item and words of a STORE.
type Store = (String, u32, &'static str, Vec<String>);
/// Where messages are, where they belong, and whether they were marked as deleted there.
type Home = (String, u32, String, bool);

/// Reverses an entry's own difference. `now`: what was found where [`whereabouts`] pointed; a mailbox that is missing there is gone, or not the same.
#[must_use]
pub fn inverse(entry: &Entry, now: &BTreeMap<String, Present>, server: &Server) -> Back {
    let mut back = Back::default();
    let mut stores: BTreeMap<Store, Named> = BTreeMap::new();
    let mut moves: BTreeMap<Home, Named> = BTreeMap::new();
    let mut made: BTreeMap<(String, u32), Named> = BTreeMap::new();
    let labels = entry.recipe == LABELS;
    for change in &entry.changes {
        let object = &change.object;
        let name = || Token::text(mailbox_named(object));
        let mut leave = |why: &str| back.not_restored.push((object.clone(), why.to_owned()));
        match (&change.difference, place_of(object)) {
            (Difference::Set { added, removed, .. }, Some((mailbox, uidvalidity, uid))) => {
                let Some(present) = now.get(object) else {
                    leave("it is not there any more");
                    continue;
                };
                let found = present.at.as_deref().and_then(place_of);
                let (home, (mailbox, uidvalidity, uid)) = (mailbox, found.unwrap_or((mailbox, uidvalidity, uid)));
                let away = server.is_trash(mailbox) || server.is_junk(mailbox);
                let takes = |word: &String| gmail::takes_away(word) || server.is_trash(word) || server.is_junk(word);
                if labels && away && found.is_some() && added.iter().any(takes) {
                    let key = (mailbox.to_owned(), uidvalidity, home.to_owned(), false);
                    moves.entry(key).or_default().push((uid, object.clone()));
                    continue;
                }
                let present = words_of(present, labels, mailbox);
                let off: Vec<String> = added.iter().filter(|word| present.contains(*word)).cloned().collect();
                let on: Vec<String> = removed.iter().filter(|word| !present.contains(*word)).cloned().collect();
                if off.is_empty() && on.is_empty() {
                    leave("it was changed again since");
                    continue;
                }
                let (minus, plus) = if labels {
                    ("-X-GM-LABELS.SILENT", "+X-GM-LABELS.SILENT")
                } else {
                    ("-FLAGS.SILENT", "+FLAGS.SILENT")
                };
                for (item, words) in [(minus, off), (plus, on)] {
                    if !words.is_empty() {
                        let key = (mailbox.to_owned(), uidvalidity, item, words);
                        stores.entry(key).or_default().push((uid, object.clone()));
                    }
                }
            }
            (Difference::Moved { to, marked, .. }, Some((home, _, _))) => match to.as_deref().and_then(place_of) {
                None => leave("the mail server did not say where it went: look in the Trash"),
                Some((mailbox, uidvalidity, uid)) => {
                    if to.as_ref().is_some_and(|to| now.contains_key(to)) {
                        let key = (mailbox.to_owned(), uidvalidity, home.to_owned(), *marked);
                        moves.entry(key).or_default().push((uid, object.clone()));
                    } else {
                        leave("it is no longer where it was put");
                    }
                }
            },
            (Difference::Moved { to: Some(to), .. }, None) => {
                whole(&mut back, object, "RENAME", &[Token::text(mailbox_named(to)), name()]);
            }
            (Difference::Created { .. }, Some(_)) if server.gmail && entry.recipe != APPENDED => {
                leave("on Gmail a copy is the message itself: take its label off there");
            }
            (Difference::Created { .. }, Some((mailbox, uidvalidity, uid)))
                if server.gmail && entry.recipe == APPENDED && !server.is_in_trash(mailbox) =>
            {
                let Some(present) = now.get(object) else {
                    leave("it is not there any more");
                    continue;
                };
                let own = gmail::label_of(mailbox);
                let put = |label: &&String| !gmail::comes_by_itself(label) && Some(*label) != own.as_ref();
                // Gmail may take what is stored for a message that it has: then only the label is the agent's.
                match own.clone() {
                    _ if is_new(entry, present) && !present.labels.iter().any(|label| put(&label)) => {
                        made.entry((mailbox.to_owned(), uidvalidity)).or_default().push((uid, object.clone()));
                    }
                    Some(own) => {
                        let key = (mailbox.to_owned(), uidvalidity, "-X-GM-LABELS.SILENT", vec![own]);
                        stores.entry(key).or_default().push((uid, object.clone()));
                    }
                    None => leave("Gmail may have taken it for a message that was there before, so it stays"),
                }
            }
            (Difference::Created { .. }, Some((mailbox, uidvalidity, uid))) => {
                if now.contains_key(object) {
                    made.entry((mailbox.to_owned(), uidvalidity)).or_default().push((uid, object.clone()));
                } else {
                    leave("it is not there any more");
                }
            }
            (Difference::Created { .. }, None) => whole(&mut back, object, "DELETE", &[name()]),
            (Difference::Done, None) => {
                let verb = if entry.action.ends_with(".subscribe") { "UNSUBSCRIBE" } else { "SUBSCRIBE" };
                whole(&mut back, object, verb, &[name()]);
            }
            (Difference::Fields { before, .. }, None) => {
                for (who, rights) in before {
                    match rights.as_str() {
                        Some(rights) => {
                            let args = [name(), Token::text(who.as_str()), Token::text(rights)];
                            whole(&mut back, object, "SETACL", &args);
                        }
                        None => {
                            whole(&mut back, object, "DELETEACL", &[name(), Token::text(who.as_str())]);
                        }
                    }
                }
            }
            // A mailbox that is gone is made again; copies are brought back by whoever holds the quarantine.
            (Difference::Copied, None) => whole(&mut back, object, "CREATE", &[name()]),
            (Difference::Copied, Some(_)) => {}
            _ => leave("it is not known how to put this back"),
        }
    }
    for ((mailbox, uidvalidity, item, words), named) in stores {
        let words =
            words.iter().map(|word| if item.contains("X-GM") { gmail::written(word) } else { Token::atom(word) });
        let on = On { mailbox, uidvalidity: Some(uidvalidity), uids: named.iter().map(|(uid, _)| *uid).collect() };
        add(&mut back, &named, store(&on, item, words.collect(), None, true), false);
    }
    for ((mailbox, uidvalidity, home, marked), named) in moves {
        let on = On { mailbox, uidvalidity: Some(uidvalidity), uids: named.iter().map(|(uid, _)| *uid).collect() };
        add(&mut back, &named, moving(&on, server, &home), marked);
    }
    for ((mailbox, uidvalidity), named) in made {
        let on = On { mailbox, uidvalidity: Some(uidvalidity), uids: named.iter().map(|(uid, _)| *uid).collect() };
        // What an agent made and the person takes back goes to the Trash: the person may have written into it since.
        match &server.trash {
            Some(trash) if !server.is_in_trash(&on.mailbox) => {
                add(&mut back, &named, moving(&on, server, trash), false)
            }
            _ => {
                back.not_restored.extend(named.into_iter().map(|(_, object)| (object, "it is in the Trash".to_owned())))
            }
        }
    }
    back
}

fn whole(back: &mut Back, object: &str, verb: &str, args: &[Token]) {
    let call: Option<Call> = command(verb, None, args);
    match call {
        Some(call) => back.steps.push(BackStep {
            objects: vec![object.to_owned()],
            step: Step { call, uids: Vec::new(), moves_to: None, counts: true },
            restores: true,
            mark: false,
        }),
        None => back.not_restored.push((object.to_owned(), "its name can't be written".to_owned())),
    }
}

fn add(
    back: &mut Back,
    named: &[(u32, String)],
    steps: Result<Vec<Step>, crate::classify::imap::steps::Unable>,
    mark: bool,
) {
    let names: BTreeMap<u32, &String> = named.iter().map(|(uid, object)| (*uid, object)).collect();
    match steps {
        Err(why) => back.not_restored.extend(named.iter().map(|(_, object)| (object.clone(), why.to_string()))),
        Ok(steps) => back.steps.extend(steps.into_iter().map(|step| BackStep {
            objects: step.uids.iter().filter_map(|uid| names.get(uid).map(|name| (*name).clone())).collect(),
            restores: step.counts,
            mark: mark && step.moves_to.is_some(),
            step,
        })),
    }
}
