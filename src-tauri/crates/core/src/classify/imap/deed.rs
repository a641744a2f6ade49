//! What a change would do: a [`Deed`] on exactly named messages, as an [`Operation`] for the Guard, and as steps for the upstream.

use std::str::FromStr as _;

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use super::command::Mode;
use super::gmail;
use super::name::{could_be_inbox, shown};
pub use super::server::Server;
use super::set::Set;
use super::token::{Token, encode};
use crate::call::{Call, CallBody, Digest};
use crate::classify::mail;
use crate::classify::normalise::encode as percent;
use crate::operation::{Audience, Class, Fact, Member, Meter, Objects, Operation, Part};

/// The provider's id of mailboxes that are reached by IMAP.
pub const PROVIDER: &str = "imap";
/// The longest set in one command: RFC 7162 section 4 lets servers refuse lines beyond 8192 bytes.
const MOST_SET: usize = 4000;
/// The parameter of a part that names a mailbox: grants can be limited to some.
pub const MAILBOX: &str = "mailbox";
/// All mailboxes, and the server itself: a wildcard, which names can't hold (RFC 9051 section 5.1).
const EVERYWHERE: &str = "*";
const APPEND: &str = "APPEND";
/// What an APPEND's call has beside it where its mail may hold NUL (RFC 3516).
pub const BINARY: &str = "literal8";
/// A deed is not a call that could leave as it is: its steps are.
const DEED: &str = "IMAP-DEED";
/// What begins every target of a call that goes over IMAP (RFC 5092).
const SCHEME: &str = "imap:/";
/// Verbs that change nothing, whatever their arguments.
const READING: [&str; 22] = [
    "NOOP",
    "EXAMINE",
    "UNSELECT",
    "IDLE",
    "ENABLE",
    "NAMESPACE",
    "LIST",
    "LSUB",
    "STATUS",
    "FETCH",
    "UID-FETCH",
    "SEARCH",
    "UID-SEARCH",
    "SORT",
    "UID-SORT",
    "THREAD",
    "UID-THREAD",
    "GETACL",
    "MYRIGHTS",
    "LISTRIGHTS",
    "GETQUOTAROOT",
    "GETQUOTA",
];

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Deed {
    /// Flags or Gmail labels.
    Store {
        /// How.
        mode: Mode,
        /// X-GM-LABELS.
        labels: bool,
        /// Which.
        words: Vec<String>,
        /// Only what did not change since (RFC 7162).
        unchanged_since: Option<u64>,
    },
    /// Copies.
    Copy {
        /// Where to.
        to: String,
    },
    /// Moves.
    Move {
        /// Where to.
        to: String,
    },
    /// Removes for ever what is marked as deleted.
    Expunge,
    /// Makes a mailbox.
    Create,
    /// Removes a mailbox with all that is in it: the messages that it is done to.
    Delete {
        /// Messages in it when it was looked at.
        messages: u32,
    },
    /// Renames a mailbox.
    Rename {
        /// Its new name.
        to: String,
    },
    /// Subscribes to a mailbox.
    Subscribe {
        /// Or no longer.
        off: bool,
    },
    /// Lets somebody into a mailbox.
    SetAcl {
        /// Who.
        who: String,
        /// `None`: no longer.
        rights: Option<String>,
    },
    /// Changes a setting of the server.
    Setting {
        /// The verb.
        verb: String,
        /// Its arguments as they go over the wire.
        args: String,
    },
}

/// What a deed is done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct On {
    /// The mailbox's name on the wire.
    pub mailbox: String,
    /// Its UIDVALIDITY when the messages were named; that of a mailbox which is itself renamed or shared, if it has one. `None` for other deeds on mailboxes.
    pub uidvalidity: Option<u32>,
    /// Exactly these.
    pub uids: Vec<u32>,
}

/// A message's id in holds, journal and undo.
#[must_use]
pub fn object(mailbox: &str, uidvalidity: u32, uid: u32) -> String {
    format!("{mailbox};{uidvalidity};{uid}")
}

