//! The record, read only: of a stopped engine all of it; of a running one what belongs to the agent that asks. All of a running engine's record is shown to
//! the owner alone: any program of the same user could run this verb, so it proves nothing about who reads.

use std::path::Path;

use latch_core::journal::{Record, kind_name};
use latch_daemon::confirm::tty::Terminal;
use latch_daemon::home::{Home, HomeError};
use latch_daemon::store::{Store, Stored};
use latch_daemon::vault::{Vault, VaultKind};
use latch_ipc::contract::{JournalOwn, JournalOwnParams};
use latch_ipc::rpc::ErrorCode;
use latch_ipc::view::RecordView;
use latch_ipc::{Client, Secret};
use serde::Serialize;

use super::{Call, write};
use crate::args::{Journal, Own, VaultArg};
use crate::exit::{Exit, Failure};

/// A record as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: String,
    #[serde(flatten)]
    record: &'a Record,
}

/// What became of the check.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(super) async fn run(call: &Call, vault: VaultArg, own: Own, verb: Journal) -> Result<Exit, Failure> {
    if let Ok(engine) = call.engine().await {
        return of_a_running_engine(call, &engine, own, verb).await;
    }
    let (store, rolled_back) = open(&call.home()?, vault).await?;
    let done = match verb {
        Journal::Tail { limit, skip_reads } => tail(call, &store, limit, skip_reads).await,
        Journal::Show { seq } => match store.record(seq).await.map_err(Failure::failed)? {
            Some(stored) => call.print(&line(&stored), |_| sentence(&stored)),
            None => Err(Failure::new(Exit::Failed, format!("there is no record {seq}."))),
        },
        Journal::Verify => verify(call, &store, rolled_back).await,
        Journal::Export => export(&store).await,
    };
    store.close();
    done
}

/// Pages of one agent's own records, newest first.
const PAGE: u32 = 1_000;

async fn of_a_running_engine(call: &Call, engine: &Client, own: Own, verb: Journal) -> Result<Exit, Failure> {
    let pairing_secret = super::agent::pairing_secret(own.file.as_deref(), own.env.as_deref())?;
    let page = async |before: Option<u64>, limit: u32, skip_reads: bool| {
        let params = JournalOwnParams {
            agent: own.agent.clone(),
            pairing_secret: pairing_secret.clone(),
            before,
            limit: Some(limit),
            skip_reads: Some(skip_reads),
        };
        engine.call(JournalOwn, params).await.map_err(|error| match error.is(ErrorCode::Forbidden) {
            true => Failure::new(Exit::Denied, RUNNING),
            false => error.into(),
        })
    };
    match verb {
        Journal::Tail { limit, skip_reads } => {
            let mut records = page(None, limit.min(PAGE), skip_reads).await?;
            records.reverse();
            call.print(&records, |records| records.iter().map(own_sentence).collect())
        }
        Journal::Show { seq } => {
            let found = page(Some(seq.saturating_add(1)), 1, false).await?;
            match found.into_iter().find(|record| record.seq == seq) {
                Some(record) => call.print(&record, own_sentence),
                None => Err(Failure::new(Exit::Failed, format!("this agent has no record {seq}."))),
            }
        }
        Journal::Export => {
            let (mut before, mut newest_first) = (None, Vec::new());
            loop {
                let records = page(before, PAGE, false).await?;
                let Some(oldest) = records.last() else { break };
                before = Some(oldest.seq);
                newest_first.extend(records);
            }
            for record in newest_first.iter().rev() {
                let mut text = serde_json::to_vec(record).map_err(Failure::failed)?;
                text.push(b'\n');
                write(&text)?;
            }
            Ok(Exit::Done)
        }
        Journal::Verify => Err(Failure::new(Exit::Denied, RUNNING)),
    }
}

const RUNNING: &str = "The engine runs, and it shows its record only to you: in the tray, or with journal in the terminal where latch serve runs. From here an agent can read its own records (journal tail, show, export, with its pairing secret or from its own program); nobody can read another's, and verify wants the engine stopped.";

fn own_sentence(record: &RecordView) -> String {
    use latch_daemon::confirm::tty::show::plain;
    format!("{:>6}  {}  {}: {}\n", record.seq, plain(&record.at), plain(&record.kind), plain(&record.text))
}

