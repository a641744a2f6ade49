//! Adding an account at a terminal: the servers are found and shown, the password is typed unseen and tried before it is kept.

use std::fmt::Write;

use latch_ipc::client::CallError;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AccountDiscover, AccountList, CredentialParams, Empty, Id, MailServerParams, MailTls,
    StatusCall, UpstreamParams,
};
use latch_ipc::discovery::{AccountDiscoverParams, DiscoveredView, FoundBy, FoundServer, PasswordKind};
use latch_ipc::{Client, Secret};

use super::command::{kept, needed, secret, unlock};
use super::{Terminal, connect, show};

/// How often a password may be typed before the person has to begin again.
const TRIES: usize = 3;

/// What is known of a mailbox before anything is asked.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The mail address.
    pub address: String,
    /// A name for the account; found when absent.
    pub id: Option<String>,
    /// Its server; looked for when absent.
    pub imap: Option<MailServerParams>,
    /// The server that it sends mail through; found, if [`Wanted::imap`] is, when absent.
    pub smtp: Option<MailServerParams>,
    /// The server of its mail filters; found, if [`Wanted::imap`] is, when absent.
    pub sieve: Option<MailServerParams>,
    /// The user name there; found when absent.
    pub username: Option<String>,
    /// The login is not tried.
    pub untried: bool,
}

impl Wanted {
    /// Nothing but its address.
    #[must_use]
    pub fn of(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }
}

/// Adds a mailbox, asking for whatever is not known; `None` when the person stopped, which was said. Opens the vault first if it is locked.
pub async fn add(client: &Client, terminal: &mut Terminal, wanted: Wanted) -> Result<Option<Id>, CallError> {
    let status = client.call(StatusCall, Empty {}).await?;
    if status.vault_locked {
        unlock(client, terminal).await?;
    }
    let Some(mut params) = described(client, terminal, &wanted).await? else {
        terminal.say("Nothing was added.\n");
        return Ok(None);
    };
    let mut hosts: Vec<String> = [&params.upstream.imap, &params.upstream.smtp, &params.upstream.sieve]
        .into_iter()
        .flatten()
        .map(|one| show::plain(&one.host))
        .collect();
    hosts.dedup();
    let host = hosts.join(" and ");
    let user = match &params.credential {
        CredentialParams::Password { username, .. } => show::plain(username),
        CredentialParams::Bearer { .. } | CredentialParams::OAuth2 { .. } => String::new(),
    };
    if wanted.untried {
        terminal.say("The login will NOT be tried: whether the password is right shows only when an agent uses it.\n");
    }
    for attempt in 1..=TRIES {
        let Some(typed) = secret(terminal, &format!("Password of {user} at {host} (not shown; Enter: stop): ")).await
        else {
            break;
        };
        if let CredentialParams::Password { password, .. } = &mut params.credential {
            *password = typed;
        }
        if params.check {
            terminal.say(&format!("Trying the login at {host}...\n"));
        }
        match client.call(AccountAdd, params.clone()).await {
            Ok(added) => {
                terminal.say(&said_added(client, &added.id, &host).await);
                return Ok(Some(added));
            }
            Err(CallError::Refused(refused)) if refused.data.as_ref().is_some_and(is_sign_in) && attempt < TRIES => {
                terminal.say(&format!("{}\n", show::plain_lines(&refused.message)));
            }
            Err(error) => return Err(error),
        }
    }
    terminal.say("Nothing was added.\n");
    Ok(None)
}

fn is_sign_in(data: &serde_json::Value) -> bool {
    data.get("kind").and_then(serde_json::Value::as_str) == Some("sign_in")
}

async fn said_added(client: &Client, id: &str, host: &str) -> String {
    let id = show::plain(id);
    let mut text = format!("Added {id}. Its password is sealed and leaves the vault only toward {host}.\n");
    let known = tokio::join!(client.call(AccountList, Empty {}), client.call(StatusCall, Empty {}));
    if let (Ok(accounts), Ok(status)) = known
        && let Some(account) = accounts.iter().find(|account| account.id == id)
    {
        text.push_str(&connect::how(account, &status.doors));
    }
    text
}

/// Everything but the password.
async fn described(
    client: &Client,
    terminal: &mut Terminal,
    wanted: &Wanted,
) -> Result<Option<AccountAddParams>, CallError> {
    let mut address = Some(wanted.address.clone()).filter(|text| text.contains('@'));
    let (id, username, servers) = match (&wanted.id, &wanted.imap) {
        (Some(id), Some(server)) => (id.clone(), wanted.address.clone(), Some(Servers::of(server))),
        _ => {
            let domain = wanted.address.rsplit('@').next().unwrap_or_default();
            terminal.say(&format!("Looking for the mail servers of {}...\n", show::plain(domain)));
            let params = AccountDiscoverParams { address: wanted.address.clone() };
            let found = client.call(AccountDiscover, params).await?;
            address = Some(found.address.clone());
            let servers = match &wanted.imap {
                Some(server) => Some(Servers::of(server)),
                None => chosen(terminal, &found).await,
            };
            (wanted.id.clone().unwrap_or(found.id), found.username, servers)
        }
    };
    let Some(Servers { mut imap, smtp, sieve }) = servers else { return Ok(None) };
    imap.username = None;
    let smtp = wanted.smtp.clone().or(smtp);
    let sieve = wanted.sieve.clone().or(sieve);
    let username = wanted.username.clone().unwrap_or(username);
    Ok(Some(AccountAddParams {
        id,
        provider: "imap".to_owned(),
        upstream: UpstreamParams { imap: Some(imap), smtp, sieve, ..UpstreamParams::default() },
        address,
        credential: CredentialParams::Password { username, password: Secret::default() },
        check: !wanted.untried,
    }))
}

