#![allow(missing_docs)]
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The real engine: who may start it, who may read it, and what an agent's process tree can do to it (ATTACKS 5, 6, 8, 41).

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use latch_daemon::control::SOCKET;
use latch_ipc::Client;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnect, AgentConnectParams, AskList, CredentialParams, Empty, GrantPut,
    GrantPutParams, Hello, HelloCall, JournalTail, JournalTailParams, StatusCall, UpstreamParams,
};
use latch_ipc::rpc::ErrorCode;
use latch_ipc::{PROTOCOL, Secret};
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::process::{Child, Command};

struct Engine {
    home: tempfile::TempDir,
    child: Child,
    owner: Client,
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latch"));
    command.args(arguments).env_clear().env("LATCHSTRING_HOME", home).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn started(mut command: Command, home: tempfile::TempDir) -> Engine {
    let mut child = command.spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (owner, _events) = Client::start(BufReader::new(stdout), stdin);
    owner.call(HelloCall, Hello { protocol: PROTOCOL }).await.unwrap();
    Engine { home, child, owner }
}

async fn engine() -> Engine {
    let home = tempfile::tempdir().unwrap();
    let command = command(home.path(), &["serve", "--owner", "stdio", "--vault", "memory"]);
    let engine = started(command, home).await;
    let upstream = UpstreamParams { base_url: Some("http://127.0.0.1:9".to_owned()), ..UpstreamParams::default() };
    let credential = CredentialParams::Bearer { token: Secret::new("canary-credential-4711".to_owned()) };
    let account = AccountAddParams {
        address: None,
        id: "work".to_owned(),
        provider: "gmail".to_owned(),
        upstream,
        credential,
        check: false,
    };
    engine.owner.call(AccountAdd, account).await.unwrap();
    let agent = AgentConnectParams { id: "mia".to_owned(), name: "Mia".to_owned(), program: None };
    engine.owner.call(AgentConnect, agent).await.unwrap();
    let grant = GrantPutParams {
        agent: "mia".to_owned(),
        account: "work".to_owned(),
        preset: "read-only".to_owned(),
        authorization_details: None,
        budgets: None,
        expires_in: None,
    };
    engine.owner.call(GrantPut, grant).await.unwrap();
    engine
}

impl Engine {
    async fn latch(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.home.path(), arguments);
        command.stdin(Stdio::null());
        command.output().await.unwrap()
    }

    /// A shell that is not the engine's child, as an agent has one; the inner command is double-forked.
    async fn agent_shell(&self, script: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .env("LATCHSTRING_HOME", self.home.path())
            .env("LATCH", env!("CARGO_BIN_EXE_latch"));
        command.output().await.unwrap()
    }

    async fn agents(&self) -> Value {
        self.owner.call_raw("agent.list", Value::Null).await.unwrap()
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }
}

#[tokio::test]
async fn attack_5_over_the_socket_nothing_widens() {
    let engine = engine().await;
    let before = engine.agents().await;
    let stream = tokio::net::UnixStream::connect(engine.home.path().join(SOCKET)).await.unwrap();
    let (reader, writer) = stream.into_split();
    let (agent, _events) = Client::start(BufReader::new(reader), writer);
    let refused = [
        ("hold.decide", json!({"id": "h1", "digest": "d", "verdict": "allow"})),
        ("ask.decide", json!({"id": "a1", "verdict": "allow"})),
        ("ask.list", json!({})),
        ("resume", json!({})),
        ("resume", json!({"agent": "mia", "preset": "assistant"})),
        ("account.add", json!({"id": "x", "provider": "gmail", "credential": {"kind": "bearer", "token": "t"}})),
        ("account.remove", json!({"id": "work"})),
        ("vault.unlock", json!({"passphrase": "x"})),
        ("journal.tail", json!({})),
        ("journal.verify", json!({})),
        ("journal.own", json!({"agent": "mia"})),
        ("journal.own", json!({"agent": "mia", "pairing_secret": "guessed"})),
        ("answer.list", json!({})),
        ("answer.forget", json!({"id": "d1"})),
        ("undo.list", json!({})),
        ("rules.put", json!({"text": ""})),
        ("settings.set", json!({"hold_seconds": 1})),
        ("quarantine.clear", json!({})),
        ("outbox.cancel", json!({"id": "o1"})),
        ("token.issue", json!({"agent": "mia"})),
        ("token.issue", json!({"agent": "mia", "pairing_secret": "guessed"})),
    ];
    for (method, params) in refused {
        let error = agent.call_raw(method, params).await.unwrap_err();
        assert!(error.is(ErrorCode::Forbidden), "{method}: {error}");
    }
    for (method, params) in [
        ("agent.connect", json!({"id": "evil", "name": "Evil"})),
        ("grant.put", json!({"agent": "mia", "account": "work", "preset": "assistant"})),
        ("undo.run", json!({"agent": "mia", "since": "1h"})),
    ] {
        let error = agent.call_raw(method, params).await.unwrap_err();
        assert!(error.is(ErrorCode::AskOwner), "{method}: {error}");
    }
    assert_eq!(engine.agents().await, before, "asking changes nothing");
    let asks = engine.owner.call(AskList, Empty {}).await.unwrap();
    assert_eq!(asks.len(), 3);
    let own = std::env::current_exe().unwrap().canonicalize().unwrap();
    assert!(asks.iter().all(|ask| ask.program.iter().any(|link| link.contains(own.to_str().unwrap()))), "{asks:?}");
}