/// A mailbox's own id there. No message's id ends like this, whatever an agent calls a mailbox.
#[must_use]
pub fn mailbox_object(mailbox: &str) -> String {
    format!("{mailbox};")
}

/// The mailbox of such an id.
#[must_use]
pub fn mailbox_named(object: &str) -> &str {
    object.strip_suffix(';').unwrap_or(object)
}

/// Mailbox, UIDVALIDITY and UID of a message's id; `None` for a mailbox's.
#[must_use]
pub fn place_of(object: &str) -> Option<(&str, u32, u32)> {
    let mut parts = object.rsplitn(3, ';');
    let (uid, uidvalidity, mailbox) = (parts.next()?, parts.next()?, parts.next()?);
    Some((mailbox, uidvalidity.parse().ok()?, uid.parse().ok()?))
}

/// One command for the upstream: `verb` with its arguments, in a mailbox that is open with this UIDVALIDITY.
#[must_use]
pub fn command(verb: &str, mailbox: Option<(&str, Option<u32>)>, args: &[Token]) -> Option<Call> {
    Some(Call {
        method: Method::from_str(&verb.replace(' ', "-")).ok()?,
        target: target(mailbox),
        headers: Vec::new(),
        body: CallBody::Bytes(Bytes::from(encode(args)?)),
    })
}

/// The call of an APPEND whose mail passes through: what is known before its literal.
#[must_use]
pub fn append_call(mailbox: &str, args: &[Token], size: u64) -> Option<Call> {
    let args = String::from_utf8(encode(args)?).ok().filter(|args| !args.contains('\n'))?;
    Some(Call {
        method: Method::from_str(APPEND).ok()?,
        target: target(Some((mailbox, None))),
        headers: vec![("args".to_owned(), args), ("size".to_owned(), size.to_string())],
        body: CallBody::Streamed,
    })
}

fn target(mailbox: Option<(&str, Option<u32>)>) -> String {
    match mailbox {
        None => SCHEME.to_owned(),
        Some((name, None)) => format!("{SCHEME}{}", percent(name)),
        Some((name, Some(uidvalidity))) => format!("{SCHEME}{};UIDVALIDITY={uidvalidity}", percent(name)),
    }
}

/// The verb of a call, as on the wire; `None` if the call is no IMAP command.
#[must_use]
pub fn verb(call: &Call) -> Option<String> {
    (call.target.starts_with(SCHEME) && call.method.as_str() != DEED).then(|| call.method.as_str().replace('-', " "))
}

/// Whether a call goes over IMAP and can change nothing there.
#[must_use]
pub fn only_reads(call: &Call) -> bool {
    call.target.starts_with(SCHEME)
        && (READING.contains(&call.method.as_str()) || call.method.as_str() == "GETMETADATA")
}

/// The mailbox that must be open for a call, and its UIDVALIDITY.
#[must_use]
pub fn opened(call: &Call) -> Option<(String, u32)> {
    let (name, uidvalidity) = call.target.strip_prefix(SCHEME)?.rsplit_once(";UIDVALIDITY=")?;
    let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
    Some((name.into_owned(), uidvalidity.parse().ok()?))
}

fn named<'a>(mailboxes: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
    let named = mailboxes.into_iter().filter(|name| !name.is_empty());
    named.map(|name| (MAILBOX.to_owned(), name.to_owned())).collect()
}

/// A read that an agent asks for, in this mailbox if in one. `bodies`: the messages whose texts it would read.
#[must_use]
pub fn reading(call: Call, mailbox: Option<&str>, bodies: Vec<String>) -> Part {
    let meters = if bodies.is_empty() { Vec::new() } else { vec![Meter::Read] };
    let objects =
        if bodies.is_empty() { Objects::None } else { Objects::Listed { kind: "message".to_owned(), ids: bodies } };
    let action = format!("{PROVIDER}.{}", call.method.as_str().to_ascii_lowercase());
    let content = call.digest();
    let operation = operation(action, Class::Read, "Read", objects, meters, None, content);
    Part { operation, call, params: named(mailbox), content_id: None }
}

