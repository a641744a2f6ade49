//! What stands behind the IMAP door.
//!
//! ```text
//!   Session ── reads ──> the agent's own connection: every mailbox opened by EXAMINE, so the server itself refuses changes there
//!           └─ changes ──> resolve to UIDs ── Guard ── Plan ──> connections that no agent shares; then NOOP on its own one shows it what became of it
//! ```

mod act;
mod ahead;
mod append;
mod back;
mod close;
mod execute;
mod gmail;
mod hide;
mod idle;
mod look;
mod ready;
mod relay;
mod sent;
mod session;
mod trace;
mod undo;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use latch_core::call::Digest;
use latch_core::classify::imap::capability;
use latch_core::classify::imap::command::Command;
use latch_core::classify::imap::deed::{Server, command};
use latch_core::grant::Preset;
use latch_core::guard::Session;
use tokio::sync::OwnedSemaphorePermit;

pub(super) use ahead::Ahead;
pub(super) use execute::refused;
pub(super) use undo::Whole;

use super::Runtime;
use super::accounts::{Account, MOST_READING};
use super::visit::{Turned, WRONG};
use crate::door::imap::passing::Numbers;
use crate::door::imap::{Denied, Inside, Next, Talk};
use crate::upstream::imap::Wire;
use crate::upstream::{Fault, UpstreamError};

/// How long an agent goes on waiting after its token or grant ended.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A client that has begun to say something says the rest within this time.
const STALLED: Duration = Duration::from_secs(60);

/// A client that is logged in.
pub struct MailSession {
    runtime: Arc<Runtime>,
    account: Arc<Account>,
    token: Digest,
    session: Session,
    peer: SocketAddr,
    wire: Wire,
    _seat: OwnedSemaphorePermit,
    server: Server,
    selected: Option<Selected>,
    /// Tells one APPEND from the next.
    appended: u64,
    /// Whether the token still stands, while an answer passes.
    looked: Looked,
}

fn stands(runtime: &Runtime, account: &Arc<Account>, token: &Digest, session: &Session) -> bool {
    runtime.opened().is_some_and(|opened| {
        if !opened.still_has(account) {
            return false;
        }
        let now = opened.now();
        let guard = opened.guard();
        guard.authenticate(token, now).is_ok() && guard.granted(session, &account.id, now).is_some()
    })
}

/// When something was looked at last that is looked at now and then.
struct Looked(Mutex<Instant>);

impl Looked {
    fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Whether it is time again; then that counts as a look.
    fn is_due(&self) -> bool {
        let mut last = super::lock(&self.0);
        let due = last.elapsed() >= LOOK_AGAIN;
        if due {
            *last = Instant::now();
        }
        due
    }
}

/// The mailbox that a client has open.
#[derive(Debug, Clone)]
struct Selected {
    mailbox: String,
    uidvalidity: u32,
    numbers: Numbers,
    read_only: bool,
}

impl Inside for Runtime {
    type Session = MailSession;

    async fn enter(self: &Arc<Self>, user: &str, token: &str, peer: SocketAddr) -> Result<MailSession, Denied> {
        let wrong = || Denied::Credentials(WRONG.to_owned());
        let (account, token, session) = self.log_in(user, token).map_err(|turned| match turned {
            Turned::Away => wrong(),
            Turned::Now(why) => Denied::Unavailable(why),
        })?;
        if !account.target.is_mail() {
            return Err(wrong());
        }
        let stopped = || Denied::Unavailable("stopped by the person".to_owned());
        let opened = self.opened().ok_or_else(stopped)?;
        let seat = Arc::clone(&account.reading).try_acquire_owned().map_err(|_| {
            Denied::Unavailable(format!(
                "Agents have {MOST_READING} connections to this account already, and no more are opened: close one, or try again later"
            ))
        })?;
        let unavailable = |error: UpstreamError| {
            let failing = matches!(error.fault, Fault::SignIn { .. } | Fault::Refresh(_));
            let words = "Remove the account and add it again with the present password.";
            self.note_account(opened, &account.id, failing.then(|| format!("{error}. {words}")));
            // The person hears what the mail server said; the agent only that it is not its own fault.
            Denied::Unavailable(match error.fault {
                Fault::SignIn { .. } | Fault::Refresh(_) => {
                    "The mail server does not accept the person's own login at present. Your token is fine; ask the person to look".to_owned()
                }
                fault => format!("{fault}. Your token is fine; try again later"),
            })
        };
        let call = command("NOOP", None, &[]).ok_or_else(stopped)?;
        let lease = opened.guard().lease_preview(&account.id, &call, session.epoch).map_err(|_| stopped())?;
        let wire = opened.upstream.mail_open(lease, &account.target, &call).await.map_err(unavailable)?;
        self.note_account(opened, &account.id, None);
        let server = self
            .mail_server(opened, &account, session.epoch, &wire.capabilities)
            .await
            .map_err(|error| Denied::Unavailable(error.to_string()))?;
        let runtime = Arc::clone(self);
        let (selected, appended, looked) = (None, 0, Looked::now());
        Ok(MailSession {
            runtime,
            account,
            token,
            session,
            peer,
            wire,
            _seat: seat,
            server,
            selected,
            appended,
            looked,
        })
    }

    fn capabilities(session: &MailSession) -> String {
        capability::after_login(&session.wire.capabilities)
    }

    async fn command(session: &mut MailSession, tag: &str, command: Command, talk: &mut Talk) -> io::Result<Next> {
        session.take(tag, command, talk).await
    }

    fn close(session: &mut MailSession) {
        session.selected = None;
    }

    async fn over(session: &MailSession) {
        session.over().await;
    }
}

impl MailSession {
    /// Ends when the token or the grant does, or soon after.
    async fn over(&self) {
        while self.stands() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether the token still stands, and the account: revoked and removed ones end here.
    fn stands(&self) -> bool {
        stands(&self.runtime, &self.account, &self.token, &self.session)
    }

    fn is_read_only(&self) -> bool {
        let preset = self.runtime.opened().and_then(|opened| {
            let now = opened.now();
            opened.guard().granted(&self.session, &self.account.id, now)
        });
        preset.is_none_or(|preset| preset == Preset::ReadOnly)
    }
}
