//! `latch demo`: a made-up mailbox, a runaway agent, a real engine, real questions, a real Panic and a real Undo.
//!
//! ```text
//!   agent ── HTTP door ──┐
//!                        ├── latch serve --owner stdio (child, temporary home, memory vault) ── made-up mailbox
//!   owner ── its stdin ──┘
//!     the owner is the script, the person at this terminal, or the tray through a relay
//! ```

mod agent;
mod mailbox;
mod relay;
mod report;
mod script;
mod server;
mod stage;

use std::path::PathBuf;
use std::process::ExitStatus;

use latch_daemon::confirm::tty::{self, Terminal, show};

use self::agent::{Agent, Answer, Step};
use self::stage::{AGENT, Stage};
use crate::args::Demo;
use crate::exit::{Exit, Failure};
use crate::verb::doctor;

pub(crate) use relay::run as relay;

/// Plays it.
pub(crate) fn run(home: Option<PathBuf>, demo: &Demo) -> Result<Exit, Failure> {
    if home.is_some() {
        let message = "The demo never touches a home: leave --home out. It makes a temporary one and removes it.";
        return Err(Failure::new(Exit::Usage, message));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Failure::failed)?.block_on(async {
        match (demo.script, doctor::tray_program()) {
            (true, _) => script::play().await,
            (false, Some(tray)) if doctor::has_display() && !demo.terminal => in_windows(tray).await,
            (false, _) => in_terminal().await,
        }
    })
}

/// A home that goes with the demo.
fn home() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("latch-demo-").tempdir().map_err(Failure::failed)
}

/// One line of the story.
fn say(text: &str) {
    println!("{text}");
}

/// The tray asks; it starts this program again as the engine, which relays to the real one.
async fn in_windows(tray: PathBuf) -> Result<Exit, Failure> {
    say("Tidybot gets a made-up mailbox of 300 mails. The tray asks you when it goes too far.");
    say("Decide in the dialogs, press Panic in the tray, then Undo. Quit in the tray ends the demo.\n");
    let home = home()?;
    let ended = tokio::process::Command::new(tray)
        .args(["--demo", "--vault", "memory", "--home"])
        .arg(home.path())
        .env_remove("LATCHSTRING_HOME")
        .kill_on_drop(true)
        .status()
        .await;
    match ended.as_ref().map(ExitStatus::success) {
        Ok(true) => Ok(Exit::Done),
        Ok(false) => Err(Failure::new(Exit::Failed, "The tray program failed. Try: latch demo --terminal")),
        Err(error) => Err(Failure::failed(format!("The tray program can't be started: {error}"))),
    }
}

/// The person answers in this terminal.
async fn in_terminal() -> Result<Exit, Failure> {
    let Some(terminal) = Terminal::open() else {
        let message = "There is neither a display nor a terminal to ask you on. Without a person: latch demo --script";
        return Err(Failure::new(Exit::Failed, message));
    };
    let home = home()?;
    let (stage, agent, events) = Stage::set(home.path()).await?;
    say("Tidybot gets a made-up mailbox of 300 mails, and you are its owner here.");
    say("When it goes too far, this terminal asks you. Type panic to stop it, then: undo tidybot 1h, then quit.\n");
    let watching = stage.watch();
    let rows = Rows::default();
    let back = format!("type undo {AGENT} 1h, then quit");
    let playing = rampage(&stage, agent, &rows, &back, &|line: String| println!("{line}"));
    let owning = tty::run(stage.client.clone(), events, terminal);
    tokio::pin!(owning);
    tokio::select! {
        _ = &mut owning => {}
        () = playing => {
            owning.await;
        }
    }
    watching.abort();
    let (text, _) = stage.report(&rows.take());
    say(&text);
    stage.strike().await;
    Ok(Exit::Done)
}

/// What the agent did so far; kept apart, because the person may end the demo in the middle.
#[derive(Clone, Default)]
struct Rows(std::sync::Arc<std::sync::Mutex<Vec<report::Row>>>);

impl Rows {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<report::Row>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take(&self) -> Vec<report::Row> {
        std::mem::take(&mut *self.lock())
    }
}

/// The agent, from its first polite look to the end that somebody makes of it.
/// `back` says how its doings are put back.
async fn rampage(stage: &Stage, mut agent: Agent, rows: &Rows, back: &str, tell: &(dyn Fn(String) + Sync)) {
    if let Answer::Denied(why) | Answer::Stopped(why) = agent.look().await {
        tell(format!("Tidybot can't see the inbox: {}", show::plain(&why)));
        return;
    }
    for step in Step::ALL {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        tell(format!("Tidybot: {}", step.says()));
        let (row, answers) = stage.step(&mut agent, step).await;
        tell(format!(
            "  {} of {} messages {} changed.",
            row.changed.len(),
            row.asked,
            if row.changed.len() == 1 { "was" } else { "were" }
        ));
        rows.lock().push(row);
        for answer in &answers {
            match answer {
                Answer::Denied(why) => tell(format!("  Tidybot was told: {}", show::plain(why))),
                Answer::Stopped(why) => {
                    tell(format!("  Tidybot is stopped and was told: {}", show::plain(why)));
                    tell(format!("Now put back what it did: {back}."));
                    return;
                }
                Answer::Ran(_) => {}
            }
        }
    }
    tell(format!("Tidybot has come to its end. Press or type panic, then put back what it did: {back}."));
}
