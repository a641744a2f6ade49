//! The servers of a mail address: from what is shipped, from what the domain says, from who takes its mail, or by usual names that answer.
//!
//! ```text
//!   account.discover {address} ── known? ── yes: no question leaves this machine
//!                                  └─ no: SRV ── none: MX of a known provider ── none: usual names, each connected to
//! ```
//! No password is in sight here: it is typed after the person saw the hosts, and goes only to what they chose.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use latch_core::call::Call;
use latch_core::classify::imap::deed::command;
use latch_core::guard::record;
use latch_core::journal::{Commit, Kind as RecordKind};
use latch_core::lease::Epoch;
use latch_core::servers::{
    self, Address, Kind, NotAnAddress, Password, Provider, SRV_NAMES, Security, Server, best, guesses, is_outside,
};
use latch_ipc::Secret;
use latch_ipc::contract::MailTls;
use latch_ipc::discovery::{AccountDiscoverParams, DiscoveredView, FoundBy, FoundServer, PasswordKind};
use latch_ipc::rpc::{ErrorCode, RpcError};
use url::Host;

use super::stop::{locked, storage};
use super::{Opened, Runtime};
use crate::upstream::names::{Names, NoAnswer};
use crate::upstream::{AccountTarget, Fault};
use crate::vault::Credential;

/// How long all questions and connections together may take.
const PATIENCE: Duration = Duration::from_secs(25);
/// A panic ends it at the latest after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Servers of one kind that are connected to.
const MOST_TRIED: usize = 4;
/// The account's place in leases: there is none yet.
const NOBODY: &str = "(not an account yet)";

impl Runtime {
    /// Looks for the servers of an address.
    pub(crate) async fn account_discover(&self, params: AccountDiscoverParams) -> Result<DiscoveredView, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let address =
            address(&params.address).map_err(|error| RpcError::new(ErrorCode::InvalidParams, error.to_string()))?;
        let taken = |id: &str| opened.account(id).is_some();
        let mut view = blank(&address, servers::account_id(&address, taken));
        if let Some(provider) = self.servers.known(&address) {
            fill(&mut view, &address, provider, FoundBy::Known);
            return Ok(view);
        }
        let epoch = opened.guard().watch_epoch().map_err(|_| {
            let message =
                "everything is stopped, so nobody is asked for mail servers: resume first, or say the server yourself";
            RpcError::new(ErrorCode::Panicked, message)
        })?;
        let text = format!("looking for the mail servers of {}", address.domain);
        let commit = Commit { records: vec![record(opened.now(), RecordKind::Intent, text)], ..Commit::default() };
        let seq = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        let ended = tokio::select! {
            biased;
            () = moved_on(opened, epoch) => Some("Everything was stopped, so the search was ended."),
            searched = tokio::time::timeout(PATIENCE, self.search(opened, epoch, &address, &mut view)) => {
                searched.is_err().then_some("It took too long: the search was ended.")
            }
        };
        view.notes.extend(ended.map(str::to_owned));
        let found = view.imap.as_ref().map_or("none was found".to_owned(), |one| format!("found {}", one.host));
        let mut outcome = record(opened.now(), RecordKind::Outcome, found);
        outcome.refers = Some(seq);
        let commit = Commit { records: vec![outcome], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(view)
    }

    async fn search(&self, opened: &Opened, epoch: Epoch, address: &Address, view: &mut DiscoveredView) {
        let unasked = match Names::open(self.nameserver) {
            Ok(names) => match self.ask_domain((opened, epoch), &names, address, view).await {
                Ok(true) => return,
                Ok(false) => match names.exchangers(&address.domain).await {
                    Ok(exchangers) => {
                        if let Some(provider) = self.servers.by_mx(&exchangers) {
                            let note = format!("{} takes the mail of {}.", provider.name, address.domain);
                            view.notes.push(note);
                            fill(view, address, provider, FoundBy::Exchanger);
                            return;
                        }
                        None
                    }
                    Err(error) => Some(error),
                },
                Err(error) => Some(error),
            },
            Err(error) => Some(error),
        };
        if let Some(error) = unasked {
            view.notes.push(format!("The name servers could not be asked: {error}."));
            return;
        }
        let domain = &address.domain;
        let imap = guesses(address, Kind::Imap);
        let smtp = guesses(address, Kind::Smtp);
        let (imap, smtp) =
            tokio::join!(self.all((opened, epoch), Kind::Imap, &imap), self.all((opened, epoch), Kind::Smtp, &smtp));
        let answered = |tried: Vec<(Server, Option<String>)>| {
            let first = tried.into_iter().find(|(_, problem)| problem.is_none());
            first.map(|(server, _)| found(server, domain, FoundBy::Guess, None))
        };
        (view.imap, view.smtp) = (answered(imap), answered(smtp));
        view.notes.push(match &view.imap {
            Some(_) => format!("{domain} does not say where its mail servers are; this usual name answered."),
            None => format!("{domain} does not say where its mail servers are, and no usual name answered."),
        });
    }

