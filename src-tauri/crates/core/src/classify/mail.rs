//! What a mail says: everybody who gets it, what they will read, and a digest of it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail_parser::parsers::MessageStream;
use mail_parser::{Address, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::call::Digest;
use crate::operation::{Audience, Fact, Member};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_encode_padding(false);
/// Google's `raw`: base64url, padding optional.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
/// Headers that reach somebody, with the role that the person sees.
const RECIPIENTS: [(&str, &str); 6] =
    [("to", "to"), ("cc", "cc"), ("bcc", "bcc"), ("resent-to", "to"), ("resent-cc", "cc"), ("resent-bcc", "bcc")];
/// Headers that differ between two tries of the same mail.
const INCIDENTAL: [&str; 5] = ["date", "message-id", "content-type", "content-transfer-encoding", "mime-version"];

/// Headers that may stand once (RFC 5322 section 3.6, RFC 2045): readers disagree about which of two counts.
const ONCE: [&str; 7] =
    ["from", "sender", "reply-to", "subject", "content-type", "content-transfer-encoding", "mime-version"];

/// Headers by which something goes to somebody else, or comes from them, with what the person reads of it.
const OTHERS: [(&str, &str); 9] = [
    ("sender", "Handed in by"),
    ("resent-from", "Sent on by"),
    ("resent-sender", "Sent on by"),
    ("mail-reply-to", "Replies go to"),
    ("mail-followup-to", "Replies to all go to"),
    ("disposition-notification-to", "Read receipts go to"),
    ("return-receipt-to", "Read receipts go to"),
    ("x-confirm-reading-to", "Read receipts go to"),
    ("errors-to", "Bounces go to"),
];

/// More headers, its own and those of its parts, and more parts than any mail has. Each takes memory, however short it is.
const MOST_HEADERS: usize = 10_000;
const MOST_FIELDS: usize = 1_000_000;
const MOST_PARTS: usize = 50_000;

/// Gmail takes 500; comparing more would cost time.
const MOST_RECIPIENTS: usize = 1000;

/// A decoded mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    /// Everybody who gets it.
    pub audience: Audience,
    /// What the person sees of it.
    pub facts: Vec<Fact>,
    /// Recipients, headers, text and attachments, without what differs between two tries.
    pub content: Digest,
}

