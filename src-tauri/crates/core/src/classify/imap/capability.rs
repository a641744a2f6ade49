//! What an agent is told that the server can do: only what is understood here.

/// Passed on if the upstream has it. Everything else is hidden: NOTIFY, CONTEXT, COMPRESS, URLAUTH, REPLACE, UTF8=ACCEPT, UNAUTHENTICATE, ...
const KNOWN: [&str; 28] = [
    "ACL",
    "BINARY",
    "CHILDREN",
    "CONDSTORE",
    "ESEARCH",
    "ESORT",
    "IDLE",
    "LIST-EXTENDED",
    "LIST-MYRIGHTS",
    "LIST-STATUS",
    "METADATA",
    "METADATA-SERVER",
    "MOVE",
    "NAMESPACE",
    "OBJECTID",
    "QRESYNC",
    "QUOTA",
    "SAVEDATE",
    "SEARCHRES",
    "SORT",
    "SORT=DISPLAY",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "UIDPLUS",
    "WITHIN",
    "X-GM-EXT-1",
];
/// What this side does whatever the upstream can. LITERAL- (RFC 7888): a large literal waits for our word.
const OURS: [&str; 6] = ["IMAP4rev1", "SASL-IR", "LITERAL-", "ID", "ENABLE", "UNSELECT"];

/// What IMAP4rev2 has in it: a server of that kind need not say these words (RFC 9051 section 6.1.1 and appendix E).
const REV2: [&str; 16] = [
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "ESEARCH",
    "SEARCHRES",
    "ENABLE",
    "IDLE",
    "SASL-IR",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "MOVE",
    "LITERAL-",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "CHILDREN",
    "IMAP4REV2",
];

/// What a server can, from the words in which it says so.
#[must_use]
pub fn of(said: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = said.into_iter().map(|one| one.to_ascii_uppercase()).collect();
    if all.iter().any(|one| one == "IMAP4REV2") {
        for implied in REV2 {
            if !all.iter().any(|one| one == implied) {
                all.push(implied.to_owned());
            }
        }
    }
    all
}

/// Before a login nothing of the upstream is known.
#[must_use]
pub fn before_login() -> String {
    "IMAP4rev1 SASL-IR LITERAL- ID ENABLE AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER".to_owned()
}

/// After it: what the upstream said, narrowed.
#[must_use]
pub fn after_login(upstream: &[String]) -> String {
    let known = upstream
        .iter()
        .map(|one| one.to_ascii_uppercase())
        .filter(|one| KNOWN.contains(&one.as_str()) || one.starts_with("QUOTA=RES-") || one.starts_with("RIGHTS="));
    let mut all: Vec<String> = OURS.iter().map(|one| (*one).to_owned()).collect();
    for one in known {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all.join(" ")
}

/// What of an ENABLE is passed on (RFC 5161).
#[must_use]
pub fn enabled(asked: &[String]) -> Vec<String> {
    asked.iter().map(|one| one.to_ascii_uppercase()).filter(|one| one == "CONDSTORE" || one == "QRESYNC").collect()
}
