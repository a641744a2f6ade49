//! Mail programs that people use, unmodified: Python's imapclient, curl, mbsync.

use std::path::{Path, PathBuf};
use std::process::Output;

use latch_ipc::contract::{Empty, HoldList};
use latch_tests::mail::Post;
use latch_tests::paths;
use latch_tests::programs::run;
use latch_tests::scene::{ACCOUNT, AGENT, issue};
use tokio::process::Command;

const IMAPCLIENT: &str = r#"
import imapclient, json, sys
host, port, token = sys.argv[1:]
client = imapclient.IMAPClient(host, port=int(port), ssl=False)
client.login('mail', token)
said = {'move': client.has_capability('MOVE'), 'notify': client.has_capability('NOTIFY')}
said['exists'] = client.select_folder('INBOX')[b'EXISTS']
said['folders'] = sorted(name for _, _, name in client.list_folders())
said['subject'] = client.fetch([2], ['ENVELOPE'])[2][b'ENVELOPE'].subject.decode()
said['body'] = client.fetch([2], ['BODY[TEXT]'])[2][b'BODY[TEXT]'].decode()
said['flagged'] = client.add_flags([2], ['\\Flagged'])[2][-1].decode()
said['sorted'] = client.sort(['REVERSE DATE'])[:2]
client.move([1], 'Archive')
said['after'] = client.search(['ALL'])
said['appended'] = client.append('Sent', b'Subject: mine\r\n\r\nx\r\n', ['\\Seen']).decode().split()[0]
try:
    client.move(said['after'][:5], 'Trash')
    said['denied'] = False
except imapclient.exceptions.IMAPClientError as error:
    said['denied'] = str(error)
client.logout()
print(json.dumps(said))
"#;

