//! What a terminal shows of a view: plain sentences. Text from outside is escaped, because a terminal obeys control characters.

use std::fmt::Write;

use latch_ipc::contract::{JournalVerified, PanicResult, UndoResult, Verdict};
use latch_ipc::phone::{PhoneState, PhoneView};
use latch_ipc::view::{
    AccountView, AgentView, AnswerView, AskView, Class, HoldState, HoldView, ObjectView, OutboxView, QuarantineEntry,
    QuarantineView, RecordView, Reversible, StatusView, UndoView,
};
use latch_ipc::words;

/// Rows shown before `list` must be typed to see the rest.
pub const ROWS: usize = 20;
/// Characters shown of one text.
const WIDTH: usize = 200;

/// Text from outside on one line: control, bidi, zero-width and other invisible characters as visible escapes, domains outside ASCII as punycode, cut at
/// 200 characters.
#[must_use]
pub fn plain(text: &str) -> String {
    let cut = text.char_indices().nth(WIDTH).map(|(at, _)| at);
    match cut.and_then(|at| text.get(..at)) {
        Some(start) => format!("{}…", whole(start)),
        None => whole(text),
    }
}

fn whole(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !in_domain(c)) {
        let letters = word.trim_end_matches(|c: char| !in_domain(c));
        shown.push_str(&punycode(letters));
        for c in word.chars().skip(letters.chars().count()) {
            match c {
                '\n' => shown.push_str("\\n"),
                '\t' => shown.push(' '),
                c if invisible(c) => {
                    let _ = write!(shown, "\\u{{{:x}}}", c as u32);
                }
                c => shown.push(c),
            }
        }
    }
    shown
}

fn in_domain(c: char) -> bool {
    !invisible(c) && (c.is_alphanumeric() || c == '.' || c == '-')
}

/// A look-alike domain must not look alike.
fn punycode(word: &str) -> String {
    if word.is_ascii() || !word.trim_matches('.').contains('.') {
        return word.to_owned();
    }
    match url::Host::parse(word) {
        Ok(host) => host.to_string(),
        Err(_) => word.to_owned(),
    }
}

/// The same for text of several lines.
#[must_use]
pub fn plain_lines(text: &str) -> String {
    text.lines().map(whole).collect::<Vec<_>>().join("\n")
}

/// Characters that a reader can't see, or that move the ones that he can.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c as u32,
            0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff)
}

/// `12 messages`, `1 message`.
#[must_use]
pub fn counted(hold: &HoldView) -> String {
    plain(&words::counted(hold.count, &hold.noun))
}

/// `Trash 12 messages`, `Delete 214 messages for ever`.
#[must_use]
pub fn act(hold: &HoldView) -> String {
    plain(&words::act(&hold.verb, hold.count, &hold.noun))
}

/// A hold, whole, up to [`ROWS`] rows.
#[must_use]
pub fn hold(hold: &HoldView) -> String {
    let mut text = format!(
        "{} ({}) wants to: {} in {}   [{}]\n",
        plain(&hold.agent_name),
        plain(&hold.agent),
        act(hold),
        plain(&hold.account),
        hold.id
    );
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {label}{value}");
        }
    };
    line("Why it is asked: ", &sentence(&hold.why));
    line("", &format!("{} {}", reversible(hold.reversible), plain(&hold.undo_text)));
    line("Program: ", &hold.program.iter().map(|link| plain(link)).collect::<Vec<_>>().join(" < "));
    line("In the last hour: ", &recent(hold));
    line("From: ", &senders(hold));
    line("", &dates_and_marks(hold));
    if let Some(audience) = &hold.audience {
        line("Reaches: ", &audience.place.as_deref().map(plain).unwrap_or_default());
        let rows = if hold.objects.is_empty() { words::choices(hold) } else { Vec::new() };
        for member in &audience.members {
            let first = if member.first_time { "   (first time)" } else { "" };
            let at = rows.iter().position(|row| *row == member.address).filter(|_| member.role != "bounces");
            let row = at.map(|at| format!("{:>5}. ", at + 1)).unwrap_or_default();
            line("Reaches: ", &format!("{row}{} {}{first}", plain(&member.role), plain(&member.address)));
        }
    }
    for fact in &hold.facts {
        line("", &format!("{}: {}", plain(&fact.label), below(&fact.value)));
    }
    text.push_str(&rows(hold, 0, ROWS));
    if let Some(reason) = &hold.agent_reason {
        let _ = writeln!(text, "  The agent's own words, unchecked: \"{}\"", plain(reason));
    }
    text
}

