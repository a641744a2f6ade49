//! What stands behind the submission door.
//!
//! ```text
//!   Sender ── submit ──> Guard ── Permit ──> intent, lease ──> Upstream::submit ── reply
//!                          │         └ with a delay ──> outbox, durable ── 250
//!                          └ Held ──> waits for the person, as long as a client waits for its answer
//! ```
//! A mail that may have left is answered 554 and never 4yz: a client would send it again by itself.

mod leaving;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use latch_core::call::Digest;
use latch_core::classify::smtp::{NAMED, Reply, seen_from};
use latch_core::guard::{Context, Ruling, Session, TokenError};
use latch_core::journal::Commit;
use latch_core::operation::{Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe::Answer;
use latch_core::recipe::sent::Writes;
use tokio::time::Instant;

pub(crate) use leaving::Leaving;
use leaving::Mail;

use super::accounts::Account;
use super::execute::Failure;
use super::insist::likeness;
use super::single::Begun;
use super::visit::{Nothing, Turned, WRONG, Words};
use super::{Opened, Runtime};
use crate::door::smtp::Inside;
use crate::upstream::Fault;
use crate::upstream::smtp::Submitted;

const WORDS: Words = Words { done: "sent", again: "send the same again", doing_it_again: "sending the same again" };

/// What an [`Answer`] to a submission says on the wire: `250 2.0.0`.
const REPLY: &str = "smtp-reply";

/// Its mail is leaving as long as this lives.
struct OnItsWay {
    runtime: Arc<Runtime>,
    mail: Mail,
    may_go_again: bool,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let Some(opened) = self.runtime.opened() {
            super::lock(&opened.sending).over(&self.mail, self.may_go_again);
        }
    }
}

/// A client that is logged in.
#[derive(Debug)]
pub struct Sender {
    account: Arc<Account>,
    token: Digest,
    session: Session,
    peer: SocketAddr,
}

impl Inside for Runtime {
    type Session = Sender;

    async fn enter(self: &Arc<Self>, user: &str, token: &str, peer: SocketAddr) -> Result<Sender, Reply> {
        let (account, token, session) = self.log_in(user, token).map_err(|turned| match turned {
            Turned::Away => Reply::new(535, "5.7.8", WRONG),
            Turned::Now(why) => Reply::new(454, "4.7.0", &why),
        })?;
        if account.target.submission().is_none() {
            let text = "This account sends no mail: the person has named no server for it to send with";
            return Err(Reply::new(535, "5.7.1", text));
        }
        let who = (session.agent.clone(), account.id.clone());
        if let Some(reply) = self.opened().and_then(|opened| super::lock(&opened.insisting).rests(&who, Instant::now()))
        {
            return Err(reply);
        }
        Ok(Sender { account, token, session, peer })
    }

    async fn submit(self: &Arc<Self>, sender: &Sender, part: Part) -> Reply {
        let mail = likeness(&part.call);
        let reply = self.submitted(sender, part).await;
        if let Some(opened) = self.opened() {
            let who = (sender.session.agent.clone(), sender.account.id.clone());
            super::lock(&opened.insisting).note(who, mail, &reply, Instant::now());
        }
        reply
    }
}

impl Runtime {
    async fn submitted(self: &Arc<Self>, sender: &Sender, mut part: Part) -> Reply {
        let Some(opened) = self.opened() else { return nothing(&Nothing::Stopped) };
        if let Err(error) = opened.guard().authenticate(&sender.token, opened.now()) {
            return match error {
                TokenError::Stopped => nothing(&Nothing::Stopped),
                _ => Reply::new(
                    554,
                    "5.7.0",
                    "The access token is over: get a new one and log in again. Nothing was sent",
                ),
            };
        }
        seen_from(&mut part, &sender.account.own);
        let request = Request { parts: vec![part], batch: false };
        let mut context = Context::default();
        loop {
            if !opened.still_has(&sender.account) {
                let text =
                    "The person has removed this account since the login, so this connection ends. Nothing was sent";
                return Reply::new(421, "4.7.0", text);
            }
            let session = &sender.session;
            let ruling =
                opened.guard().handle_request(session, &sender.account.id, &request, context.clone(), opened.now());
            match ruling {
                Ruling::LookUp(addresses) if !context.looked_up => {
                    context.looked_up = true;
                    self.look_up(&sender.account, session.epoch, &request, addresses).await;
                }
                Ruling::Permit(permit) => return self.send_now(opened, sender, permit, request).await,
                Ruling::Held { id, commit } => {
                    if *commit != Commit::default() {
                        if opened.store.commit(*commit).await.is_err() {
                            return nothing(&Nothing::Unrecorded);
                        }
                        self.put_aside(opened, &id).await;
                        if let Some(door) = self.doors().smtp.and_then(|door| door.parse().ok()) {
                            self.name_program_at(opened, &id, sender.peer, door).await;
                        }
                    }
                    // A large mail does not wait in memory.
                    drop(request);
                    return self.held_mail(opened, &sender.account, &id).await;
                }
                refusal => {
                    let reply = nothing(&Nothing::of(opened, refusal).await);
                    self.settle(opened);
                    return reply;
                }
            }
        }
    }

