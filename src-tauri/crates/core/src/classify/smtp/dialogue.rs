//! The dialogue of a submission, without the sockets: what may be said when, and what is answered (RFC 5321, RFC 4954, RFC 6409).

use smtp_proto::{
    AUTH_LOGIN, AUTH_OAUTHBEARER, AUTH_PLAIN, AUTH_XOAUTH2, Error, MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MAIL_SMTPUTF8,
    MailFrom, RcptTo, Request,
};

use super::Envelope;
use crate::classify::mail::address;

/// The longest command line with its CRLF, in bytes: RFC 4954 section 4.3 lets AUTH have this much.
const LONGEST_COMMAND: usize = 12_288;
/// The longest address (RFC 5321 section 4.5.3.1.3).
const LONGEST_ADDRESS: usize = 254;
/// Commands that were not understood, or came at the wrong time, before the connection is closed.
const MOST_MISTAKES: u32 = 20;

/// What the door takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a mail.
    pub mail: usize,
    /// Recipients of a mail (RFC 5321 section 4.5.3.1.8: at least 100).
    pub recipients: usize,
}

/// How a client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Two questions, as old clients do.
    Login,
    /// Google's, before RFC 7628.
    XOAuth2,
    /// RFC 7628.
    OAuthBearer,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 section 4.2.1.
    pub code: u16,
    /// One or more lines, the first with its enhanced status code (RFC 3463).
    pub lines: Vec<String>,
}

impl Reply {
    /// A single line. What is not printable ASCII becomes a question mark: nothing in it can end the line.
    #[must_use]
    pub fn new(code: u16, status: &str, text: &str) -> Self {
        let plain: String =
            text.chars().map(|letter| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' }).collect();
        let line = if status.is_empty() { plain } else { format!("{status} {plain}") };
        Self { code, lines: vec![line] }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn wire(&self) -> String {
        let last = self.lines.len().saturating_sub(1);
        let line =
            |(at, line): (usize, &String)| format!("{}{}{line}\r\n", self.code, if at == last { ' ' } else { '-' });
        self.lines.iter().enumerate().map(line).collect()
    }
}

/// What the door does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Answer.
    Reply(Reply),
    /// Find out who it is, then tell [`Dialogue::authenticated`].
    Authenticate {
        /// How.
        mechanism: Mechanism,
        /// Base64, if it came along.
        initial: Option<String>,
    },
    /// Answer 354, read a mail, decide about it.
    Take(Envelope),
    /// Answer and close.
    Close(Reply),
}

/// One connection's dialogue.
#[derive(Debug)]
pub struct Dialogue {
    limits: Limits,
    greeted: bool,
    known: bool,
    from: Option<Envelope>,
    mistakes: u32,
}

impl Dialogue {
    /// At the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, greeted: false, known: false, from: None, mistakes: 0 }
    }

    /// What the door says first.
    #[must_use]
    pub fn greeting() -> Reply {
        Reply::new(220, "", "localhost Latchstring ESMTP: the person at this machine decides what leaves")
    }

