//! The demo without a person: a scripted owner at the owner channel, who checks the mailbox after every step.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use latch_daemon::confirm::tty::show;
use latch_ipc::Client;
use latch_ipc::contract::{
    Empty, HoldDecide, HoldDecideParams, HoldGet, HoldGetParams, HoldList, JournalVerify, PanicCall, Scope, UndoRun,
    UndoRunParams, Verdict,
};
use latch_ipc::view::{HoldState, HoldView};
use latch_ipc::words::counted;

use super::agent::{Answer, Step};
use super::mailbox::Mailbox;
use super::say;
use super::stage::{AGENT, Seen, Stage};
use crate::exit::{Exit, Failure};

/// How many of the 120 the owner lets go.
const IN_PART: usize = 30;
/// What a new agent may trash unasked in ten minutes with the preset `organize`: half of 5, rounded up.
const BUDGET: usize = 3;

/// What the owner did, for the checks.
#[derive(Debug, Default)]
struct Diary {
    step: Option<Step>,
    /// Objects let through in this step.
    allowed: BTreeSet<String>,
    decided: usize,
    panicked: bool,
    problems: Vec<String>,
}

type Shared = Arc<Mutex<Diary>>;

pub(super) async fn play() -> Result<Exit, Failure> {
    let home = super::home()?;
    let (stage, mut agent, _events) = Stage::set(home.path()).await?;
    let diary = Shared::default();
    let owner = tokio::spawn(own(stage.client.clone(), stage.seen.clone(), stage.start.clone(), Arc::clone(&diary)));
    let mut rows = Vec::new();
    if !matches!(agent.look().await, Answer::Ran(_)) {
        return Err(Failure::new(Exit::Failed, "the agent can't even list the inbox."));
    }
    for step in Step::ALL {
        say(&format!("Tidybot: {}", step.says()));
        with(&diary, |diary| {
            *diary = Diary { step: Some(step), problems: std::mem::take(&mut diary.problems), ..Diary::default() }
        });
        let (row, answers) = stage.step(&mut agent, step).await;
        with(&diary, |diary| check(diary, step, &agent.targets(step), &row.changed, &answers));
        for problem in softened_wrong(&stage.mailbox.copy(), step, &row.changed) {
            with(&diary, |diary| diary.problems.push(problem));
        }
        rows.push(row);
    }
    owner.abort();
    let before = stage.mailbox.copy();
    if let Answer::Ran(_) = agent.look().await {
        with(&diary, |diary| diary.problems.push("after Panic the agent could still read".to_owned()));
    }
    say("You: undo everything that Tidybot did.");
    let undone =
        stage.client.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await?;
    say(&format!("{} messages put back while everything else stays stopped.", undone.restored));
    let mut problems = with(&diary, |diary| std::mem::take(&mut diary.problems));
    let touched: BTreeSet<&String> = rows.iter().flat_map(|row| &row.changed).collect();
    if undone.restored as usize != touched.len() || !undone.not_restored.is_empty() {
        problems.push(format!("undo put back {} of {}", undone.restored, touched.len()));
        problems.extend(undone.not_restored.iter().map(|left| format!("not put back: {}: {}", left.object, left.why)));
    }
    if before == stage.start {
        problems.push("nothing had changed before the undo, so it proves nothing".to_owned());
    }
    let verified = stage.client.call(JournalVerify, Empty {}).await?;
    if !verified.ok {
        problems.push("the journal does not verify".to_owned());
    }
    let (text, whole) = stage.report(&rows);
    say(&text);
    stage.strike().await;
    if !whole {
        problems.push("the mailbox is not as it was".to_owned());
    }
    match problems.is_empty() {
        true => Ok(Exit::Done),
        false => Err(Failure::new(Exit::Failed, format!("the demo did not end well:\n{}", problems.join("\n")))),
    }
}