/// The servers of a mailbox.
struct Servers {
    imap: MailServerParams,
    smtp: Option<MailServerParams>,
    sieve: Option<MailServerParams>,
}

impl Servers {
    fn of(imap: &MailServerParams) -> Self {
        Self { imap: imap.clone(), smtp: None, sieve: None }
    }
}

/// The servers that the person agrees to, found or typed: for reading, and for sending and filters if there are any; `None`: none.
async fn chosen(terminal: &mut Terminal, found: &DiscoveredView) -> Option<Servers> {
    terminal.say(&discovered(found));
    if matches!(found.password, PasswordKind::None | PasswordKind::OAuth) {
        return None;
    }
    if let Some(server) = &found.imap {
        let answer = terminal.ask("Is this where your mail is? Type yes (Enter: no): ").await?;
        if answer == "yes" {
            let params = |server: &FoundServer| {
                let (host, port, tls) = (server.host.clone(), Some(server.port), server.tls);
                MailServerParams { host, port, tls, username: None }
            };
            // What did not answer would only keep the account out.
            let good = |server: &Option<FoundServer>| server.as_ref().filter(|one| one.problem.is_none()).map(params);
            return Some(Servers { imap: params(server), smtp: good(&found.smtp), sieve: good(&found.sieve) });
        }
    }
    terminal.say("Then say the servers yourself; an empty line stops.\n");
    mail_servers(terminal).await
}

async fn mail_servers(terminal: &mut Terminal) -> Option<Servers> {
    let host = needed(terminal, "Its IMAP server (imap.example.com): ").await?;
    let imap = mail_server(terminal, host, MailTls::Implicit).await?;
    let host = terminal.ask("The server that it sends mail through (smtp.example.com; Enter: it sends none): ").await?;
    let smtp = if host.is_empty() { None } else { Some(mail_server(terminal, host, MailTls::Implicit).await?) };
    let host = terminal.ask("The server of its mail filters (ManageSieve; Enter: it has none): ").await?;
    // As most of them speak it (RFC 5804 has no other).
    let sieve = if host.is_empty() { None } else { Some(mail_server(terminal, host, MailTls::StartTls).await?) };
    Some(Servers { imap, smtp, sieve })
}

/// What was found, for a person who is about to trust it with a password.
#[must_use]
pub fn discovered(found: &DiscoveredView) -> String {
    let mut text = String::new();
    let domain = found.address.rsplit('@').next().unwrap_or_default();
    let name = found.name.as_deref().map(|name| format!(" ({})", show::plain(name))).unwrap_or_default();
    let _ = writeln!(text, "{}{name}", show::plain(&found.address));
    for note in &found.notes {
        let _ = writeln!(text, "  {}", show::plain(note));
    }
    for (what, server) in [("Reads mail at", &found.imap), ("Sends mail at", &found.smtp), ("Filters at", &found.sieve)]
    {
        if let Some(server) = server {
            let _ = writeln!(text, "  {what} {}", line(server, domain));
        }
    }
    for (what, url) in [("Calendars at", &found.caldav), ("Address books at", &found.carddav)] {
        if let Some(url) = url {
            let _ = writeln!(text, "  {what} {}", show::plain(url));
        }
    }
    if found.imap.is_some() && !matches!(found.password, PasswordKind::None | PasswordKind::OAuth) {
        let _ = writeln!(text, "  User name: {}", show::plain(&found.username));
    }
    // What did not answer gets no password.
    let asked = |server: &&FoundServer| server.outside && server.problem.is_none();
    let others = [&found.smtp, &found.sieve].into_iter().flatten().filter(asked);
    let outside: std::collections::BTreeSet<String> = found
        .imap
        .iter()
        .filter(|server| server.outside)
        .chain(others)
        .map(|server| show::plain(&server.host))
        .collect();
    if !outside.is_empty() {
        let are = if outside.len() > 1 { "are" } else { "is" };
        let _ = writeln!(
            text,
            "  LOOK: {} {are} not under {}. Say yes only if you know that your password belongs there.",
            outside.into_iter().collect::<Vec<_>>().join(" and "),
            show::plain(domain)
        );
    }
    if let Some(help) = &found.help {
        let _ = writeln!(text, "  {}", show::plain_lines(help));
    }
    if let Some(link) = &found.link {
        let _ = writeln!(text, "  {}", show::plain(link));
    }
    text
}

