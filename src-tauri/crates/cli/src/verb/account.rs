//! Accounts: seen from everywhere, added where the person is the owner.

use std::process::Stdio;

use latch_daemon::confirm::tty::account::{Wanted, add};
use latch_daemon::confirm::tty::connect::{self, Program};
use latch_daemon::confirm::tty::{Terminal, show};
use latch_ipc::contract::{AccountList, Empty, Hello, HelloCall, MailServerParams, MailTls, PhoneStop, StatusCall};
use latch_ipc::phone::PhoneStopParams;
use latch_ipc::view::{AccountView, DoorsView};
use latch_ipc::{Client, PROTOCOL};
use serde::Serialize;
use tokio::io::BufReader;
use tokio::process::Command;

use super::Call;
use crate::args::{Account, AccountAdd, ClientArg, TlsArg, Turn, VaultArg};
use crate::exit::{Exit, Failure};
use crate::harden;

const ADDED_ELSEWHERE: &str = "A credential is typed only where you decide: open the tray and choose Accounts, or type account add in the terminal where latch serve runs.";
const NO_TERMINAL: &str = "A credential is typed only where you decide: run this in a terminal of yours, or open the tray and choose Accounts.";

/// How an account is reached, for programs.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    account: AccountView,
    doors: DoorsView,
}

pub(super) fn run(call: Call, verb: Account) -> Result<Exit, Failure> {
    if let Account::Add(wanted) = verb {
        harden::environment();
        harden::process();
        return call.block_on(added(&call, wanted));
    }
    call.block_on(async {
        match verb {
            Account::Add(_) => Ok(Exit::Done),
            Account::Show { id, client, agent } => shown(&call, &id, client, agent.as_deref()).await,
            Account::Remove { id } => Err(Failure::new(
                Exit::Denied,
                format!(
                    "An account is removed only where you decide: in the tray, or with account remove {} in the terminal where latch serve runs. To stop its use at once: latch panic.",
                    show::plain(&id)
                ),
            )),
            Account::PhoneStop { id, turn } => {
                let params = PhoneStopParams { account: id, on: turn == Turn::On };
                let phone = call.engine().await?.call(PhoneStop, params).await?;
                call.print(&phone, show::phone)
            }
            Account::List => {
                let accounts = call.engine().await?.call(AccountList, Empty {}).await?;
                call.print(&accounts, |accounts| show::accounts(accounts))
            }
        }
    })
}

async fn shown(call: &Call, id: &str, client: Option<ClientArg>, agent: Option<&str>) -> Result<Exit, Failure> {
    let engine = call.engine().await?;
    let doors = engine.call(StatusCall, Empty {}).await?.doors;
    let accounts = engine.call(AccountList, Empty {}).await?;
    let account = accounts
        .into_iter()
        .find(|account| account.id == id)
        .ok_or_else(|| Failure::new(Exit::Failed, format!("There is no account {}.", show::plain(id))))?;
    let shown = Shown { account, doors };
    let program = match client {
        None => return call.print(&shown, |shown| connect::how(&shown.account, &shown.doors)),
        Some(ClientArg::Himalaya) => Program::Himalaya,
        Some(ClientArg::Himalaya1) => Program::Himalaya1,
    };
    let settings = connect::settings(program, &shown.account, &shown.doors, agent)
        .map_err(|why| Failure::new(Exit::Failed, why))?;
    call.print(&serde_json::json!({ "settings": settings }), |_| settings.clone())
}

/// Adds an account as its owner: by an engine of our own, which lives as long as this verb. A running one has its owner already.
async fn added(call: &Call, wanted: AccountAdd) -> Result<Exit, Failure> {
    match call.engine().await {
        Ok(_) => return Err(Failure::new(Exit::Denied, ADDED_ELSEWHERE)),
        Err(failure) if failure.exit == Exit::NotRunning => {}
        Err(failure) => return Err(failure),
    }
    let imap = wanted.imap.as_deref().map(|text| server("--imap", text, wanted.tls)).transpose()?;
    let smtp = wanted.smtp.as_deref().map(|text| server("--smtp", text, wanted.smtp_tls)).transpose()?;
    let sieve = wanted.sieve.as_deref().map(|text| server("--sieve", text, wanted.sieve_tls)).transpose()?;
    let Some(mut terminal) = Terminal::beside_output() else { return Err(Failure::new(Exit::Denied, NO_TERMINAL)) };
    let address = match wanted.address {
        Some(address) => address,
        None => terminal.ask("Your mail address: ").await.unwrap_or_default(),
    };
    if address.is_empty() {
        return Err(Failure::new(Exit::Usage, "An address is needed, such as you@example.org."));
    }
    let mut child = Command::new(std::env::current_exe().map_err(Failure::failed)?)
        .args(["serve", "--owner", "stdio", "--vault", vault(wanted.vault), "--home"])
        .arg(call.home()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::failed)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::failed("the engine has no pipe"));
    };
    let (client, _events) = Client::start(BufReader::new(stdout), stdin);
    let done = async {
        client.call(HelloCall, Hello { protocol: PROTOCOL }).await?;
        let untried = wanted.no_check;
        let wanted = Wanted { address, id: wanted.id, imap, smtp, sieve, username: wanted.user, untried };
        add(&client, &mut terminal, wanted).await
    };
    let done = done.await;
    // Its pipe ends, and so does the engine, in order.
    drop(client);
    let _ = child.wait().await;
    match done? {
        Some(id) if call.json => call.print(&id, |_| String::new()),
        Some(_) => Ok(Exit::Done),
        None => Ok(Exit::Denied),
    }
}

fn vault(vault: VaultArg) -> &'static str {
    match vault {
        VaultArg::Keyring => "keyring",
        VaultArg::Passphrase => "passphrase",
        VaultArg::Memory => "memory",
    }
}

fn server(option: &str, text: &str, tls: TlsArg) -> Result<MailServerParams, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("{option} is a host such as mail.example.org, or HOST:PORT."));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| wrong())?))
        }
        _ => (text, None),
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let tls = match tls {
        TlsArg::Implicit => MailTls::Implicit,
        TlsArg::Starttls => MailTls::StartTls,
        TlsArg::None => MailTls::None,
    };
    Ok(MailServerParams { host: host.to_owned(), port, tls, username: None })
}
