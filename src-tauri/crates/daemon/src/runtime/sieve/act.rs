//! From a permit to an answer: still as it was shown, intent, lease, one command, outcome.

use std::sync::Arc;

use bytes::Bytes;
use latch_core::classify::sieve::response::{Response, done};
use latch_core::classify::sieve::{change_of, is_about, only_reads};
use latch_core::journal::Shelf;
use latch_core::operation::{Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe::Answer;
use latch_core::undo::sieve::entry;

use super::{nothing, told};
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::read::ReadError;
use crate::runtime::single::Begun;
use crate::runtime::undo::Undo;
use crate::runtime::visit::Nothing;
use crate::runtime::{Opened, Runtime};
use crate::upstream::sieve::SieveAnswer;
use crate::upstream::{Fault, UpstreamError};

/// Marks an answer to what was surely not done: asking again is a new question.
const AGAIN: &str = "sieve-ask-again";
/// The response code of what may be tried again (RFC 5804 section 1.3).
const LATER: &str = "TRYLATER";
/// Why a change does not run that was decided about other scripts.
const CHANGED: &str = "the mail filters are no longer what they were when this was asked";

impl Runtime {
    /// Runs a command to its end.
    pub(crate) async fn execute_filters(
        &self,
        account: &Account,
        permit: Permit,
        request: Request,
    ) -> Result<Answer, Failure> {
        let opened = self.opened().ok_or(Failure::Stopped)?;
        let part = request.parts.into_iter().next().filter(|_| !request.batch).ok_or(Failure::NotDivisible)?;
        if only_reads(&part.call) {
            return self.read_allowed(opened, account, permit, &part).await;
        }
        let change = change_of(&part.call).ok_or(Failure::NotDivisible)?;
        let _alone = self.filters_alone(account).await.map_err(Failure::InUse)?;
        let now = self.filters_now(account, permit.epoch(), &change).await.map_err(|error| match error {
            ReadError::Stopped => Failure::Stopped,
            other => Failure::Snapshot(other),
        })?;
        // The protocol has no way to say "only if": this is as close before the command as it can be.
        if change.part(&now).operation.content != part.operation.content {
            return Err(Failure::Changed(CHANGED.to_owned()));
        }
        let (undo_id, counter) = opened.guard().next_undo();
        let agent = permit.agent().to_owned();
        let entry = entry(&part, &change, &now);
        let mut undo = Some(Undo::new(&undo_id, &agent, &account.id, &part, entry, opened.now()));
        let call = part.call.clone();
        let puts = undo.iter().map(Undo::put).chain([counter]).collect();
        let Begun { plan, intent, lease } = self.begin_one(opened, permit, &call, puts).await?;
        let sent = opened.upstream.sieve(lease, &account.target, &call).await;
        crate::fail::point("before-outcome");
        self.note_login(opened, account, &sent);
        let text = match &sent {
            Ok(answer) if answer.is_ok() => "done".to_owned(),
            Ok(answer) => format!("the mail server said no: {}", answer.status.text),
            Err(error) if error.sent => format!("unknown: {error}"),
            Err(error) => format!("not done: {error}"),
        };
        let mut commit = opened.guard().outcome(&plan, intent, Some(undo_id), text, opened.now());
        let nothing = matches!(&sent, Ok(answer) if !answer.is_ok()) || matches!(&sent, Err(error) if !error.sent);
        if nothing && let Some(undo) = undo.take() {
            commit.deletes.push((Shelf::Undo, undo.id));
            for record in &mut commit.records {
                record.undo = None;
            }
        }
        opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
        if !nothing {
            // What was answered before was about what ran before.
            opened.guard().forget_answers(&account.id);
        }
        let sent = sent.map_err(|error| Failure::Upstream(Arc::new(error)))?;
        let lead = if sent.is_ok() { done(&change) } else { "The mail server refused it, so nothing was done" };
        Ok(answer(&Response::passed(&sent.status, lead), is_for_later(&sent)))
    }

    /// A read that the person was asked about.
    async fn read_allowed(
        &self,
        opened: &Opened,
        account: &Account,
        permit: Permit,
        part: &Part,
    ) -> Result<Answer, Failure> {
        let Begun { lease, .. } = self.begin_one(opened, permit, &part.call, Vec::new()).await?;
        let sent = opened.upstream.sieve(lease, &account.target, &part.call).await;
        self.note_login(opened, account, &sent);
        let later = sent.as_ref().is_ok_and(is_for_later);
        Ok(answer(&told(account, &part.call, sent)?, later))
    }
}

/// Whether the mail server said that it may do so another time.
fn is_for_later(said: &SieveAnswer) -> bool {
    !said.is_ok() && said.status.code == LATER
}

/// An answer for whoever asked, and for whoever asks the same again.
fn answer(response: &Response, again: bool) -> Answer {
    let status = if response.wire().starts_with(b"NO") { 502 } else { 200 };
    let headers = again.then(|| (AGAIN.to_owned(), String::new())).into_iter().collect();
    Answer { status, headers, body: Bytes::copy_from_slice(response.wire()) }
}

/// Whether it was surely not done.
pub(super) fn may_be_asked_again(answer: &Answer) -> bool {
    answer.headers.iter().any(|(name, _)| name == AGAIN)
}

/// An answer as it goes over the wire.
pub(super) fn response(answer: &Answer) -> Response {
    Response::of_wire(answer.body.to_vec())
}

/// The answer to what did not run, or of which nobody knows.
pub(in crate::runtime) fn refused(failure: &Failure) -> Answer {
    let refusal = |code: &str, text: &str| Response::no(code, &format!("{text}. Nothing was done"));
    let (response, again) = match failure {
        Failure::Stopped => (nothing(&Nothing::Stopped), true),
        Failure::Ending => (refusal(LATER, "Latchstring is ending"), true),
        Failure::Store(_) => (nothing(&Nothing::Unrecorded), true),
        Failure::Snapshot(error) => (super::unread(error), true),
        Failure::Changed(what) => {
            (refusal("", &format!("{what}. This is no denial: read them again, then decide again")), true)
        }
        Failure::InUse(why) => (refusal(LATER, why), true),
        Failure::Afterwards(_) => (unknown("what became of it could not be recorded"), false),
        Failure::Upstream(error) => (unreached(error), !error.sent),
        Failure::Aside(_) | Failure::Quarantine(_) | Failure::NotDivisible => {
            (refusal("", &failure.to_string()), false)
        }
    };
    answer(&response, again)
}

/// The mail server did not answer.
pub(super) fn unreached(error: &UpstreamError) -> Response {
    if error.sent && error.fault != Fault::Stopped {
        return unknown(&error.to_string());
    }
    match &error.fault {
        Fault::Stopped if error.sent => unknown("it was stopped by the person while it was under way"),
        Fault::Stopped => nothing(&Nothing::Stopped),
        // The person hears what the mail server said; the agent only that it is not its own fault.
        Fault::SignIn { .. } | Fault::Refresh(_) => Response::no(
            LATER,
            "The mail server does not accept the person's own login at present. Your token is fine; ask the person to look. Nothing was done",
        ),
        fault => Response::no(LATER, &format!("{fault}. Your token is fine; nothing was done")),
    }
}

fn unknown(why: &str) -> Response {
    Response::no("", &format!("Whether it was done is not known ({why}). Look at the scripts before you do it again"))
}

/// Whether a request goes to the mail filters.
pub(in crate::runtime) fn is_about_filters(request: &Request) -> bool {
    request.parts.iter().any(|part| is_about(&part.call))
}