    /// Where the first command in `bytes` ends, its CRLF included; `None` if it has not ended yet. A bare CR or LF, a zero byte or too long a line is
    /// refused: after it nobody knows what is a command.
    pub fn command_end(bytes: &[u8]) -> Result<Option<usize>, Reply> {
        let flaw = |text: &str| Err(Reply::new(500, "5.5.2", text));
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if line.len() >= LONGEST_COMMAND {
            return flaw("The line is too long");
        }
        let text = match end {
            Some(_) => match line.strip_suffix(b"\r") {
                Some(text) => text,
                None => return flaw("A command ends with CRLF, not with a bare LF"),
            },
            None => line.strip_suffix(b"\r").unwrap_or(line),
        };
        if text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return flaw("A command has no bare CR and no zero byte");
        }
        Ok(end.map(|end| end + 1))
    }

    /// Takes a command in: one whole line with its CRLF.
    pub fn command(&mut self, line: &[u8]) -> Step {
        let step = match Request::parse(&mut line.iter()) {
            Ok(request) => self.request(request),
            Err(error) => Step::Reply(unparsable(&error)),
        };
        match &step {
            Step::Reply(reply) if reply.code >= 500 => {
                self.mistakes += 1;
                if self.mistakes > MOST_MISTAKES {
                    return Step::Close(Reply::new(421, "4.7.0", "Too many commands that are not understood"));
                }
            }
            Step::Reply(_) | Step::Authenticate { .. } | Step::Take(_) | Step::Close(_) => {}
        }
        step
    }

    /// The token was good, or was not.
    pub fn authenticated(&mut self, good: bool) {
        self.known = good;
        self.mistakes += u32::from(!good);
    }

    /// Whether so many tokens and commands were wrong that nothing more is taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.mistakes > MOST_MISTAKES
    }

    fn request(&mut self, request: Request<std::borrow::Cow<'_, str>>) -> Step {
        let ok = |text: &str| Step::Reply(Reply::new(250, "2.0.0", text));
        let no = |code, status, text: &str| Step::Reply(Reply::new(code, status, text));
        match request {
            Request::Ehlo { .. } => {
                self.greeted = true;
                self.from = None;
                Step::Reply(self.extensions())
            }
            Request::Helo { .. } => {
                self.greeted = true;
                self.from = None;
                Step::Reply(Reply::new(250, "", "localhost"))
            }
            Request::Rset => {
                self.from = None;
                ok("Forgotten")
            }
            Request::Noop { .. } => ok("Still here"),
            Request::Quit => Step::Close(Reply::new(221, "2.0.0", "Goodbye")),
            Request::Help { .. } => no(214, "2.0.0", "Submission as in RFC 6409. Log in with account and access token"),
            Request::Vrfy { .. } => no(252, "2.1.5", "Nobody is told who exists; send the mail"),
            Request::StartTls => no(502, "5.5.1", "This door is on this machine only; STARTTLS is not offered"),
            Request::Bdat { .. } | Request::Burl { .. } => {
                no(502, "5.5.1", "The text of a mail comes with DATA only, so that it can be shown")
            }
            Request::Lhlo { .. } | Request::Expn { .. } | Request::Etrn { .. } | Request::Atrn { .. } => {
                no(502, "5.5.1", "Not offered")
            }
            Request::Auth { mechanism, initial_response } => self.auth(mechanism, &initial_response),
            Request::Mail { from } => self.mail(&from),
            Request::Rcpt { to } => self.rcpt(&to),
            Request::Data => match self.from.take() {
                Some(envelope) if !envelope.recipients.is_empty() => Step::Take(envelope),
                other => {
                    self.from = other;
                    no(503, "5.5.1", "MAIL and RCPT come first")
                }
            },
        }
    }

    fn extensions(&self) -> Reply {
        let size = format!("SIZE {}", self.limits.mail);
        let lines = ["localhost", "PIPELINING", &size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
        let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        if !self.known {
            lines.push("AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER".to_owned());
        }
        Reply { code: 250, lines }
    }

    fn auth(&self, mechanism: u64, initial: &str) -> Step {
        let no = |code, status, text: &str| Step::Reply(Reply::new(code, status, text));
        if !self.greeted {
            return no(503, "5.5.1", "EHLO comes first");
        }
        if self.known || self.from.is_some() {
            return no(503, "5.5.1", "You have logged in already, or have begun a mail");
        }
        let mechanism = match mechanism {
            AUTH_PLAIN => Mechanism::Plain,
            AUTH_LOGIN => Mechanism::Login,
            AUTH_XOAUTH2 => Mechanism::XOAuth2,
            AUTH_OAUTHBEARER => Mechanism::OAuthBearer,
            _ => return no(504, "5.5.4", "Log in with PLAIN, LOGIN, XOAUTH2 or OAUTHBEARER"),
        };
        let initial = (!initial.is_empty()).then(|| initial.trim().to_owned());
        Step::Authenticate { mechanism, initial }
    }

    fn mail(&mut self, from: &MailFrom<std::borrow::Cow<'_, str>>) -> Step {
        let no = |code, status, text: &str| Step::Reply(Reply::new(code, status, text));
        if !self.greeted {
            return no(503, "5.5.1", "EHLO comes first");
        }
        if !self.known {
            return no(530, "5.7.0", "Log in first: user is the account, password is an access token");
        }
        if self.from.is_some() {
            return no(503, "5.5.1", "One mail at a time: RSET forgets the one that was begun");
        }
        if from.size > self.limits.mail {
            return no(552, "5.3.4", &format!("A mail may have {} bytes here", self.limits.mail));
        }
        // `AUTH=` (RFC 4954 section 5) names who wrote it; the guard logs in as the person and passes none on.
        let understood = MailFrom {
            address: std::borrow::Cow::Borrowed(""),
            flags: from.flags & (MAIL_BODY_7BIT | MAIL_BODY_8BITMIME | MAIL_SMTPUTF8),
            size: from.size,
            auth: from.auth.clone(),
            ..MailFrom::default()
        };
        if *from != (MailFrom { address: from.address.clone(), ..understood }) {
            return no(555, "5.5.4", "Only SIZE, BODY=7BIT, BODY=8BITMIME and SMTPUTF8 are understood with MAIL");
        }
        let utf8 = from.flags & MAIL_SMTPUTF8 != 0;
        if !from.address.is_empty() && !is_plain(&from.address, utf8) {
            return no(553, "5.1.7", "This sender's address can't be shown beyond doubt");
        }
        self.from = Some(Envelope {
            from: address(&from.address),
            recipients: Vec::new(),
            eight_bit: from.flags & MAIL_BODY_8BITMIME != 0,
            utf8,
        });
        no(250, "2.1.0", "Go on")
    }

    fn rcpt(&mut self, to: &RcptTo<std::borrow::Cow<'_, str>>) -> Step {
        let no = |code, status, text: &str| Step::Reply(Reply::new(code, status, text));
        let most = self.limits.recipients;
        let Some(envelope) = &mut self.from else {
            return no(503, "5.5.1", "MAIL comes first");
        };
        if *to != (RcptTo { address: to.address.clone(), ..RcptTo::default() }) {
            return no(555, "5.5.4", "No parameters are understood with RCPT");
        }
        if !is_plain(&to.address, envelope.utf8) {
            return no(553, "5.1.3", "This recipient's address can't be shown beyond doubt");
        }
        let recipient = address(&to.address);
        if envelope.recipients.contains(&recipient) {
            return no(250, "2.1.5", "Named before");
        }
        if envelope.recipients.len() >= most {
            return no(452, "4.5.3", &format!("At most {most} recipients a mail"));
        }
        envelope.recipients.push(recipient);
        no(250, "2.1.5", "Go on")
    }
}

