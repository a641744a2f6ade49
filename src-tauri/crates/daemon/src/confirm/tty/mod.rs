//! The owner at a terminal: holds are asked in plain words, denied by default; everything else that the owner may do is a typed command.
//!
//! ```text
//!   events ─┐                        ┌─ a question is open: the line answers it (Enter denies)
//!           ├─ one loop ─ a line ────┤
//!   lines ──┘                        └─ none is open: the line is a command
//! ```

pub mod account;
mod command;
pub mod connect;
pub mod show;
mod terminal;

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use latch_ipc::Client;
use latch_ipc::client::CallError;
use latch_ipc::contract::{
    AskDecide, AskDecideParams, AskList, Empty, Event, EventKind, HoldDecide, HoldDecideParams, HoldGet, HoldGetParams,
    HoldList, PanicCall, Remember, Scope, StatusCall, UndoResult, Verdict,
};
use latch_ipc::rpc::ErrorCode;
use latch_ipc::view::{AskView, Class, HoldState, HoldView, Reversible};
use latch_ipc::words::choices;
use tokio::sync::mpsc::UnboundedReceiver;

pub use terminal::{Line, Terminal};

/// An Allow typed sooner than this after the question appeared was not meant for it.
const TOO_FAST: Duration = Duration::from_secs(1);
/// The same where more is at stake.
const TOO_FAST_GRAVE: Duration = Duration::from_secs(2);

/// How many questions the console brings up by itself in which time; the rest waits until the person types `next`.
const ENOUGH: [(usize, Duration); 2] = [(3, Duration::from_secs(60)), (20, Duration::from_secs(3600))];
/// How often it looks whether it may ask again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why the console ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The person typed `quit`.
    Quit,
    /// The terminal is gone, or the person typed end-of-file.
    TerminalGone,
    /// The engine is gone.
    EngineGone,
}

/// Speaks for the owner on this terminal until one of the two is gone.
pub async fn run(client: Client, mut events: UnboundedReceiver<Event>, terminal: Terminal) -> End {
    let mut console = Console {
        client,
        terminal,
        question: None,
        put_off: HashSet::new(),
        asked: VecDeque::new(),
        told_to_wait: false,
    };
    console.greet().await;
    console.next_question(Pace::Slow).await;
    let mut again = tokio::time::interval(LOOK_AGAIN);
    loop {
        let end = tokio::select! {
            _ = again.tick() => { console.next_question(Pace::Slow).await; None }
            event = events.recv() => match event {
                Some(event) => { console.told(event).await; None }
                None => Some(End::EngineGone),
            },
            line = console.terminal.line() => match line {
                Some(line) => console.typed(&line).await,
                None => Some(End::TerminalGone),
            },
        };
        if let Some(end) = end {
            console.close(end).await;
            return end;
        }
    }
}

struct Console {
    client: Client,
    terminal: Terminal,
    question: Option<Question>,
    /// Holds and asks that the person wants to see later.
    put_off: HashSet<String>,
    /// When questions came up by themselves.
    asked: VecDeque<Instant>,
    told_to_wait: bool,
}

/// What a command leads to.
enum Next {
    /// The next question, if it is time for one.
    Question,
    /// The next question, whether it is time or not.
    QuestionNow,
    /// This hold.
    Show(String),
    End(End),
}

enum Question {
    Hold { hold: Box<HoldView>, asked: Instant, all_seen: bool },
    Retype { hold: Box<HoldView>, allow: Allow },
    Ask(AskView),
}

/// What the person wants to allow of a hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Allow {
    objects: Option<Vec<String>>,
    scope: Scope,
    /// The id of a rule that the hold offers.
    rule: Option<String>,
    forever: bool,
}

/// How a question comes up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// By itself: not too many, and only what the engine says may.
    Slow,
    /// The person asked for it.
    Now,
}

/// What waits for the person.
enum Waiting {
    Ask(AskView),
    Hold(String),
}

impl Question {
    fn id(&self) -> &str {
        match self {
            Self::Hold { hold, .. } | Self::Retype { hold, .. } => &hold.id,
            Self::Ask(ask) => &ask.id,
        }
    }
}

impl Console {
    async fn greet(&mut self) {
        self.terminal.say("This terminal answers for you. Type help for what you can do.\n");
        let Ok(status) = self.client.call(StatusCall, Empty {}).await else { return };
        if let Some(door) = &status.doors.http {
            self.terminal.say(&format!("Agents connect at {door}/ACCOUNT.\n"));
        }
        if status.vault_locked {
            let why = status.vault_why.as_deref().map(show::plain).unwrap_or_default();
            self.terminal
                .say(&format!("The vault is locked, so nothing is let through: {why}. Type unlock to open it.\n"));
        }
        if status.panicked {
            self.terminal.say("Everything is stopped since a panic. Undo works; resume lets things go on.\n");
        }
    }