#[tokio::test]
async fn imapclient_works_unchanged_and_is_told_of_a_denial() {
    let post = Post::new(8, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let door = post.door();
    let (host, port) = door.split_once(':').expect("an address");
    let mut command = Command::new(paths::python());
    command.args(["-c", IMAPCLIENT, host, port, &token]);
    let client = async { run(&mut command).await };
    let person = async {
        let hold = post.engine.hold().await;
        assert_eq!((hold.count, hold.verb.as_str()), (5, "Trash"));
        post.engine.deny(&hold).await;
    };
    let (output, ()) = tokio::join!(client, person);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!((&said["move"], &said["notify"], &said["exists"]), (&true.into(), &false.into(), &8.into()));
    assert_eq!(said["folders"], serde_json::json!(["Archive", "INBOX", "Junk", "Sent", "Trash"]));
    assert_eq!((said["subject"].as_str(), said["body"].as_str()), (Some("Mail number 2"), Some("Grüße 2\r\n")));
    assert_eq!(said["after"], serde_json::json!([2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(said["appended"], "[APPENDUID");
    assert!(said["denied"].as_str().is_some_and(|why| why.contains("The person said no")), "{said}");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (7, 0));
}

#[tokio::test]
async fn curl_reads_by_login_and_by_bearer_token() {
    let post = Post::new(3, "read-only").await;
    let token = issue(&post.engine, AGENT).await;
    let url = |below: &str| format!("imap://{}/{below}", post.door());
    let mail = run(Command::new("curl").args(["-sS", "-u", &format!("{ACCOUNT}:{token}"), &url("INBOX;UID=2")])).await;
    assert!(String::from_utf8_lossy(&mail.stdout).contains("Subject: Mail number 2"), "{mail:?}");
    let bearer = ["-sS", "--oauth2-bearer", &token, "-u", &format!("{ACCOUNT}:"), &url("INBOX?ALL")];
    let found = run(Command::new("curl").args(bearer)).await;
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "* SEARCH 1 2 3", "{found:?}");
    let delete = ["-sS", "-u", &format!("{ACCOUNT}:{token}"), &url("INBOX"), "-X", "STORE 1:* +FLAGS \\Deleted"];
    let refused = run(Command::new("curl").args(delete)).await;
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(post.dovecot.marked("INBOX"), 0);
}

/// Its settings for one mailbox. Returns where the copies will lie.
fn mbsyncrc(post: &Post, token: &str, folder: &Path) -> PathBuf {
    let door = post.door();
    let (host, port) = door.split_once(':').expect("an address");
    let near = folder.join("near");
    std::fs::create_dir(&near).expect("a folder");
    let near_text = near.display();
    let config = format!(
        "IMAPAccount door\nHost {host}\nPort {port}\nUser {ACCOUNT}\nPass \"{token}\"\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount door\n\nMaildirStore near\nPath {near_text}/\nInbox {near_text}/INBOX\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nExpunge Both\nSync All\nSyncState *\n"
    );
    std::fs::write(folder.join("mbsyncrc"), config).expect("a file");
    near
}

/// A mailbox of so many mails that mbsync has copied: where its settings are, and the copies.
async fn copied(mails: usize) -> (Post, tempfile::TempDir, PathBuf) {
    let post = Post::new(mails, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let near = mbsyncrc(&post, &token, folder.path());
    let copied = mbsync(folder.path()).await;
    assert!(copied.status.success(), "{copied:?}");
    (post, folder, near)
}

async fn mbsync(folder: &Path) -> Output {
    run(Command::new("mbsync").args(["-a", "-c"]).arg(folder.join("mbsyncrc"))).await
}

#[tokio::test]
async fn mbsync_copies_a_mailbox_and_its_deletions_are_asked_about() {
    let (post, folder, near) = copied(6).await;
    let mails = || -> Vec<std::path::PathBuf> {
        let of = |part: &str| std::fs::read_dir(near.join("INBOX").join(part)).into_iter().flatten();
        let mut found: Vec<_> = of("cur").chain(of("new")).filter_map(|entry| Some(entry.ok()?.path())).collect();
        found.sort();
        found
    };
    assert_eq!(mails().len(), 6);
    for mail in mails().into_iter().take(5) {
        std::fs::remove_file(mail).expect("removed");
    }
    // It marks one by one: three are within the budget, the fourth is asked about, and its denial answers nothing but itself.
    let person = async {
        for _ in 0..2 {
            let hold = post.engine.hold().await;
            assert_eq!((hold.count, hold.verb.as_str()), (1, "Mark as deleted"));
            post.engine.deny(&hold).await;
        }
        // It ends with CLOSE, which would remove what is marked.
        let hold = post.engine.hold().await;
        assert_eq!((hold.count, hold.verb.as_str()), (3, "Delete for ever"));
        post.engine.deny(&hold).await;
    };
    let (_, ()) = tokio::join!(mbsync(folder.path()), person);
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.marked("INBOX")), (6, 3));
}

#[tokio::test]
async fn what_mbsync_expunges_is_asked_at_its_end_and_goes_into_the_trash() {
    let (post, folder, near) = copied(6).await;
    let cur = std::fs::read_dir(near.join("INBOX/cur")).expect("a folder").filter_map(Result::ok);
    for mail in cur.map(|entry| entry.path()).take(3) {
        std::fs::remove_file(mail).expect("removed");
    }
    let person = async {
        let hold = post.engine.hold().await;
        assert_eq!((hold.count, hold.verb.as_str()), (3, "Delete for ever"));
        // Longer than it is patient with a server that says nothing.
        tokio::time::sleep(std::time::Duration::from_secs(22)).await;
        post.engine.allow(&hold).await;
    };
    let (synced, ()) = tokio::join!(mbsync(folder.path()), person);
    assert!(synced.status.success(), "{synced:?}");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (3, 3));
    assert_eq!((post.dovecot.marked("INBOX"), post.dovecot.marked("Trash")), (0, 0));
    let again = mbsync(folder.path()).await;
    assert!(again.status.success(), "{again:?}");
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn mbsync_brings_new_mail_and_marks_to_the_server() {
    let post = Post::new(4, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let near = mbsyncrc(&post, &token, folder.path());
    let copied = mbsync(folder.path()).await;
    assert!(copied.status.success(), "{copied:?}");
    let start = post.dovecot.messages("INBOX");
    // A second time there is nothing to do.
    let again = mbsync(folder.path()).await;
    assert!(again.status.success(), "{again:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    let cur = near.join("INBOX/cur");
    std::fs::write(cur.join("1700000999.M1P1.near:2,S"), "Subject: written here\r\n\r\ntext\r\n").expect("a mail");
    let first = std::fs::read_dir(&cur).expect("a folder").filter_map(Result::ok).map(|entry| entry.path());
    let unstarred = first.filter(|path| path.to_string_lossy().contains(",U=")).min().expect("a mail");
    let name = unstarred.to_string_lossy().into_owned();
    let (stem, flags) = name.split_once(":2,").expect("flags");
    std::fs::rename(&unstarred, format!("{stem}:2,F{flags}")).expect("renamed");
    let brought = mbsync(folder.path()).await;
    assert!(brought.status.success(), "{brought:?}");
    let there = post.dovecot.messages("INBOX");
    assert!(there.iter().any(|one| one.subject == "written here" && one.flags == "S"), "{there:?}");
    assert_eq!(there.iter().filter(|one| one.flags.contains('F')).count(), 1, "{there:?}");
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn mbsync_keeps_all_mailboxes_alike_and_asks_its_password_of_a_program() {
    let post = Post::new(4, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let near = mbsyncrc(&post, &token, folder.path());
    let file = folder.path().join("mbsyncrc");
    let config = std::fs::read_to_string(&file).expect("a file");
    let config = config.replace(&format!("Pass \"{token}\""), &format!("PassCmd \"echo {token}\""));
    let config = config.replace("AuthMechs LOGIN\n", "").replace("Patterns INBOX", "Patterns *");
    std::fs::write(&file, config.replace("Create Near", "Create Both\nRemove Both")).expect("a file");
    let copied = mbsync(folder.path()).await;
    assert!(copied.status.success(), "{copied:?}");
    assert!(["Archive", "Sent", "Trash"].iter().all(|name| near.join(name).is_dir()));
    // A mail is moved, and a mailbox is made, as mail programs do on the disk.
    let cur = std::fs::read_dir(near.join("INBOX/cur")).expect("a folder").filter_map(Result::ok);
    let moved = cur.map(|entry| entry.path()).min().expect("a mail");
    let name = moved.file_name().expect("a name").to_string_lossy().into_owned();
    let (stem, rest) = name.split_once(",U=").expect("a UID");
    let flags = rest.split_once(':').expect("flags").1;
    std::fs::rename(&moved, near.join(format!("Archive/cur/{stem}:{flags}"))).expect("renamed");
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(near.join("Projects").join(part)).expect("a folder");
    }
    std::fs::write(near.join("Projects/cur/1700000999.M1P1.near:2,S"), "Subject: a plan\r\n\r\ntext\r\n")
        .expect("a mail");
    // It stores the mail in the one, and ends in the other with CLOSE.
    let person = async {
        let hold = post.engine.hold().await;
        assert_eq!((hold.count, hold.verb.as_str()), (1, "Delete for ever"));
        post.engine.allow(&hold).await;
    };
    let (brought, ()) = tokio::join!(mbsync(folder.path()), person);
    assert!(brought.status.success(), "{brought:?}");
    let counts = ["INBOX", "Archive", "Projects", "Trash"].map(|name| post.dovecot.messages(name).len());
    assert_eq!(counts, [3, 1, 1, 1]);
    let again = mbsync(folder.path()).await;
    assert!(again.status.success(), "{again:?}");
    assert_eq!(post.dovecot.messages("Archive").len(), 1);
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn curl_stores_looks_around_and_moves_within_the_budget() {
    let post = Post::new(5, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let user = format!("{ACCOUNT}:{token}");
    let url = |below: &str| format!("imap://{}/{below}", post.door());
    let mail = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(mail.path(), "Subject: by curl\r\n\r\ntext\r\n").expect("a mail");
    let mail = mail.path().to_string_lossy().into_owned();
    let said = async |arguments: &[&str]| {
        let output = run(Command::new("curl").args(["-sS", "-u", &user]).args(arguments)).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said(&[&url("")]).await.contains("Archive"));
    assert!(said(&[&url("INBOX;MAILINDEX=3;SECTION=TEXT")]).await.contains("Grüße 3"));
    assert!(said(&[&url("INBOX"), "-X", "UID SEARCH SUBJECT \"number 4\""]).await.contains("* SEARCH 4"));
    assert!(said(&[&url(""), "-X", "STATUS Archive (MESSAGES)"]).await.contains("MESSAGES 0"));
    said(&["-T", &mail, &url("Archive")]).await;
    said(&[&url("INBOX"), "-X", "UID MOVE 2 Archive"]).await;
    said(&[&url("INBOX"), "-X", "UID STORE 3 +FLAGS.SILENT (\\Flagged)"]).await;
    let subjects: Vec<String> = post.dovecot.messages("Archive").into_iter().map(|one| one.subject).collect();
    assert_eq!(subjects, ["Mail number 2", "by curl"]);
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}

const IMAPCLIENT_MORE: &str = r#"
import imapclient, json, sys
host, port, token = sys.argv[1:]
client = imapclient.IMAPClient(host, port=int(port), ssl=False)
client.oauthbearer_login('mail', token)
said = {'id': client.id_({'name': 'test'}) is not None, 'delimiter': client.namespace().personal[0][1]}
client.create_folder('Entwürfe')
client.rename_folder('Entwürfe', 'Älteres')
said['special'] = client.find_special_folder(b'\\Trash')
said['status'] = client.folder_status('INBOX', ['MESSAGES', 'UIDVALIDITY'])[b'MESSAGES']
client.enable('CONDSTORE')
client.select_folder('INBOX')
client.copy([1, 2], 'Älteres')
client.subscribe_folder('Älteres')
said['flags'] = [flag.decode() for flag in client.set_flags([3], ['\\Seen', '$Kept'])[3] if flag != b'\\Recent']
said['search'] = client.search(['SUBJECT', 'number', 'NOT', 'SEEN'], 'UTF-8')
said['thread'] = len(client.thread())
said['structure'] = client.fetch([4], ['BODYSTRUCTURE', 'INTERNALDATE', 'RFC822.SIZE'])[4][b'BODYSTRUCTURE'][0].decode()
said['quota'] = len(client.get_quota_root('INBOX')[1]) >= 0
client.idle()
client.idle_check(timeout=0.2)
client.idle_done()
client.unselect_folder()
client.select_folder('Älteres', readonly=True)
said['there'] = len(client.search())
client.close_folder()
client.logout()
print(json.dumps(said))
"#;

#[tokio::test]
async fn imapclient_does_what_is_permitted_as_without_us() {
    let post = Post::new(6, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let door = post.door();
    let (host, port) = door.split_once(':').expect("an address");
    let output = run(Command::new(paths::python()).args(["-c", IMAPCLIENT_MORE, host, port, &token])).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    let expected = serde_json::json!({
        "id": true, "delimiter": "/", "special": "Trash", "status": 6, "flags": ["\\Seen", "$Kept"],
        "search": [6], "thread": 6, "structure": "text", "quota": true, "there": 2,
    });
    assert_eq!(said, expected);
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}
