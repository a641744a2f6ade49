//! From an agent to the IMAP door: framed, understood, written anew.
//!
//! However it is cut, the same is heard. What would go upstream is one command there, with the words that were understood here.

use latch_core::call::{Call, CallBody};
use latch_core::classify::imap::command::{Command, Mode, Refused};
use latch_core::classify::imap::deed::{self, Deed, On, Server, append_call, command, only_reads};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::steps::{Unable, steps, written};
use latch_core::classify::imap::token::{From, Token, pieces, tokens};
use latch_core::classify::imap::{capability, explained};
use latch_daemon::door::imap::{Heard, Talk};

use crate::eyes;
use crate::script::{Cut, Script, now};

/// What was heard, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Command(String, Command),
    Refused(Option<String>, Refused),
    /// A mail, or what answers a question.
    Mail(Vec<u8>),
    Line(String),
}

/// Panics if a promise is broken.
pub fn check(said: &[u8]) {
    let whole = hear(said, Cut::Whole);
    for cut in [Cut::Every(1), Cut::Every(7), Cut::At(said.len() / 2)] {
        assert_eq!(hear(said, cut), whole, "cut {cut:?}");
    }
    for told in &whole {
        match told {
            Told::Command(tag, command) => {
                assert!(
                    !tag.is_empty()
                        && tag.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte))
                );
                let _ = explained(command);
                forwarded(command);
            }
            Told::Refused(tag, refused) => {
                // Answered with BAD or NO, in words that are no line of their own.
                assert!(!refused.to_string().is_empty() && !refused.to_string().contains(['\r', '\n']));
                assert!(tag.is_some() || matches!(refused, Refused::NoTag | Refused::Bad(_)));
            }
            Told::Mail(_) | Told::Line(_) => {}
        }
    }
}

/// The same at every byte: for what is short.
pub fn check_every_cut(said: &[u8]) {
    let whole = hear(said, Cut::Whole);
    for at in 1..said.len() {
        assert_eq!(hear(said, Cut::At(at)), whole, "cut at {at}");
    }
}

fn hear(said: &[u8], cut: Cut) -> Vec<Told> {
    let mut answers = Vec::new();
    let told = now(async {
        let mut talk = Talk::new(Script::new(said, cut, &mut answers));
        let mut told = Vec::new();
        loop {
            match talk.hear().await {
                Err(_) | Ok(Heard::End) => break,
                Ok(Heard::Refused { tag, refused, fatal, .. }) => {
                    told.push(Told::Refused(tag, refused));
                    if fatal {
                        break;
                    }
                }
                Ok(Heard::Command { tag, command }) => {
                    told.push(Told::Command(tag, (*command).clone()));
                    // What the door reads besides commands.
                    let goes_on = match *command {
                        Command::Append(append) => mail(&mut talk, append.literal.size, &mut told).await,
                        Command::Idle | Command::Authenticate { initial: None, .. } => {
                            talk.bare_line().await.map(|line| told.push(Told::Line(line)))
                        }
                        Command::Logout => break,
                        _ => Ok(()),
                    };
                    if goes_on.is_err() {
                        break;
                    }
                }
            }
        }
        let _ = talk.flush().await;
        told
    });
    assert!(answers.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line == b"+ Go on\r"));
    told
}

async fn mail(talk: &mut Talk<Script<'_>>, size: u64, told: &mut Vec<Told>) -> std::io::Result<()> {
    let (mut left, mut mail) = (size, Vec::new());
    while left > 0 {
        let chunk = talk.chunk(left).await?;
        left -= chunk.len() as u64;
        mail.extend_from_slice(&chunk);
    }
    if talk.line_ends().await? {
        told.push(Told::Mail(mail));
    }
    Ok(())
}

fn server() -> Server {
    let (trash, junk) = (Some("Trash".to_owned()), Some("Junk".to_owned()));
    Server { trash, junk, delimiter: Some('/'), moves: true, uidplus: true, ..Server::default() }
}

const UIDS: [u32; 5] = [1, 2, 3, 9, 4_294_967_295];