/// A text of several lines begins on a line of its own, set in.
fn below(text: &str) -> String {
    if !text.trim_end().contains('\n') {
        return plain(text.trim_end_matches('\n'));
    }
    text.lines().map(|line| format!("\n      {}", plain(line))).collect()
}

/// Rows `from..from + limit` of a hold, numbered from 1.
#[must_use]
pub fn rows(hold: &HoldView, from: usize, limit: usize) -> String {
    let mut text = String::new();
    for (index, object) in hold.objects.iter().enumerate().skip(from).take(limit) {
        let _ = writeln!(text, "  {:>5}. {}", index + 1, row(object));
    }
    let shown = from.saturating_add(limit);
    if hold.objects.len() > shown {
        let _ = writeln!(text, "         and {} more; type list to see them all", hold.objects.len() - shown);
    }
    text
}

fn row(object: &ObjectView) -> String {
    if object.pending {
        return format!("{} (still being read)", plain(&object.id));
    }
    let star = if object.flags.iter().any(|flag| flag == "starred") { "★ " } else { "" };
    let title = if object.title.is_empty() { format!("(no subject) {}", object.id) } else { object.title.clone() };
    let mut text = format!("{star}{}", plain(&title));
    if let Some(from) = &object.from {
        let _ = write!(text, "  from {}", plain(from));
    }
    if let Some(day) = object.date.as_deref().and_then(|date| date.get(..10)) {
        let _ = write!(text, ", {}", plain(day));
    }
    let marks: Vec<String> = object.flags.iter().filter(|flag| *flag != "starred").map(|flag| plain(flag)).collect();
    if !marks.is_empty() {
        let _ = write!(text, "  ({})", marks.join(", "));
    }
    text
}

fn reversible(how: Reversible) -> &'static str {
    match how {
        Reversible::Yes => "It can be undone.",
        Reversible::Softened => "It goes to the Trash instead of away for ever, and can be undone.",
        Reversible::ByCopy => "It can be brought back only as a copy.",
        Reversible::UntilSent => "It can be cancelled until it leaves.",
        Reversible::No => "It can NOT be undone.",
        Reversible::Unknown => "Nobody knows whether it can be undone.",
    }
}

fn senders(hold: &HoldView) -> String {
    let listed: Vec<String> = hold
        .summary
        .senders
        .iter()
        .take(8)
        .map(|sender| format!("{} ({})", plain(&sender.sender), sender.count))
        .collect();
    let more = hold.summary.senders.len().saturating_sub(8);
    match more {
        0 => listed.join(", "),
        more => format!("{}, and {more} more senders", listed.join(", ")),
    }
}

fn dates_and_marks(hold: &HoldView) -> String {
    let day = |date: &Option<String>| date.as_deref().and_then(|date| date.get(..10)).map(plain);
    let mut parts = Vec::new();
    match (day(&hold.summary.oldest), day(&hold.summary.newest)) {
        (Some(oldest), Some(newest)) if oldest == newest => parts.push(format!("Of {oldest}.")),
        (Some(oldest), Some(newest)) => parts.push(format!("From {oldest} to {newest}.")),
        (Some(_), None) | (None, Some(_)) | (None, None) => {}
    }
    let marks =
        [(hold.summary.starred, "starred"), (hold.summary.unread, "unread"), (hold.summary.important, "important")];
    let marks: Vec<String> =
        marks.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if !marks.is_empty() {
        parts.push(format!("{}.", marks.join(", ")));
    }
    parts.join(" ")
}

fn recent(hold: &HoldView) -> String {
    let mut parts: Vec<String> =
        hold.recent.last_hour.iter().map(|entry| format!("{} {}", entry.count, done(entry.class))).collect();
    if hold.recent.denied > 0 {
        parts.push(format!("{} denied", hold.recent.denied));
    }
    parts.join(", ")
}

