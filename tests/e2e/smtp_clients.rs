//! Programs that people send mail with, unmodified: Python's smtplib, curl, msmtp, swaks.

use std::io::Write as _;
use std::process::Output;

use latch_tests::paths;
use latch_tests::programs::{fed, text};
use latch_tests::scene::{ACCOUNT, AGENT, issue};
use latch_tests::sink::{Outgoing, USER, mail};
use tokio::process::Command;

use crate::smtp::{BOB, house};

const SMTPLIB: &str = r#"
import json, smtplib, sys
from email.message import EmailMessage
host, port, token, me, to = sys.argv[1:]
client = smtplib.SMTP(host, int(port))
client.login('mail', token)
mail = EmailMessage()
mail['From'], mail['To'], mail['Subject'] = me, to, 'From smtplib'
mail['Bcc'] = 'hidden@evil.example'
mail.set_content('Grüße\n.\nend\n')
mail.add_attachment(b'bytes', maintype='application', subtype='pdf', filename='a.pdf')
try:
    said = client.send_message(mail)
except smtplib.SMTPResponseException as error:
    said = [error.smtp_code, error.smtp_error.decode()]
print(json.dumps(said))
client.quit()
"#;

/// The client sends while the person decides.
async fn while_decided(out: &Outgoing, allow: bool, command: &mut Command, input: &str) -> Output {
    let person = async {
        let hold = out.engine.hold().await;
        if allow {
            out.engine.allow(&hold).await;
        } else {
            out.engine.deny(&hold).await;
        }
    };
    tokio::join!(fed(command, input), person).0
}

fn port(out: &Outgoing) -> String {
    out.door().rsplit_once(':').expect("an address").1.to_owned()
}

#[tokio::test]
async fn smtplib_sends_when_it_is_allowed_and_hears_of_a_denial() {
    let out = house(&[]).await;
    let token = issue(&out.engine, AGENT).await;
    for allow in [false, true] {
        let to = if allow { BOB } else { "stranger@friends.example" };
        let mut command = Command::new(paths::python());
        command.args(["-c", SMTPLIB, "127.0.0.1", &port(&out), &token, USER, to]);
        let output = while_decided(&out, allow, &mut command, "").await;
        let said = text(&output);
        if allow {
            assert_eq!(said.trim(), "{}");
            let arrived = out.sink.arrived(1).await;
            assert_eq!(arrived[0].recipients, [BOB, "hidden@evil.example"]);
            assert!(arrived[0].text().contains("\r\n.\r\nend\r\n") || arrived[0].text().contains("base64"));
        } else {
            assert!(said.contains("550") && said.contains("The person said no"), "{said}");
            assert!(out.sink.mails().is_empty());
        }
    }
}

#[tokio::test]
async fn curl_sends() {
    let out = house(&[]).await;
    let token = issue(&out.engine, AGENT).await;
    let mut command = Command::new("curl");
    command.args(["-sS", "--url", &format!("smtp://{}", out.door()), "--user", &format!("{ACCOUNT}:{token}")]);
    command.args(["--mail-from", USER, "--mail-rcpt", BOB, "--upload-file", "-"]);
    let output = while_decided(&out, true, &mut command, &mail(BOB, "From curl")).await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(out.sink.arrived(1).await[0].text().contains("Subject: From curl"));
}

#[tokio::test]
async fn msmtp_sends_and_hears_of_a_denial() {
    let out = house(&[]).await;
    let token = issue(&out.engine, AGENT).await;
    let mut config = tempfile::NamedTempFile::new().expect("a file");
    let account = format!(
        "account a\nhost 127.0.0.1\nport {}\nauth plain\nuser {ACCOUNT}\npassword {token}\ntls off\nfrom {USER}\naccount default : a\n",
        port(&out)
    );
    config.write_all(account.as_bytes()).expect("written");
    for allow in [false, true] {
        let to = if allow { BOB } else { "stranger@friends.example" };
        let mut command = Command::new("msmtp");
        command.arg("--file").arg(config.path()).args(["--", to, "hidden@evil.example"]);
        let output = while_decided(&out, allow, &mut command, &mail(to, "From msmtp").replace('\r', "")).await;
        let said = text(&output);
        assert_eq!(output.status.success(), allow, "{said}");
        assert!(allow || said.contains("The person said no"), "{said}");
    }
    assert_eq!(out.sink.arrived(1).await[0].recipients, [BOB, "hidden@evil.example"]);
}

#[tokio::test]
async fn swaks_sends_pipelined_too() {
    let out = house(&[BOB]).await;
    let token = issue(&out.engine, AGENT).await;
    for (subject, pipeline) in [("From swaks", false), ("Pipelined", true)] {
        let mut command = Command::new("swaks");
        command.args(["--server", &out.door(), "--auth", "LOGIN", "--auth-user", ACCOUNT, "--auth-password", &token]);
        command.args(["--from", USER, "--to", BOB, "--h-Subject", subject, "--body", "x"]);
        if pipeline {
            command.arg("--pipeline");
        }
        let output = fed(&mut command, "").await;
        assert!(output.status.success(), "{}", text(&output));
    }
    let arrived = out.sink.arrived(3).await;
    assert!(arrived[2].text().contains("Subject: Pipelined"));
}

#[tokio::test]
async fn msmtp_takes_its_recipients_from_the_mail_and_its_password_from_a_program() {
    let out = house(&[]).await;
    let token = issue(&out.engine, AGENT).await;
    let mut config = tempfile::NamedTempFile::new().expect("a file");
    let account = format!(
        "defaults\nauth plain\ntls off\nset_from_header on\naccount a\nhost 127.0.0.1\nport {}\nuser {ACCOUNT}\npasswordeval \"echo {token}\"\nfrom {USER}\naccount default : a\n",
        port(&out)
    );
    config.write_all(account.as_bytes()).expect("written");
    let mut command = Command::new("msmtp");
    command.arg("--file").arg(config.path()).arg("--read-recipients");
    let text =
        format!("To: {BOB}\nCc: eve@friends.example\nBcc: hidden@evil.example\nSubject: From the mail\n\n.\nend\n");
    let output = while_decided(&out, true, &mut command, &text).await;
    assert!(output.status.success(), "{}", self::text(&output));
    let arrived = out.sink.arrived(1).await;
    assert_eq!(arrived[0].recipients, [BOB, "eve@friends.example", "hidden@evil.example"]);
    assert!(!arrived[0].text().contains("Bcc:") && arrived[0].text().ends_with("\r\n.\r\nend\r\n"));
}