/// Everything that this command could send, checked.
fn forwarded(asked: &Command) {
    match asked {
        Command::Look { verb, args, .. } | Command::Search { verb, args } => {
            reads(verb, args, asked);
        }
        Command::Select { mailbox, options, .. } => {
            let args: Vec<Token> = std::iter::once(Token::text(mailbox.as_str())).chain(options.clone()).collect();
            let examine = Command::Select { mailbox: mailbox.clone(), examine: true, options: options.clone() };
            reads("EXAMINE", &args, &examine);
        }
        Command::Fetch { uid, set, items, modifiers, bodies } => {
            let narrowed = [Some(set.clone()), set.bounded(7), set.without(3, 9), Set::of(&UIDS)];
            for set in narrowed.into_iter().flatten() {
                let what = match items.as_slice() {
                    [one] => one.clone(),
                    _ => Token::List(items.clone()),
                };
                let args: Vec<Token> =
                    [Token::atom(set.to_string()), what].into_iter().chain(modifiers.clone()).collect();
                let (items, modifiers) = (items.clone(), modifiers.clone());
                let same = Command::Fetch { uid: *uid, set, items, modifiers, bodies: *bodies };
                reads(if *uid { "UID FETCH" } else { "FETCH" }, &args, &same);
            }
        }
        Command::Enable(words) => {
            let enabled = capability::enabled(words);
            if !enabled.is_empty() {
                let args: Vec<Token> = enabled.iter().map(Token::atom).collect();
                reads("ENABLE", &args, &Command::Enable(enabled));
            }
        }
        Command::Append(append) => {
            let mut args = vec![Token::text(append.mailbox.as_str())];
            if !append.flags.is_empty() {
                args.push(Token::atoms(append.flags.iter().cloned()));
            }
            args.extend(append.date.clone().map(Token::text));
            if let Some(call) = append_call(&append.mailbox, &args, append.literal.size) {
                let written = call.headers.iter().find(|(name, _)| name == "args").map(|(_, value)| value.as_str());
                let line = format!("L1 APPEND {} {{0}}\r\n\r\n", written.expect("arguments"));
                let words = eyes::command(line.as_bytes()).unwrap_or_else(|| panic!("{line:?} is no command"));
                assert_eq!(words[2..words.len() - 1], args, "{line:?}");
                let heard = hear(line.as_bytes(), Cut::Whole);
                let [Told::Command(_, Command::Append(again)), Told::Mail(_)] = heard.as_slice() else {
                    panic!("{line:?} is {heard:?}")
                };
                assert_eq!((&again.mailbox, &again.flags, &again.date), (&append.mailbox, &append.flags, &append.date));
            }
        }
        _ => {
            if let Some((deed, on)) = change(asked) {
                for soft in [false, true] {
                    let part = deed.part(&on, &server());
                    assert_eq!(deed::deed_of(&part), Some((deed.clone(), on.clone())));
                    match steps(&deed, &on, &server(), soft, "u1") {
                        Ok(steps) => steps.iter().for_each(|step| changes(&deed, &on, soft, &step.call)),
                        Err(why) => assert!(matches!(why, Unable::Unwritable | Unable::NoTrash), "{why}"),
                    }
                }
            }
        }
    }
}

fn change(asked: &Command) -> Option<(Deed, On)> {
    let on_messages =
        |deed| Some((deed, On { mailbox: "INBOX".to_owned(), uidvalidity: Some(7), uids: UIDS.to_vec() }));
    let on =
        |mailbox: &str, deed| Some((deed, On { mailbox: mailbox.to_owned(), uidvalidity: None, uids: Vec::new() }));
    match asked.clone() {
        Command::Store { mode, labels, words, unchanged_since, .. } => {
            on_messages(Deed::Store { mode, labels, words, unchanged_since })
        }
        Command::Copy { to, .. } => on_messages(Deed::Copy { to }),
        Command::Move { to, .. } => on_messages(Deed::Move { to }),
        Command::Expunge { .. } => on_messages(Deed::Expunge),
        Command::Create { mailbox } => on(&mailbox, Deed::Create),
        Command::Delete { mailbox } => on(&mailbox, Deed::Delete { messages: 3 }),
        Command::Rename { mailbox, to } => on(&mailbox, Deed::Rename { to }),
        Command::Subscribe { mailbox, off } => on(&mailbox, Deed::Subscribe { off }),
        Command::SetAcl { mailbox, who, rights } => on(&mailbox, Deed::SetAcl { who, rights }),
        Command::Setting { mailbox, verb, args } => {
            let args = written(&args);
            // The door refuses those.
            args.and_then(|args| on(mailbox.as_deref().unwrap_or_default(), Deed::Setting { verb, args }))
        }
        _ => None,
    }
}

