//! What an agent is told that the server can do.

use super::super::capability::{after_login, before_login, enabled, of};

/// What ordinary clients rely on, and what is told of it where the upstream has it.
const UNDERSTOOD: [&str; 32] = [
    "UIDPLUS",
    "MOVE",
    "IDLE",
    "CONDSTORE",
    "QRESYNC",
    "SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "LIST-MYRIGHTS",
    "NAMESPACE",
    "SORT",
    "SORT=DISPLAY",
    "THREAD=REFERENCES",
    "THREAD=ORDEREDSUBJECT",
    "ESEARCH",
    "ESORT",
    "SEARCHRES",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "METADATA",
    "METADATA-SERVER",
    "ACL",
    "RIGHTS=TEXK",
    "X-GM-EXT-1",
    "BINARY",
    "CHILDREN",
    "WITHIN",
    "STATUS=SIZE",
    "SAVEDATE",
    "OBJECTID",
    "UNSELECT",
    "ENABLE",
];

/// What would let something pass that is not understood.
const HIDDEN: [&str; 23] = [
    "COMPRESS=DEFLATE",
    "NOTIFY",
    "CATENATE",
    "LITERAL+",
    "AUTH=PLAIN",
    "THREAD=REFS",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "URLAUTH",
    "URLAUTH=BINARY",
    "REPLACE",
    "UTF8=ACCEPT",
    "UTF8=ONLY",
    "UNAUTHENTICATE",
    "MULTIAPPEND",
    "MULTISEARCH",
    "LIST-METADATA",
    "UIDONLY",
    "PARTIAL",
    "INPROGRESS",
    "JMAPACCESS",
    "STARTTLS",
    "CREATE-SPECIAL-USE",
];

fn said(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn each_that_is_understood_is_told_where_the_server_has_it_and_nothing_else_is() {
    let told =
        |upstream: &[&str]| -> Vec<String> { after_login(&of(said(upstream))).split(' ').map(str::to_owned).collect() };
    let ours = ["IMAP4rev1", "SASL-IR", "LITERAL-", "ID", "ENABLE", "UNSELECT"];
    assert_eq!(told(&["IMAP4rev1"]), ours, "what the server has not is not told");
    for one in UNDERSTOOD {
        assert!(told(&["IMAP4rev1", one]).contains(&one.to_owned()), "{one}");
        let small = one.to_ascii_lowercase();
        assert!(told(&["IMAP4rev1", &small]).contains(&one.to_owned()), "{small}");
    }
    for one in HIDDEN {
        assert_eq!(told(&["IMAP4rev1", one]), ours, "{one}");
    }
    let all: Vec<&str> = ["IMAP4rev1"].iter().chain(&UNDERSTOOD).chain(&HIDDEN).copied().collect();
    assert_eq!(told(&all).len(), ours.len() - 2 + UNDERSTOOD.len(), "each once");
}

#[test]
fn what_a_server_of_the_second_revision_does_not_say_it_can_all_the_same() {
    let rev2 = of(said(&["IMAP4rev2", "AUTH=PLAIN"]));
    for implied in [
        "MOVE",
        "UIDPLUS",
        "ESEARCH",
        "NAMESPACE",
        "UNSELECT",
        "IDLE",
        "ENABLE",
        "SASL-IR",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "SEARCHRES",
        "LITERAL-",
        "STATUS=SIZE",
        "SPECIAL-USE",
    ] {
        assert!(rev2.contains(&implied.to_owned()), "{implied}");
    }
    assert!(!rev2.contains(&"CONDSTORE".to_owned()) && !rev2.contains(&"BINARY".to_owned()));
    let told = after_login(&rev2);
    assert!(told.contains(" MOVE") && told.contains(" UIDPLUS") && told.contains(" IDLE"), "{told}");
    assert!(!told.to_ascii_uppercase().contains("REV2"), "{told}");
    assert_eq!(of(said(&["imap4rev1", "move"])), ["IMAP4REV1", "MOVE"]);
}

#[test]
fn before_a_login_there_is_only_the_login() {
    assert!(!before_login().contains("STARTTLS"));
    assert_eq!(enabled(&said(&["condstore", "UTF8=ACCEPT", "QRESYNC", "IMAP4rev2"])), ["CONDSTORE", "QRESYNC"]);
}
