//! Mail submission (RFC 6409): from a dialogue to one operation, and from the approved operation to what leaves.
//!
//! ```text
//!   bytes ── line ──> Dialogue ── Step: Reply | Authenticate | Take (DATA) | Quit
//!   bytes ── DataFrame ──> mail ── submission(Envelope, mail) ──> Part ── submitted ──> Envelope, mail (exactly the same bytes)
//! ```
//! The envelope says who gets the mail (RFC 5321 section 2.3.1); the headers only say what readers will see.

mod data;
mod dialogue;
#[cfg(test)]
mod tests;

use std::str::FromStr as _;

use bytes::Bytes;
use http::Method;

pub use data::{DataFrame, Flaw, LONGEST_LINE, stuffed};
pub use dialogue::{Dialogue, Limits, Mechanism, Reply, Step, is_address};

use super::mail;
use crate::call::{Call, CallBody, Digest};
use crate::operation::{Audience, BOUNCES, Class, Fact, Member, Meter, Objects, Operation, Part};

/// The action of a submitted mail.
pub const SUBMIT: &str = "smtp.submit";
/// The parameter of a part for each address that a header names and that does not get the mail.
pub const NAMED: &str = "named";
const METHOD: &str = "SUBMIT";
const TARGET: &str = "smtp:/";
const FROM: &str = "mail-from";
const TO: &str = "rcpt-to";
/// As the door takes them.
const MOST_RECIPIENTS: usize = 500;
const FLAGS: &str = "mail-flags";
const BOUNCES_GO_TO: &str = "Bounces go to";
const OTHER_DOMAINS: &str = "Other domains";

/// Who sends to whom, as MAIL and RCPT say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// The reverse path; empty for a mail that nobody wants bounces of.
    pub from: String,
    /// Everybody who gets it, in order, without duplicates; domains in lower case.
    pub recipients: Vec<String>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
}

/// What submitting this mail would do. A mail that can't be decoded beyond doubt can only be denied.
#[must_use]
pub fn submission(envelope: &Envelope, message: &Bytes) -> Part {
    let call = call(envelope, message);
    let mut operation = Operation {
        action: SUBMIT.to_owned(),
        class: Class::Send,
        verb: "Send".to_owned(),
        objects: Objects::None,
        meters: vec![Meter::Send],
        audience: None,
        facts: Vec::new(),
        undo: None,
        soften: None,
        content: Digest::default(),
        opaque: false,
    };
    let mut params = Vec::new();
    match mail::decode(message) {
        Ok(mail) => {
            let named = &mail.audience.members;
            params.extend(unsent(envelope, named).map(|member| (NAMED.to_owned(), member.address.clone())));
            operation.audience = Some(audience(envelope, named));
            operation.facts = facts(envelope, named, &mail.facts);
            operation.content = content(envelope, mail.content);
        }
        Err(why) => {
            operation.class = Class::Unclassified;
            operation.meters = Vec::new();
            operation.opaque = true;
            operation.audience = Some(audience(envelope, &[]));
            operation.facts.push(fact("The mail can't be decoded", why));
            operation.content = content(envelope, Digest::of(&[message]));
        }
    }
    Part { operation, call, params, content_id: None }
}

/// Takes in whose account it is: `own` are its addresses, the one that the person writes under first; none if they are not known.
///
/// Bounces may bring the whole mail to whom the envelope names for them: unless that is the account itself, it is one that the mail reaches, beside being
/// one that gets it. Which domains are others is seen from the account, too, and not from where an agent lets bounces go.
pub fn seen_from(part: &mut Part, own: &[String]) {
    let all = |wanted: &'static str| part.call.headers.iter().filter(move |(name, _)| name == wanted);
    let from = all(FROM).map(|(_, from)| from.as_str()).next().unwrap_or_default();
    if let Some(audience) = part.operation.audience.as_mut()
        && !from.is_empty()
        && !own.iter().any(|one| one.eq_ignore_ascii_case(from))
    {
        audience.members.push(Member { address: from.to_owned(), role: BOUNCES.to_owned() });
    }
    if let (Some(home), false) = (own.first(), part.operation.opaque) {
        let others = other_domains(domain(home), all(TO).map(|(_, to)| to.as_str()));
        let facts = &mut part.operation.facts;
        facts.retain(|fact| fact.label != OTHER_DOMAINS);
        let at = facts.iter().position(|fact| fact.label == BOUNCES_GO_TO).map_or(0, |at| at + 1);
        others.into_iter().for_each(|fact| facts.insert(at, fact));
    }
}

