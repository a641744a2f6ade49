//! ATTACKS 6: another program of the same user, who is not root, looks into the engine. And 7: where a core dump would be.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, CredentialParams, Hello, HelloCall, JournalTail, JournalTailParams, PanicCall,
    UpstreamParams,
};
use latch_tests::canary::Canaries;
use latch_tests::user;

struct Victim {
    child: tokio::process::Child,
    client: latch_ipc::Client,
    folder: tempfile::TempDir,
}

/// The engine, run by an ordinary user, with a canary in its memory.
async fn engine(canaries: &Canaries) -> Victim {
    let latch = latch_tests::paths::latch();
    let prying = latch_tests::paths::support("peers/prying.pl");
    let folder = user::folder(&[&latch, &prying]);
    let mut command = user::command(&folder.path().join("latch"));
    command.args(["serve", "--owner", "stdio", "--http", "127.0.0.1:0", "--vault", "memory", "--home"]);
    command.arg(folder.path().join("state")).env("HOME", folder.path()).env("TMPDIR", folder.path());
    command.env_remove("DBUS_SESSION_BUS_ADDRESS").env_remove("LATCHSTRING_HOME").current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let (client, _events) =
        latch_ipc::Client::start(tokio::io::BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
    client.call(HelloCall, Hello { protocol: latch_ipc::PROTOCOL }).await.unwrap();
    let account = AccountAddParams {
        address: None,
        check: false,
        id: "mail".to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some("http://127.0.0.1:9".to_owned()), ..UpstreamParams::default() },
        credential: CredentialParams::Bearer { token: Secret::new(canaries.get(0).to_owned()) },
    };
    client.call(AccountAdd, account).await.unwrap();
    Victim { child, client, folder }
}

/// What a prying program of that user says about a process: a line for each way that it tried.
fn pry(folder: &Path, pid: u32, address: u64) -> Vec<(String, String)> {
    let mut command = user::command(Path::new("perl"));
    let output = command.arg(folder.join("prying.pl")).args([pid.to_string(), address.to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let split = |line: &str| {
        let at = line.find(" got").or_else(|| line.find(" refused")).unwrap();
        (line[..at].to_owned(), line[at + 1..].to_owned())
    };
    said.lines().map(split).collect()
}

#[tokio::test]
async fn attack_06_another_program_of_the_same_user_cannot_look_inside() {
    // Every way works against a program that does not close itself: the refusals below are the engine's.
    let folder = user::folder(&[&latch_tests::paths::support("peers/prying.pl")]);
    let mut open = user::command(Path::new("sleep")).arg("60").spawn().unwrap();
    let name = format!("/proc/{}/comm", open.id());
    while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", open.id())).unwrap();
    let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
    let address = u64::from_str_radix(stack.split('-').nth(1).unwrap().split(' ').next().unwrap(), 16).unwrap() - 64;
    let ways = pry(folder.path(), open.id(), address);
    let works = |ways: &[(String, String)], way: &str| ways.iter().any(|(one, said)| one == way && said == "got");
    let all = ["mem", "environ", "maps", "fd/0", "process_vm_readv", "ptrace attach"];
    for way in all {
        assert!(works(&ways, way), "{way} does not even work against sleep: {ways:?}");
    }
    open.kill().unwrap();
    open.wait().unwrap();

    let canaries = Canaries::new(1);
    let victim = engine(&canaries).await;
    let pid = victim.child.id().unwrap();
    let ways = pry(victim.folder.path(), pid, address);
    assert!(ways.len() >= 17, "{ways:?}");
    for (way, said) in &ways {
        assert!(said.starts_with("refused"), "{way}: {said}");
    }
    for way in ["process_vm_readv", "ptrace attach", "ptrace seize", "pidfd_getfd"] {
        let said = &ways.iter().find(|(one, _)| one == way).unwrap().1;
        assert!(said.contains("not permitted"), "{way} failed for another reason: {said}");
    }
    // A debugger says the same.
    let mut gdb = user::command(Path::new("gdb"));
    let traced = gdb.args(["-batch", "-p"]).arg(pid.to_string()).env("HOME", victim.folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&traced.stderr).into_owned() + &String::from_utf8_lossy(&traced.stdout);
    assert!(said.contains("Operation not permitted"), "{said}");
    // It works on after all that.
    victim.client.call(PanicCall, latch_ipc::contract::Empty {}).await.unwrap();
}

#[tokio::test]
async fn attack_06_attack_07_a_crash_leaves_no_core() {
    let canaries = Canaries::new(1);
    let mut victim = engine(&canaries).await;
    let pid = victim.child.id().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let tail = JournalTailParams { limit: Some(10), ..JournalTailParams::default() };
    victim.client.call(JournalTail, tail).await.unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::ABORT).unwrap();
    let status = victim.child.wait().await.unwrap();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");
    // Nor in what lies around: its folder is its home, its temporary folder and its working folder in one.
    assert!(canaries.assert_absent_below(victim.folder.path()) > 3);
}