/// Whether a text is an address that can be shown beyond doubt, also one outside ASCII (RFC 6531).
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.len() <= LONGEST_ADDRESS && is_plain(text, true)
}

/// One `@`, and nothing that a server could read in two ways: no quoted local parts, no routes, no comments.
fn is_plain(address: &str, utf8: bool) -> bool {
    let plain = |letter: char| {
        (letter.is_ascii_graphic() && !"<>()[]:;,\\\"".contains(letter)) || (utf8 && letter.is_alphanumeric())
    };
    let Some((local, domain)) = address.split_once('@') else { return false };
    let domain_letters =
        |letter: char| letter.is_ascii_alphanumeric() || "-.".contains(letter) || (utf8 && letter.is_alphanumeric());
    !local.is_empty()
        && !local.contains(['@', '%', '!'])
        && local.chars().all(plain)
        && !domain.is_empty()
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains("..")
        && domain.chars().all(domain_letters)
}

fn unparsable(error: &Error) -> Reply {
    match error {
        Error::UnknownCommand => Reply::new(500, "5.5.2", "This command is not understood"),
        Error::InvalidSenderAddress => Reply::new(553, "5.1.7", "This sender's address is not understood"),
        Error::InvalidRecipientAddress => Reply::new(553, "5.1.3", "This recipient's address is not understood"),
        Error::SyntaxError { syntax } => Reply::new(501, "5.5.4", &format!("Say {syntax}")),
        Error::InvalidParameter { param } => {
            Reply::new(501, "5.5.4", &format!("{param} has a value that is not understood"))
        }
        Error::UnsupportedParameter { param } => Reply::new(555, "5.5.4", &format!("{param} is not understood")),
        Error::NeedsMoreData { .. } | Error::ResponseTooLong | Error::InvalidResponse { .. } => {
            Reply::new(500, "5.5.2", "This line is not understood")
        }
    }
}
