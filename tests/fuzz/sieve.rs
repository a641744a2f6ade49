//! From an agent to the door of mail filters: framed, understood, shown, written anew.
//!
//! However it is cut, the same is heard. What would go upstream is one command there, with the words that were understood; and every new line of a script is
//! among what the person is shown.

use std::time::Duration;

use latch_core::call::Call;
use latch_core::classify::imap::token::Piece;
use latch_core::classify::sieve::response::Response;
use latch_core::classify::sieve::{Change, Command, Stored, change_of, effects, explained, only_reads, parse, wire};
use latch_core::operation::Class;
use latch_daemon::door::sieve::{Heard, Talk};
use tokio::time::Instant;

use crate::eyes;
use crate::script::{Cut, Script, now};

/// What runs when an agent comes.
const OWN: &[u8] =
    b"require \"fileinto\";\r\nif header :contains \"subject\" \"sale\" {\r\n  fileinto \"Sales\";\r\n}\r\n";
/// What is said where nobody is logged in says nothing of what follows.
const LATER: Duration = Duration::from_secs(3600);

/// What was heard, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Command(Vec<Piece>),
    Unfit(Response),
}

/// Panics if a promise is broken.
pub fn check(said: &[u8]) {
    for is_in in [false, true] {
        let whole = hear(said, Cut::Whole, is_in);
        for cut in [Cut::Every(1), Cut::Every(7), Cut::At(said.len() / 2)] {
            assert_eq!(hear(said, cut, is_in), whole, "cut {cut:?}");
        }
        for told in &whole {
            match told {
                Told::Unfit(response) => is_an_answer(response),
                Told::Command(pieces) => match parse(pieces) {
                    Err(refused) => is_an_answer(&Response::refused(&refused)),
                    Ok(command) => understood(&command),
                },
            }
        }
    }
    // Whatever else they are, they may be a script.
    if let Ok(text) = std::str::from_utf8(said) {
        shown(&Change::Put { name: "main".to_owned(), script: text.as_bytes().to_vec() });
    }
    is_included(said);
}

/// Turning on what only includes them: whoever would get mail is shown, whatever they include themselves.
fn is_included(said: &[u8]) {
    let scripts = [("main", b"include \"Inner\";".to_vec()), ("inner", said.to_vec())];
    let stored = Stored {
        names: scripts.iter().map(|(name, _)| (*name).to_owned()).collect(),
        scripts: scripts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
        active: None,
    };
    let operation = Change::Activate { name: Some("main".to_owned()) }.part(&stored).operation;
    let reached = operation.audience.map(|audience| audience.members).unwrap_or_default();
    let found = effects(said);
    for address in found.redirects.iter().chain(&found.notified) {
        assert!(reached.iter().any(|member| member.address == *address), "{address}");
    }
    let is_unseen = found.includes.iter().any(|include| include.global);
    let is_told = operation.facts.iter().any(|fact| fact.value.contains("which can't be read here"));
    assert!(is_told || !is_unseen);
}

/// The same at every byte: for what is short.
pub fn check_every_cut(said: &[u8]) {
    let whole = hear(said, Cut::Whole, true);
    for at in 1..said.len() {
        assert_eq!(hear(said, Cut::At(at), true), whole, "cut at {at}");
    }
}

fn hear(said: &[u8], cut: Cut, is_in: bool) -> Vec<Told> {
    let mut answers = Vec::new();
    let told = now(async {
        let mut talk = Talk::new(Script::new(said, cut, &mut answers), Instant::now() + LATER);
        if is_in {
            talk.logged_in();
        }
        let mut told = Vec::new();
        loop {
            match talk.hear(LATER).await {
                Err(_) | Ok(Heard::End | Heard::Silence) => break,
                Ok(Heard::Unfit(response)) => {
                    let ends = response.closes();
                    told.push(Told::Unfit(response));
                    if ends {
                        break;
                    }
                }
                Ok(Heard::Command(pieces)) => told.push(Told::Command(pieces)),
            }
        }
        told
    });
    assert!(answers.is_empty(), "nothing is said while it is heard");
    told
}

/// One answer, and nothing that another could be taken for.
fn is_an_answer(response: &Response) {
    let words =
        eyes::sieve(response.wire(), "").unwrap_or_else(|| panic!("{:?}", response.wire().escape_ascii().to_string()));
    let first = words.first().expect("a word");
    assert!([&b"OK"[..], b"NO", b"BYE"].contains(&first.as_slice()));
    assert_eq!(response.closes(), first == b"BYE");
}