/// The envelope that a dialogue with these addresses leads to, or what the client would hear instead.
pub fn enveloped(from: &str, to: &[String]) -> Result<Envelope, Reply> {
    let mut dialogue = Dialogue::new(Limits { mail: usize::MAX, recipients: MOST_RECIPIENTS });
    dialogue.authenticated(true);
    let recipients = to.iter().map(|one| format!("RCPT TO:<{one}>"));
    let commands = ["EHLO localhost".to_owned(), format!("MAIL FROM:<{from}>")].into_iter().chain(recipients);
    for command in commands.chain(std::iter::once("DATA".to_owned())) {
        let line = format!("{command}\r\n");
        if Dialogue::command_end(line.as_bytes())? != Some(line.len()) {
            return Err(Reply::new(501, "5.5.4", "An address has no line end"));
        }
        match dialogue.command(line.as_bytes()) {
            Step::Take(envelope) => return Ok(envelope),
            Step::Reply(reply) if reply.code < 400 => {}
            Step::Reply(reply) | Step::Close(reply) => return Err(reply),
            Step::Authenticate { .. } => {}
        }
    }
    Err(Reply::new(503, "5.5.1", "MAIL and RCPT come first"))
}

/// Who gets a mail that [`submission`] made a part of, if the person may leave some of them out.
#[must_use]
pub fn divisible(part: &Part) -> Option<Vec<&Member>> {
    let audience = part.operation.audience.as_ref().filter(|_| submits(&part.call) && !part.operation.opaque)?;
    let get: Vec<&Member> = audience.members.iter().filter(|member| member.role != BOUNCES).collect();
    (get.len() > 1).then_some(get)
}

/// The same mail to these only; `None` if it is none, or goes to nobody then, or if bounces of it would bring it to somebody who is left out. Its text still
/// names the others.
#[must_use]
pub fn restrict(part: &Part, keep: &[String]) -> Option<Part> {
    let members = divisible(part)?;
    let (kept, left): (Vec<Member>, Vec<Member>) =
        members.into_iter().cloned().partition(|member| keep.contains(&member.address));
    let bounces = part.operation.audience.iter().flat_map(|audience| &audience.members);
    let mut bounces = bounces.filter(|member| member.role == BOUNCES);
    if kept.is_empty() || bounces.any(|one| left.iter().any(|gone| gone.address.eq_ignore_ascii_case(&one.address))) {
        return None;
    }
    let mut part = part.clone();
    part.call.headers.retain(|(name, value)| name != TO || kept.iter().any(|member| member.address == *value));
    // Like everybody whom a header names without getting the mail.
    part.params.extend(left.into_iter().map(|member| (NAMED.to_owned(), member.address)));
    if let Some(audience) = &mut part.operation.audience {
        audience.members.retain(|member| member.role == BOUNCES || kept.contains(member));
    }
    Some(part)
}

/// Whether [`submission`] made a call.
#[must_use]
pub fn submits(call: &Call) -> bool {
    call.target == TARGET && call.method.as_str() == METHOD
}

