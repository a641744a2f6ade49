//! The door to mail filters: ManageSieve (RFC 5804), plain, on this machine only.
//!
//! ```text
//!   accept ── capabilities ── AUTHENTICATE ──> Inside::enter ── command by command ──> Inside::command ── answer
//!                              │ user = account id, password = access token
//!                              └ everything else before: answered here
//! ```
//! One command at a time, in the order in which they came. A change waits for the person, and nothing is said meanwhile: the protocol has no word for it.

mod login;
mod talk;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use latch_core::classify::sieve::response::Response;
use latch_core::classify::sieve::{Command, parse};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::door::admit::{self, LOGIN};
use crate::door::sasl;
use crate::net::Connections;
pub use talk::{Heard, Talk};

/// How long a logged-in client may be silent (RFC 5804 section 1.2: at least 30 minutes).
const SILENCE: Duration = Duration::from_secs(31 * 60);
/// Logins that may fail on one connection.
const MOST_FAILURES: u32 = 3;

/// What stands behind the door.
pub trait Inside: Send + Sync + 'static {
    /// A client that is logged in.
    type Session: Send + Sync + 'static;

    /// Logs in: an account's id and an access token.
    fn enter(
        self: &Arc<Self>,
        user: &str,
        token: &str,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Self::Session, Response>> + Send;

    /// Takes a command to its answer. Dropped when the client leaves; what was begun ends by itself.
    fn command(self: &Arc<Self>, session: &Self::Session, command: Command) -> impl Future<Output = Response> + Send;
}

/// Serves until dropped; dropping ends every connection.
pub async fn serve<I: Inside>(listener: TcpListener, inside: Arc<I>, connections: Connections) -> io::Result<()> {
    admit::serve("ManageSieve", listener, connections, |stream, peer| {
        let (inside, talk) = (Arc::clone(&inside), Talk::new(stream, Instant::now() + LOGIN));
        async move { client(&inside, talk, peer).await }
    })
    .await
}

fn greeting(text: &str) -> Response {
    Response::capabilities(None, &sasl::MECHANISMS, text)
}

async fn client<I: Inside>(inside: &Arc<I>, mut talk: Talk, peer: SocketAddr) -> io::Result<()> {
    let mut session: Option<I::Session> = None;
    let mut failures = 0;
    talk.say(&greeting("Latchstring is ready")).await?;
    loop {
        let pieces = match talk.hear(SILENCE).await? {
            Heard::Command(pieces) => pieces,
            Heard::Unfit(response) if response.closes() => return talk.say(&response).await,
            Heard::Unfit(response) => {
                talk.say(&response).await?;
                continue;
            }
            Heard::Silence => return talk.say(&Response::bye("", "Nothing was said for too long")).await,
            Heard::End => return Ok(()),
        };
        let response = match (parse(&pieces), &session) {
            (Err(refused), _) => Response::refused(&refused),
            (Ok(Command::Logout), _) => return talk.say(&Response::ok("See you")).await,
            (Ok(Command::Authenticate { .. }), Some(_)) => Response::no("", "You are logged in already"),
            (Ok(Command::Authenticate { mechanism, initial }), None) => {
                let response = match login::exchange(&mut talk, &mechanism, initial).await? {
                    Ok((user, token)) => match inside.enter(&user, token.expose(), peer).await {
                        Ok(known) => {
                            session = Some(known);
                            talk.logged_in();
                            Response::ok("Welcome")
                        }
                        Err(response) => response,
                    },
                    Err(response) => response,
                };
                failures += u32::from(session.is_none());
                if failures >= MOST_FAILURES {
                    talk.say(&response).await?;
                    return talk.say(&Response::bye("", "Too many failures")).await;
                }
                response
            }
            (Ok(Command::Capability), None) => greeting("That is all"),
            (Ok(Command::Noop(tag)), None) => Response::noop(tag.as_deref()),
            (Ok(_), None) => Response::no("", "Log in first: AUTHENTICATE"),
            (Ok(command), Some(session)) => tokio::select! {
                response = inside.command(session, command) => response,
                left = talk.left() => return left,
            },
        };
        talk.say(&response).await?;
        if response.closes() {
            return Ok(());
        }
    }
}