    async fn told(&mut self, event: Event) {
        let text = event.text.as_deref().map(show::plain).unwrap_or_default();
        match event.kind {
            EventKind::HoldClosed => {
                if self.question.as_ref().is_some_and(|question| Some(question.id()) == event.id.as_deref()) {
                    self.question = None;
                    self.terminal.say("This question is closed: it was decided elsewhere, it ran out of time, or everything was stopped.\n");
                }
            }
            EventKind::HoldOpened | EventKind::HoldChanged | EventKind::AskOpened => {}
            EventKind::Panic => {
                self.question = None;
                self.terminal
                    .say("Everything is stopped. Undo works; resume lets things go on, one agent at a time.\n");
            }
            EventKind::Resumed => self.terminal.say(&format!("Resumed. {text}\n")),
            EventKind::AccountFailing | EventKind::AgentPaused | EventKind::Told => {
                self.terminal.say(&format!("{text}\n"))
            }
            EventKind::VaultOpened => self.terminal.say("The vault is open.\n"),
            EventKind::OutboxChanged => {}
            EventKind::PhoneChanged if text.is_empty() => {}
            EventKind::PhoneChanged => self.terminal.say(&format!("{text}\n")),
        }
        self.next_question(Pace::Slow).await;
    }

    async fn typed(&mut self, line: &Line) -> Option<End> {
        let line = line.trim();
        if line == "panic" {
            self.panic().await;
            return None;
        }
        let next = match self.question.take() {
            Some(Question::Hold { hold, asked, all_seen }) => {
                self.hold_answered(hold, asked, all_seen, line).await;
                Next::Question
            }
            Some(Question::Retype { hold, allow }) => {
                self.retyped(&hold, allow, line).await;
                Next::Question
            }
            Some(Question::Ask(ask)) => {
                self.ask_answered(ask, line).await;
                Next::Question
            }
            None => command::run(&self.client, &mut self.terminal, line).await,
        };
        match next {
            Next::Question => self.next_question(Pace::Slow).await,
            Next::QuestionNow => {
                self.put_off.clear();
                self.asked.clear();
                self.next_question(Pace::Now).await;
            }
            Next::Show(id) => {
                self.put_off.remove(&id);
                self.ask_hold(id).await;
            }
            Next::End(end) => return Some(end),
        }
        None
    }

    async fn panic(&mut self) {
        self.question = None;
        let text = match self.client.call(PanicCall, Empty {}).await {
            Ok(result) => show::panicked(&result),
            Err(error) => format!("Panic failed: {error}. Type quit, or end the engine's process.\n"),
        };
        self.terminal.say(&text);
    }

    /// Asks the next thing that waits, unless a question is open or enough were asked lately.
    async fn next_question(&mut self, pace: Pace) {
        if self.question.is_some() {
            return;
        }
        let Some((next, is_due)) = self.waiting().await else {
            self.told_to_wait = false;
            return;
        };
        if pace == Pace::Slow && (!is_due || self.had_enough()) {
            if !std::mem::replace(&mut self.told_to_wait, true) {
                self.terminal
                    .say("Three questions a minute are enough. More waits: type next to see it now, or panic.\n");
            }
            return;
        }
        self.told_to_wait = false;
        self.asked.push_back(Instant::now());
        match next {
            Waiting::Ask(ask) => {
                self.terminal.forget_typed();
                self.terminal.say(&format!("\n{}{}", show::ask(&ask), show::ASK_CHOICES));
                self.question = Some(Question::Ask(ask));
            }
            Waiting::Hold(id) => self.ask_hold(id).await,
        }
    }

    /// What to ask next and whether it may come up by itself; those that may come first.
    async fn waiting(&mut self) -> Option<(Waiting, bool)> {
        let asks = self.client.call(AskList, Empty {}).await.ok()?;
        let holds = self.client.call(HoldList, Empty {}).await.ok()?;
        let asks = asks.into_iter().map(|ask| (ask.prompt, ask.id.clone(), Waiting::Ask(ask)));
        let open = holds.into_iter().filter(|hold| hold.state == HoldState::Open);
        asks.chain(open.map(|hold| (hold.prompt, hold.id.clone(), Waiting::Hold(hold.id))))
            .filter(|(_, id, _)| !self.put_off.contains(id))
            .min_by_key(|(may_come_up, _, _)| !may_come_up)
            .map(|(may_come_up, _, waiting)| (waiting, may_come_up))
    }