/// The only command in what would be sent.
fn sent(call: &Call) -> Command {
    let CallBody::Bytes(body) = &call.body else { panic!("streamed") };
    let verb = deed::verb(call).expect("a verb");
    let space = if body.is_empty() { "" } else { " " };
    let line = [format!("L1 {verb}{space}").as_bytes(), body, b"\r\n"].concat();
    let shown = String::from_utf8_lossy(&line).into_owned();
    let seen = eyes::command(&line).unwrap_or_else(|| panic!("{shown:?} is not one command"));
    let ours = pieces(body).and_then(|pieces| tokens(&pieces, From::Agent)).unwrap_or_else(|| panic!("{shown:?}"));
    assert_eq!(seen[seen.len() - ours.len()..], ours, "{shown:?} is read in two ways");
    assert_eq!(seen.len() - ours.len(), 1 + verb.split(' ').count(), "{shown:?} is read in two ways");
    let mut heard = hear(&line, Cut::Whole);
    match (heard.pop(), heard.is_empty()) {
        (Some(Told::Command(_, command)), true) => command,
        other => panic!("{shown:?} is {other:?}"),
    }
}

fn reads(verb: &str, args: &[Token], expected: &Command) {
    let Some(call) = command(verb, None, args) else { return };
    assert!(only_reads(&call), "{verb}");
    assert_eq!(&sent(&call), expected);
}

fn changes(deed: &Deed, on: &On, soft: bool, call: &Call) {
    assert!(!only_reads(call));
    let all = Set::of(&on.uids);
    let said = sent(call);
    let is_deed = match (&said, deed) {
        (Command::Store { uid, set, mode, silent, labels, words, unchanged_since }, Deed::Store { .. }) => {
            let same =
                Deed::Store { mode: *mode, labels: *labels, words: words.clone(), unchanged_since: *unchanged_since };
            *uid && *silent && Some(set) == all.as_ref() && same == *deed
        }
        (Command::Store { uid: true, set, mode: Mode::Remove, labels: false, words, .. }, Deed::Expunge) => {
            soft && Some(set) == all.as_ref() && *words == ["\\Deleted"]
        }
        (Command::Move { uid: true, set, to }, Deed::Expunge) => soft && Some(set) == all.as_ref() && to == "Trash",
        (Command::Expunge { set }, Deed::Expunge) => !soft && *set == all,
        (Command::Copy { uid: true, set, to: there }, Deed::Copy { to })
        | (Command::Move { uid: true, set, to: there }, Deed::Move { to }) => Some(set) == all.as_ref() && there == to,
        (Command::Create { mailbox }, Deed::Create) => *mailbox == on.mailbox,
        (Command::Delete { mailbox }, Deed::Delete { .. }) => !soft && *mailbox == on.mailbox,
        (Command::Rename { mailbox, to }, Deed::Delete { .. }) => {
            soft && *mailbox == on.mailbox && server().is_trash(to)
        }
        (Command::Rename { mailbox, to: there }, Deed::Rename { to }) => *mailbox == on.mailbox && there == to,
        (Command::Subscribe { mailbox, off: said }, Deed::Subscribe { off }) => *mailbox == on.mailbox && said == off,
        (Command::SetAcl { mailbox, who: them, rights: these }, Deed::SetAcl { who, rights }) => {
            *mailbox == on.mailbox && them == who && these == rights
        }
        (Command::Setting { mailbox, verb: said, args: words }, Deed::Setting { verb, args }) => {
            mailbox.as_deref().unwrap_or_default() == on.mailbox
                && said == verb
                && written(words).as_ref() == Some(args)
        }
        _ => false,
    };
    assert!(is_deed, "{deed:?} says {said:?}");
}