    async fn send_now(self: &Arc<Self>, opened: &Opened, sender: &Sender, permit: Permit, request: Request) -> Reply {
        let nobody_knows = || {
            let text = "Nobody knows whether it was sent: look among the sent mails before sending it again";
            Reply::new(554, "5.3.0", text)
        };
        let call = request.parts.first().map(|part| part.call.digest()).unwrap_or_default();
        let same: Mail = (sender.session.agent.clone(), sender.account.id.clone(), call);
        let (mut reply, done) = super::lock(&opened.sending).join(&same);
        let is_first = done.is_some();
        if let Some(done) = done {
            // In a task of its own: a client that hangs up does not cut a sending in half.
            let (runtime, account) = (Arc::clone(self), Arc::clone(&sender.account));
            let mut on_its_way = OnItsWay { runtime: Arc::clone(self), mail: same.clone(), may_go_again: false };
            self.tasks.spawn(async move {
                let result = runtime.execute(&account, permit, request, &[]).await;
                if let Some(opened) = runtime.opened() {
                    runtime.settle(opened);
                }
                let reply = reply_of(&result.unwrap_or_else(|failure| refused(&failure)));
                on_its_way.may_go_again = (400..500).contains(&reply.code);
                drop(on_its_way);
                done.send_replace(Some(reply));
            });
        }
        let heard = reply.wait_for(Option::is_some).await.ok().and_then(|reply| reply.clone());
        // Who comes again lost it before, and may lose it again.
        if is_first && heard.is_some() {
            super::lock(&opened.sending).heard(&same, &reply);
        }
        heard.unwrap_or_else(nobody_knows)
    }

    async fn held_mail(self: &Arc<Self>, opened: &Opened, account: &Arc<Account>, id: &str) -> Reply {
        let answer = match self.wait_for_person(opened, account, id).await {
            Ok(answer) => answer,
            Err(why) => return nothing(&why),
        };
        let reply = reply_of(&answer);
        if (400..500).contains(&reply.code) {
            // Surely not sent: asking again is a new question.
            opened.guard().finish_unkept(id);
        }
        reply
    }

    /// Sends a mail, or puts it into the outbox.
    pub(super) async fn execute_submission(
        &self,
        account: &Account,
        permit: Permit,
        request: Request,
    ) -> Result<Answer, Failure> {
        let opened = self.opened().ok_or(Failure::Stopped)?;
        if let Some(delay) = permit.delay() {
            let id = self.outbox_put_off(opened, account, permit, request, delay).await?;
            let seconds = delay.0 / 1000;
            let text = format!(
                "Waits in the outbox for {seconds} s, then it is sent; until then the person can take it back ({id})"
            );
            return Ok(answer(250, "2.0.0", &text));
        }
        let part = request.parts.into_iter().next().filter(|_| !request.batch).ok_or(Failure::NotDivisible)?;
        let call = part.call.clone();
        // Whom a header names without getting the mail: a copy among the sent mails makes them known to nobody.
        let named: Vec<String> =
            part.params.iter().filter(|(name, _)| name == NAMED).map(|(_, address)| address.clone()).collect();
        let doubt = (!named.is_empty()).then(|| opened.guard().writing(&account.id, Writes::New(Some(named))));
        let (doubt, puts) = doubt.map_or((None, Vec::new()), |(id, puts)| (Some(id), puts));
        let begun = self.begin_one(opened, permit, &call, puts).await;
        if let (Err(_), Some(doubt)) = (&begun, &doubt) {
            let nothing = opened.guard().wrote(doubt, []);
            let _ = opened.store.commit(nothing).await;
        }
        let Begun { plan, intent, lease } = begun?;
        let sent = opened.upstream.submit(lease, &account.target, &call).await;
        crate::fail::point("before-outcome");
        self.note_login(opened, account, &sent);
        let text = match &sent {
            Ok(said) => format!("the mail server answered {}", said.code),
            Err(error) if error.sent => format!("unknown: {error}"),
            Err(error) => format!("not sent: {error}"),
        };
        let mut commit = opened.guard().outcome(&plan, intent, None, text, opened.now());
        let is_away = matches!(&sent, Ok(said) if said.code < 300) || matches!(&sent, Err(error) if error.sent);
        if let Some(doubt) = doubt.filter(|_| !is_away) {
            commit.extend(opened.guard().wrote(&doubt, []));
        }
        opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
        match sent {
            Ok(said) => Ok(said_by(&said)),
            Err(error) => Err(Failure::Upstream(Arc::new(error))),
        }
    }
}