    fn had_enough(&mut self) -> bool {
        while self.asked.len() > ENOUGH.iter().map(|(count, _)| *count).max().unwrap_or_default() {
            self.asked.pop_front();
        }
        let lately = |span: Duration| self.asked.iter().filter(|asked| asked.elapsed() < span).count();
        ENOUGH.iter().any(|(count, span)| lately(*span) >= *count)
    }

    async fn ask_hold(&mut self, id: String) {
        let hold = match self.client.call(HoldGet, HoldGetParams { id, offset: None, limit: None }).await {
            Ok(hold) => hold,
            Err(error) => return self.terminal.say(&said_no(&error)),
        };
        self.terminal.forget_typed();
        self.terminal.say(&format!("\n{}{}", show::hold(&hold), show::choices(&hold)));
        let all_seen = hold.objects.len() <= show::ROWS;
        self.question = Some(Question::Hold { hold: Box::new(hold), asked: Instant::now(), all_seen });
    }

    async fn hold_answered(&mut self, hold: Box<HoldView>, asked: Instant, all_seen: bool, line: &str) {
        let wait = match hold.class {
            Class::Destroy | Class::Share | Class::Divert | Class::Spend => TOO_FAST_GRAVE,
            Class::Read | Class::Modify | Class::Remove | Class::Unclassified | Class::Send | Class::Publish => {
                TOO_FAST
            }
        };
        match answer(&hold, line) {
            Answer::Deny(remember) => self.deny(&hold, remember).await,
            Answer::Allow(_) if asked.elapsed() < wait => {
                self.terminal.say("That came before the question could be read, so it does not count. Answer again.\n");
                self.question = Some(Question::Hold { hold, asked, all_seen });
            }
            Answer::Allow(allow) if !all_seen && allow.objects.is_none() => {
                self.terminal.say(&format!(
                    "You have seen {} of {}. Type list to see all, or seen enough and then allow.\n",
                    show::ROWS,
                    show::counted(&hold)
                ));
                self.question = Some(Question::Hold { hold, asked, all_seen });
            }
            Answer::Allow(allow) if hold.retype && (allow.forever || !hold.forever) => {
                let lost =
                    if hold.reversible == Reversible::Yes && !allow.forever { "" } else { " can't be taken back" };
                let (act, count) = (show::act(&hold), hold.count);
                self.terminal.say(&format!("{act}{lost}. Type the number, {count}, to confirm: "));
                self.question = Some(Question::Retype { hold, allow });
            }
            Answer::Allow(allow) => self.allow(&hold, allow, None).await,
            Answer::List => {
                self.terminal.say(&format!("{}{}", show::rows(&hold, 0, usize::MAX), show::choices(&hold)));
                self.question = Some(Question::Hold { hold, asked, all_seen: true });
            }
            Answer::SeenEnough => {
                self.terminal.say(&show::choices(&hold));
                self.question = Some(Question::Hold { hold, asked, all_seen: true });
            }
            Answer::Later => {
                self.terminal.say(&format!(
                    "It waits until {}. Type show {} to see it again.\n",
                    show::plain(&hold.expires_at),
                    hold.id
                ));
                self.put_off.insert(hold.id);
            }
            Answer::Unclear(why) => {
                self.terminal.say(&format!("{why} Nothing was decided. {}", show::choices(&hold)));
                self.question = Some(Question::Hold { hold, asked, all_seen });
            }
        }
    }

    async fn retyped(&mut self, hold: &HoldView, allow: Allow, line: &str) {
        match line.parse::<u32>() {
            Ok(count) if count == hold.count => self.allow(hold, allow, Some(count)).await,
            Ok(_) | Err(_) => {
                self.terminal.say("That is not the number.\n");
                self.deny(hold, None).await;
            }
        }
    }

    async fn allow(&mut self, hold: &HoldView, allow: Allow, retyped_count: Option<u32>) {
        self.decide(hold, Verdict::Allow, allow, retyped_count, None).await;
    }

    async fn deny(&mut self, hold: &HoldView, remember: Option<Remember>) {
        self.decide(hold, Verdict::Deny, Allow::default(), None, remember).await;
    }

    async fn decide(
        &mut self,
        hold: &HoldView,
        verdict: Verdict,
        allow: Allow,
        retyped_count: Option<u32>,
        remember: Option<Remember>,
    ) {
        let params = HoldDecideParams {
            id: hold.id.clone(),
            digest: hold.digest.clone(),
            verdict,
            objects: allow.objects,
            scope: (verdict == Verdict::Allow).then_some(allow.scope),
            rule: allow.rule,
            remember,
            forever: allow.forever.then_some(true),
            retyped_count,
            by: Some("terminal".to_owned()),
        };
        let text = match self.client.call(HoldDecide, params).await {
            Ok(decided) => match decided.state {
                HoldState::Allowed => format!("Allowed: {}.\n", show::act(hold)),
                HoldState::AllowedInPart => "Allowed in part.\n".to_owned(),
                HoldState::Denied | HoldState::Expired => format!("Denied: {}.\n", show::act(hold)),
                HoldState::Preparing | HoldState::Open | HoldState::Proposal => "Not decided yet.\n".to_owned(),
            },
            Err(error) => {
                if error.is(ErrorCode::Conflict) {
                    self.put_off.remove(&hold.id);
                }
                said_no(&error)
            }
        };
        self.terminal.say(&text);
    }

