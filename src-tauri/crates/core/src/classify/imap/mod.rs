//! IMAP (RFC 9051, RFC 3501 and the extensions that each module names): what an agent's commands would do.
//!
//! ```text
//!   bytes ── announced ──> Pieces ── tokens ──> Command ──┬─ reads: re-written and passed on, on a connection that EXAMINE made read-only
//!                                                         └─ changes: every message named by UID and UIDVALIDITY ──> Deed ──> Operation
//!   Deed ── steps ──> Calls, each leased and recorded         upstream ── reply ──> what the guard must know
//! ```
//! What is not understood has no way upstream.

pub mod capability;
pub mod command;
pub mod deed;
pub mod fetch;
pub mod gmail;
mod list;
pub mod name;
pub mod reply;
mod search;
pub mod sent;
pub mod server;
pub mod set;
pub mod steps;
#[cfg(test)]
mod tests;
pub mod token;

use crate::operation::{Class, Meter, Objects, Operation, Part};
use command::Command;
use deed::{Deed, On, Server};

/// What a command would be, without any server: for explanations. `None` for those that do nothing upstream.
#[must_use]
pub fn explained(command: &Command) -> Option<Operation> {
    let server = Server {
        trash: Some("Trash".to_owned()),
        junk: Some("Junk".to_owned()),
        sent: Some("Sent".to_owned()),
        delimiter: Some('/'),
        moves: true,
        uidplus: true,
        ..Server::default()
    };
    let on =
        |mailbox: &str, uidvalidity: Option<u32>| On { mailbox: mailbox.to_owned(), uidvalidity, uids: Vec::new() };
    let part = |deed: &Deed, on: &On| Some(deed.part(on, &server));
    // The messages are whatever the selected mailbox holds at that moment.
    let chosen = |deed: &Deed, set: &set::Set| {
        let mut part = deed.part(&on(name::INBOX, Some(1)), &server);
        part.operation.objects = inside(set);
        Some(part)
    };
    let part: Option<Part> = match command {
        Command::Store { set, mode, labels, words, unchanged_since, .. } => {
            let deed =
                Deed::Store { mode: *mode, labels: *labels, words: words.clone(), unchanged_since: *unchanged_since };
            chosen(&deed, set)
        }
        Command::Copy { set, to, .. } => chosen(&Deed::Copy { to: to.clone() }, set),
        Command::Move { set, to, .. } => chosen(&Deed::Move { to: to.clone() }, set),
        Command::Expunge { set } => {
            chosen(&Deed::Expunge, set.as_ref().unwrap_or(&set::Set::Ranges(vec![(Some(1), None)])))
        }
        Command::Close => chosen(&Deed::Expunge, &set::Set::Ranges(vec![(Some(1), None)])),
        Command::Create { mailbox } => part(&Deed::Create, &on(mailbox, None)),
        Command::Delete { mailbox } => part(&Deed::Delete { messages: 0 }, &on(mailbox, None)),
        Command::Rename { mailbox, to } => part(&Deed::Rename { to: to.clone() }, &on(mailbox, None)),
        Command::Subscribe { mailbox, off } => part(&Deed::Subscribe { off: *off }, &on(mailbox, None)),
        Command::SetAcl { mailbox, who, rights } => {
            part(&Deed::SetAcl { who: who.clone(), rights: rights.clone() }, &on(mailbox, None))
        }
        Command::Setting { mailbox, verb, args } => {
            let deed = Deed::Setting { verb: verb.clone(), args: steps::written(args)? };
            part(&deed, &on(mailbox.as_deref().unwrap_or_default(), None))
        }
        Command::Append(append) => {
            let call = deed::append_call(&append.mailbox, &[], append.literal.size)?;
            Some(deed::appending(call, &append.mailbox, &append.flags, append.literal.size, (0, true)))
        }
        Command::Fetch { uid, set, bodies, .. } => {
            let call = deed::command(if *uid { "UID FETCH" } else { "FETCH" }, None, &[])?;
            let mut part = deed::reading(call, None, Vec::new());
            if *bodies {
                part.operation.objects = inside(set);
                part.operation.meters = vec![Meter::Read];
            }
            Some(part)
        }
        Command::Search { verb, .. } | Command::Look { verb, .. } => {
            deed::command(verb, None, &[]).map(|call| deed::reading(call, None, Vec::new()))
        }
        Command::Select { .. } => deed::command("EXAMINE", None, &[]).map(|call| deed::reading(call, None, Vec::new())),
        Command::Capability
        | Command::Noop
        | Command::Logout
        | Command::Id
        | Command::Login { .. }
        | Command::Authenticate { .. }
        | Command::Enable(_)
        | Command::Unselect
        | Command::Idle => None,
    };
    let mut operation = part?.operation;
    if operation.class != Class::Read && matches!(operation.objects, Objects::Within { .. }) {
        operation.facts.retain(|fact| fact.label != "From");
    }
    Some(operation)
}

/// What storing this mail would be.
#[must_use]
pub fn explained_append(append: &command::Append, message: &bytes::Bytes) -> Option<Operation> {
    let call = deed::append_call(&append.mailbox, &[], append.literal.size)?;
    Some(deed::storing(call, &append.mailbox, &append.flags, message, true).operation)
}

fn inside(set: &set::Set) -> Objects {
    match set.numbers(10_000) {
        Some(numbers) => {
            Objects::Listed { kind: "message".to_owned(), ids: numbers.iter().map(u32::to_string).collect() }
        }
        None => Objects::Within { kind: "message".to_owned(), container: "set".to_owned(), ids: vec![set.to_string()] },
    }
}