/// An APPEND whose mail has not been read. `nonce` tells it from every other one; `uidplus`: the server says what it stored (RFC 4315).
#[must_use]
pub fn appending(call: Call, mailbox: &str, flags: &[String], size: u64, (nonce, uidplus): (u64, bool)) -> Part {
    let content = Digest::of(&[&call.digest().0, &nonce.to_be_bytes()]);
    let mut operation = operation(
        format!("{PROVIDER}.append"),
        Class::Modify,
        "Store a message",
        Objects::None,
        Vec::new(),
        uidplus.then_some("appended"),
        content,
    );
    operation.facts.push(fact("In", &text(mailbox)));
    operation.facts.push(fact("Bytes", &size.to_string()));
    if !flags.is_empty() {
        operation.facts.push(fact("Flags", &flags.join(" ")));
    }
    Part { operation, call, params: named([mailbox]), content_id: None }
}

/// The same once its mail was read: `call` as [`append_call`] made it. A mail that can't be decoded beyond doubt can only be denied where it is asked.
#[must_use]
pub fn storing(call: Call, mailbox: &str, flags: &[String], message: &Bytes, uidplus: bool) -> Part {
    let size = message.len() as u64;
    let mut part = appending(call, mailbox, flags, size, (0, uidplus));
    part.operation.content = Digest::of(&[&part.call.digest().0, message]);
    match mail::decode(message) {
        Ok(decoded) => {
            part.operation.facts.extend(mail::date(message).map(|date| fact("Date", &date)));
            part.operation.facts.extend(decoded.facts);
        }
        Err(why) => {
            part.operation.opaque = true;
            part.operation.facts.push(fact("The mail can't be decoded", &why));
        }
    }
    part.call.body = CallBody::Bytes(message.clone());
    part
}

/// Whether it is an APPEND whose mail is still to come.
#[must_use]
pub fn is_unread(call: &Call) -> bool {
    is_append(call) && call.body == CallBody::Streamed
}

/// Whether it is an APPEND.
#[must_use]
pub fn is_append(call: &Call) -> bool {
    call.target.starts_with(SCHEME) && call.method.as_str() == APPEND
}

/// Whether only the connection of whoever asks can carry it: what reads, and a mail that is still to come.
#[must_use]
pub fn needs_its_client(call: &Call) -> bool {
    verb(call).is_some() && (!is_append(call) || is_unread(call))
}

/// The mailboxes that a part names.
pub fn mailboxes(part: &Part) -> impl Iterator<Item = &str> {
    part.params.iter().filter(|(name, _)| name == MAILBOX).map(|(_, mailbox)| mailbox.as_str())
}

fn operation(
    action: String,
    class: Class,
    verb: &str,
    objects: Objects,
    meters: Vec<Meter>,
    undo: Option<&str>,
    content: Digest,
) -> Operation {
    Operation {
        action,
        class,
        verb: verb.to_owned(),
        objects,
        meters,
        audience: None,
        facts: Vec::new(),
        undo: undo.map(str::to_owned),
        soften: None,
        content,
        opaque: false,
    }
}

fn fact(label: &str, value: &str) -> Fact {
    Fact { label: label.to_owned(), value: value.to_owned() }
}

fn text(mailbox: &str) -> String {
    shown(mailbox).unwrap_or_else(|| mailbox.to_owned())
}

/// What a part's call says about its deed; `None` for reads and appends.
#[must_use]
pub fn deed_of(part: &Part) -> Option<(Deed, On)> {
    let CallBody::Bytes(body) = &part.call.body else { return None };
    (part.call.method.as_str() == DEED).then(|| serde_json::from_slice(body).ok())?
}

