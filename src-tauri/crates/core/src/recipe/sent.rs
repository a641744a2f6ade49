//! Whom the person wrote to, by the account's own sent mail; and what an agent put among it, which proves nothing.

use serde_json::Value;

use super::changed;
use crate::call::Call;
use crate::catalog::Provider;
use crate::catalog::file::Undo;
use crate::classify::mail;
use crate::classify::normalise::{encode, plain_id};
use crate::classify::upload;
use crate::operation::{Class, Part};

/// The longest address that is searched for (RFC 5321 section 4.5.3.1).
const LONGEST: usize = 254;

/// Lists sent mail to an address. `None` where the provider has no way, or the address has letters that a search language could read as its own.
#[must_use]
pub fn search(provider: &Provider, params: &[(String, String)], address: &str) -> Option<Call> {
    let sent = provider.file.sent.as_ref().filter(|_| is_searchable(address))?;
    let find = sent.find.replace("{address}", &encode(address));
    Some(Call::get(provider.target(&find, params, "")?))
}

/// Whether an address has no letter that a search language could read as its own.
#[must_use]
pub(crate) fn is_searchable(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'_' | b'+' | b'-');
    let starts = |text: &str| text.bytes().next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    address.len() <= LONGEST
        && starts(local)
        && starts(domain)
        && local.bytes().chain(domain.bytes()).all(plain)
        && !domain.contains(['_', '+'])
}

/// Whether a mail server reaches the provider's mailboxes too: then an agent's mails among the sent ones can't be told from the person's.
#[must_use]
pub fn also_at(provider: &Provider, host: &str) -> bool {
    let hosts = provider.file.sent.as_ref().map_or(&[][..], |sent| &sent.also_at);
    hosts.iter().any(|known| known.eq_ignore_ascii_case(host.trim_end_matches('.')))
}

/// The ids that a search found, in its order.
#[must_use]
pub fn found(provider: &Provider, answer: &Value) -> Vec<String> {
    let Some(sent) = provider.file.sent.as_ref() else { return Vec::new() };
    let entries = answer.pointer(&sent.list).and_then(Value::as_array);
    let id = |entry: &Value| entry.pointer(&sent.id)?.as_str().filter(|id| plain_id(id)).map(str::to_owned);
    entries.into_iter().flatten().filter_map(id).collect()
}

/// Reads one message's recipients.
#[must_use]
pub fn read(provider: &Provider, params: &[(String, String)], id: &str) -> Option<Call> {
    let sent = provider.file.sent.as_ref()?;
    Some(Call::get(provider.target(&sent.read, params, id)?))
}

/// Whether a message that was read is a sent one, and names exactly this address as a recipient.
#[must_use]
pub fn went_to(provider: &Provider, answer: &Value, address: &str) -> bool {
    let Some(sent) = provider.file.sent.as_ref() else { return false };
    let labels: Vec<&str> = answer
        .pointer(&sent.labels)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !labels.contains(&sent.label.as_str()) || sent.never.iter().any(|never| labels.contains(&never.as_str())) {
        return false;
    }
    let headers = answer.pointer(&sent.headers).and_then(Value::as_array);
    let recipients = headers.into_iter().flatten().filter(|header| {
        let name = header.get("name").and_then(Value::as_str).unwrap_or_default();
        sent.names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    });
    recipients
        .filter_map(|header| header.get("value")?.as_str())
        .flat_map(mail::named_addresses)
        .any(|one| one.eq_ignore_ascii_case(address))
}

/// What an operation may put among the sent mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// These messages, which are there already, become sent ones.
    Messages(Vec<String>),
    /// A new message to these; `None`: its text can't be read, so it may name anybody. [`made`] finds its id in the answer.
    New(Option<Vec<String>>),
}

/// What the part may put among the sent mail; `None`: nothing.
#[must_use]
pub fn writes(provider: &Provider, part: &Part) -> Option<Writes> {
    let sent = provider.file.sent.as_ref()?;
    if let Some(Undo::SetDifference { set, change }) =
        part.operation.undo.as_ref().and_then(|undo| provider.file.undo.get(undo))
        && *set == sent.set
    {
        let (added, _) = changed(change, part);
        let becomes_sent = added.iter().any(|label| label.eq_ignore_ascii_case(&sent.label));
        return becomes_sent.then(|| Writes::Messages(part.operation.objects.ids().to_vec()));
    }
    let route = provider.route(&part.operation.action)?;
    let pointer = route.mail.as_deref()?;
    let waits =
        provider.file.outbox.as_ref().is_some_and(|outbox| pointer.starts_with(&format!("/{}/", outbox.message)));
    if waits && part.operation.class != Class::Send {
        return None;
    }
    let value = upload::value_of(&part.call, pointer, provider.file.json_names);
    let raw = value.as_ref().and_then(|value| mail::from_base64(value.pointer(pointer)?.as_str()?));
    let members = match &part.operation.audience {
        Some(audience) => Some(audience.members.clone()),
        None => raw.and_then(|raw| mail::decode(&raw).ok()).map(|mail| mail.audience.members),
    };
    let addresses = members.map(|members| members.into_iter().map(|one| one.address.to_ascii_lowercase()).collect());
    Some(Writes::New(addresses))
}

/// Which message the answer to such a part put among the sent mail: `Some(None)` if surely none, `None` if the answer does not tell.
#[must_use]
pub fn made(provider: &Provider, part: &Part, answer: &Value) -> Option<Option<String>> {
    let sent = provider.file.sent.as_ref()?;
    let labels = answer.pointer(&sent.labels).and_then(Value::as_array);
    let without = labels.is_some_and(|labels| labels.iter().all(|label| label.as_str() != Some(sent.label.as_str())));
    if without && part.operation.class != Class::Send {
        return Some(None);
    }
    id_of(provider, answer).map(Some)
}

/// The id in the answer to a message's creation.
#[must_use]
pub fn id_of(provider: &Provider, answer: &Value) -> Option<String> {
    Some(answer.pointer(&provider.file.sent.as_ref()?.id)?.as_str()?.to_owned())
}
