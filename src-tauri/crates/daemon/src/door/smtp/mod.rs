//! The submission door: plain, on this machine only (RFC 6409).
//!
//! ```text
//!   accept ── greeting ── EHLO, AUTH ──> Inside::enter ── MAIL, RCPT, DATA ── CRLF.CRLF ──> Inside::submit ── reply
//!                          │ user = account id, password = access token
//!                          └ one command at a time, in the order in which they came
//! ```
//! The decision comes after the final dot, over envelope and text together: nothing of a mail leaves before.

mod login;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use latch_core::classify::smtp::{DataFrame, Dialogue, Envelope, Flaw, LONGEST_LINE, Limits, Reply, Step, submission};
use latch_core::operation::Part;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::door::admit::{self, LOGIN};
use crate::net::{Connections, CutStream};

/// The largest mail: Gmail takes 25 MB of attachments, a third more as base64.
pub const MAX_MAIL: usize = 36 * 1024 * 1024;
/// The most recipients of a mail: Gmail takes 500.
pub const MAX_RECIPIENTS: usize = 500;
/// The most memory that mails take together, in KiB.
const ROOM: usize = 2 * MAX_MAIL / 1024;
/// How long a client may be silent between commands, and within a mail (RFC 5321 section 4.5.3.2.7: at least 5 minutes).
const SILENCE: Duration = Duration::from_secs(300);
/// What is said this long after a mail's end was not handed in with it (RFC 2920): its sender waits for the answer no longer, and would take it for another one.
const PATIENT: Duration = Duration::from_secs(3);
/// What is read ahead while a mail is decided, and at once otherwise.
const AHEAD: usize = 64 * 1024;
/// A mail above this many bytes is understood beside the connections: it takes its time.
const LARGE: usize = 256 * 1024;

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
    ) -> impl Future<Output = Result<Self::Session, Reply>> + Send;

    /// Takes a mail to its one answer, which counts as heard once it is there. Dropped when the client leaves; what was begun ends by itself.
    fn submit(self: &Arc<Self>, session: &Self::Session, part: Part) -> impl Future<Output = Reply> + Send;
}

/// Serves until dropped; dropping ends every connection.
pub async fn serve<I: Inside>(listener: TcpListener, inside: Arc<I>, connections: Connections) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(ROOM));
    admit::serve("SMTP", listener, connections, |stream, peer| {
        let (inside, room) = (Arc::clone(&inside), Arc::clone(&room));
        let talk = Talk { stream, buffer: BytesMut::new(), login_by: Some(Instant::now() + LOGIN) };
        async move { client(&inside, talk, &room, peer).await }
    })
    .await
}

async fn client<I: Inside>(inside: &Arc<I>, mut talk: Talk, room: &Arc<Semaphore>, peer: SocketAddr) -> io::Result<()> {
    let mut dialogue = Dialogue::new(Limits { mail: MAX_MAIL, recipients: MAX_RECIPIENTS });
    let mut session: Option<I::Session> = None;
    talk.say(&Dialogue::greeting()).await?;
    loop {
        if session.is_some() {
            talk.login_by = None;
        }
        let line = match talk.line(SILENCE).await? {
            Heard::Line(line) => line,
            Heard::Unfit(reply) => return talk.say(&reply).await,
            Heard::Silence => {
                return talk.say(&Reply::new(421, "4.4.2", "Nothing was said for too long")).await;
            }
            Heard::End => return Ok(()),
        };
        match dialogue.command(&line) {
            Step::Reply(reply) => talk.say(&reply).await?,
            Step::Close(reply) => return talk.say(&reply).await,
            Step::Authenticate { mechanism, initial } => {
                let reply = match login::exchange(&mut talk, mechanism, initial).await? {
                    Ok((user, token)) => match inside.enter(&user, token.expose(), peer).await {
                        Ok(known) => {
                            session = Some(known);
                            Reply::new(235, "2.7.0", "Welcome")
                        }
                        Err(reply) => reply,
                    },
                    Err(reply) => reply,
                };
                dialogue.authenticated(session.is_some());
                talk.say(&reply).await?;
                if dialogue.is_over() {
                    return talk.say(&Reply::new(421, "4.7.0", "Too many failures")).await;
                }
            }
            Step::Take(envelope) => {
                let Some(session) = &session else { return Ok(()) };
                talk.say(&Reply::new(354, "", "Go on; end with a line that holds nothing but a dot")).await?;
                let reply = match talk.mail(room).await? {
                    None => return Ok(()),
                    Some(Err(flaw)) => flawed(flaw),
                    Some(Ok(mail)) => match decide(inside, session, &mut talk, &envelope, mail).await? {
                        None => return Ok(()),
                        Some(reply) => reply,
                    },
                };
                talk.say(&reply).await?;
                // RFC 5321 section 4.2.2: whoever says it closes.
                if reply.code == 421 {
                    return Ok(());
                }
            }
        }
    }
}

/// The answer about a mail; `None` if the client left before.
async fn decide<I: Inside>(
    inside: &Arc<I>,
    session: &I::Session,
    talk: &mut Talk,
    envelope: &Envelope,
    mail: Bytes,
) -> io::Result<Option<Reply>> {
    let part = if mail.len() > LARGE {
        let envelope = envelope.clone();
        tokio::task::spawn_blocking(move || submission(&envelope, &mail)).await.map_err(io::Error::other)?
    } else {
        submission(envelope, &mail)
    };
    tokio::select! {
        // What `submit` has told counts as heard, so it is looked at first.
        biased;
        reply = inside.submit(session, part) => Ok(Some(reply)),
        left = talk.left() => left.map(|left| match left {
            Left::Gone => None,
            Left::WentOn => Some(Reply::new(
                421,
                "4.4.2",
                "You went on before your mail was answered. Hand in the same again to go on waiting for its answer; it leaves once at most",
            )),
        }),
    }
}