impl Deed {
    /// The operation that the Guard decides, with the deed inside.
    #[must_use]
    pub fn part(&self, on: &On, server: &Server) -> Part {
        if let Self::Copy { to } = self
            && server.gmail
            && (server.is_trash(to) || server.is_junk(to))
        {
            return Self::Move { to: to.clone() }.part(on, server);
        }
        let (name, class, verb, undo) = self.kind(on, server);
        let objects = self.objects(on);
        let leaves = matches!(self, Self::Move { .. }) && could_be_inbox(&on.mailbox) && class == Class::Modify;
        let leaves = leaves || self.drops_inbox_label();
        let meters = if leaves { vec![Meter::LeaveInbox] } else { Vec::new() };
        let said = serde_json::to_vec(&(self, &On { uids: Vec::new(), ..on.clone() })).unwrap_or_default();
        let mut operation =
            operation(format!("{PROVIDER}.{name}"), class, verb, objects, meters, undo, Digest::of(&[&said]));
        operation.facts = self.facts(on, server);
        operation.audience = self.audience();
        let softens = match self {
            // On Gmail a mailbox is a label: there is nothing that could lie in the Trash.
            Self::Delete { .. } if server.gmail => false,
            Self::Expunge | Self::Delete { .. } | Self::Store { .. } if class == Class::Destroy => {
                server.trash.is_some() && !server.is_in_trash(&on.mailbox)
            }
            _ => false,
        };
        operation.soften = softens.then(|| "trash".to_owned());
        let body = serde_json::to_vec(&(self, on)).unwrap_or_default();
        let call = Call {
            method: Method::from_str(DEED).unwrap_or_default(),
            target: target(Some((&on.mailbox, on.uidvalidity))),
            headers: Vec::new(),
            body: CallBody::Bytes(Bytes::from(body)),
        };
        let to = match self {
            Self::Copy { to } | Self::Move { to } | Self::Rename { to } => to.as_str(),
            _ => "",
        };
        let labels = self.labelled(server);
        // No mailbox has this name: what is for the whole server is not for an agent that may use some of it.
        let everywhere = if matches!(self, Self::Setting { .. }) && on.mailbox.is_empty() { EVERYWHERE } else { "" };
        let labels = labels.iter().map(String::as_str);
        let mailboxes = [on.mailbox.as_str(), to, everywhere].into_iter().chain(labels);
        Part { operation, call, params: named(mailboxes), content_id: None }
    }

    /// On Gmail a label is a mailbox: those that a message comes into, or leaves. Labels that are replaced may be any.
    fn labelled(&self, server: &Server) -> Vec<String> {
        let Self::Store { mode, labels: true, words, .. } = self else { return Vec::new() };
        let any = (*mode == Mode::Replace).then(|| gmail::all_mail(server));
        words.iter().map(|word| gmail::mailbox_of(word, server)).chain(any).collect()
    }

    fn objects(&self, on: &On) -> Objects {
        let messages = match self {
            Self::Setting { .. } => return Objects::None,
            Self::Store { .. } | Self::Copy { .. } | Self::Move { .. } | Self::Expunge => on.uidvalidity,
            Self::Delete { .. } => on.uidvalidity.filter(|_| !on.uids.is_empty()),
            Self::Create | Self::Rename { .. } | Self::Subscribe { .. } | Self::SetAcl { .. } => None,
        };
        match messages {
            Some(uidvalidity) => Objects::Listed {
                kind: "message".to_owned(),
                ids: on.uids.iter().map(|uid| object(&on.mailbox, uidvalidity, *uid)).collect(),
            },
            None => Objects::Listed { kind: "mailbox".to_owned(), ids: vec![mailbox_object(&on.mailbox)] },
        }
    }

    /// Whether it changes what a mailbox's name stands for, or who gets into it: between the look at such a mailbox and this no other may take its name.
    #[must_use]
    pub fn arranges(&self) -> bool {
        matches!(self, Self::Create | Self::Delete { .. } | Self::Rename { .. } | Self::SetAcl { .. })
    }

    fn drops_inbox_label(&self) -> bool {
        let Self::Store { mode, labels: true, words, .. } = self else { return false };
        let inbox = words.iter().any(|word| word.eq_ignore_ascii_case("\\Inbox"));
        (*mode == Mode::Remove && inbox) || (*mode == Mode::Replace && !inbox)
    }

