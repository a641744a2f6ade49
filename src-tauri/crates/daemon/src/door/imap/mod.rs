//! The IMAP door: plain, on this machine only.
//!
//! ```text
//!   accept ── greeting ── LOGIN, AUTHENTICATE ──> Inside::enter ──> Session ── command by command ──> Inside::command
//!                            │ user = account id, password = access token
//!                            └ everything else before: answered here
//! ```
//! One command at a time, in the order in which they came: what a command needs to know is settled before the next one is looked at.

mod auth;
pub mod passing;
mod talk;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latch_core::classify::imap::capability;
use latch_core::classify::imap::command::{Command, Refused};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Lanes;
use super::admit::{self, LOGIN};
use crate::net::Connections;

pub use talk::{Heard, Talk};

/// The most connections at once.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a logged-in client may be silent (RFC 9051 section 5.4: at least 30 minutes).
const SILENCE: Duration = Duration::from_secs(31 * 60);
/// Logins that may fail on one connection.
const MOST_FAILURES: u32 = 3;

/// Why nobody comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// `NO [AUTHENTICATIONFAILED]`: unknown account, or a token that is not good; one answer for both.
    Credentials(String),
    /// `NO [UNAVAILABLE]`: the mail server can't be reached, or does not take the stored credential.
    Unavailable(String),
}

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A further command is read.
    Command,
    /// It is closed.
    Close,
}

/// What stands behind the door.
pub trait Inside: Send + Sync + 'static {
    /// A client that is logged in.
    type Session: Send + 'static;

    /// Logs in.
    fn enter(
        self: &Arc<Self>,
        user: &str,
        token: &str,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Self::Session, Denied>> + Send;

    /// What the client is told that it can do now.
    fn capabilities(session: &Self::Session) -> String;

    /// Takes a command to its tagged answer, which is in `talk` afterwards.
    fn command(
        session: &mut Self::Session,
        tag: &str,
        command: Command,
        talk: &mut Talk,
    ) -> impl Future<Output = io::Result<Next>> + Send;

    /// A command was refused that was to open a mailbox: the one that was open is not any more.
    fn close(session: &mut Self::Session);

    /// Ends when the session must: its token is over.
    fn over(session: &Self::Session) -> impl Future<Output = ()> + Send;
}

