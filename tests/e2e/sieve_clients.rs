//! Programs that people change mail filters with, unmodified: Python's managesieve and sievelib, sieve-connect.

use std::process::Output;

use latch_tests::filters::Filters;
use latch_tests::paths;
use latch_tests::programs::{fed, text};
use latch_tests::scene::{AGENT, issue};
use tokio::process::Command;

use crate::sieve::{EVIL, OWN, house};

const MANAGESIEVE: &str = r#"
import json, managesieve, sys
port, token, script = sys.argv[1:]
client = managesieve.MANAGESIEVE('127.0.0.1', int(port), timeout=30)
said = [client.login('PLAIN', 'mail', token)]
said.append(client.listscripts()[1])
said.append(client.getscript('main'))
said.append([client.putscript('main', script), client.response_text])
said.append([client.setactive(''), client.response_text])
client.logout()
print(json.dumps(said, default=lambda value: value.decode()))
"#;

const SIEVELIB: &str = r#"
import json, sys
from sievelib.managesieve import Client
port, token, script = sys.argv[1:]
client = Client('127.0.0.1', int(port))
client.read_timeout = 30
said = [client.connect('mail', token, authmech='PLAIN'), list(client.listscripts()), client.getscript('main')]
said.append([client.putscript('main', script), client.errmsg])
said.append([client.checkscript('keep;'), client.havespace('main', 100)])
said.append([client.setactive('nothing'), client.errcode])
client.logout()
print(json.dumps(said, default=lambda value: value.decode()))
"#;

fn port(house: &Filters) -> String {
    house.door().rsplit_once(':').expect("an address").1.to_owned()
}

/// The client works while the person decides: this often, like this.
async fn while_decided(house: &Filters, answers: &[bool], command: &mut Command, input: &str) -> Output {
    let person = async {
        for allow in answers {
            let hold = house.engine.hold().await;
            if *allow {
                house.allow(&hold).await;
            } else {
                house.engine.deny(&hold).await;
            }
            house.engine.no_holds().await;
        }
    };
    tokio::join!(fed(command, input), person).0
}

#[tokio::test]
async fn managesieve_stores_what_is_allowed_and_hears_of_a_denial() {
    let house = house("ask-everything").await;
    let token = issue(&house.engine, AGENT).await;
    let mut command = Command::new(paths::python());
    command.args(["-c", MANAGESIEVE, &port(&house), &token, EVIL]);
    let said = text(&while_decided(&house, &[true, false], &mut command, "").await);
    assert!(said.starts_with("[\"OK\", [[\"main\", true]], [\"OK\", \"require"), "{said}");
    assert!(said.contains("[\"OK\", \"Stored") && said.contains("[\"NO\", \"The person said no"), "{said}");
    assert_eq!(house.dovecot.script("main").as_deref(), Some(EVIL));
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
    assert_eq!(house.undo().await.restored, 1);
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
}

#[tokio::test]
async fn sievelib_stores_what_is_allowed_and_hears_of_a_denial() {
    let house = house("ask-everything").await;
    for allow in [false, true] {
        let token = issue(&house.engine, AGENT).await;
        let mut command = Command::new(paths::python());
        let script = if allow { "keep;\r\n" } else { EVIL };
        command.args(["-c", SIEVELIB, &port(&house), &token, script]);
        let said = text(&while_decided(&house, &[allow], &mut command, "").await);
        assert!(said.starts_with("[true, [\"main\", []], \"require"), "{said}");
        assert!(said.contains("[true, true]") && said.contains("[false, \"NONEXISTENT\"]"), "{said}");
        if allow {
            assert!(said.contains("[true, "), "{said}");
            assert_eq!(house.dovecot.script("main").as_deref(), Some("keep;\r\n"));
        } else {
            assert!(said.contains("[false, \"The person said no"), "{said}");
            assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
        }
    }
}

#[tokio::test]
async fn sieve_connect_lists_uploads_and_activates() {
    let house = house("ask-everything").await;
    let token = issue(&house.engine, AGENT).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("new.sieve");
    std::fs::write(&script, "keep;\n").expect("a file");
    let connect = |arguments: &[&str]| {
        let mut command = Command::new("sieve-connect");
        command.args(["--server", "127.0.0.1", "--port", &port(&house), "--user", "mail", "--passwordfd", "0"]);
        command.args(["--authmech", "PLAIN", "--clearchan"]).args(arguments);
        command
    };
    let listed = text(&fed(&mut connect(&["--list"]), &token).await);
    assert!(listed.contains("\"main\" ACTIVE"), "{listed}");
    let local = script.display().to_string();
    let mut upload = connect(&["--upload", "--localsieve", &local, "--remotesieve", "new"]);
    let said = text(&while_decided(&house, &[true], &mut upload, &token).await);
    assert_eq!(house.dovecot.script("new").as_deref(), Some("keep;\n"), "{said}");
    let mut activate = connect(&["--activate", "--remotesieve", "new"]);
    let said = text(&while_decided(&house, &[false], &mut activate, &token).await);
    assert!(said.contains("The person said no"), "{said}");
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
}