fn done(class: Class) -> &'static str {
    match class {
        Class::Read => "read",
        Class::Modify => "changed",
        Class::Remove => "removed",
        Class::Unclassified => "of unknown effect",
        Class::Send => "sent",
        Class::Publish => "published",
        Class::Share => "shared",
        Class::Destroy => "destroyed",
        Class::Spend => "spent",
        Class::Divert => "diverted",
    }
}

fn sentence(text: &str) -> String {
    let text = plain(text);
    let mut letters = text.chars();
    let text: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    match text.ends_with(['.', '!', '?']) || text.is_empty() {
        true => text,
        false => format!("{text}."),
    }
}

/// What may be typed at a hold.
#[must_use]
pub fn choices(hold: &HoldView) -> String {
    let mut text = format!("{}? Only Enter: {}. To let it happen, type allow.", act(hold), plain(&hold.keep));
    if hold.partial && hold.objects.is_empty() {
        text.push_str(" To let it reach only some of them (its text still names the others): allow 1,3-5.");
    } else if hold.partial && hold.count > 1 {
        text.push_str(" To allow only some rows: allow 1,3-5.");
    }
    if hold.task_scope {
        text.push_str(" For these again in the next 15 minutes too: allow task.");
    }
    if let Some(rule) = hold.rules.first() {
        let _ =
            write!(text, " In the next 15 minutes also for {} (never starred ones): allow rule.", plain(&rule.text));
    }
    if hold.memorable {
        text.push_str(
            " To say no to the same kind of request for 15 minutes: no task; until you take it back: no always.",
        );
    }
    if hold.forever {
        text.push_str(" To delete for ever: for ever.");
    }
    text.push_str(" Also: list, later, panic.\n");
    text
}

/// One line for a list of holds.
#[must_use]
pub fn hold_line(hold: &HoldView) -> String {
    let state = match hold.state {
        HoldState::Preparing => "being read",
        HoldState::Open => "waits",
        HoldState::Proposal => "proposed",
        HoldState::Allowed => "allowed",
        HoldState::AllowedInPart => "allowed in part",
        HoldState::Denied => "denied",
        HoldState::Expired => "expired",
    };
    format!(
        "{}  {} wants to: {} in {}  ({state}, until {})\n",
        plain(&hold.id),
        plain(&hold.agent),
        act(hold),
        plain(&hold.account),
        plain(&hold.expires_at)
    )
}

/// Answers that go on.
#[must_use]
pub fn answers(answers: &[AnswerView]) -> String {
    if answers.is_empty() {
        return "No answer of yours goes on.\n".to_owned();
    }
    let line = |answer: &AnswerView| {
        let verdict = match answer.verdict {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
        };
        let until = answer
            .expires_at
            .as_deref()
            .map_or("until you take it back".to_owned(), |end| format!("until {}", plain(end)));
        format!(
            "{}  {verdict} to {}: {} in {}: {}; {until}\n",
            plain(&answer.id),
            plain(&answer.agent),
            plain(&answer.verb),
            plain(&answer.account),
            plain(&answer.text)
        )
    };
    answers.iter().map(line).collect()
}

/// An ask.
#[must_use]
pub fn ask(ask: &AskView) -> String {
    let mut text = format!("{}   [{}]\n", plain(&ask.text), plain(&ask.id));
    if !ask.program.is_empty() {
        let chain: Vec<String> = ask.program.iter().map(|link| plain(link)).collect();
        let _ = writeln!(text, "  Asked by: {}", chain.join(" < "));
    }
    text
}

/// What an ask may be answered with.
pub const ASK_CHOICES: &str = "Only Enter: no. To let it happen, type allow. Also: later, panic.\n";

