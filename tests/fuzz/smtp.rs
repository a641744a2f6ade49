//! From an agent to the submission door: the dialogue, where a mail ends, what is decided about, what leaves.

use bytes::Bytes;
use latch_core::classify::smtp::{DataFrame, Dialogue, Envelope, Flaw, Limits, Step, stuffed, submission, submitted};

use crate::eyes;
use crate::script::Cut;

const LIMITS: Limits = Limits { mail: 64 * 1024, recipients: 5 };

/// A mail as it was taken in, or what is wrong with it; and how many bytes it took.
type Taken = (Result<Vec<u8>, Flaw>, usize);

/// Panics if a promise is broken.
pub fn check(said: &[u8]) {
    let mut dialogue = Dialogue::new(LIMITS);
    let (mut rest, mut known) = (said, false);
    while let Some(end) = command(rest) {
        let (line, after) = rest.split_at(end);
        rest = after;
        match dialogue.command(line) {
            Step::Reply(reply) => is_a_reply(&reply.wire()),
            Step::Close(reply) => return is_a_reply(&reply.wire()),
            Step::Authenticate { .. } => {
                dialogue.authenticated(true);
                known = true;
            }
            Step::Take(envelope) => {
                assert!(known && !envelope.recipients.is_empty() && envelope.recipients.len() <= LIMITS.recipients);
                let Some((mail, used)) = take(rest) else { return };
                rest = &rest[used..];
                if let Ok(mail) = mail {
                    decided(&envelope, &mail);
                }
            }
        }
    }
    // Also as one mail, whatever it says.
    if let Some((Ok(mail), _)) = take(said) {
        let recipients = vec!["bob@x.example".to_owned()];
        decided(&Envelope { from: "erin@x.example".to_owned(), recipients, ..Envelope::default() }, &mail);
    }
}

/// Where the first command ends; it is the same however much of it has come.
fn command(bytes: &[u8]) -> Option<usize> {
    let end = Dialogue::command_end(bytes).ok()??;
    for part in [1, end / 2, end - 1] {
        assert_eq!(Dialogue::command_end(&bytes[..part]), Ok(None), "{part} bytes of it");
    }
    assert!(bytes[..end].ends_with(b"\r\n") && !bytes[..end - 2].iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    Some(end)
}

fn is_a_reply(wire: &str) {
    let lines: Vec<&str> = wire.split_inclusive("\r\n").collect();
    for (at, line) in lines.iter().enumerate() {
        let text = line.strip_suffix("\r\n").expect("a whole line");
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{wire:?}");
        let separator = if at + 1 == lines.len() { b' ' } else { b'-' };
        assert!(text[..3].bytes().all(|byte| byte.is_ascii_digit()) && text.as_bytes()[3] == separator, "{wire:?}");
    }
}

/// What follows DATA; `None` if it has no end.
fn take(bytes: &[u8]) -> Option<Taken> {
    let whole = take_cut(bytes, Cut::Whole);
    for cut in [Cut::Every(1), Cut::Every(5), Cut::At(bytes.len() / 2)] {
        assert_eq!(take_cut(bytes, cut), whole, "cut {cut:?}");
    }
    if let Some((Ok(mail), used)) = &whole {
        assert!(mail.len() <= LIMITS.mail && mail.len() < *used);
        assert_eq!(eyes::end_of_mail(&bytes[..*used]), Some(*used), "somebody sees the end elsewhere");
        assert_eq!(eyes::unstuffed(&bytes[..*used]), *mail);
    }
    whole
}

fn take_cut(bytes: &[u8], cut: Cut) -> Option<Taken> {
    let (mut frame, mut given) = (DataFrame::new(LIMITS.mail), 0);
    while given < bytes.len() {
        let piece = cut.piece(given, bytes.len() - given);
        let (used, ended) = frame.take(&bytes[given..given + piece]);
        assert!(used == piece || ended);
        given += used;
        if ended {
            return Some((frame.into_mail(), given));
        }
    }
    None
}

fn decided(envelope: &Envelope, mail: &[u8]) {
    let message = Bytes::copy_from_slice(mail);
    let part = submission(envelope, &message);
    assert_eq!(
        submitted(&part.call),
        Some((envelope.clone(), message.clone())),
        "what leaves is what was decided about"
    );
    let audience = part.operation.audience.as_ref().expect("an audience");
    let shown: Vec<&String> = audience.members.iter().map(|member| &member.address).collect();
    assert_eq!(shown, envelope.recipients.iter().collect::<Vec<_>>(), "whom the person is shown");
    assert_eq!(submission(envelope, &message).operation.content, part.operation.content);
    // The mail ends for every server where it ended for us, and says the same.
    let wire = stuffed(mail);
    assert_eq!(eyes::end_of_mail(&wire), Some(wire.len()), "{:?}", String::from_utf8_lossy(&wire));
    assert_eq!(eyes::unstuffed(&wire), mail);
    assert_eq!(take_cut(&wire, Cut::Whole), Some((Ok(mail.to_vec()), wire.len())));
    // The envelope is the same for whoever hears it.
    let flags = [(envelope.eight_bit, " BODY=8BITMIME"), (envelope.utf8, " SMTPUTF8")];
    let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
    let mut lines = vec!["EHLO x\r\n".to_owned(), "AUTH PLAIN eA==\r\n".to_owned()];
    lines.push(format!("MAIL FROM:<{}>{flags}\r\n", envelope.from));
    lines.extend(envelope.recipients.iter().map(|one| format!("RCPT TO:<{one}>\r\n")));
    lines.push("DATA\r\n".to_owned());
    let mut dialogue = Dialogue::new(LIMITS);
    let mut heard = None;
    for line in &lines {
        assert_eq!(command(line.as_bytes()), Some(line.len()), "{line:?}");
        match dialogue.command(line.as_bytes()) {
            Step::Authenticate { .. } => dialogue.authenticated(true),
            Step::Take(envelope) => heard = Some(envelope),
            Step::Reply(reply) => assert_eq!(reply.code, 250, "{line:?}: {reply:?}"),
            Step::Close(reply) => panic!("{line:?}: {reply:?}"),
        }
    }
    assert_eq!(heard.as_ref(), Some(envelope));
}