#[tokio::test]
async fn attack_5_verbs_of_a_double_forked_agent_change_nothing_and_panic_works_for_it() {
    let engine = engine().await;
    let before = engine.agents().await;
    let script = "(setsid sh -c '\
        for v in \"hold allow h1\" \"account add x\" \"account remove work\" \"journal tail\" \"token mia\" \
                 \"grant put mia work assistant\" \"serve --owner stdio --vault memory\" \"serve --owner none --vault memory\"; do \
          $LATCH $v </dev/null >/dev/null 2>&1; echo $?; done' & wait)";
    let output = engine.agent_shell(script).await;
    let codes: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().split_whitespace().collect();
    assert_eq!(codes, ["3", "3", "3", "3", "3", "3", "1", "1"], "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(engine.agents().await, before);
    assert_eq!(engine.latch(&["panic"]).await.status.code(), Some(0));
    assert_eq!(engine.latch(&["status"]).await.status.code(), Some(5));
    assert!(engine.owner.call(StatusCall, Empty {}).await.unwrap().panicked);
}

#[tokio::test]
async fn attack_5_an_agent_reads_its_own_records_and_nobody_elses() {
    let engine = engine().await;
    let mut secrets = Vec::new();
    for id in ["one", "two"] {
        let params = json!({"id": id, "name": id});
        let connected = engine.owner.call_raw("agent.connect", params).await.unwrap();
        secrets.push(connected["pairing_secret"].as_str().unwrap().to_owned());
        engine.owner.call_raw("token.issue", json!({"agent": id})).await.unwrap();
    }
    let file = engine.home.path().join("one.secret");
    std::fs::write(&file, &secrets[0]).unwrap();
    let file = file.to_str().unwrap();
    let read = |verb: &'static [&'static str], more: &'static [&'static str]| {
        let arguments = [&["journal"], verb, &[], more].concat();
        let (engine, file) = (&engine, file);
        async move {
            let arguments: Vec<&str> = arguments.iter().map(|one| if *one == "SECRET" { file } else { *one }).collect();
            engine.latch(&arguments).await
        }
    };
    let own = read(&["--pairing-secret-file", "SECRET"], &["tail"]).await;
    let text = String::from_utf8_lossy(&own.stdout).into_owned();
    assert!(text.contains("agent connected") && text.contains("access token issued"), "{text}");
    let exported = read(&["--pairing-secret-file", "SECRET"], &["export"]).await;
    let records: Vec<serde_json::Value> =
        String::from_utf8_lossy(&exported.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.len() >= 2 && records.iter().all(|record| record["agent"] == "one"), "{records:?}");
    let other = read(&["--agent", "two", "--pairing-secret-file", "SECRET"], &["tail"]).await;
    assert_eq!(other.status.code(), Some(3), "another's name does not help");
    let refused = read(&[], &["tail"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("only to you"), "and says where the person finds it");
    assert_eq!(read(&["--pairing-secret-file", "SECRET"], &["verify"]).await.status.code(), Some(3));
}

#[tokio::test]
async fn a_second_engine_on_the_home_is_refused_and_says_whose_it_is() {
    let engine = engine().await;
    let second = engine.latch(&["serve", "--owner", "stdio", "--vault", "memory"]).await;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains("another Latchstring engine") && said.contains(&engine.pid().to_string()), "{said}");
    assert_eq!(engine.latch(&["status"]).await.status.code(), Some(0), "the first one goes on");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn attack_6_the_engines_memory_and_environment_are_closed_to_other_programs() {
    use std::os::unix::fs::MetadataExt;

    let engine = engine().await;
    let process = format!("/proc/{}", engine.pid());
    // The kernel hands a process that must not be dumped to root; whoever is root may look anyway.
    if rustix::process::geteuid().is_root() {
        assert_eq!(std::fs::metadata(format!("{process}/environ")).unwrap().uid(), 0);
    } else {
        for file in ["mem", "environ", "maps"] {
            assert!(std::fs::File::open(format!("{process}/{file}")).is_err(), "{file}");
        }
    }
    let limits = std::fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn attack_8_a_preloaded_library_is_removed_and_reported() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path(), &["serve", "--owner", "stdio", "--vault", "memory"]);
    command.env("LD_PRELOAD", "/nonexistent/evil.so");
    let engine = started(command, home).await;
    let status = engine.owner.call(StatusCall, Empty {}).await.unwrap();
    assert!(status.warnings.iter().any(|warning| warning.contains("LD_PRELOAD")), "{:?}", status.warnings);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", engine.pid())).unwrap_or_default();
    assert!(!maps.contains("evil.so"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn attack_41_whoever_starts_an_engine_is_named_in_the_journal() {
    let engine = engine().await;
    let params = JournalTailParams { limit: Some(100), ..JournalTailParams::default() };
    let records = engine.owner.call(JournalTail, params).await.unwrap();
    let start = records.iter().find(|record| record.kind == "start").unwrap();
    let own = std::env::current_exe().unwrap().canonicalize().unwrap();
    assert!(start.text.contains(own.to_str().unwrap()), "{}", start.text);
}

#[tokio::test]
async fn end_of_file_and_signals_end_the_engine_in_order() {
    let ended = |mut engine: Engine| async move {
        let Engine { ref mut child, ref home, .. } = engine;
        let status = tokio::time::timeout(Duration::from_secs(10), child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(!home.path().join(SOCKET).exists(), "the socket goes with the engine");
    };
    let Engine { home, child, owner } = engine().await;
    drop(owner);
    let (owner, _) = Client::start(tokio::io::empty(), tokio::io::sink());
    ended(Engine { home, child, owner }).await;
    let engine = engine().await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(engine.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    ended(engine).await;
}

#[tokio::test]
async fn the_demo_plays_itself_and_puts_every_message_back() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(&home.path().join("never-made"), &["demo", "--script"]);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let table = said.find("messages  ").unwrap();
    insta::assert_snapshot!(&said[table..]);
    assert!(!home.path().join("never-made").exists(), "the demo touches no home");
}