    async fn ask_answered(&mut self, ask: AskView, line: &str) {
        let verdict = match line {
            "allow" => Verdict::Allow,
            "" | "no" | "deny" => Verdict::Deny,
            "later" => {
                self.put_off.insert(ask.id);
                return;
            }
            _ => {
                self.terminal.say(&format!("That is no answer. Nothing was decided. {}", show::ASK_CHOICES));
                self.question = Some(Question::Ask(ask));
                return;
            }
        };
        let text = match self.client.call(AskDecide, AskDecideParams { id: ask.id, verdict }).await {
            Ok(_) if verdict == Verdict::Deny => "Denied.\n".to_owned(),
            Ok(result) => match serde_json::from_value::<UndoResult>(result) {
                Ok(undone) if ask.kind == "undo" => show::undone(&undone),
                Ok(_) | Err(_) => "Done.\n".to_owned(),
            },
            Err(error) => said_no(&error),
        };
        self.terminal.say(&text);
    }

    /// Whatever is asked at the end is denied.
    async fn close(&mut self, end: End) {
        if end == End::EngineGone {
            self.terminal.say("The engine is gone.\n");
            return;
        }
        match self.question.take() {
            Some(Question::Hold { hold, .. } | Question::Retype { hold, .. }) => {
                self.deny(&hold, None).await;
            }
            Some(Question::Ask(ask)) => self.ask_answered(ask, "").await,
            None => {}
        }
    }
}

fn said_no(error: &CallError) -> String {
    format!("That did not work: {}\n", show::plain(&error.to_string()))
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Deny(Option<Remember>),
    Allow(Allow),
    List,
    SeenEnough,
    Later,
    Unclear(String),
}

/// What a line means as an answer to a hold. Only what begins with `allow` or is `for ever` can allow.
fn answer(hold: &HoldView, line: &str) -> Answer {
    let mut words = line.split_whitespace();
    match (words.next(), words.collect::<Vec<_>>().join(" ").as_str()) {
        (Some("no"), "task") if hold.memorable => Answer::Deny(Some(Remember::Task)),
        (Some("no"), "always") if hold.memorable => Answer::Deny(Some(Remember::Always)),
        (None | Some("no" | "deny" | "keep"), _) => Answer::Deny(None),
        (Some("list"), "") => Answer::List,
        (Some("seen"), "enough") => Answer::SeenEnough,
        (Some("later"), "") => Answer::Later,
        (Some("allow"), "") => Answer::Allow(Allow::default()),
        (Some("allow"), "task") if hold.task_scope => Answer::Allow(Allow { scope: Scope::Task, ..Allow::default() }),
        (Some("allow"), "task") => Answer::Unclear("This can be allowed only once.".to_owned()),
        (Some("allow"), "rule") => match hold.rules.first() {
            Some(rule) => Answer::Allow(Allow { scope: Scope::Task, rule: Some(rule.id.clone()), ..Allow::default() }),
            None => Answer::Unclear("No rule is offered here.".to_owned()),
        },
        (Some("for"), "ever") if hold.forever => Answer::Allow(Allow { forever: true, ..Allow::default() }),
        (Some("for"), "ever") => Answer::Unclear("For ever is not offered here.".to_owned()),
        (Some("allow"), _) if !hold.partial => Answer::Unclear("This can be allowed only as a whole.".to_owned()),
        (Some("allow"), rows) => match chosen(hold, rows) {
            Some(objects) => Answer::Allow(Allow { objects: Some(objects), ..Allow::default() }),
            None => Answer::Unclear(format!("Rows are numbers from 1 to {}, like 1,3-5.", choices(hold).len())),
        },
        (Some(_), _) => Answer::Unclear("That is no answer.".to_owned()),
    }
}

/// The ids of rows like `1,3-5`; `None` when a row does not exist or none is named.
fn chosen(hold: &HoldView, rows: &str) -> Option<Vec<String>> {
    let rows_there = choices(hold);
    let mut ids: Vec<String> = Vec::new();
    for part in rows.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > rows_there.len() {
            return None;
        }
        for row in first..=last {
            let id = (*rows_there.get(row.checked_sub(1)?)?).to_owned();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    (!ids.is_empty()).then_some(ids)
}

#[cfg(test)]
mod tests;