fn answer(code: u16, status: &str, text: &str) -> Answer {
    Answer {
        status: if code < 300 { 200 } else { 502 },
        headers: vec![(REPLY.to_owned(), format!("{code} {status}"))],
        body: Bytes::from(text.to_owned()),
    }
}

/// The mail server's own answer, which the agent gets.
fn said_by(said: &Submitted) -> Answer {
    let status = match (said.status.as_str(), said.code) {
        ("", ..300) => "2.0.0",
        ("", ..500) => "4.0.0",
        ("", _) => "5.0.0",
        (status, _) => status,
    };
    let lead = if said.code < 300 { "Sent" } else { "The mail server refused it, so nothing was sent" };
    answer(said.code, status, &format!("{lead}: {}", said.text))
}

/// An answer as it goes over the wire.
fn reply_of(answer: &Answer) -> Reply {
    said_in(answer).unwrap_or_else(|| Reply::new(554, "5.0.0", &String::from_utf8_lossy(&answer.body)))
}

/// The same, if it is one to a submission.
pub(super) fn said_in(answer: &Answer) -> Option<Reply> {
    let (_, said) = answer.headers.iter().find(|(name, _)| name == REPLY)?;
    let (code, status) = said.split_once(' ')?;
    Some(Reply::new(code.parse().ok()?, status, &String::from_utf8_lossy(&answer.body)))
}

/// The answer to a mail that went to some of its recipients only. No code of the protocol says so: one that it was sent would be believed.
pub(super) fn in_part(to: &[String], left_out: &[String]) -> Answer {
    const MOST: usize = 5;
    let named = |all: &[String]| match all.len().checked_sub(MOST) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all.get(..MOST).unwrap_or_default().join(", ")),
    };
    let (sent, all) = (to.len(), to.len() + left_out.len());
    let text = format!(
        "The person let it go to {sent} of {all} recipients only. It was sent to {}, so don't send it there again. It was not sent to {}",
        named(to),
        named(left_out)
    );
    answer(554, "5.7.1", &text)
}

/// The answer to what did not run, or of which nobody knows.
pub(super) fn refused(failure: &Failure) -> Answer {
    let nothing = |code, status, text: &str| answer(code, status, &format!("{text}. Nothing was sent"));
    match failure {
        Failure::Stopped => answer(554, "5.7.1", "Stopped by the person. Nothing was sent"),
        Failure::Ending => nothing(451, "4.3.2", "Latchstring is ending"),
        Failure::InUse(why) => nothing(451, "4.3.2", why),
        Failure::Store(_) => nothing(451, "4.3.0", "It could not be recorded"),
        Failure::Aside(error) => {
            nothing(451, "4.3.0", &format!("It was put aside and could not be read again: {error}"))
        }
        Failure::Afterwards(_) => unknown("what became of it could not be recorded"),
        Failure::Upstream(error) if error.sent => unknown(&error.to_string()),
        Failure::Upstream(error) => match &error.fault {
            Fault::Stopped => answer(554, "5.7.1", "Stopped by the person. Nothing was sent"),
            // The person hears what the mail server said; the agent only that it is not its own fault.
            Fault::SignIn { .. } | Fault::Refresh(_) => nothing(
                451,
                "4.7.0",
                "The mail server does not accept the person's own login at present; your token is fine, ask the person to look",
            ),
            Fault::NotPermitted | Fault::Unsendable(_) | Fault::NoLogin { .. } => {
                nothing(554, "5.3.0", &error.to_string())
            }
            fault => nothing(451, "4.4.1", &format!("{fault}; try again later")),
        },
        Failure::Snapshot(_) | Failure::Quarantine(_) | Failure::Changed(_) | Failure::NotDivisible => {
            nothing(554, "5.3.0", &failure.to_string())
        }
    }
}

fn unknown(why: &str) -> Answer {
    let text = format!(
        "It was handed to the mail server, but whether it was taken is not known ({why}). Do not send it again before you have looked among the sent mails"
    );
    answer(554, "5.5.0", &text)
}

fn nothing(why: &Nothing) -> Reply {
    let (code, status) = match why {
        Nothing::Stopped => (554, "5.7.1"),
        Nothing::Unrecorded | Nothing::Unreadable => (451, "4.3.0"),
        Nothing::Denied(_) | Nothing::Forbidden(_) => (550, "5.7.1"),
        Nothing::Nobody => (451, "4.7.1"),
        Nothing::Paused { .. } => (450, "4.7.1"),
        Nothing::Crowded => (452, "4.3.1"),
        Nothing::Unclear => (554, "5.3.0"),
    };
    Reply::new(code, status, &why.said(&WORDS))
}