fn understood(command: &Command) {
    let operation = explained(command, None);
    match command {
        Command::Logout | Command::Authenticate { .. } => assert_eq!(operation, None),
        Command::Noop(tag) => is_an_answer(&Response::noop(tag.as_deref())),
        Command::Change(change) => shown(change),
        Command::Capability => reads(command, &["CAPABILITY"]),
        Command::List => reads(command, &["LISTSCRIPTS"]),
        Command::Get { name } => reads(command, &["GETSCRIPT", name]),
        Command::HaveSpace { name, size } => reads(command, &["HAVESPACE", name, &size.to_string()]),
        Command::Check { script } => {
            let call = reading(command);
            assert_eq!(on_the_wire(&call), [b"CHECKSCRIPT".to_vec(), script.to_vec()]);
        }
    }
}

fn reads(command: &Command, words: &[&str]) {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    assert_eq!(on_the_wire(&reading(command)), words);
}

fn reading(command: &Command) -> Call {
    let call = command.reading().expect("a call");
    assert!(only_reads(&call) && change_of(&call).is_none());
    assert_eq!(explained(command, None).expect("an operation").class, Class::Read);
    call
}

/// The words of what leaves, as a server reads them and as we do.
fn on_the_wire(call: &Call) -> Vec<Vec<u8>> {
    let mut line = wire(call).expect("it can be written");
    line.extend_from_slice(b"\r\n");
    assert_eq!(hear(&line, Cut::Whole, true).len(), 1);
    eyes::sieve(&line, "+").unwrap_or_else(|| panic!("no command: {}", line.escape_ascii()))
}

/// A change, where the same script runs already, another one does, or none.
fn shown(change: &Change) {
    let call = change.call();
    assert_eq!(change_of(&call).as_ref(), Some(change));
    assert!(!only_reads(&call));
    let words: Vec<Vec<u8>> = match change {
        Change::Put { name, script } => vec![b"PUTSCRIPT".to_vec(), name.clone().into(), script.clone()],
        Change::Activate { name } => vec![b"SETACTIVE".to_vec(), name.clone().unwrap_or_default().into()],
        Change::Delete { name } => vec![b"DELETESCRIPT".to_vec(), name.clone().into()],
        Change::Rename { name, to } => vec![b"RENAMESCRIPT".to_vec(), name.clone().into(), to.clone().into()],
    };
    assert_eq!(on_the_wire(&call), words);
    let (name, script) = match change {
        Change::Put { name, script } => (name.clone(), Some(script)),
        Change::Delete { name } | Change::Rename { name, .. } => (name.clone(), None),
        Change::Activate { name } => (name.clone().unwrap_or_default(), None),
    };
    let own = |name: &str, runs: bool| Stored {
        scripts: [(name.to_owned(), OWN.to_vec())].into(),
        active: runs.then(|| name.to_owned()),
        names: vec![name.to_owned()],
    };
    let places = [Stored::default(), own(&name, true), own(&name, false), own("other", true)];
    let mut contents = Vec::new();
    for stored in &places {
        if let Some(refused) = change.impossible(stored) {
            is_an_answer(&Response::refused(&refused));
        }
        let part = change.part(stored);
        assert_eq!(part.operation.class, Class::Divert);
        assert_eq!(part.call, call, "what leaves is what was decided about");
        contents.push(part.operation.content);
        let Some(script) = script else { continue };
        if part.operation.opaque {
            continue;
        }
        let text = std::str::from_utf8(script).expect("else nobody may allow it");
        let lines: String = part
            .operation
            .facts
            .iter()
            .filter(|fact| fact.label == "New lines")
            .flat_map(|fact| ["\n", fact.value.as_str(), "\n"])
            .collect();
        let before =
            stored.scripts.get(&name).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        let known: Vec<&str> = before.split(['\r', '\n']).map(str::trim_end).collect();
        for line in text.split(['\r', '\n']).map(str::trim_end).filter(|line| !line.is_empty()) {
            assert!(known.contains(&line) || lines.contains(line), "{line:?} is not shown in {lines:?}");
        }
        // Who would get mail is among those who are shown.
        let reached = part.operation.audience.map(|audience| audience.members).unwrap_or_default();
        let found = effects(script);
        for address in found.redirects.iter().chain(&found.notified) {
            assert!(reached.iter().any(|member| member.address == *address), "{address}");
        }
    }
    contents.dedup();
    assert_eq!(contents.len(), places.len(), "an answer is about what was stored");
}