/// The engine as a whole.
#[must_use]
pub fn status(status: &StatusView) -> String {
    let mut text = String::new();
    if status.panicked {
        let why = status.panicked_why.as_deref().map_or("Somebody pressed Panic.".to_owned(), sentence);
        let _ = writeln!(text, "PANICKED: nothing runs until you resume. {why}");
    } else {
        let _ = writeln!(text, "Latchstring {} runs.", plain(&status.version));
    }
    let _ = writeln!(text, "Home: {}", plain(&status.home));
    for (name, door) in [
        ("HTTP door", &status.doors.http),
        ("IMAP door", &status.doors.imap),
        ("SMTP door", &status.doors.smtp),
        ("Sieve door", &status.doors.sieve),
        ("Control socket", &status.doors.control),
    ] {
        if let Some(door) = door {
            let _ = writeln!(text, "{name}: {}", plain(door));
        }
    }
    let locked = if status.vault_locked { ", locked" } else { "" };
    let _ = writeln!(text, "Vault: {}{locked}", plain(&status.vault));
    if let Some(why) = &status.vault_why {
        let _ = writeln!(text, "Nothing is let through: {}", sentence(why));
    }
    let who = match status.owner.as_str() {
        "tray" => "the tray asks you",
        "terminal" => "its terminal asks you",
        _ => "nobody is attached: what needs you is denied",
    };
    let _ = writeln!(text, "Questions: {who}. {} waiting.", status.waiting);
    let _ = writeln!(text, "{}, {}.", number(status.accounts, "account"), number(status.agents, "agent"));
    for one in status.phone.iter().filter(|one| one.state != PhoneState::Off) {
        text.push_str(&phone(one));
    }
    for start in &status.starts {
        let _ = writeln!(text, "Since you last looked: {}", sentence(start));
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "Warning: {}", sentence(warning));
    }
    text
}

/// How an account's stop mail is.
#[must_use]
pub fn phone(phone: &PhoneView) -> String {
    let state = match phone.state {
        PhoneState::Off => "off",
        PhoneState::Starting => "starting",
        PhoneState::Watching => "on",
        PhoneState::Offline => "OFFLINE",
        PhoneState::Stopped => "at rest",
    };
    let since = phone.since.as_deref().map(|since| format!(" since {}", plain(since))).unwrap_or_default();
    format!("Phone stop of {}: {state}{since}. {}\n", plain(&phone.account), sentence(&phone.text))
}

fn number(count: u32, noun: &str) -> String {
    number_of(u64::from(count), noun)
}

fn number_of(count: u64, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Every account.
#[must_use]
pub fn accounts(accounts: &[AccountView]) -> String {
    if accounts.is_empty() {
        return "No account yet.\n".to_owned();
    }
    let mut text = String::new();
    for account in accounts {
        let _ = write!(
            text,
            "{}: {} at {} ({})",
            plain(&account.id),
            plain(&account.provider),
            plain(&account.origin),
            plain(&account.credential)
        );
        if let Some(address) = &account.address {
            let _ = write!(text, ", mail address {}", plain(address));
        }
        if let Some(server) = &account.sends_through {
            let _ = write!(text, ", sends through {}", plain(server));
        }
        if let Some(server) = &account.filters_at {
            let _ = write!(text, ", filters at {}", plain(server));
        }
        match &account.failing {
            Some(why) => {
                let _ = writeln!(text, ", does not work: {}", sentence(why));
            }
            None => text.push('\n'),
        }
    }
    text
}

/// Every agent with its grants.
#[must_use]
pub fn agents(agents: &[AgentView]) -> String {
    if agents.is_empty() {
        return "No agent yet.\n".to_owned();
    }
    let mut text = String::new();
    for agent in agents {
        let _ = write!(text, "{}: {}", plain(&agent.id), plain(&agent.name));
        match (agent.stopped, &agent.paused_until) {
            (true, _) => text.push_str(", stopped"),
            (false, Some(until)) => {
                let _ = write!(text, ", paused until {}", plain(until));
            }
            (false, None) => {}
        }
        let _ = writeln!(text, ", {}", number(agent.tokens, "live token"));
        if agent.grants.is_empty() {
            text.push_str("  may do nothing yet\n");
        }
        for grant in &agent.grants {
            let until =
                grant.expires_at.as_deref().map(|until| format!(", until {}", plain(until))).unwrap_or_default();
            let _ = writeln!(
                text,
                "  {} on {}: {}. {}{until}",
                plain(&grant.id),
                plain(&grant.account),
                plain(&grant.preset),
                sentence(&grant.summary)
            );
        }
    }
    text
}

/// What can be undone.
#[must_use]
pub fn undos(entries: &[UndoView]) -> String {
    if entries.is_empty() {
        return "There is nothing to undo.\n".to_owned();
    }
    let mut text = String::new();
    for entry in entries {
        let undone = if entry.undone { " (undone)" } else { "" };
        let limits = entry.limits.as_deref().map(|limits| format!(" {}", sentence(limits))).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}  {}  {}: {} in {}.{limits}{undone}",
            plain(&entry.entry),
            plain(&entry.at),
            plain(&entry.agent),
            plain(&entry.text),
            plain(&entry.account)
        );
    }
    text
}