fn with<T>(diary: &Shared, change: impl FnOnce(&mut Diary) -> T) -> T {
    change(&mut diary.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The owner: looks at what waits and decides, until stopped.
async fn own(client: Client, seen: Seen, start: Mailbox, diary: Shared) {
    while let Ok(holds) = client.call(HoldList, Empty {}).await {
        for hold in holds {
            seen.note(&hold.id, hold.count);
            if hold.state == HoldState::Open
                && let Err(error) = decide(&client, &start, &diary, hold.id).await
            {
                with(&diary, |diary| diary.problems.push(format!("the owner could not decide: {error}")));
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn decide(
    client: &Client,
    start: &Mailbox,
    diary: &Shared,
    id: String,
) -> Result<(), latch_ipc::client::CallError> {
    let hold = client.call(HoldGet, HoldGetParams { id, offset: None, limit: None }).await?;
    let (step, nth) = with(diary, |diary| {
        diary.problems.extend(preview_wrong(start, &hold));
        diary.decided += 1;
        (diary.step, diary.decided)
    });
    let asked = format!("Held: {}.", show::act(&hold));
    let (verdict, objects) = match step {
        Some(Step::DeleteMany) => {
            say(&format!("{asked} You: Panic!"));
            // Noted first: the agent may learn that it is stopped before the owner's call returns.
            with(diary, |diary| diary.panicked = true);
            let stopped = client.call(PanicCall, Empty {}).await?;
            say(&format!(
                "Stopped. {} and {} are void.",
                counted(stopped.cut.tokens, &["token".to_owned(), "tokens".to_owned()]),
                counted(stopped.cut.holds, &["waiting request".to_owned(), "waiting requests".to_owned()])
            ));
            return Ok(());
        }
        Some(Step::TrashEach) if nth % 2 == 0 => (Verdict::Allow, None),
        Some(Step::DeleteSome) => (Verdict::Allow, None),
        Some(Step::TrashMany) => (Verdict::Allow, Some(unstarred(&hold))),
        Some(Step::Sort | Step::TrashEach | Step::Archive) | None => (Verdict::Deny, None),
    };
    let words = match (verdict, &objects) {
        (Verdict::Deny, _) => hold.keep.clone(),
        (Verdict::Allow, Some(some)) => format!("only these {}, none of them starred", some.len()),
        (Verdict::Allow, None) => "let it".to_owned(),
    };
    say(&format!("{asked} You: {words}."));
    if verdict == Verdict::Allow {
        let ids = objects.clone().unwrap_or_else(|| hold.objects.iter().map(|object| object.id.clone()).collect());
        with(diary, |diary| diary.allowed.extend(ids));
    }
    let params = HoldDecideParams {
        id: hold.id,
        digest: hold.digest,
        verdict,
        objects,
        scope: Some(Scope::Once),
        rule: None,
        remember: None,
        forever: None,
        retyped_count: None,
        by: Some("script".to_owned()),
    };
    client.call(HoldDecide, params).await.map(|_| ())
}

fn unstarred(hold: &HoldView) -> Vec<String> {
    let plain = hold.objects.iter().filter(|object| !object.flags.iter().any(|flag| flag == "starred"));
    plain.take(IN_PART).map(|object| object.id.clone()).collect()
}

/// What the owner was shown, against what is really in the mailbox.
fn preview_wrong(start: &Mailbox, hold: &HoldView) -> Vec<String> {
    let mut problems = Vec::new();
    if hold.objects.len() != hold.count as usize {
        problems.push(format!("{}: {} objects shown of {}", hold.id, hold.objects.len(), hold.count));
    }
    for object in &hold.objects {
        let shown_starred = object.flags.iter().any(|flag| flag == "starred");
        let fits = start.mails.get(&object.id).is_some_and(|mail| {
            mail.subject == object.title
                && object.from.as_deref() == Some(&mail.from)
                && shown_starred == mail.labels.contains("STARRED")
        });
        if !fits {
            problems.push(format!("{}: {} is shown as \"{}\"", hold.id, object.id, object.title));
        }
    }
    problems
}

/// Only what the budget or the owner let through may have changed.
fn check(diary: &mut Diary, step: Step, targets: &[String], changed: &BTreeSet<String>, answers: &[Answer]) {
    let unasked = match step {
        Step::Sort => targets.len(),
        Step::TrashEach => BUDGET,
        Step::TrashMany | Step::Archive | Step::DeleteSome | Step::DeleteMany => 0,
    };
    let mut right: BTreeSet<String> = targets.iter().take(unasked).cloned().collect();
    right.extend(diary.allowed.iter().cloned());
    if *changed != right {
        let count = changed.symmetric_difference(&right).count();
        diary.problems.push(format!(
            "{step:?}: {} messages changed, {} should have ({count} wrong)",
            changed.len(),
            right.len()
        ));
    }
    let ran = answers.iter().filter(|answer| matches!(answer, Answer::Ran(_))).count();
    let should = match step {
        Step::Sort | Step::TrashMany | Step::DeleteSome => 1,
        Step::TrashEach => right.len(),
        Step::Archive | Step::DeleteMany => 0,
    };
    if ran != should {
        diary.problems.push(format!("{step:?}: the agent was told {ran} times that it ran, not {should}: {answers:?}"));
    }
    if step == Step::DeleteMany && !diary.panicked {
        diary.problems.push("nobody pressed Panic".to_owned());
    }
}

/// What was to be deleted for ever must lie in the Trash.
fn softened_wrong(mailbox: &Mailbox, step: Step, changed: &BTreeSet<String>) -> Vec<String> {
    let trashed = |id: &String| mailbox.mails.get(id).is_some_and(|mail| mail.labels.contains("TRASH"));
    match step {
        Step::DeleteSome | Step::DeleteMany | Step::TrashEach | Step::TrashMany => {
            changed.iter().filter(|id| !trashed(id)).map(|id| format!("{step:?}: {id} is not in the Trash")).collect()
        }
        Step::Sort | Step::Archive => Vec::new(),
    }
}
