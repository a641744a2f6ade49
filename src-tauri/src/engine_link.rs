//! The engine process and its inherited pipe, the owner channel.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use latch_ipc::contract::{Hello, HelloCall};
use latch_ipc::{Client, PROTOCOL};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};

use crate::state::Input;
use crate::text::visible;

/// How the engine is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    /// Handed on to `latch serve`.
    pub(crate) arguments: Vec<OsString>,
}

/// The running engine, as others see it.
#[derive(Clone)]
pub(crate) struct EngineLink {
    client: Arc<Mutex<Option<Client>>>,
    kill: Arc<Notify>,
    quit: Arc<watch::Sender<bool>>,
}

const HELLO_LIMIT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A life this long makes the next pause short again.
const GOOD_LIFE: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_secs(2);

impl Launch {
    /// `latch` beside this program; tests may name another.
    pub(crate) fn new(arguments: Vec<OsString>) -> std::io::Result<Self> {
        let named = if cfg!(feature = "e2e") { std::env::var_os("LATCH_BIN") } else { None };
        let program = match named {
            Some(program) => program.into(),
            None => std::env::current_exe()?.with_file_name(format!("latch{}", std::env::consts::EXE_SUFFIX)),
        };
        Ok(Self { program, arguments: with_mail_doors(arguments) })
    }
}

/// Where mail programs find their mailboxes, where they send, and where they change filters, unless the person says otherwise: the same places after every start, since they stand
/// in their settings.
const MAIL_DOORS: [(&str, &str); 3] =
    [("--imap", "127.0.0.1:7143"), ("--smtp", "127.0.0.1:7587"), ("--sieve", "127.0.0.1:7190")];

/// A taken port must not keep the tray from starting; one that the person chose must.
fn with_mail_doors(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let named = |argument: &OsString, door: &str| {
        let text = argument.to_str().unwrap_or_default();
        text == door || text.strip_prefix(door).is_some_and(|rest| rest.starts_with('='))
    };
    if MAIL_DOORS.iter().any(|(door, _)| arguments.iter().any(|argument| named(argument, door))) {
        return arguments;
    }
    arguments.extend(MAIL_DOORS.iter().flat_map(|(door, address)| [*door, *address]).map(OsString::from));
    arguments.push("--optional-doors".into());
    arguments
}

impl EngineLink {
    pub(crate) fn new() -> Self {
        Self { client: Arc::default(), kill: Arc::new(Notify::new()), quit: Arc::new(watch::channel(false).0) }
    }

    /// A caller, while the engine answers.
    pub(crate) fn client(&self) -> Option<Client> {
        self.lock().clone()
    }

