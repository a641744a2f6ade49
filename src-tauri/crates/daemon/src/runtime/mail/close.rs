//! CLOSE: what it would remove for ever, and silently, is asked about like an EXPUNGE of exactly these messages. The mailbox is closed whatever the answer.

use std::io;

use latch_core::classify::imap::deed::{Deed, On};
use latch_core::guard::Context;

use super::MailSession;
use super::act::{Ruled, allowed};
use super::relay::Ended;
use super::session::MOST;
use crate::door::imap::{Next, Talk};

impl MailSession {
    pub(super) async fn close(&mut self, tag: &str, talk: &mut Talk) -> io::Result<Next> {
        match self.removes(tag, talk).await? {
            Ok(said) if said.is_empty() => self.leave(tag, "Closed", talk).await,
            Ok(said) => self.leave(tag, &format!("Closed. {said}"), talk).await,
            Err(next) => Ok(next),
        }
    }

    /// What became of the messages that are marked as deleted; `Err`: the command has ended.
    async fn removes(&mut self, tag: &str, talk: &mut Talk) -> io::Result<Result<String, Next>> {
        let stays = |why: &str| {
            // A code is about a command that failed, and this one does not.
            let why = why.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(why, |(_, why)| why);
            Ok(Ok(format!("Nothing was removed, what is marked as deleted stays so. {why}")))
        };
        let Some(selected) = self.selected.clone().filter(|selected| !selected.read_only && !self.is_read_only())
        else {
            return Ok(Ok(String::new()));
        };
        // Whatever others have marked by now would go, too.
        if let ended @ Ended::Gone = self.sync(talk).await? {
            return Ok(Err(Self::end(tag, ended, talk)));
        }
        let uids = match self.resolve(true, None, true, talk).await? {
            Ok(uids) if uids.is_empty() => return Ok(Ok(String::new())),
            Ok(uids) if uids.len() > MOST => {
                return stays("More than 10000 messages are marked: expunge fewer at a time");
            }
            Ok(uids) => uids,
            Err(Ended::Status(status)) => return stays(&status.text),
            Err(ended @ Ended::Gone) => return Ok(Err(Self::end(tag, ended, talk))),
        };
        if let Err(why) = self.renew().await {
            return stays(&why);
        }
        let asked = uids.len();
        let on = On { mailbox: selected.mailbox, uidvalidity: Some(selected.uidvalidity), uids };
        let part = Deed::Expunge.part(&on, &self.server);
        let answer = match self.asked(tag, part, (Context::default(), None), talk).await? {
            Err(why) => return stays(&why),
            Ok(Ruled::Told(next)) => return Ok(Err(next)),
            Ok(Ruled::Done(answer)) => answer,
            Ok(Ruled::Go { .. } | Ruled::ReadFirst) => return stays("Latchstring did not run this"),
        };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match allowed(&answer).filter(|_| answer.status == 200) {
            None => Ok(Ok(format!("What is marked as deleted was not, or not all, removed: {text}"))),
            Some(allowed) if allowed < asked => {
                Ok(Ok(format!("The person allowed to remove {allowed} of {asked} messages. {text}")))
            }
            Some(_) => Ok(Ok(text)),
        }
    }
}