/// Reads base64url, and plain base64 as lenient servers do.
#[must_use]
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let plain: String = text
        .chars()
        .filter(|letter| !letter.is_ascii_whitespace())
        .map(|letter| match letter {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    BASE64URL.decode(plain).ok()
}

/// Writes base64url without padding.
#[must_use]
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// Decodes a mail, or says why it can't be understood beyond doubt.
pub(crate) fn decode(raw: &[u8]) -> Result<Mail, String> {
    let headers = headers(raw)?;
    crowded(raw)?;
    if let Some(name) = ONCE.iter().find(|name| headers.iter().filter(|(header, _)| header == *name).count() > 1) {
        return Err(format!("its {name} header stands there twice"));
    }
    let message = MessageParser::default().parse(raw).ok_or("it is not a mail")?;
    let audience = Audience { members: recipients(&headers)?, place: None };
    let facts = facts(&headers, &message);
    let content = content(&headers, &audience, &message);
    Ok(Mail { audience, facts, content })
}

/// Refuses what would take far more memory than its bytes.
fn crowded(raw: &[u8]) -> Result<(), String> {
    let (mut fields, mut parts) = (0_usize, 0_usize);
    for line in raw.split(|byte| *byte == b'\n') {
        let name = line.iter().position(|byte| !byte.is_ascii_graphic() || *byte == b':');
        fields += usize::from(name.is_some_and(|end| line.get(end) == Some(&b':')));
        parts += usize::from(line.starts_with(b"--"));
    }
    match () {
        () if fields > MOST_FIELDS => Err(format!("it has more than {MOST_FIELDS} lines that may be headers")),
        () if parts > MOST_PARTS => Err(format!("it has more than {MOST_PARTS} lines that may begin a part")),
        () => Ok(()),
    }
}

/// When a mail says that it was written.
#[must_use]
pub(crate) fn date(raw: &[u8]) -> Option<String> {
    MessageParser::default().parse_headers(raw)?.date().map(mail_parser::DateTime::to_rfc3339)
}

/// Everybody whom a mail's headers could be read to name as a recipient; `None` if that can't be told.
#[must_use]
pub(crate) fn everybody(raw: &[u8]) -> Option<Vec<String>> {
    let members = recipients(&headers(raw).ok()?).ok()?;
    Some(members.into_iter().map(|member| member.address.to_ascii_lowercase()).collect())
}

/// The header block, unfolded: lower-case name and raw value. Refused where servers disagree about where a header starts.
fn headers(raw: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in raw.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(headers);
        }
        if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err("a header line has a bare carriage return or a zero byte".to_owned());
        }
        let text = String::from_utf8_lossy(line);
        if text.starts_with([' ', '\t']) {
            let (_, value) = headers.last_mut().ok_or("it starts with a folded line")?;
            value.push_str(&text);
            continue;
        }
        let (name, value) = text.split_once(':').ok_or("a header line has no colon")?;
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a header's name has a space or a letter outside ASCII".to_owned());
        }
        if headers.len() >= MOST_HEADERS {
            return Err(format!("it has more than {MOST_HEADERS} headers"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(headers)
}

fn recipients(headers: &[(String, String)]) -> Result<Vec<Member>, String> {
    let mut members: Vec<Member> = Vec::new();
    for (name, value) in headers {
        let Some((_, role)) = RECIPIENTS.iter().find(|(header, _)| header == name) else { continue };
        let mut found = addresses(value);
        found.extend(tokens(value).ok_or_else(|| format!("its {role} header has an open quote"))?);
        if found.is_empty() && value.chars().any(char::is_alphanumeric) && !value.contains(':') {
            return Err(format!("its {role} header names nobody that can be understood"));
        }
        if found.len() > 2 * MOST_RECIPIENTS || members.len() > MOST_RECIPIENTS {
            return Err(format!("it has more than {MOST_RECIPIENTS} recipients"));
        }
        for address in found {
            if !members.iter().any(|member| member.address == address) {
                members.push(Member { address, role: (*role).to_owned() });
            }
        }
    }
    Ok(members)
}

/// The one address of a header such as From, in lower case; `None` if it could be read as naming none or several.
#[must_use]
pub(crate) fn only_address(value: &str) -> Option<String> {
    let parsed = addresses(value);
    let [one] = parsed.as_slice() else { return None };
    let agree = tokens(value)?.iter().all(|other| other.eq_ignore_ascii_case(one));
    (agree && one.is_ascii()).then(|| one.to_ascii_lowercase())
}

/// The addresses that a recipient header surely names, in lower case.
#[must_use]
pub(crate) fn named_addresses(value: &str) -> Vec<String> {
    addresses(value).iter().map(|one| one.to_ascii_lowercase()).collect()
}

fn addresses(value: &str) -> Vec<String> {
    let text = format!("{value}\r\n");
    match MessageStream::new(text.as_bytes()).parse_address() {
        HeaderValue::Address(list) => bare(&list),
        _ => Vec::new(),
    }
}

fn bare(list: &Address<'_>) -> Vec<String> {
    list.iter().filter_map(|one| one.address.as_deref()).filter(|one| one.contains('@')).map(address).collect()
}

/// Whatever else in a recipient header could be read as an address: better one too many than one too few. `None` if a quote stays open.
fn tokens(value: &str) -> Option<Vec<String>> {
    let mut plain = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for letter in value.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted => plain.push(letter),
            _ => {}
        }
    }
    if quoted || escaped {
        return None;
    }
    let tokens = plain
        .split(|letter: char| letter.is_whitespace() || "<>,;:()\"".contains(letter))
        .filter(|token| token.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty()));
    Some(tokens.map(address).collect())
}

/// The bare address with its domain in lower case.
#[must_use]
pub(crate) fn address(text: &str) -> String {
    let text = text.trim();
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_lowercase()),
        None => text.to_owned(),
    }
}