/// Envelope and mail of a call that [`submission`] made; `None` for every other call, and while its mail is put aside.
#[must_use]
pub fn submitted(call: &Call) -> Option<(Envelope, Bytes)> {
    let CallBody::Bytes(message) = &call.body else { return None };
    if !submits(call) {
        return None;
    }
    let all = |wanted: &str| {
        call.headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let flags = all(FLAGS).concat();
    let envelope = Envelope {
        from: all(FROM).into_iter().next()?,
        recipients: all(TO),
        eight_bit: flags.contains("8bitmime"),
        utf8: flags.contains("smtputf8"),
    };
    (!envelope.recipients.is_empty()).then(|| (envelope, message.clone()))
}

fn call(envelope: &Envelope, message: &Bytes) -> Call {
    let mut headers = vec![(FROM.to_owned(), envelope.from.clone())];
    headers.extend(envelope.recipients.iter().map(|one| (TO.to_owned(), one.clone())));
    let flags = [(envelope.eight_bit, "8bitmime"), (envelope.utf8, "smtputf8")];
    let flags: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    headers.push((FLAGS.to_owned(), flags.join(" ")));
    Call {
        method: Method::from_str(METHOD).unwrap_or(Method::POST),
        target: TARGET.to_owned(),
        headers,
        body: CallBody::Bytes(message.clone()),
    }
}

/// The envelope's recipients. One that no header names is hidden from the others.
fn audience(envelope: &Envelope, named: &[Member]) -> Audience {
    let role = |address: &String| {
        named
            .iter()
            .find(|member| member.address.eq_ignore_ascii_case(address))
            .map_or_else(|| "hidden".to_owned(), |member| member.role.clone())
    };
    let member = |address: &String| Member { address: address.clone(), role: role(address) };
    Audience { members: envelope.recipients.iter().map(member).collect(), place: None }
}

fn facts(envelope: &Envelope, named: &[Member], decoded: &[Fact]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let from = decoded.iter().find(|fact| fact.label == "From").map(|fact| fact.value.as_str()).unwrap_or_default();
    let same = mail::only_address(from).is_some_and(|address| address.eq_ignore_ascii_case(&envelope.from));
    if !same {
        let path = if envelope.from.is_empty() { "nobody" } else { &envelope.from };
        facts.push(fact(BOUNCES_GO_TO, path.to_owned()));
    }
    facts.extend(other_domains(domain(&envelope.from), envelope.recipients.iter().map(String::as_str)));
    let unsent: Vec<&str> = unsent(envelope, named).map(|member| member.address.as_str()).collect();
    if !unsent.is_empty() {
        facts.push(fact("Named in it, but not sent to", unsent.join(", ")));
    }
    facts.extend(decoded.iter().cloned());
    facts
}

/// Where it goes besides one's own domain, if that is known.
fn other_domains<'a>(own: &str, recipients: impl Iterator<Item = &'a str>) -> Option<Fact> {
    let mut outside: Vec<&str> = recipients.map(domain).filter(|one| !one.eq_ignore_ascii_case(own)).collect();
    outside.sort_unstable();
    outside.dedup();
    (!outside.is_empty() && !own.is_empty()).then(|| fact(OTHER_DOMAINS, outside.join(", ")))
}

/// Whom a header names without getting the mail.
fn unsent<'a>(envelope: &'a Envelope, named: &'a [Member]) -> impl Iterator<Item = &'a Member> {
    let gets = |member: &Member| envelope.recipients.iter().any(|one| one.eq_ignore_ascii_case(&member.address));
    named.iter().filter(move |member| !gets(member))
}

fn content(envelope: &Envelope, mail: Digest) -> Digest {
    let mut recipients = envelope.recipients.clone();
    recipients.sort_unstable();
    let mut fields: Vec<&[u8]> = vec![b"smtp", envelope.from.as_bytes()];
    fields.extend(recipients.iter().map(String::as_bytes));
    fields.push(&mail.0);
    Digest::of(&fields)
}

fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn fact(label: &str, value: String) -> Fact {
    Fact { label: label.to_owned(), value }
}