    /// What the domain says itself; whether it said anything of reading mail.
    async fn ask_domain(
        &self,
        asking: (&Opened, Epoch),
        names: &Names,
        address: &Address,
        view: &mut DiscoveredView,
    ) -> Result<bool, NoAnswer> {
        let domain = &address.domain;
        let answers = join_all(SRV_NAMES.map(|(kind, security, name)| async move {
            let records = names.srv(&format!("{name}.{domain}")).await?;
            Ok::<_, NoAnswer>((kind, !records.is_empty(), best(records, security)))
        }));
        let answers = answers.await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let of = |wanted: Kind| -> Vec<Server> {
            let fits = answers.iter().filter(|(kind, ..)| *kind == wanted);
            fits.flat_map(|(_, _, servers)| servers.clone()).take(MOST_TRIED).collect()
        };
        let spoke = answers.iter().any(|(kind, said, _)| *kind == Kind::Imap && *said);
        if !spoke {
            return Ok(false);
        }
        let (imap, smtp, sieve) = (of(Kind::Imap), of(Kind::Smtp), of(Kind::Sieve));
        let (imap, smtp, sieve) = tokio::join!(
            self.all(asking, Kind::Imap, &imap),
            self.all(asking, Kind::Smtp, &smtp),
            self.all(asking, Kind::Sieve, &sieve)
        );
        let first = |tried: Vec<(Server, Option<String>)>| {
            let good = tried.iter().position(|(_, problem)| problem.is_none()).unwrap_or(0);
            tried.into_iter().nth(good).map(|(server, problem)| found(server, domain, FoundBy::Domain, problem))
        };
        view.imap = first(imap);
        view.smtp = first(smtp);
        view.sieve = first(sieve);
        let url = |server: &Server| match server.port {
            443 => format!("https://{}", server.host),
            port => format!("https://{}:{port}", server.host),
        };
        view.caldav = of(Kind::Caldav).first().map(url);
        view.carddav = of(Kind::Carddav).first().map(url);
        match &view.imap {
            None => view.notes.push(format!("{domain} says that it has no server for reading mail (IMAP).")),
            Some(server) => {
                if let Some(provider) = self.servers.by_host(&server.host) {
                    words(view, provider);
                    view.username = provider.user_name(address);
                }
            }
        }
        Ok(true)
    }

    /// Connects to each; why it does not answer as it should, if so.
    async fn all(
        &self,
        (opened, epoch): (&Opened, Epoch),
        kind: Kind,
        servers: &[Server],
    ) -> Vec<(Server, Option<String>)> {
        let tried = servers.iter().map(|server| async move {
            let problem = match kind {
                Kind::Imap => greets(opened, epoch, server).await,
                Kind::Smtp | Kind::Sieve | Kind::Caldav | Kind::Carddav => reaches(opened, epoch, server).await,
            };
            (server.clone(), problem.err().map(|fault| fault.to_string()))
        });
        join_all(tried).await
    }
}

/// Resolves when a panic has come: DNS questions have no lease, so whoever asks them is dropped.
async fn moved_on(opened: &Opened, epoch: Epoch) {
    let mut changed = opened.changed.subscribe();
    while opened.guard().watch_epoch() == Ok(epoch) {
        let _ = tokio::time::timeout(LOOK_AGAIN, changed.changed()).await;
    }
}

async fn greets(opened: &Opened, epoch: Epoch, server: &Server) -> Result<(), Fault> {
    let scheme = match server.security {
        Security::Implicit => "imaps",
        Security::StartTls => "imap+starttls",
        Security::None => "imap",
    };
    let url = format!("{scheme}://nobody@{}:{}", server.host, server.port);
    let empty = Credential::Password { username: String::new(), password: Secret::default() };
    let target =
        AccountTarget::new(NOBODY, &url, Arc::new(empty)).map_err(|error| Fault::Unsendable(error.to_string()))?;
    let call = command("NOOP", None, &[]).ok_or(Fault::NotPermitted)?;
    let lease = opened.guard().lease_preview(NOBODY, &call, epoch).map_err(|_| Fault::Stopped)?;
    opened.upstream.mail_greets(lease, &target, &call).await.map_err(|error| error.fault)
}

