//! A grant for some mailboxes: no answer of a mail server names another one, whatever was asked and whatever the server says.

use latch_ipc::contract::{Empty, GrantPut, GrantPutParams, HoldList};
use latch_tests::mail::Post;
use latch_tests::scene::{ACCOUNT, AGENT};

use crate::imap_bad::{lied_to, login};

async fn only(post: &Post, mailboxes: &[&str]) {
    only_as(post, "organize", mailboxes).await;
}

async fn only_as(post: &Post, preset: &str, mailboxes: &[&str]) {
    let params = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: preset.to_owned(),
        authorization_details: Some(serde_json::json!({ "mailboxes": mailboxes })),
        budgets: None,
        expires_in: None,
    };
    post.engine.call(GrantPut, params).await;
}

#[tokio::test]
async fn a_mailbox_outside_the_grant_is_named_by_no_answer() {
    let (liar, post) = lied_to(2).await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Private").await;
    phone.ok("SUBSCRIBE Private").await;
    only(&post, &["INBOX", "Archive"]).await;
    let (mut client, _) = login(&post).await;
    for asked in [
        "LIST \"\" *",
        "LIST (SUBSCRIBED) \"\" *",
        "LIST \"\" * RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)",
        "LIST \"\" * RETURN (STATUS (MESSAGES UIDNEXT))",
        "LIST \"\" (INBOX Private Archive) RETURN (STATUS (MESSAGES))",
        "LSUB \"\" *",
        "XLIST \"\" *",
    ] {
        let said = client.ok(asked).await;
        assert!(said.untagged.iter().any(|line| line.contains("Archive")), "{asked}: {said:?}");
        assert!(!said.untagged.iter().any(|line| line.contains("Private")), "{asked}: {said:?}");
    }
    for refused in [
        "LIST \"\" * RETURN (METADATA (\"/shared/comment\"))",
        "LIST \"\" * RETURN (ACL)",
        "LIST (X-ALL) \"\" *",
        "LIST \"\" * RETURN (STATUS)",
    ] {
        assert!(client.no(refused).await.end.starts_with("BAD"), "{refused}");
    }
    // A server says more than it was asked for: RFC 8440, RFC 9590, RFC 7377, and what nobody has heard of.
    let more = "* MYRIGHTS Archive lr\r\n* MYRIGHTS Private lrs\r\n* MYRIGHTS {7}\r\nPrivate lrs\r\n\
        * METADATA Private (/shared/comment \"x\")\r\n* METADATA Private (/shared/comment {3}\r\nabc)\r\n\
        * ACL Private erin lrs\r\n* LISTRIGHTS Private erin l r\r\n* QUOTAROOT Private own\r\n\
        * STATUS Private (MESSAGES 3)\r\n* XGOT {14}\r\n(Private Other) Private\r\n\
        * LIST () \"/\" Archive (\"OLDNAME\" (\"Private\"))\r\n\
        * ESEARCH (TAG \"x\" MAILBOX Private UIDVALIDITY 1) UID ALL 1\r\n* LIST () \"/\" Archive\r\n";
    liar.says("\"/\" Archive", more);
    let said = client.ok("LIST \"\" *").await;
    assert!(said.untagged.contains(&"* MYRIGHTS Archive lr".to_owned()), "{said:?}");
    assert!(!String::from_utf8_lossy(&client.heard).contains("Private"), "{said:?}");
    client.ok("SELECT INBOX").await;
    client.ok("FETCH 1:2 FLAGS").await;
}

#[tokio::test]
async fn what_is_said_of_a_mailbox_of_the_grant_arrives() {
    let post = Post::new(1, "organize").await;
    only(&post, &["INBOX"]).await;
    let mut client = post.client().await;
    let rights = client.ok("MYRIGHTS INBOX").await;
    assert!(rights.untagged[0].starts_with("* MYRIGHTS INBOX "), "{rights:?}");
    let listed = client.ok("LISTRIGHTS INBOX erin").await;
    assert!(listed.untagged[0].starts_with("* LISTRIGHTS INBOX erin"), "{listed:?}");
    assert!(client.ok("GETACL INBOX").await.untagged[0].starts_with("* ACL INBOX"));
    let quota = client.ok("GETQUOTAROOT INBOX").await;
    assert!(quota.untagged[0].starts_with("* QUOTAROOT INBOX ") && quota.untagged.len() == 2, "{quota:?}");
    assert!(client.ok("NAMESPACE").await.untagged[0].starts_with("* NAMESPACE (("));
    for outside in ["MYRIGHTS Trash", "LISTRIGHTS Trash erin", "GETACL Trash", "GETQUOTAROOT Trash"] {
        assert!(client.no(outside).await.end.starts_with("NO [NOPERM]"), "{outside}");
    }
}

#[tokio::test]
async fn settings_outside_the_grant_are_refused_without_a_question() {
    let post = Post::new(1, "organize").await;
    only_as(&post, "ask-everything", &["INBOX"]).await;
    let mut client = post.client().await;
    for command in [
        "SETMETADATA Archive (/private/comment \"x\")",
        "SETMETADATA \"\" (/private/comment \"x\")",
        "SETQUOTA \"\" (STORAGE 1)",
    ] {
        let said = client.no(command).await;
        assert!(said.end.starts_with("NO ["), "{command}: {said:?}");
    }
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
    let tag = client.send("SETMETADATA inbox (/private/comment \"x\")").await;
    let hold = post.engine.hold().await;
    post.engine.deny(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("NO "));
}
