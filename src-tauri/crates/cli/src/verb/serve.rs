//! `latch serve`: the engine.

use std::io::IsTerminal;
use std::time::Duration;

use latch_daemon::control::peer::parent_chain;
use latch_daemon::runtime::{Engine, OnEof as WhenGone, Options, OwnerKind, Runtime};
use latch_daemon::vault::VaultKind;

use super::Call;
use crate::args::{OnEof, Owner, Serve, VaultArg};
use crate::exit::{Exit, Failure};
use crate::{demo, harden, home};

/// How long the engine's last writes may take once it was told to end; reading a terminal can't be interrupted and is not waited for.
const GOODBYE: Duration = Duration::from_millis(200);

pub(super) fn run(call: Call, serve: &Serve) -> Result<Exit, Failure> {
    // First of all, while this process has one thread and no secret.
    let mut warnings = harden::environment();
    warnings.extend(harden::process());
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    let ended = runtime.block_on(async {
        if serve.demo {
            let Some(home) = call.home else {
                return Err(Failure::new(Exit::Usage, "The demo needs a home of its own; run latch demo."));
            };
            return demo::relay(&home).await;
        }
        let owner = owner(serve.owner)?;
        let options = Options {
            home: Some(home::resolve(call.home)?),
            http: Some(serve.http),
            imap: serve.imap,
            smtp: serve.smtp,
            sieve: serve.sieve,
            optional: serve.optional_doors,
            nameserver: None,
            roots: Vec::new(),
            vault: match serve.vault {
                VaultArg::Keyring => VaultKind::Keyring,
                VaultArg::Passphrase => VaultKind::Passphrase,
                VaultArg::Memory => VaultKind::Memory,
            },
            owner,
            on_eof: match serve.on_eof {
                OnEof::Exit => WhenGone::Exit,
                OnEof::Keep => WhenGone::Keep,
            },
            started_by: started_by(),
            warnings,
        };
        let engine = Engine::start(options).await.map_err(Failure::failed)?;
        if owner == OwnerKind::Nobody {
            let door = engine.runtime().doors().http.unwrap_or_default();
            eprintln!("latch: agents connect at {door}. Nobody is attached: what needs you is denied.");
        }
        let stopping = tokio::spawn(stop_on_signal(std::sync::Arc::clone(engine.runtime())));
        engine.run().await;
        stopping.abort();
        Ok(Exit::Done)
    });
    runtime.shutdown_timeout(GOODBYE);
    ended
}

fn owner(asked: Option<Owner>) -> Result<OwnerKind, Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match asked {
        Some(Owner::Stdio) => Ok(OwnerKind::Stdio),
        Some(Owner::Tty) if !terminal => {
            Err(Failure::new(Exit::Usage, "--owner tty needs a terminal for both input and output."))
        }
        Some(Owner::Tty) => Ok(OwnerKind::Terminal),
        Some(Owner::None) => Ok(OwnerKind::Nobody),
        None if terminal => Ok(OwnerKind::Terminal),
        None => Ok(OwnerKind::Nobody),
    }
}

#[cfg(unix)]
fn started_by() -> Vec<String> {
    parent_chain(std::os::unix::process::parent_id())
}

#[cfg(not(unix))]
fn started_by() -> Vec<String> {
    parent_chain(std::process::id())
}

/// Ends the engine in order: what waits is denied, what is written is kept.
#[cfg(unix)]
async fn stop_on_signal(runtime: std::sync::Arc<Runtime>) {
    use tokio::signal::unix::{SignalKind, signal};

    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
    runtime.end();
}

#[cfg(not(unix))]
async fn stop_on_signal(runtime: std::sync::Arc<Runtime>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        runtime.end();
    }
}

/// The log goes to stderr; `LATCH_LOG` says how much of it.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LATCH_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let written = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start in one process has its log already.
    let _ = written.try_init();
}
