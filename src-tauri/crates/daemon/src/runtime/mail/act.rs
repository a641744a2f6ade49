//! From a part to the Guard's ruling, and from there to a tagged answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use latch_core::guard::{Context, Ruling};
use latch_core::hold::State;
use latch_core::journal::Commit;
use latch_core::operation::{Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe::Answer;

use tokio::task::JoinHandle;
use tokio::time::Interval;

use super::MailSession;
use super::execute::ALLOWED;
use crate::door::imap::{Next, Talk};
use crate::runtime::execute::Failure;
use crate::runtime::visit::Waiting;
use crate::spool::Turn;

/// A held client hears this often that it is still waited for: some give up after 20 silent seconds.
const BEAT: Duration = Duration::from_secs(5);
const _: () = assert!(BEAT.as_secs() * 2 < 20, "one that is lost leaves no silence of 20 s");

/// What the Guard said.
pub(super) enum Ruled {
    /// It runs here, by whoever asked.
    Go {
        permit: Permit,
        /// The hold that it came from; to be finished.
        hold: Option<String>,
    },
    /// It has run.
    Done(Arc<Answer>),
    /// The mail that it would store must be read first.
    ReadFirst,
    /// It does not run, and the agent was told.
    Told(Next),
}

impl MailSession {
    /// Asks the Guard, waits for the person where that is needed, and has deeds carried out.
    pub(super) async fn ruled(&mut self, tag: &str, part: Part, talk: &mut Talk) -> io::Result<Ruled> {
        self.ruled_in(tag, part, (Context::default(), None), talk).await
    }

    /// The same with what is known beside it, and the room that a large mail takes while it is in memory.
    pub(super) async fn ruled_in(
        &mut self,
        tag: &str,
        part: Part,
        with: (Context, Option<Turn>),
        talk: &mut Talk,
    ) -> io::Result<Ruled> {
        Ok(self.asked(tag, part, with, talk).await?.unwrap_or_else(|why| {
            talk.line(&format!("{tag} NO {why}"));
            Ruled::Told(Next::Command)
        }))
    }

    /// The same; `Err` says why it does not run where the agent was not told.
    pub(super) async fn asked(
        &mut self,
        tag: &str,
        part: Part,
        (mut context, turn): (Context, Option<Turn>),
        talk: &mut Talk,
    ) -> io::Result<Result<Ruled, String>> {
        let runtime = Arc::clone(&self.runtime);
        let Some(opened) = runtime.opened() else { return Ok(Ok(Ruled::Told(Next::Close))) };
        let runs_here = latch_core::classify::imap::deed::needs_its_client(&part.call);
        let request = Request { parts: vec![part], batch: false };
        let ruling = loop {
            let (asked, now) = (context.clone(), opened.now());
            let ruling = opened.guard().handle_request(&self.session, &self.account.id, &request, asked, now);
            match ruling {
                Ruling::View if context.views.is_none() => {
                    let views = runtime.mail_views(&self.account, self.session.epoch, &request).await;
                    context.views = Some(Arc::new(views));
                }
                ruling => break ruling,
            }
        };
        let told = |text: &str| Ok(Err(text.to_owned()));
        match ruling {
            Ruling::Stopped => {
                talk.line("* BYE [UNAVAILABLE] Stopped by the person");
                talk.line(&format!("{tag} NO [UNAVAILABLE] Stopped by the person. Nothing was done"));
                Ok(Ok(Ruled::Told(Next::Close)))
            }
            Ruling::Paused { .. } => {
                runtime.settle(opened);
                told(
                    "[LIMIT] The person denied several requests in a row, or too many are waiting. Nothing that needs their consent is accepted for some minutes; what is within the budget still is",
                )
            }
            Ruling::Crowded { .. } => told(
                "[LIMIT] What waits for the person already takes all the room there is. Nothing was done; try again when the person has decided",
            ),
            Ruling::Forbid { why, instead, commit } => match opened.store.commit(*commit).await {
                Ok(_) => told(&format!("[NOPERM] {why} {instead}")),
                Err(_) => told("[UNAVAILABLE] It could not be recorded, so nothing was done"),
            },
            Ruling::Resolve | Ruling::LookUp(_) | Ruling::View => {
                told("[SERVERBUG] It is not known which messages are meant, so nothing was done")
            }
            Ruling::ReadFirst => Ok(Ok(Ruled::ReadFirst)),
            Ruling::Permit(permit) if runs_here => Ok(Ok(Ruled::Go { permit, hold: None })),
            Ruling::Permit(permit) => {
                // In a task of its own: a client that hangs up does not cut a change in half.
                let (running, account) = (Arc::clone(&runtime), Arc::clone(&self.account));
                let run = runtime.tasks.spawn(async move {
                    // The mail stays in memory as long as this runs, whoever still waits for it.
                    let _turn = turn;
                    let result = running.execute(&account, permit, request, &[]).await;
                    if let Some(opened) = running.opened() {
                        running.settle(opened);
                    }
                    result
                });
                self.runs(tag, run, talk).await.map(Ok)
            }
            Ruling::Held { id, commit } => {
                if *commit != Commit::default() {
                    if opened.store.commit(*commit).await.is_err() {
                        return told("[UNAVAILABLE] It could not be recorded, so nothing was done");
                    }
                    runtime.put_aside(opened, &id).await;
                    if let Some(door) = runtime.doors().imap.and_then(|door| door.parse().ok()) {
                        runtime.name_program_at(opened, &id, self.peer, door).await;
                    }
                }
                // A large mail does not wait in memory.
                drop((request, turn));
                self.held(tag, &id, runs_here, talk).await
            }
        }
    }

    /// Waits for what runs, and says so now and then.
    async fn runs(
        &mut self,
        tag: &str,
        mut run: JoinHandle<Result<Answer, Failure>>,
        talk: &mut Talk,
    ) -> io::Result<Ruled> {
        let mut beat = beats();
        let over = self.over();
        tokio::pin!(over);
        loop {
            tokio::select! {
                result = &mut run => {
                    let result = result.unwrap_or(Err(Failure::Stopped));
                    return Ok(Ruled::Done(Arc::new(result.unwrap_or_else(|failure| super::execute::refused(&failure)))));
                }
                _ = beat.tick() => tell(tag, "Waiting for the mail server", talk).await?,
                () = talk.hung_up() => return Err(io::ErrorKind::UnexpectedEof.into()),
                () = &mut over => {
                    talk.line("* BYE [UNAVAILABLE] The access token is over; what was begun goes on");
                    return Ok(Ruled::Told(Next::Close));
                }
            }
        }
    }

    /// Waits for the person, and says so now and then.
    async fn held(
        &mut self,
        tag: &str,
        id: &str,
        runs_here: bool,
        talk: &mut Talk,
    ) -> io::Result<Result<Ruled, String>> {
        let runtime = Arc::clone(&self.runtime);
        let Some(opened) = runtime.opened() else { return Ok(Ok(Ruled::Told(Next::Close))) };
        runtime.settle(opened);
        if crate::runtime::read::needs_preparing(opened, id) {
            runtime.prepare_soon(&self.account, id);
        }
        let _waiting = Waiting::enter(&runtime, id);
        let mut changed = opened.changed.subscribe();
        let mut beat = beats();
        let over = self.over();
        tokio::pin!(over);
        let no = |text: &str| Ok(Err(text.to_owned()));
        loop {
            changed.borrow_and_update();
            let state = opened.guard().hold(id).map(|hold| hold.state);
            match state {
                Some(State::Allowed) if runs_here => {
                    let taken = opened.guard().take_allowed(id, opened.now());
                    return match taken {
                        Some((permit, _, _)) => Ok(Ok(Ruled::Go { permit, hold: Some(id.to_owned()) })),
                        None => no("[NOPERM] It was allowed once, and was done"),
                    };
                }
                Some(State::Allowed) => runtime.run_allowed_soon(&self.account, id),
                Some(State::Done) => {
                    let answer = crate::runtime::lock(&opened.answers).get(id).cloned();
                    return match answer {
                        Some(answer) => Ok(Ok(Ruled::Done(answer))),
                        None => no(
                            "[UNAVAILABLE] It was allowed and started, but how it ended is not known. Look before you do anything else",
                        ),
                    };
                }
                Some(State::Denied) => {
                    return no(
                        "[NOPERM] The person said no. Nothing was done, and asking for the same again won't help; ask them what they would like instead",
                    );
                }
                Some(State::Failed) => {
                    return no(
                        "[UNAVAILABLE] The mailbox could not be read, so the person could not be asked. Nothing was done",
                    );
                }
                Some(State::Expired) | None => {
                    return no(
                        "[NOPERM] The person did not answer in time. Nothing was done. This is not a denial: ask again when they are there",
                    );
                }
                Some(State::Preparing | State::Open | State::Proposal | State::Running) => {}
            }
            tokio::select! {
                moved = changed.changed() => if moved.is_err() { return Ok(Ok(Ruled::Told(Next::Close))) },
                _ = beat.tick() => tell(tag, "Waiting for the person", talk).await?,
                () = talk.hung_up() => {
                    self.withdraw(id, runs_here).await;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                () = &mut over => {
                    self.withdraw(id, runs_here).await;
                    talk.line("* BYE [UNAVAILABLE] The access token is over: get a new one and log in again");
                    return Ok(Ok(Ruled::Told(Next::Close)));
                }
            }
        }
    }

    /// What only this connection could have carried out ends with it; everything else stays for the person to decide.
    async fn withdraw(&self, id: &str, runs_here: bool) {
        let Some(opened) = self.runtime.opened().filter(|_| runs_here) else { return };
        let commit = opened.guard().handle_unreadable(id, "its requester left", opened.now());
        let _ = opened.store.commit(commit).await;
        self.runtime.settle(opened);
    }

    /// A hold's read or append has ended.
    pub(super) fn settled(&self, hold: Option<&str>) {
        let (Some(id), Some(opened)) = (hold, self.runtime.opened()) else { return };
        opened.guard().finish_unkept(id);
        self.runtime.settle(opened);
    }

    /// The tagged answer to a deed. `asked`: how many messages it was to be done to.
    pub(super) fn finish(&self, tag: &str, answer: &Answer, asked: Option<usize>, talk: &mut Talk) -> io::Result<Next> {
        let header =
            |name: &str| answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let text = String::from_utf8_lossy(&answer.body);
        let code = header("code").map(|code| format!("[{code}] ")).unwrap_or_default();
        match (answer.status, asked, allowed(answer)) {
            (200, Some(asked), Some(allowed)) if allowed < asked => talk.line(&format!(
                "{tag} NO [NOPERM] The person allowed this for {allowed} of {asked} messages: those are done, the others are as they were"
            )),
            (200, ..) => talk.line(&format!("{tag} OK {code}{text}")),
            _ => talk.line(&format!("{tag} NO {code}{text}")),
        }
        Ok(Next::Command)
    }
}

/// How many messages the person let it be done to; some of them may have left by themselves.
pub(super) fn allowed(answer: &Answer) -> Option<usize> {
    answer.headers.iter().find(|(name, _)| name == ALLOWED).and_then(|(_, allowed)| allowed.parse().ok())
}

fn beats() -> Interval {
    tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT)
}

async fn tell(tag: &str, what: &str, talk: &mut Talk) -> io::Result<()> {
    talk.line(&format!("* OK [INPROGRESS (\"{tag}\" NIL NIL)] {what}"));
    talk.flush().await
}

/// What a deed's answer says before its end, such as where messages went (RFC 6851 section 4.3).
pub(super) fn untagged(answer: &Answer, talk: &mut Talk) {
    for (_, code) in answer.headers.iter().filter(|(name, _)| name == "untagged") {
        talk.line(&format!("* OK [{code}] Done"));
    }
}