    fn kind(&self, on: &On, server: &Server) -> (&'static str, Class, &'static str, Option<&'static str>) {
        let has = |words: &[String], word: &str| words.iter().any(|one| one.eq_ignore_ascii_case(word));
        let only = |words: &[String], word: &str| matches!(words, [one] if one.eq_ignore_ascii_case(word));
        match self {
            Self::Store { labels: true, mode, words, .. } => {
                // A label of the Trash's own name may be the Trash.
                let gone = |word: &String| gmail::takes_away(word) || server.is_trash(word) || server.is_junk(word);
                let gone = words.iter().any(gone);
                if gone && *mode != Mode::Remove {
                    ("store", Class::Remove, "Trash", Some("labels"))
                } else if *mode == Mode::Remove && only(words, "\\Inbox") {
                    ("store", Class::Modify, "Archive", Some("labels"))
                } else {
                    ("store", Class::Modify, "Change labels", Some("labels"))
                }
            }
            Self::Store { mode, words, .. } => match mode {
                Mode::Add | Mode::Replace if server.gmail && has(words, "\\Deleted") => {
                    ("store", Class::Destroy, "Mark as deleted", Some("expunged"))
                }
                Mode::Add | Mode::Replace if has(words, "\\Deleted") => {
                    ("store", Class::Remove, "Mark as deleted", Some("flags"))
                }
                Mode::Add if only(words, "\\Seen") => ("store", Class::Modify, "Mark as read", Some("flags")),
                Mode::Remove if only(words, "\\Seen") => ("store", Class::Modify, "Mark as unread", Some("flags")),
                Mode::Add if only(words, "\\Flagged") => ("store", Class::Modify, "Star", Some("flags")),
                Mode::Remove if only(words, "\\Flagged") => ("store", Class::Modify, "Unstar", Some("flags")),
                Mode::Add | Mode::Remove | Mode::Replace => ("store", Class::Modify, "Change flags", Some("flags")),
            },
            Self::Copy { to } if server.gmail => {
                let labels = !server.is_trash(&on.mailbox) && !server.is_junk(&on.mailbox);
                let label = gmail::label_of(to).filter(|_| labels);
                ("copy", Class::Modify, "Copy", label.map(|_| "labels"))
            }
            // Without UIDPLUS nobody hears what was made, so it can't be taken away again.
            Self::Copy { .. } => ("copy", Class::Modify, "Copy", server.uidplus.then_some("copied")),
            Self::Move { to } if server.is_trash(to) => ("move", Class::Remove, "Trash", Some("moved")),
            Self::Move { to } if server.is_junk(to) => ("move", Class::Remove, "Mark as spam", Some("moved")),
            Self::Move { .. } => ("move", Class::Modify, "Move", Some("moved")),
            Self::Expunge => ("expunge", Class::Destroy, "Delete for ever", Some("expunged")),
            Self::Create => ("create", Class::Modify, "Create", Some("created")),
            Self::Delete { .. } => {
                let verb = if on.uids.is_empty() { "Delete" } else { "Delete a mailbox of" };
                ("delete", Class::Destroy, verb, Some("renamed"))
            }
            // All that is in it and below it goes at once, however much that is: the same as its deletion.
            Self::Rename { to } if server.is_trash(to) => ("rename", Class::Destroy, "Trash", Some("renamed")),
            Self::Rename { to } if server.is_junk(to) => ("rename", Class::Destroy, "Mark as spam", Some("renamed")),
            Self::Rename { .. } => ("rename", Class::Modify, "Rename", Some("renamed")),
            Self::Subscribe { off: false } => ("subscribe", Class::Modify, "Subscribe to", Some("subscribed")),
            Self::Subscribe { off: true } => ("unsubscribe", Class::Modify, "Unsubscribe from", Some("subscribed")),
            Self::SetAcl { rights: Some(_), .. } => ("setacl", Class::Share, "Share", Some("acl")),
            Self::SetAcl { rights: None, .. } => ("deleteacl", Class::Share, "Change access to", Some("acl")),
            Self::Setting { .. } => ("setting", Class::Divert, "Change a setting of the mail server", None),
        }
    }

