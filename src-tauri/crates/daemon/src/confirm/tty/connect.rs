//! How an agent's mail program reaches an account: an address on this machine, the account's id, and a token that soon ends.

use std::net::SocketAddr;

use latch_core::classify::imap::name;
use latch_ipc::Client;
use latch_ipc::client::CallError;
use latch_ipc::contract::{AccountList, Empty, StatusCall};
use latch_ipc::view::{AccountView, DoorsView};

use super::show::plain;

/// Which program's settings are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// himalaya from 2.0 on.
    Himalaya,
    /// himalaya up to 1.x.
    Himalaya1,
}

/// How an account is reached, for a person.
#[must_use]
pub fn how(account: &AccountView, doors: &DoorsView) -> String {
    let id = plain(&account.id);
    if account.provider != "imap" {
        return match &doors.http {
            Some(door) if account.provider == "dav" => format!(
                "Calendar programs reach {id} at {}/{id}/\n  user name {id}, password: an access token of the agent (latch token AGENT)\n",
                plain(door)
            ),
            Some(door) => format!("Agents reach {id} at {}/{id}, with an access token.\n", plain(door)),
            None => format!("{id} can't be reached: the HTTP door is closed.\n"),
        };
    }
    let Some(imap) = place(doors.imap.as_deref()) else {
        return format!(
            "Mail programs can't reach {id} yet: the IMAP door is closed. The tray app opens it, and latch serve --imap 127.0.0.1:PORT.\n"
        );
    };
    let whose = account.address.as_deref().map(|address| format!(" ({})", plain(address))).unwrap_or_default();
    let mut text =
        format!("Mail programs reach {id}{whose} on this machine:\n  IMAP server {}, port {}", imap.ip(), imap.port());
    if let Some(smtp) = sending(account, doors) {
        text.push_str(&format!("; SMTP server {}, port {}", smtp.ip(), smtp.port()));
    }
    if let Some(sieve) = filtering(account, doors) {
        text.push_str(&format!("; ManageSieve server {}, port {}", sieve.ip(), sieve.port()));
    }
    text.push_str(&format!(
        "; no encryption\n  user name {id}, password: an access token of the agent (latch token AGENT)\n"
    ));
    text
}

/// Settings for a program, ready for its file; why there are none, else.
pub fn settings(
    program: Program,
    account: &AccountView,
    doors: &DoorsView,
    agent: Option<&str>,
) -> Result<String, String> {
    if account.provider != "imap" {
        return Err(format!("{} is no mailbox that is reached over IMAP.", plain(&account.id)));
    }
    let imap = place(doors.imap.as_deref()).ok_or_else(|| {
        "The IMAP door is closed: the tray app opens it, and latch serve --imap 127.0.0.1:PORT.".to_owned()
    })?;
    let smtp = sending(account, doors);
    let id = &account.id;
    let token = agent.map_or("latch token".to_owned(), |agent| format!("latch token {agent}"));
    let email = match &account.address {
        Some(address) => quoted(address),
        None => "\"you@example.org\" # the mailbox's address".to_owned(),
    };
    let mut text = format!("[accounts.{}]\ndefault = true\nemail = {email}\n", key(id));
    match program {
        Program::Himalaya => {
            text.push_str(&format!("imap.server = \"imap://{imap}\"\n{}", sasl("imap", id, &token)));
            if let Some(smtp) = smtp {
                text.push_str(&format!("smtp.server = \"smtp://{smtp}\"\n{}", sasl("smtp", id, &token)));
            }
            if let Some(sieve) = filtering(account, doors) {
                // It takes a plain connection only where it is told to.
                text.push_str(&format!("sieve.server = \"sieve://{sieve}\"\nsieve.starttls = false\n"));
                text.push_str(&format!("sieve.allow-cleartext-auth = true\n{}", sasl("sieve", id, &token)));
            }
            // It asks no server which mailbox is the Trash, and deletes nothing unless it is told.
            text.push_str("mailbox.alias.inbox = \"INBOX\"\n");
            text.push_str(&trash("mailbox.alias.trash", account.trash.as_deref()));
        }
        Program::Himalaya1 => {
            text.push_str(&backend("backend", "imap", imap, id, &token));
            if let Some(smtp) = smtp {
                text.push_str(&backend("message.send.backend", "smtp", smtp, id, &token));
            }
            let shown = |wire: &String| name::shown(wire).unwrap_or_else(|| wire.clone());
            text.push_str(&trash("folder.aliases.trash", account.trash.as_ref().map(shown).as_deref()));
            // It stores a copy of what it sent, and where it can't it says that nothing was sent.
            text.push_str(&match account.sent.as_ref().map(shown) {
                Some(sent) => format!("folder.aliases.sent = {}\n", quoted(&sent)),
                None => "message.send.save-copy = false\n".to_owned(),
            });
        }
    }
    Ok(text)
}

fn sasl(protocol: &str, id: &str, token: &str) -> String {
    format!(
        "{protocol}.sasl.plain.username = {}\n{protocol}.sasl.plain.password.command = {}\n",
        quoted(id),
        quoted(token)
    )
}

fn backend(prefix: &str, kind: &str, place: SocketAddr, id: &str, token: &str) -> String {
    let lines = [
        ("type", quoted(kind)),
        ("host", quoted(&place.ip().to_string())),
        ("port", place.port().to_string()),
        ("encryption.type", quoted("none")),
        ("login", quoted(id)),
        ("auth.type", quoted("password")),
        ("auth.cmd", quoted(token)),
    ];
    lines.iter().map(|(name, value)| format!("{prefix}.{name} = {value}\n")).collect()
}

/// Which mailbox the program moves deleted mail to.
fn trash(setting: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{setting} = {}\n", quoted(name)),
        None => format!("{setting} = \"Trash\" # as your mail server names it\n"),
    }
}

/// Ids have letters, digits, `-`, `_` and `.` only; a dot would part a bare key.
fn key(id: &str) -> String {
    if id.contains('.') { quoted(id) } else { id.to_owned() }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Where the account's mail is handed in, if it sends any.
fn sending(account: &AccountView, doors: &DoorsView) -> Option<SocketAddr> {
    account.sends_through.as_ref().and_then(|_| place(doors.smtp.as_deref()))
}

/// Where the account's mail filters are changed, if they are within reach.
fn filtering(account: &AccountView, doors: &DoorsView) -> Option<SocketAddr> {
    account.filters_at.as_ref().and_then(|_| place(doors.sieve.as_deref()))
}

fn place(door: Option<&str>) -> Option<SocketAddr> {
    door?.parse().ok()
}

/// How an account is reached, asked of the engine.
pub(super) async fn shown(client: &Client, id: &str) -> Result<String, CallError> {
    let accounts = client.call(AccountList, Empty {}).await?;
    let doors = client.call(StatusCall, Empty {}).await?.doors;
    Ok(match accounts.iter().find(|account| account.id == id) {
        Some(account) => how(account, &doors),
        None => format!("There is no account {}.\n", plain(id)),
    })
}