fn flawed(flaw: Flaw) -> Reply {
    match flaw {
        Flaw::BareLineEnd => Reply::new(
            554,
            "5.6.0",
            "It has a CR or LF that stands alone, where servers may see its end; end lines with CRLF",
        ),
        Flaw::Zero => Reply::new(554, "5.6.0", "It has a zero byte; encode what is not text"),
        Flaw::LongLine => {
            Reply::new(554, "5.6.0", &format!("It has a line of more than {LONGEST_LINE} bytes; encode it"))
        }
        Flaw::TooLarge => Reply::new(552, "5.3.4", &format!("It has more than {MAX_MAIL} bytes")),
        Flaw::Crowded => Reply::new(452, "4.3.1", "Too many large mails wait at once; try again in a few minutes"),
    }
}

/// What came.
enum Heard {
    Line(BytesMut),
    /// What can't be a command: after it nobody knows where the next one begins.
    Unfit(Reply),
    Silence,
    End,
}

/// Who does not wait for an answer.
enum Left {
    Gone,
    WentOn,
}

/// A connection, and what was read ahead of it.
struct Talk {
    stream: CutStream,
    buffer: BytesMut,
    /// Whoever is not logged in by then is let go, whatever they say meanwhile.
    login_by: Option<Instant>,
}

impl Talk {
    async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let end = self.login_by.unwrap_or_else(|| Instant::now() + SILENCE);
        let said = tokio::time::timeout_at(end, self.stream.write_all(reply.wire().as_bytes())).await;
        said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn line(&mut self, patience: Duration) -> io::Result<Heard> {
        let quiet = Instant::now() + patience;
        let end = self.login_by.map_or(quiet, |login_by| login_by.min(quiet));
        loop {
            if self.login_by.is_some_and(|login_by| Instant::now() >= login_by) {
                return Ok(Heard::Silence);
            }
            match Dialogue::command_end(&self.buffer) {
                Ok(Some(end)) => return Ok(Heard::Line(self.buffer.split_to(end))),
                Ok(None) => {}
                Err(reply) => return Ok(Heard::Unfit(reply)),
            }
            match tokio::time::timeout_at(end, self.stream.read_buf(&mut self.buffer)).await {
                Ok(read) => {
                    if read? == 0 {
                        return Ok(Heard::End);
                    }
                }
                Err(_) => return Ok(Heard::Silence),
            }
        }
    }

    /// Reads a mail to its end, whatever is wrong with it; `None` if the client left or fell silent.
    async fn mail(&mut self, room: &Arc<Semaphore>) -> io::Result<Option<Result<Bytes, Flaw>>> {
        let mut frame = DataFrame::new(MAX_MAIL);
        let mut seats: Option<OwnedSemaphorePermit> = None;
        loop {
            let (used, ended) = frame.take(&self.buffer);
            self.buffer.advance(used);
            if frame.size() == 0 {
                // What is wrong with it is read to its end, but not kept.
                seats = None;
            }
            let held = seats.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let wanted = frame.size().div_ceil(1024).saturating_sub(held);
            if wanted > 0 {
                let more =
                    u32::try_from(wanted).ok().and_then(|more| Arc::clone(room).try_acquire_many_owned(more).ok());
                match (more, &mut seats) {
                    (Some(more), Some(seats)) => seats.merge(more),
                    (Some(more), None) => seats = Some(more),
                    (None, _) => {
                        frame.refuse(Flaw::Crowded);
                        seats = None;
                    }
                }
            }
            if ended {
                return Ok(Some(frame.into_mail().map(|mail| Bytes::from_owner(Held { mail, _seats: seats }))));
            }
            self.buffer.reserve(AHEAD);
            match tokio::time::timeout(SILENCE, self.stream.read_buf(&mut self.buffer)).await {
                Ok(read) => {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// Ends when the client does, or waits no longer. What it says until then is kept, up to a limit.
    async fn left(&mut self) -> io::Result<Left> {
        let since = Instant::now();
        while self.buffer.len() < AHEAD {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Left::Gone);
            }
            if since.elapsed() >= PATIENT {
                return Ok(Left::WentOn);
            }
        }
        std::future::pending().await
    }
}

/// A mail that gives its room back when the last copy of it is dropped.
struct Held {
    mail: Vec<u8>,
    _seats: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.mail
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Has the answer at once.
    struct Ready;

    impl Inside for Ready {
        type Session = ();

        async fn enter(self: &Arc<Self>, _: &str, _: &str, _: SocketAddr) -> Result<(), Reply> {
            Ok(())
        }

        async fn submit(self: &Arc<Self>, (): &(), _: Part) -> Reply {
            Reply::new(250, "2.0.0", "Sent")
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_there_is_taken_even_if_its_client_leaves_at_that_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let envelope = Envelope { from: String::new(), recipients: Vec::new(), eight_bit: false, utf8: false };
        for _ in 0..16 {
            let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let stream = Connections::new().register(listener.accept().await.unwrap().0).unwrap();
            let mut talk = Talk { stream, buffer: BytesMut::new(), login_by: None };
            drop(client);
            tokio::time::sleep(Duration::from_millis(2)).await;
            let reply = decide(&Arc::new(Ready), &(), &mut talk, &envelope, Bytes::new()).await.unwrap();
            assert!(reply.is_some_and(|reply| reply.code == 250));
        }
    }
}