    fn facts(&self, on: &On, server: &Server) -> Vec<Fact> {
        match self {
            Self::Store { labels: false, .. } if self.kind(on, server).1 == Class::Destroy => {
                vec![fact("On Gmail", "What is marked is removed at once, unless its settings say otherwise")]
            }
            Self::Store { mode, words, .. } => {
                let says_all = !matches!(self.kind(on, server).2, "Change flags" | "Change labels");
                let plain = says_all && words.len() == 1 && *mode != Mode::Replace;
                if plain {
                    return Vec::new();
                }
                let label = match mode {
                    Mode::Add => "Add",
                    Mode::Remove => "Take away",
                    Mode::Replace => "Replace all by",
                };
                let words = if words.is_empty() { "(none)".to_owned() } else { words.join(" ") };
                vec![fact(label, &words)]
            }
            Self::Move { to } if server.is_trash(to) || server.is_junk(to) => Vec::new(),
            Self::Copy { to } | Self::Move { to } => vec![fact("From", &text(&on.mailbox)), fact("To", &text(to))],
            Self::Rename { to } => vec![fact("Mailbox", &text(&on.mailbox)), fact("New name", &text(to))],
            Self::Delete { messages } => {
                let mut facts =
                    vec![fact("Mailbox", &text(&on.mailbox)), fact("Messages in it", &messages.to_string())];
                if server.gmail {
                    facts.push(fact("On Gmail", "The label goes; its messages stay among all mail"));
                }
                facts
            }
            Self::SetAcl { rights: Some(rights), .. } => {
                vec![fact("Mailbox", &text(&on.mailbox)), fact("Rights", rights)]
            }
            Self::Setting { verb, args } => vec![fact("Setting", &format!("{verb} {args}"))],
            Self::SetAcl { rights: None, .. } => vec![fact("Mailbox", &text(&on.mailbox))],
            Self::Expunge | Self::Create | Self::Subscribe { .. } => Vec::new(),
        }
    }

    fn audience(&self) -> Option<Audience> {
        let Self::SetAcl { who, rights } = self else { return None };
        let role = if rights.is_some() { "gains access" } else { "loses access" };
        let member = Member { address: who.clone(), role: role.to_owned() };
        Some(Audience { members: vec![member], place: None })
    }
}

/// Whether a part can only be done to all of its objects or to none.
#[must_use]
pub fn is_whole(part: &Part) -> bool {
    matches!(deed_of(part), Some((Deed::Delete { .. }, _)))
}

/// The part on exactly these objects; `None` if it can only be done whole.
#[must_use]
pub fn restrict(part: &Part, keep: &[String]) -> Option<Part> {
    let (deed, mut on) = deed_of(part).filter(|_| !is_whole(part))?;
    let uidvalidity = on.uidvalidity?;
    let keep: std::collections::BTreeSet<&String> = keep.iter().collect();
    on.uids.retain(|uid| keep.contains(&object(&on.mailbox, uidvalidity, *uid)));
    let ids: Vec<String> = on.uids.iter().map(|uid| object(&on.mailbox, uidvalidity, *uid)).collect();
    if ids.is_empty() {
        return None;
    }
    let mut part = part.clone();
    part.operation.objects = Objects::Listed { kind: "message".to_owned(), ids };
    part.call.body = CallBody::Bytes(Bytes::from(serde_json::to_vec(&(&deed, &on)).unwrap_or_default()));
    Some(part)
}

/// UIDs in as few commands as their lines allow.
#[must_use]
pub fn chunks(uids: &[u32]) -> Vec<(Vec<u32>, Set)> {
    let mut sorted = uids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut chunks: Vec<(Vec<u32>, Set)> = Vec::new();
    let mut chunk: Vec<u32> = Vec::new();
    let mut length = 0;
    for uid in sorted {
        let joins = chunk.last().is_some_and(|last| last.checked_add(1) == Some(uid));
        length += if joins { 0 } else { 22 };
        if length > MOST_SET {
            chunks.extend(Set::of(&chunk).map(|set| (std::mem::take(&mut chunk), set)));
            length = 22;
        }
        chunk.push(uid);
    }
    chunks.extend(Set::of(&chunk).map(|set| (chunk, set)));
    chunks
}