/// Serves on these lanes until dropped; dropping ends every connection.
pub async fn serve<I: Inside>(
    listener: TcpListener,
    inside: Arc<I>,
    connections: Connections,
    lanes: Lanes,
) -> io::Result<()> {
    admit::loopback(listener.local_addr()?)?;
    let seats = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let Some(seat) = Seat::take(&seats) else {
                        tracing::warn!("the IMAP door refused a connection: all {MAX_CONNECTIONS} are taken");
                        continue;
                    };
                    let Some((lane, handed)) = lanes.hand(socket) else { continue };
                    let (inside, connections) = (Arc::clone(&inside), connections.clone());
                    let carried = async move {
                        let _seat = seat;
                        let Ok((socket, _place)) = handed.take() else { return };
                        let _ = socket.set_nodelay(true);
                        let Ok(stream) = connections.register(socket) else { return };
                        if let Err(error) = client(&inside, &mut Talk::new(stream), peer).await {
                            tracing::debug!(%error, "an IMAP connection ended");
                        }
                    };
                    tasks.spawn_on(carried, lane);
                }
                Err(error) => {
                    tracing::warn!(%error, "the IMAP door could not accept a connection");
                    tokio::time::sleep(admit::LATER).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(seats: &Arc<AtomicUsize>) -> Option<Self> {
        let seat = Self(Arc::clone(seats));
        (seats.fetch_add(1, Ordering::AcqRel) < MAX_CONNECTIONS).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn client<I: Inside>(inside: &Arc<I>, talk: &mut Talk, peer: SocketAddr) -> io::Result<()> {
    talk.line(&format!(
        "* OK [CAPABILITY {}] Latchstring: log in with an account's id and an access token",
        capability::before_login()
    ));
    talk.flush().await?;
    talk.narrow(true);
    let Some(session) = tokio::time::timeout(LOGIN, login(inside, talk, peer)).await.unwrap_or(Ok(None))? else {
        talk.line("* BYE Nobody logged in");
        return talk.flush().await;
    };
    talk.narrow(false);
    serve_session::<I>(session, talk).await
}

async fn serve_session<I: Inside>(mut session: I::Session, talk: &mut Talk) -> io::Result<()> {
    loop {
        let heard = {
            let over = I::over(&session);
            tokio::select! {
                heard = tokio::time::timeout(SILENCE, talk.hear()) => heard.map_err(io::Error::other)??,
                () = over => {
                    talk.line("* BYE [UNAVAILABLE] The access token is over: get a new one and log in again");
                    return talk.flush().await;
                }
            }
        };
        let next = match heard {
            Heard::End => return Ok(()),
            Heard::Command { tag, command } => I::command(&mut session, &tag, *command, talk).await?,
            Heard::Refused { tag, refused, selects, fatal } => {
                if selects {
                    I::close(&mut session);
                }
                refuse(talk, tag.as_deref(), &refused);
                if fatal {
                    return talk.leave().await;
                }
                Next::Command
            }
        };
        talk.flush().await?;
        if next == Next::Close {
            return Ok(());
        }
    }
}

fn refuse(talk: &mut Talk, tag: Option<&str>, refused: &Refused) {
    let tag = tag.unwrap_or("*");
    match refused {
        Refused::NoTag => talk.line(&format!("* BAD {refused}")),
        Refused::Bad(text) => talk.line(&format!("{tag} BAD {text}")),
        Refused::No(text) => talk.line(&format!("{tag} NO {text}")),
    }
}

async fn login<I: Inside>(inside: &Arc<I>, talk: &mut Talk, peer: SocketAddr) -> io::Result<Option<I::Session>> {
    let mut failures = 0;
    while failures < MOST_FAILURES {
        let (tag, command) = match talk.hear().await? {
            Heard::End => return Ok(None),
            Heard::Command { tag, command } => (tag, *command),
            Heard::Refused { tag, refused, fatal, .. } => {
                refuse(talk, tag.as_deref(), &refused);
                if fatal {
                    talk.leave().await?;
                    return Ok(None);
                }
                talk.flush().await?;
                continue;
            }
        };
        let offered = match command {
            Command::Capability => {
                talk.line(&format!("* CAPABILITY {}", capability::before_login()));
                talk.line(&format!("{tag} OK That is all before the login"));
                None
            }
            Command::Noop => {
                talk.line(&format!("{tag} OK Log in first"));
                None
            }
            Command::Id => {
                talk.line("* ID (\"name\" \"Latchstring\")");
                talk.line(&format!("{tag} OK Pleased to meet you"));
                None
            }
            Command::Logout => {
                talk.line("* BYE See you");
                talk.line(&format!("{tag} OK Logged out"));
                talk.flush().await?;
                return Ok(None);
            }
            Command::Login { user, token } => Some((user, token)),
            Command::Authenticate { mechanism, initial } => match auth::exchange(talk, &mechanism, initial).await? {
                Ok(offered) => Some(offered),
                Err(text) => {
                    failures += 1;
                    talk.line(&format!("{tag} {text}"));
                    None
                }
            },
            _ => {
                talk.line(&format!("{tag} BAD Log in first, with an account's id and an access token"));
                None
            }
        };
        if let Some((user, token)) = offered {
            match inside.enter(&user, &token.0, peer).await {
                Ok(session) => {
                    let can = I::capabilities(&session);
                    talk.line(&format!("{tag} OK [CAPABILITY {can}] Logged in"));
                    talk.flush().await?;
                    return Ok(Some(session));
                }
                Err(Denied::Credentials(text)) => {
                    failures += 1;
                    talk.line(&format!("{tag} NO [AUTHENTICATIONFAILED] {text}"));
                }
                Err(Denied::Unavailable(text)) => {
                    failures += 1;
                    talk.line(&format!("{tag} NO [UNAVAILABLE] {text}"));
                }
            }
        }
        talk.flush().await?;
    }
    Ok(None)
}
