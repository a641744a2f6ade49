//! IDLE (RFC 2177): until the agent has enough of it, the server goes, or the token is over.

use std::io;

use latch_core::classify::imap::deed::command;
use latch_core::classify::imap::reply::Status;

use super::relay::Ended;
use super::{LOOK_AGAIN, MailSession, STALLED};
use crate::door::imap::passing::{Broken, Through, tagged};
use crate::door::imap::{Next, Talk};
use crate::upstream::{Fault, UpstreamError};

impl MailSession {
    /// RFC 2177.
    pub(super) async fn idle(&mut self, tag: &str, talk: &mut Talk) -> io::Result<Next> {
        let Some(call) = command("IDLE", None, &[]).filter(|_| self.wire.capabilities.iter().any(|one| one == "IDLE"))
        else {
            return Self::told(talk, tag, "BAD The mail server has no IDLE: use NOOP");
        };
        let started = match self.own(&call) {
            Ok(redeemed) => match self.wire.send(&redeemed, &call, Some(tag)).await {
                // What left the mailbox is told before the client goes on by numbers.
                Ok(ours) => match self.until_asked(&redeemed, &ours, talk).await {
                    Ok(refused) => Ok((redeemed, ours, refused)),
                    Err(Broken::Agent(error)) => return Err(error),
                    Err(Broken::Upstream(error)) => Err(error),
                },
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let (redeemed, ours) = match started {
            Ok((redeemed, ours, None)) => (redeemed, ours),
            Ok((_, _, Some(refused))) => {
                talk.line(&tagged(tag, &refused));
                return Ok(Next::Command);
            }
            Err(error) => return Ok(Self::end(tag, Self::failed(&error, talk), talk)),
        };
        talk.line("+ idling");
        talk.flush().await?;
        let ended = self.idling(&redeemed, &ours, talk).await;
        let ended = match ended {
            Ok(status) => Ended::Status(status),
            Err(Broken::Agent(error)) => return Err(error),
            Err(Broken::Upstream(error)) => Self::failed(&error, talk),
        };
        Ok(Self::end(tag, ended, talk))
    }

    async fn idling(
        &mut self,
        redeemed: &latch_core::lease::Redeemed,
        ours: &str,
        talk: &mut Talk,
    ) -> Result<Status, Broken> {
        enum Woken {
            Server,
            Agent,
            Clock,
        }
        let mut clock = tokio::time::interval(LOOK_AGAIN);
        loop {
            let woken = tokio::select! {
                () = self.wire.ready() => Woken::Server,
                ready = talk.ready() => { ready?; Woken::Agent }
                _ = clock.tick() => Woken::Clock,
            };
            match woken {
                Woken::Server => {
                    if let Some(status) = self.one(redeemed, Some(ours), talk, &mut Through::All).await? {
                        return Ok(status);
                    }
                    talk.flush().await?;
                }
                Woken::Agent => {
                    let line = tokio::select! {
                        line = tokio::time::timeout(STALLED, talk.bare_line()) => line.map_err(io::Error::other)??,
                        () = self.over() => return Err(UpstreamError { fault: Fault::Stopped, sent: false }.into()),
                    };
                    if !line.eq_ignore_ascii_case("DONE") {
                        let error = io::Error::new(io::ErrorKind::InvalidData, "only DONE ends IDLE");
                        return Err(error.into());
                    }
                    self.wire.write(redeemed, b"DONE\r\n").await?;
                    loop {
                        if let Some(status) = self.one(redeemed, Some(ours), talk, &mut Through::All).await? {
                            return Ok(status);
                        }
                    }
                }
                Woken::Clock if self.stands() => {}
                Woken::Clock => return Err(UpstreamError { fault: Fault::Stopped, sent: false }.into()),
            }
        }
    }
}