fn facts(headers: &[(String, String)], message: &Message<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |label: &str, value: String| {
        if !value.trim().is_empty() {
            facts.push(Fact { label: label.to_owned(), value });
        }
    };
    let all = |name: &str| {
        headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    add("From", from(&all("from"), message));
    add("To", all("to"));
    add("Cc", all("cc"));
    add("Bcc", all("bcc"));
    let own = message.from().map(bare).unwrap_or_default();
    let replies = message.reply_to().map(bare).unwrap_or_default();
    if replies.is_empty() {
        // Another reader may make something of it.
        add("Replies go to", all("reply-to"));
    } else if replies != own {
        add("Replies go to", replies.join(", "));
    }
    for (name, label) in OTHERS {
        let value = all(name);
        if addresses(&value) != own {
            add(label, value);
        }
    }
    add("Subject", message.subject().unwrap_or_default().to_owned());
    let texts = (0..message.text_body_count()).filter_map(|at| message.body_text(at));
    let text = texts.map(|text| text.replace("\r\n", "\n")).collect::<Vec<_>>().join("\n");
    let html = message.html_bodies().filter_map(html_text).collect::<Vec<_>>().join("\n");
    if message.text_bodies().any(|part| matches!(part.body, PartType::Text(_))) && words(&html) != words(&text) {
        add("Text in HTML, which most readers show", html);
    }
    add("Text", text);
    for part in message.attachments() {
        add("Attachment", attachment(part));
    }
    for part in &message.parts {
        if part.is_content_type("text", "calendar") {
            let method = part.content_type().and_then(|kind| kind.attribute("method")).unwrap_or("calendar data");
            add("Invitation", method.to_owned());
        }
    }
    facts
}

/// Everybody whom it says to be from; as it is written where readers could see somebody else, too.
fn from(value: &str, message: &Message<'_>) -> String {
    let list: Vec<_> = message.from().into_iter().flat_map(Address::iter).collect();
    let known = |other: &String| {
        list.iter().any(|one| one.address.as_deref().is_some_and(|address| address.eq_ignore_ascii_case(other)))
    };
    if !tokens(value).is_some_and(|all| all.iter().all(known)) {
        return value.to_owned();
    }
    let named = list.iter().filter_map(|one| {
        let address = one.address.as_deref()?;
        Some(one.name.as_deref().map_or_else(|| address.to_owned(), |name| format!("{name} <{address}>")))
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() { value.to_owned() } else { named.join(", ") }
}

fn html_text(part: &MessagePart<'_>) -> Option<String> {
    match &part.body {
        PartType::Html(html) => Some(mail_parser::decoders::html::html_to_text(html)),
        _ => None,
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn attachment(part: &MessagePart<'_>) -> String {
    let name = part.attachment_name().unwrap_or("without a name");
    let kind = part.content_type().map(|kind| match &kind.c_subtype {
        Some(subtype) => format!("{}/{subtype}", kind.c_type),
        None => kind.c_type.to_string(),
    });
    format!("{name} ({}, {})", kind.as_deref().unwrap_or("unknown type"), size(part.contents().len()))
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KB", bytes.div_ceil(1024)),
        _ => format!("{} MB", bytes.div_ceil(1_048_576)),
    }
}

fn content(headers: &[(String, String)], audience: &Audience, message: &Message<'_>) -> Digest {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for member in &audience.members {
        fields.push(format!("{} {}", member.role, member.address).into_bytes());
    }
    for (name, value) in headers.iter().filter(|(name, _)| !INCIDENTAL.contains(&name.as_str())) {
        fields.push(format!("{name}: {}", words(value).join(" ")).into_bytes());
    }
    parts(message, &mut fields);
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    Digest::of(&fields)
}

fn parts(message: &Message<'_>, fields: &mut Vec<Vec<u8>>) {
    for part in &message.parts {
        let kind = part.content_type().map(|kind| {
            let mut text = format!("{}/{}", kind.c_type, kind.c_subtype.as_deref().unwrap_or_default()).to_lowercase();
            for attribute in kind.attributes.iter().flatten().filter(|one| !one.name.eq_ignore_ascii_case("boundary")) {
                text.push_str(&format!(";{}={}", attribute.name, attribute.value));
            }
            text
        });
        fields.push(kind.unwrap_or_default().into_bytes());
        fields.push(part.attachment_name().unwrap_or_default().as_bytes().to_vec());
        let bytes: Vec<u8> = match &part.body {
            PartType::Text(text) | PartType::Html(text) => text.replace("\r\n", "\n").into_bytes(),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.to_vec(),
            PartType::Message(_) => part.contents().to_vec(),
            PartType::Multipart(children) => format!("{} parts", children.len()).into_bytes(),
        };
        fields.push(Digest::of(&[&bytes]).0.to_vec());
    }
}