fn line(server: &FoundServer, domain: &str) -> String {
    let tls = match server.tls {
        MailTls::Implicit => "TLS",
        MailTls::StartTls => "STARTTLS",
        MailTls::None => "on this machine, without encryption",
    };
    let by = match server.by {
        FoundBy::Known => String::new(),
        FoundBy::Domain => format!(", says {}", show::plain(domain)),
        FoundBy::Exchanger => ", known".to_owned(),
        FoundBy::Guess => ", a guess that answered".to_owned(),
    };
    let problem = server.problem.as_deref().map(|why| format!("; but: {}", show::plain(why))).unwrap_or_default();
    format!("{}, port {}, {tls}{by}{problem}", show::plain(&server.host), server.port)
}

/// Asks for everything: servers, tokens, OAuth.
pub(super) async fn by_hand(client: &Client, terminal: &mut Terminal) -> Result<String, CallError> {
    let Some(params) = asked(terminal).await else { return Ok("Nothing was added.\n".to_owned()) };
    let added = client.call(AccountAdd, params).await?;
    Ok(format!(
        "Added {}. Its credential is sealed and leaves the vault only toward its own address.\n",
        show::plain(&added.id)
    ))
}

/// `None` when the person left a needed line empty.
async fn asked(terminal: &mut Terminal) -> Option<AccountAddParams> {
    terminal.say("An empty line stops at any point.\n");
    let id = needed(terminal, "A short name for the account (it stands in agents' addresses): ").await?;
    let provider =
        needed(terminal, "Provider (gmail, imap for any mail server, dav for calendars and contacts): ").await?;
    let is_mail = provider == "imap";
    let upstream = if is_mail {
        let Servers { imap, smtp, sieve } = mail_servers(terminal).await?;
        UpstreamParams { imap: Some(imap), smtp, sieve, ..UpstreamParams::default() }
    } else {
        let base_url = if provider == "dav" {
            needed(terminal, "Where the calendars are (https://dav.example.com): ").await?
        } else {
            terminal.ask("Its address, if it is not the provider's own (Enter: the provider's own): ").await?
        };
        UpstreamParams { base_url: (!base_url.is_empty()).then_some(base_url), ..UpstreamParams::default() }
    };
    let kind = needed(terminal, "Its credential is a token, a password or oauth2: ").await?;
    let credential = match kind.as_str() {
        "token" | "bearer" => CredentialParams::Bearer { token: secret(terminal, "Token (not shown): ").await? },
        "password" => CredentialParams::Password {
            username: needed(terminal, "User name: ").await?,
            password: secret(terminal, "Password (not shown): ").await?,
        },
        "oauth2" => CredentialParams::OAuth2 {
            client_id: needed(terminal, "Client id: ").await?,
            client_secret: terminal.hidden("Client secret, if there is one (not shown): ").await.and_then(kept),
            refresh_token: secret(terminal, "Refresh token (not shown): ").await?,
            token_endpoint: needed(terminal, "Token endpoint (https://...): ").await?,
        },
        _ => {
            terminal.say("It must be token, password or oauth2.\n");
            return None;
        }
    };
    let mut upstream = upstream;
    if upstream.imap.is_some() && !matches!(credential, CredentialParams::Password { .. }) {
        let username = needed(terminal, "User name at the mail server: ").await?;
        for server in upstream.imap.iter_mut().chain(&mut upstream.smtp).chain(&mut upstream.sieve) {
            server.username = Some(username.clone());
        }
    }
    let login = match (&credential, upstream.imap.as_ref().and_then(|server| server.username.as_deref())) {
        (CredentialParams::Password { username, .. }, _) => Some(username.as_str()),
        (_, login) => login,
    };
    let mut address = None;
    if matches!(provider.as_str(), "imap" | "dav") && !login.is_some_and(|login| login.contains('@')) {
        let typed = terminal.ask("Its mail address (you@example.org; Enter: it has none): ").await?;
        address = Some(typed).filter(|typed| !typed.is_empty());
    }
    Some(AccountAddParams { id, provider, upstream, address, credential, check: true })
}

async fn mail_server(terminal: &mut Terminal, host: String, usual: MailTls) -> Option<MailServerParams> {
    let word = if usual == MailTls::StartTls { "starttls" } else { "implicit" };
    let question = format!("Encryption: implicit, starttls, or none on this machine (Enter: {word}): ");
    let tls = match terminal.ask(&question).await?.as_str() {
        "" => usual,
        "implicit" => MailTls::Implicit,
        "starttls" => MailTls::StartTls,
        "none" => MailTls::None,
        _ => {
            terminal.say("It must be implicit, starttls or none.\n");
            return None;
        }
    };
    let port = terminal.ask("Its port (Enter: the usual one): ").await?;
    let port = if port.is_empty() {
        None
    } else {
        match port.parse() {
            Ok(port) => Some(port),
            Err(_) => {
                terminal.say("A port is a number up to 65535.\n");
                return None;
            }
        }
    };
    Some(MailServerParams { host, port, tls, username: None })
}