async fn open(home: &Path, vault: VaultArg) -> Result<(Store, Option<String>), Failure> {
    if !home.join("latchstring.db").exists() {
        return Err(Failure::new(Exit::Failed, format!("{} has no journal yet.", home.display())));
    }
    let home = match Home::take(home) {
        Ok(home) => home,
        Err(HomeError::Taken { .. }) => {
            return Err(Failure::new(Exit::Denied, RUNNING));
        }
        Err(error) => return Err(Failure::failed(error)),
    };
    let kind = match vault {
        VaultArg::Keyring => VaultKind::Keyring,
        VaultArg::Passphrase => VaultKind::Passphrase,
        VaultArg::Memory => return Err(Failure::new(Exit::Usage, "A memory vault is gone with its engine.")),
    };
    let passphrase = match vault {
        VaultArg::Passphrase => Some(ask_passphrase().await?),
        VaultArg::Keyring | VaultArg::Memory => None,
    };
    // The keyring may take seconds; it has a bound of its own.
    let opened = tokio::task::spawn_blocking(move || {
        let vault = Vault::open(kind, &home).map_err(Failure::failed)?;
        if let Some(passphrase) = passphrase {
            vault.unlock(&passphrase).map_err(Failure::failed)?;
        }
        let key = vault.key().map_err(Failure::failed)?;
        let opened = Store::open(&home, &key).map_err(Failure::failed)?;
        let anchor = vault.anchor().map_err(Failure::failed)?;
        Ok::<_, Failure>((opened.store, anchor))
    });
    let (store, anchor) = opened.await.map_err(Failure::failed)??;
    let (seq, _) = store.head();
    let rolled_back = anchor.filter(|anchor| anchor.seq > seq).map(|anchor| {
        format!("it ends at record {seq}, but the vault has seen record {}: an older copy was put back", anchor.seq)
    });
    Ok((store, rolled_back))
}

async fn ask_passphrase() -> Result<Secret, Failure> {
    let Some(mut terminal) = Terminal::open() else {
        return Err(Failure::new(Exit::Usage, "The passphrase is typed: run this in a terminal."));
    };
    match terminal.hidden("Passphrase (not shown): ").await {
        Some(line) => Ok(Secret::new(line.trim().to_owned())),
        None => Err(Failure::new(Exit::Failed, "no passphrase was typed.")),
    }
}

async fn tail(call: &Call, store: &Store, limit: u32, skip_reads: bool) -> Result<Exit, Failure> {
    let mut found = store.tail(None, limit, skip_reads).await.map_err(Failure::failed)?;
    found.reverse();
    let lines: Vec<Line<'_>> = found.iter().map(line).collect();
    call.print(&lines, |_| found.iter().map(sentence).collect())
}

async fn verify(call: &Call, store: &Store, rolled_back: Option<String>) -> Result<Exit, Failure> {
    let verified = store.verify().await.map_err(Failure::failed)?;
    let broken = verified.broken.as_ref();
    let checked = Checked {
        ok: broken.is_none() && rolled_back.is_none(),
        records: verified.records,
        broken_at: broken.map(|broken| broken.at),
        why: broken.map(|broken| broken.why.clone()).or(rolled_back),
    };
    call.print(&checked, said)?;
    Ok(if checked.ok { Exit::Done } else { Exit::Failed })
}

fn said(checked: &Checked) -> String {
    match (&checked.why, checked.broken_at) {
        (None, _) => format!("The journal is whole: {} records checked.\n", checked.records),
        (Some(why), Some(at)) => format!("The journal was CHANGED or damaged at record {at}: {why}.\n"),
        (Some(why), None) => format!("The journal is not what it was: {why}.\n"),
    }
}

/// Oldest first, one by one, so that any length fits into memory.
async fn export(store: &Store) -> Result<Exit, Failure> {
    let (last, _) = store.head();
    for seq in 1..=last {
        let Some(stored) = store.record(seq).await.map_err(Failure::failed)? else {
            return Err(Failure::new(Exit::Failed, format!("record {seq} is missing. Run: latch journal verify")));
        };
        let mut text = serde_json::to_vec(&line(&stored)).map_err(Failure::failed)?;
        text.push(b'\n');
        write(&text)?;
    }
    Ok(Exit::Done)
}

fn line(stored: &Stored) -> Line<'_> {
    Line { seq: stored.seq, at: at(stored.record.wall), record: &stored.record }
}

fn at(wall: u64) -> String {
    let time = i64::try_from(wall).ok().and_then(|wall| jiff::Timestamp::from_millisecond(wall).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn sentence(stored: &Stored) -> String {
    use latch_daemon::confirm::tty::show::plain;
    let record = &stored.record;
    let who = record.agent.as_deref().map(|agent| format!(" {}", plain(agent))).unwrap_or_default();
    format!("{:>6}  {}  {}{who}: {}\n", stored.seq, at(record.wall), kind_name(record.kind), plain(&record.text))
}