async fn reaches(opened: &Opened, epoch: Epoch, server: &Server) -> Result<(), Fault> {
    let call = Call::get(format!("/{}:{}", server.host, server.port));
    let lease = opened.guard().lease_preview(NOBODY, &call, epoch).map_err(|_| Fault::Stopped)?;
    opened.upstream.reach(lease, &call, NOBODY, server).await.map_err(|error| error.fault)
}

/// An address as typed; a domain in other letters is looked up in ASCII (RFC 5891).
fn address(text: &str) -> Result<Address, NotAnAddress> {
    let (local, domain) = text.trim().rsplit_once('@').ok_or(NotAnAddress)?;
    match Host::parse(domain.trim_end_matches('.')) {
        Ok(Host::Domain(domain)) => Address::parse(&format!("{local}@{domain}")),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => Err(NotAnAddress),
    }
}

fn blank(address: &Address, id: String) -> DiscoveredView {
    DiscoveredView {
        address: address.to_string(),
        id,
        provider: "imap".to_owned(),
        name: None,
        username: address.to_string(),
        password: PasswordKind::Unknown,
        help: None,
        link: None,
        imap: None,
        smtp: None,
        sieve: None,
        caldav: None,
        carddav: None,
        notes: Vec::new(),
    }
}

fn words(view: &mut DiscoveredView, provider: &Provider) {
    view.name = Some(provider.name.clone());
    view.help = Some(provider.help.clone());
    view.link = Some(provider.link.clone());
    view.password = match provider.password {
        Password::Own => PasswordKind::Own,
        Password::App => PasswordKind::App,
        Password::Either => PasswordKind::Either,
        Password::Bridge => PasswordKind::Bridge,
        Password::OAuth => PasswordKind::OAuth,
        Password::None => PasswordKind::None,
    };
}

fn fill(view: &mut DiscoveredView, address: &Address, provider: &Provider, by: FoundBy) {
    words(view, provider);
    view.username = provider.user_name(address);
    let server = |server: &Option<Server>| server.clone().map(|server| found(server, &address.domain, by, None));
    (view.imap, view.smtp, view.sieve) = (server(&provider.imap), server(&provider.smtp), server(&provider.sieve));
    (view.caldav, view.carddav) = (provider.caldav.clone(), provider.carddav.clone());
}

fn found(server: Server, domain: &str, by: FoundBy, problem: Option<String>) -> FoundServer {
    FoundServer {
        // A provider's own domains are known to be at its servers.
        outside: by != FoundBy::Known && is_outside(&server.host, domain),
        tls: match server.security {
            Security::Implicit => MailTls::Implicit,
            Security::StartTls => MailTls::StartTls,
            Security::None => MailTls::None,
        },
        host: server.host,
        port: server.port,
        by,
        problem,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_domain_in_other_letters_is_looked_up_in_ascii() {
        assert_eq!(address(" erin@B\u{fc}cher.example ").unwrap().to_string(), "erin@xn--bcher-kva.example");
        for bad in ["erin@127.0.0.1", "erin@[::1]", "erin", "erin@localhost", "erin@a/b.example"] {
            address(bad).unwrap_err();
        }
    }

    #[test]
    fn a_known_providers_servers_are_not_outside_and_an_exchangers_are() {
        let servers = servers::Servers::shipped().unwrap();
        let own = Address::parse("erin@fastmail.com").unwrap();
        let mut view = blank(&own, "erin".to_owned());
        fill(&mut view, &own, servers.known(&own).unwrap(), FoundBy::Known);
        assert!(!view.imap.as_ref().unwrap().outside);
        let other = Address::parse("erin@own.example").unwrap();
        let exchangers = ["in1-smtp.messagingengine.com.".to_owned()];
        fill(&mut view, &other, servers.by_mx(&exchangers).unwrap(), FoundBy::Exchanger);
        assert!(view.imap.unwrap().outside && view.smtp.unwrap().outside);
        assert_eq!(view.username, "erin@own.example");
    }
}