    /// Kills the process, and with it every connection that it holds.
    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }

    /// Ends the engine for good: its pipe closes, it denies what waits and exits.
    pub(crate) fn quit(&self) {
        let _ = self.quit.send(true);
    }

    /// Starts the engine again and again until [`Self::quit`].
    pub(crate) async fn run(self, launch: Launch, inputs: UnboundedSender<Input>) {
        let mut pause = FIRST_PAUSE;
        let mut quit = self.quit.subscribe();
        while !*quit.borrow() {
            let started = Instant::now();
            let why = self.live_once(&launch, &inputs).await;
            self.lock().take();
            pause = if started.elapsed() > GOOD_LIFE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            let _ = inputs.send(Input::EngineDown { why });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = asked(&mut quit) => {}
            }
        }
    }

    /// From start to end of one process; says why it ended.
    async fn live_once(&self, launch: &Launch, inputs: &UnboundedSender<Input>) -> String {
        let mut child = match spawn(launch) {
            Ok(child) => child,
            Err(error) => return format!("could not start {}: {error}", launch.program.display()),
        };
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return "it has no pipe".to_owned();
        };
        let last_words = Arc::new(Mutex::new(String::new()));
        let log = child.stderr.take().map(|stderr| tokio::spawn(copy_log(stderr, Arc::clone(&last_words))));
        let (client, mut events) = Client::start(BufReader::new(stdout), stdin);
        let mut quit = self.quit.subscribe();
        let hello = client.call(HelloCall, Hello { protocol: PROTOCOL });
        let welcome = tokio::select! {
            answer = tokio::time::timeout(HELLO_LIMIT, hello) => answer,
            () = self.kill.notified() => return end(child, "it was killed to stop everything".to_owned()).await,
            () = asked(&mut quit) => return end(child, "quit".to_owned()).await,
        };
        let outcome = match welcome {
            Err(_) => Err("it did not answer".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(welcome)) if welcome.protocol != PROTOCOL => Err(format!(
                "it speaks protocol {}, not {PROTOCOL}; install both programs of one version",
                welcome.protocol
            )),
            Ok(Ok(welcome)) => Ok(welcome),
        };
        if let Ok(welcome) = &outcome {
            *self.lock() = Some(client.clone());
            let _ = inputs.send(Input::EngineUp { vault_locked: welcome.vault_locked });
        }
        drop(client);
        let why = match outcome {
            Err(why) => why,
            Ok(_) => loop {
                tokio::select! {
                    biased;
                    () = self.kill.notified() => {
                        let _ = child.start_kill();
                        break "it was killed to stop everything".to_owned();
                    }
                    () = asked(&mut quit) => break "quit".to_owned(),
                    event = events.recv() => match event {
                        Some(event) => {
                            let _ = inputs.send(Input::EngineSaid(event));
                        }
                        None => break "it ended".to_owned(),
                    },
                }
            },
        };
        self.lock().take();
        let ended = end(child, why).await;
        if let Some(log) = log {
            let _ = tokio::time::timeout(Duration::from_millis(200), log).await;
        }
        let words = last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last_words_of(&ended, &words)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why it ended, by its own last words if it left any.
fn last_words_of(ended: &str, words: &str) -> String {
    let words = visible(words.strip_prefix("latch: ").unwrap_or(words));
    let mut letters = words.chars();
    match letters.next() {
        None => ended.to_owned(),
        Some(first) => first.to_uppercase().chain(letters).collect(),
    }
}

async fn asked(quit: &mut watch::Receiver<bool>) {
    let _ = quit.wait_for(|quit| *quit).await;
}

fn spawn(launch: &Launch) -> std::io::Result<Child> {
    Command::new(&launch.program)
        .args(["serve", "--owner", "stdio"])
        .args(&launch.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Waits for the end that a closed pipe brings, and brings it where it does not come.
async fn end(mut child: Child, why: String) -> String {
    match tokio::time::timeout(GOODBYE, child.wait()).await {
        Ok(Ok(status)) if !status.success() && why == "it ended" => format!("it ended with {status}"),
        Ok(_) => why,
        Err(_) => {
            let _ = child.kill().await;
            why
        }
    }
}

async fn copy_log(stderr: ChildStderr, last: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        if !line.trim().is_empty() {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = line.chars().take(300).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{last_words_of, with_mail_doors};

    #[test]
    fn mail_programs_find_their_doors_at_one_place_unless_the_person_chose_another() {
        let shown = |arguments: &[&str]| -> Vec<String> {
            let given = with_mail_doors(arguments.iter().map(Into::into).collect());
            given.iter().map(|one| one.to_string_lossy().into_owned()).collect()
        };
        let all = [
            "--home",
            "/h",
            "--imap",
            "127.0.0.1:7143",
            "--smtp",
            "127.0.0.1:7587",
            "--sieve",
            "127.0.0.1:7190",
            "--optional-doors",
        ];
        assert_eq!(shown(&["--home", "/h"]), all);
        assert_eq!(shown(&["--imap", "127.0.0.1:0"]), ["--imap", "127.0.0.1:0"]);
        assert_eq!(shown(&["--imap=127.0.0.1:9"]), ["--imap=127.0.0.1:9"]);
    }

    #[test]
    fn its_own_words_say_more_than_that_it_ended() {
        let said = "latch: the system's keyring can't be used: no daemon";
        assert_eq!(last_words_of("it ended with 1", said), "The system's keyring can't be used: no daemon");
        assert_eq!(last_words_of("it ended with 1", ""), "it ended with 1");
        assert_eq!(last_words_of("quit", "\u{202e}evil"), "‹U+202E›evil");
    }
}