/// What undo did.
#[must_use]
pub fn undone(result: &UndoResult) -> String {
    let mut text = format!("{} put back.\n", result.restored);
    for left in &result.not_restored {
        let _ = writeln!(text, "Not put back: {}: {}", plain(&left.object), sentence(&left.why));
    }
    text
}

/// What panic did.
#[must_use]
pub fn panicked(result: &PanicResult) -> String {
    let cut = &result.cut;
    format!(
        "Stopped. Cut: {}, {}, {}. Nothing runs until you resume in the tray or in the terminal of `latch serve`.\n",
        number(cut.connections, "connection"),
        number(cut.tokens, "token"),
        number(cut.holds, "waiting request")
    )
}

/// Journal records, one a line.
#[must_use]
pub fn records(records: &[RecordView]) -> String {
    if records.is_empty() {
        return "The journal is empty.\n".to_owned();
    }
    let mut text = String::new();
    for record in records {
        let who = record.agent.as_deref().map(|agent| format!(" {}", plain(agent))).unwrap_or_default();
        let what = record
            .action
            .as_deref()
            .map(|action| format!(" {} of {}", plain(action), record.count))
            .unwrap_or_default();
        let said = if record.text.is_empty() { String::new() } else { format!(": {}", plain(&record.text)) };
        let undo = record.undo.as_deref().map(|undo| format!(" [undo {}]", plain(undo))).unwrap_or_default();
        let (at, kind) = (plain(&record.at), plain(&record.kind));
        let _ = writeln!(text, "{:>6}  {at}  {kind}{who}{what}{said}{undo}", record.seq);
    }
    text
}

/// Whether the record is whole.
#[must_use]
pub fn verified(result: &JournalVerified) -> String {
    match (result.ok, result.broken_at) {
        (true, _) => format!("The journal is whole: {} checked.\n", number_of(result.records, "record")),
        (false, Some(seq)) => format!(
            "The journal was CHANGED or damaged: record {seq} does not fit the {} before it. Don't trust it from there on.\n",
            number_of(result.records, "record")
        ),
        (false, None) => {
            "The journal was CHANGED or damaged: it ends before the vault's mark. Records are missing at its end.\n"
                .to_owned()
        }
    }
}

/// What is in the quarantine.
#[must_use]
pub fn copies(quarantine: &QuarantineView) -> String {
    if quarantine.items == 0 {
        return "There are no copies of what was deleted for ever.\n".to_owned();
    }
    let size = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
    let mut text = String::new();
    for QuarantineEntry { undo, items, bytes } in &quarantine.entries {
        let of = undo.as_ref().map_or_else(
            || "nobody knows of what any more".to_owned(),
            |undo| {
                let (entry, at, agent) = (plain(&undo.entry), plain(&undo.at), plain(&undo.agent));
                format!("{entry}  {at}  {agent}: {} in {}", plain(&undo.text), plain(&undo.account))
            },
        );
        let _ = writeln!(text, "{items:>5}, {:>9}  {of}", size(*bytes));
    }
    let _ = writeln!(text, "{} in all, {} of {}", quarantine.items, size(quarantine.bytes), size(quarantine.limit));
    text
}

/// What waits to be sent.
#[must_use]
pub fn outbox(mails: &[OutboxView]) -> String {
    if mails.is_empty() {
        return "Nothing waits to be sent.\n".to_owned();
    }
    let mut text = String::new();
    for mail in mails {
        let frozen = if mail.frozen { "held back" } else { "leaves" };
        let to: Vec<String> = mail.recipients.iter().map(|to| plain(to)).collect();
        let _ = writeln!(
            text,
            "{}  {} from {}: \"{}\" to {} ({frozen} {})",
            plain(&mail.id),
            plain(&mail.agent),
            plain(&mail.account),
            plain(&mail.subject),
            to.join(", "),
            plain(&mail.sends_at)
        );
    }
    text
}
