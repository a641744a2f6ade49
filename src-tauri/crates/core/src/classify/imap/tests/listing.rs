//! What a LIST may ask for, and what of the answers names a mailbox.

use super::super::fetch::peeking;
use super::super::reply::{Names, mailboxes_named, names};
use super::*;

#[test]
fn a_list_asks_for_what_is_known_only() {
    for good in [
        "a LIST \"\" *",
        "a LIST () \"\" *",
        "a LIST (SUBSCRIBED) \"\" (\"INBOX\" \"a%\")",
        "a list (subscribed recursivematch) \"\" *",
        "a LIST (REMOTE SPECIAL-USE) \"\" % RETURN ()",
        "a LIST \"\" * RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)",
        "a LIST \"\" * RETURN (STATUS (MESSAGES UNSEEN) CHILDREN)",
        "a LIST \"\" * return (status (messages) myrights)",
        "a XLIST \"\" *",
    ] {
        let Ok(Command::Look { verb, mailbox: None, .. }) = read(good) else { panic!("{good}: {:?}", read(good)) };
        assert_eq!(verb, "LIST", "{good}");
    }
    for bad in [
        "a LIST (X) \"\" *",
        "a LIST (SUBSCRIBED (X)) \"\" *",
        "a LIST (\"SUBSCRIBED\") \"\" *",
        "a LIST (METADATA) \"\" *",
        "a LIST \"\" * RETURN (METADATA (\"/shared/comment\"))",
        "a LIST \"\" * RETURN (METADATA (/private/comment))",
        "a LIST \"\" * RETURN (ACL)",
        "a LIST \"\" * RETURN (CHILDREN X)",
        "a LIST \"\" * RETURN (STATUS)",
        "a LIST \"\" * RETURN (STATUS ())",
        "a LIST \"\" * RETURN (STATUS MESSAGES)",
        "a LIST \"\" * RETURN (STATUS (MESSAGES (X)))",
        "a LIST \"\" * RETURN (MYRIGHTS (X))",
        "a LIST \"\" * RETURN CHILDREN",
        "a LIST \"\" * GIVE (CHILDREN)",
        "a LIST \"\" () RETURN (CHILDREN)",
    ] {
        assert!(matches!(read(bad), Err(Refused::Bad(_))), "{bad}");
    }
}

#[test]
fn every_answer_that_names_a_mailbox_is_known_as_one() {
    let named = |line: &str| -> Option<Vec<String>> {
        let tokens = untagged(&split(line)).unwrap();
        let Names::One { listed } = names(line.split('{').next().unwrap().as_bytes()) else { return None };
        let names = mailboxes_named(&tokens, listed).unwrap_or_default();
        Some(names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    };
    for line in [
        "* LIST (\\HasNoChildren) \"/\" Private",
        "* lsub () NIL \"Private\"",
        "* XLIST (\\Inbox) \"/\" {7}\r\nPrivate",
        "* LIST () \"/\" Private (\"CHILDINFO\" (\"SUBSCRIBED\"))",
        "* STATUS Private (MESSAGES 1)",
        "* MYRIGHTS Private lr",
        "* myrights {7}\r\nPrivate lr",
        "* ACL Private erin lr",
        "* LISTRIGHTS Private erin l r",
        "* METADATA Private (/shared/comment \"x\")",
        "* METADATA \"Private\" (/shared/comment {1}\r\nx)",
        "* QUOTAROOT Private root",
    ] {
        assert_eq!(named(line), Some(vec!["Private".to_owned()]), "{line}");
    }
    let renamed = named("* LIST () \"/\" New (\"OLDNAME\" (\"Private\"))");
    assert_eq!(renamed, Some(vec!["New".to_owned(), "Private".to_owned()]));
    assert_eq!(named("* METADATA \"\" (/shared/admin \"x\")"), Some(vec![String::new()]));
    assert_eq!(named("* MYRIGHTS (Private) lr"), Some(Vec::new()), "none that could be shown");
    for line in [
        "* 3 EXISTS",
        "* 3 FETCH (FLAGS ())",
        "* SEARCH 1 2",
        "* ESEARCH (TAG \"a\") COUNT 3",
        "* FLAGS (\\Seen)",
        "* NAMESPACE ((\"\" \"/\")) NIL NIL",
        "* QUOTA \"User quota\" (STORAGE 1 2)",
        "* VANISHED 3:4",
        "* ENABLED QRESYNC",
        "* ID NIL",
        "* SORT 1",
        "* THREAD (1)",
    ] {
        assert_eq!(names(line.as_bytes()), Names::Nothing, "{line}");
    }
    for line in [
        "* CAPABILITY IMAP4rev1",
        "* ANNOTATION Private x",
        "* ESEARCH (TAG \"a\" MAILBOX Private UIDVALIDITY 1) UID ALL 3",
        "* X Private",
        "x LIST () \"/\" Private",
    ] {
        assert_eq!(names(line.as_bytes()), Names::Unknown, "{line}");
    }
}

#[test]
fn what_is_read_is_asked_for_so_that_it_leaves_no_mark() {
    for (said, asked) in [
        ("BODY[]", "BODY.PEEK[]"),
        ("body[1.TEXT]<0.9>", "BODY.PEEK[1.TEXT]<0.9>"),
        ("BODY[HEADER.FIELDS (DATE FROM)]", "BODY.PEEK[HEADER.FIELDS (DATE FROM)]"),
        ("BODY.PEEK[]", "BODY.PEEK[]"),
        ("BINARY[1]", "BINARY.PEEK[1]"),
        ("Binary.Peek[1]", "Binary.Peek[1]"),
        ("BINARY.SIZE[1]", "BINARY.SIZE[1]"),
        ("BODY", "BODY"),
        ("BODYSTRUCTURE", "BODYSTRUCTURE"),
        ("RFC822", "RFC822"),
        ("FLAGS", "FLAGS"),
    ] {
        assert_eq!(peeking(&Token::atom(said)), Token::atom(asked));
    }
}
