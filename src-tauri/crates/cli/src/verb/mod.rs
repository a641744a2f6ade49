//! What each verb does.

mod account;
mod agent;
pub(crate) mod doctor;
mod explain;
mod journal;
mod serve;

use std::future::Future;
use std::io::Write;

use clap::CommandFactory;
use latch_daemon::confirm::tty::show;
use latch_ipc::contract::{
    Empty, HoldDeny, HoldGet, HoldGetParams, HoldList, Id, PanicCall, StatusCall, UndoRun, UndoRunParams,
};
use latch_ipc::view::HoldView;
use serde::Serialize;

use crate::args::{Args, Hold, Undo, Verb};
use crate::exit::{Exit, Failure};
use crate::{demo, engine, home};

/// What a verb needs to know about how it was called.
pub(crate) struct Call {
    home: Option<std::path::PathBuf>,
    json: bool,
}

/// Runs one verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let call = Call { home: args.home, json: args.json };
    match args.verb {
        Verb::Serve(serve) => serve::run(call, &serve),
        Verb::Status => call.block_on(status(&call)),
        Verb::Account(verb) => account::run(call, verb),
        Verb::Agent(verb) => call.block_on(agent::agent(&call, verb)),
        Verb::Grant(verb) => call.block_on(agent::grant(&call, verb)),
        Verb::Token(token) => call.block_on(agent::token(&call, token)),
        Verb::Hold(verb) => call.block_on(hold(&call, verb)),
        Verb::Panic => call.block_on(panic(&call)),
        Verb::Undo(verb) => call.block_on(undo(&call, verb)),
        Verb::Explain { one: None } => explain::run(),
        Verb::Explain { one: Some(one) } => explain::one(&one),
        Verb::Demo(demo) => demo::run(call.home, &demo),
        Verb::Journal { vault, own, verb } => call.block_on(journal::run(&call, vault, own, verb)),
        Verb::Doctor => call.block_on(doctor::run(&call)),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "latch", &mut script);
            write(&script)
        }
    }
}

impl Call {
    fn home(&self) -> Result<std::path::PathBuf, Failure> {
        home::resolve(self.home.clone())
    }

    async fn engine(&self) -> Result<latch_ipc::Client, Failure> {
        engine::connect(&self.home()?).await
    }

    /// Client verbs need one thread only.
    fn block_on(&self, verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?.block_on(verb)
    }

    /// Prints a view as JSON, or the sentences for it.
    fn print<T: Serialize>(&self, view: &T, sentences: impl FnOnce(&T) -> String) -> Result<Exit, Failure> {
        if self.json {
            let mut line = serde_json::to_vec(view).map_err(Failure::failed)?;
            line.push(b'\n');
            return write(&line);
        }
        write(sentences(view).as_bytes())
    }
}

/// A reader that has gone away (`latch journal export | head`) is no failure.
fn write(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::failed(error)),
    }
}

async fn status(call: &Call) -> Result<Exit, Failure> {
    let status = call.engine().await?.call(StatusCall, Empty {}).await?;
    call.print(&status, show::status)?;
    Ok(if status.panicked { Exit::Panicked } else { Exit::Done })
}

async fn hold(call: &Call, verb: Hold) -> Result<Exit, Failure> {
    match verb {
        Hold::List => {
            let holds = call.engine().await?.call(HoldList, Empty {}).await?;
            call.print(&holds, |holds| match holds.is_empty() {
                true => "Nothing waits.\n".to_owned(),
                false => holds.iter().map(show::hold_line).collect(),
            })
        }
        Hold::Show { id } => {
            let params = HoldGetParams { id, offset: None, limit: Some(0) };
            let hold = call.engine().await?.call(HoldGet, params).await?;
            call.print(&hold, shown)
        }
        Hold::Deny { id } => {
            let decided = call.engine().await?.call(HoldDeny, Id { id }).await?;
            call.print(&decided, |_| "Denied.\n".to_owned())
        }
        Hold::Allow { id } => Err(Failure::new(
            Exit::Denied,
            format!(
                "Nothing can be allowed from here, so that no program can do it for you. Allow {} in the tray's dialog, or in the terminal where latch serve runs.",
                show::plain(&id)
            ),
        )),
    }
}

fn shown(hold: &HoldView) -> String {
    format!(
        "{}  Why it is asked: {}\n  {}\nWhat exactly it is about stands in the tray's dialog, or in the terminal where latch serve runs.\n",
        show::hold_line(hold),
        show::plain(&hold.why),
        show::plain(&hold.undo_text)
    )
}

async fn panic(call: &Call) -> Result<Exit, Failure> {
    let stopped = call.engine().await?.call(PanicCall, Empty {}).await?;
    call.print(&stopped, show::panicked)
}

async fn undo(call: &Call, verb: Undo) -> Result<Exit, Failure> {
    let params = match (verb.entry, verb.agent) {
        (Some(entry), _) => UndoRunParams::Entry { entry },
        (None, Some(agent)) => UndoRunParams::Agent { agent, since: verb.since },
        (None, None) => return Err(Failure::new(Exit::Usage, "Name an entry, or --agent.")),
    };
    let result = call.engine().await?.call(UndoRun, params).await?;
    call.print(&result, show::undone)
}
