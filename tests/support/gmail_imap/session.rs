//! One connection to it.

use std::collections::BTreeSet;

use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::token::{self, From, Piece, Token, announced};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{ALL, CAN, GmailImap, GmailMessage, SPAM, SYSTEM, TRASH, label};

/// One connection.
pub(super) async fn serve(server: GmailImap, socket: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(socket);
    stream.write_all(b"* OK Gimap ready for requests\r\n").await?;
    let mut session = Session { server, open: None, seen: Vec::new() };
    loop {
        let mut pieces = Vec::new();
        loop {
            let mut line = Vec::new();
            if stream.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let line = line.strip_suffix(b"\r\n").unwrap_or(&line).to_vec();
            let Some(literal) = announced(&line) else {
                pieces.push(Piece::Text(line));
                break;
            };
            pieces.push(Piece::Text(line.get(..literal.at).unwrap_or_default().to_vec()));
            stream.write_all(b"+ go ahead\r\n").await?;
            let mut bytes = vec![0; literal.size as usize];
            stream.read_exact(&mut bytes).await?;
            pieces.push(Piece::Literal(bytes));
        }
        let tokens = token::tokens(&pieces, From::Upstream).unwrap_or_default();
        let [tag, verb, args @ ..] = tokens.as_slice() else { return Ok(()) };
        let (tag, verb) = (tag.nstring().unwrap_or_default().into_owned(), verb.word().unwrap_or_default());
        let (verb, args) = match (verb.as_str(), args) {
            ("UID", [inner, args @ ..]) => (format!("UID {}", inner.word().unwrap_or_default()), args),
            _ => (verb, args),
        };
        if verb != "AUTHENTICATE" && verb != "LOGIN" {
            let said = String::from_utf8_lossy(&token::encode(args).unwrap_or_default()).into_owned();
            session.server.state().heard.push(format!("{verb} {said}").trim_end().to_owned());
        }
        if verb == "IDLE" {
            stream.write_all(b"+ idling\r\n").await?;
            session.idle(&mut stream).await?;
            stream.write_all(format!("{tag} OK IDLE terminated\r\n").as_bytes()).await?;
            continue;
        }
        let (mut out, end) = session.command(&verb, args);
        out.extend(session.news());
        let out: String = out.into_iter().map(|line| format!("* {line}\r\n")).collect();
        stream.write_all(format!("{out}{tag} {end}\r\n").as_bytes()).await?;
        if verb == "LOGOUT" {
            return Ok(());
        }
    }
}

struct Session {
    server: GmailImap,
    open: Option<String>,
    seen: Vec<(u32, u64)>,
}

impl Session {
    async fn idle(&mut self, stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
        let mut clock = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            let mut line = String::new();
            tokio::select! {
                read = stream.read_line(&mut line) => { read?; return Ok(()) }
                _ = clock.tick() => {
                    let news: String = self.news().into_iter().map(|line| format!("* {line}\r\n")).collect();
                    if !news.is_empty() {
                        stream.get_mut().write_all(news.as_bytes()).await?;
                    }
                }
            }
        }
    }

    /// What changed in the open mailbox.
    fn news(&mut self) -> Vec<String> {
        let Some(open) = &self.open else { return Vec::new() };
        let now = self.server.state().listed(open);
        let mut lines = Vec::new();
        while let Some(at) = self.seen.iter().position(|one| !now.contains(one)) {
            self.seen.remove(at);
            lines.push(format!("{} EXPUNGE", at + 1));
        }
        if now.len() > self.seen.len() {
            lines.push(format!("{} EXISTS", now.len()));
        }
        self.seen = now;
        lines
    }

    fn command(&mut self, verb: &str, args: &[Token]) -> (Vec<String>, String) {
        let ok = |lines: Vec<String>| (lines, format!("OK {verb} done (Success)"));
        let bad = || (Vec::new(), format!("BAD Could not parse command: {verb}"));
        let name = |at: usize| args.get(at).and_then(Token::nstring).unwrap_or_default().into_owned();
        match verb {
            "CAPABILITY" => ok(vec![format!("CAPABILITY {CAN}")]),
            "LOGIN" | "AUTHENTICATE" | "NOOP" | "ENABLE" | "ID" => ok(Vec::new()),
            "LOGOUT" => ok(vec!["BYE LOGOUT Requested".to_owned()]),
            "UNSELECT" | "CLOSE" => {
                self.open = None;
                ok(Vec::new())
            }
            "LIST" | "LSUB" => {
                let pattern = name(1);
                let wanted = |name: &str| match pattern.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == pattern,
                };
                let all = self.server.state().mailboxes();
                ok(all
                    .iter()
                    .filter(|(one, _)| wanted(one))
                    .map(|(one, is)| format!("LIST ({is}) \"/\" \"{one}\""))
                    .collect())
            }
            "STATUS" => {
                let (mailbox, state) = (name(0), self.server.state());
                if !state.mailboxes().iter().any(|(one, _)| *one == mailbox) {
                    return (Vec::new(), "NO [NONEXISTENT] Unknown Mailbox".to_owned());
                }
                let (count, next) = (state.listed(&mailbox).len(), state.next.get(&mailbox).copied().unwrap_or(1));
                ok(vec![format!("STATUS \"{mailbox}\" (MESSAGES {count} UIDNEXT {next} UIDVALIDITY 7)")])
            }
            "SELECT" | "EXAMINE" => {
                let mailbox = name(0);
                let (there, listed) = {
                    let state = self.server.state();
                    (state.mailboxes().iter().any(|(one, _)| *one == mailbox), state.listed(&mailbox))
                };
                if !there {
                    return (Vec::new(), "NO [NONEXISTENT] Unknown Mailbox".to_owned());
                }
                let exists = listed.len();
                (self.open, self.seen) = (Some(mailbox), listed);
                let lines = ["FLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen)", "OK [UIDVALIDITY 7] UIDs valid."];
                ok(lines.iter().map(|line| (*line).to_owned()).chain([format!("{exists} EXISTS")]).collect())
            }
            "CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE" => {
                let mailbox = name(0);
                let mut state = self.server.state();
                let is_own = state.own.contains(&mailbox);
                let system = |name: &str| name == "INBOX" || name.starts_with("[Gmail]");
                match verb {
                    "SUBSCRIBE" => {}
                    // Nothing of a person's lies among Gmail's own.
                    "CREATE" if !is_own && !system(&mailbox) => state.own.push(mailbox),
                    "DELETE" if is_own => {
                        state.own.retain(|one| *one != mailbox);
                        state.messages.iter_mut().for_each(|one| {
                            one.labels.remove(&mailbox);
                            one.uids.remove(&mailbox);
                        });
                    }
                    _ => return (Vec::new(), format!("NO [CANNOT] {verb} is not permitted for this folder (Failure)")),
                }
                ok(Vec::new())
            }
            "APPEND" => {
                let [mailbox, rest @ .., Token::Text(text)] = args else { return bad() };
                let flags = rest.iter().find_map(Token::items).unwrap_or_default();
                let flags = flags.iter().filter_map(Token::nstring).map(std::borrow::Cow::into_owned).collect();
                let mailbox = mailbox.nstring().unwrap_or_default().into_owned();
                let (_, uid) = self.server.state().add(&mailbox, flags, String::from_utf8_lossy(text).into_owned());
                (Vec::new(), format!("OK [APPENDUID 7 {uid}] (Success)"))
            }
            "SEARCH" | "UID SEARCH" => match self.search(verb.starts_with("UID"), args) {
                Some(found) => ok(vec![format!("SEARCH {found}").trim_end().to_owned()]),
                None => bad(),
            },
            "UID FETCH" | "FETCH" | "UID STORE" | "UID COPY" | "UID MOVE" | "UID EXPUNGE" => {
                let set = args.first().and_then(Token::nstring).and_then(|set| Set::parse(&set));
                match set {
                    Some(set) => self.on(verb, &self.chosen(verb.starts_with("UID"), &set), args).unwrap_or_else(bad),
                    None => bad(),
                }
            }
            _ => bad(),
        }
    }

    fn chosen(&self, uid: bool, set: &Set) -> Vec<(u32, u64)> {
        let number = |at: usize, one: &(u32, u64)| if uid { one.0 } else { at as u32 + 1 };
        let last = self.seen.iter().enumerate().map(|(at, one)| number(at, one)).max().unwrap_or_default();
        let Set::Ranges(ranges) = set else { return Vec::new() };
        let is = |number: u32| {
            ranges.iter().any(|(from, to)| {
                let (from, to) = (from.unwrap_or(last), to.unwrap_or(last));
                (from.min(to)..=from.max(to)).contains(&number)
            })
        };
        self.seen.iter().enumerate().filter(|(at, one)| is(number(*at, one))).map(|(_, one)| *one).collect()
    }

    fn search(&self, uid: bool, keys: &[Token]) -> Option<String> {
        let mut found = Vec::new();
        for (at, (number, id)) in self.seen.iter().enumerate() {
            let message = self.server.message(*id)?;
            let mut rest = keys;
            let mut fits = true;
            while !rest.is_empty() {
                let (one, after) = self.key(rest, &message, *number)?;
                (fits, rest) = (fits && one, after);
            }
            if fits {
                found.push(if uid { *number } else { at as u32 + 1 }.to_string());
            }
        }
        Some(found.join(" "))
    }

    fn key<'a>(&self, keys: &'a [Token], message: &GmailMessage, uid: u32) -> Option<(bool, &'a [Token])> {
        let [first, rest @ ..] = keys else { return None };
        let word = first.word()?;
        let text = |at: usize| rest.get(at).and_then(Token::nstring).map(|text| text.to_lowercase());
        let has = |flag: &str| message.flags.contains(flag);
        let within = |name: &str| Some(message.header(name).to_lowercase().contains(&text(0)?));
        Some(match word.as_str() {
            "ALL" | "UNDRAFT" => (true, rest),
            "DELETED" => (has("\\Deleted"), rest),
            "UNDELETED" => (!has("\\Deleted"), rest),
            "NOT" => {
                let (one, rest) = self.key(rest, message, uid)?;
                (!one, rest)
            }
            "OR" => {
                let (one, rest) = self.key(rest, message, uid)?;
                let (other, rest) = self.key(rest, message, uid)?;
                (one || other, rest)
            }
            "X-GM-MSGID" => (text(0)? == message.id.to_string(), rest.get(1..)?),
            "X-GM-LABELS" => {
                (message.labels.iter().any(|one| one.to_lowercase() == text(0).unwrap_or_default()), rest.get(1..)?)
            }
            "TO" | "CC" | "BCC" | "SUBJECT" | "FROM" => (within(&word)?, rest.get(1..)?),
            "HEADER" => (message.header(&text(0)?).to_lowercase().contains(&text(1)?), rest.get(2..)?),
            "UID" => (self.chosen(true, &Set::parse(&text(0)?)?).iter().any(|one| one.0 == uid), rest.get(1..)?),
            set => (self.chosen(false, &Set::parse(set)?).iter().any(|one| one.0 == uid), rest),
        })
    }

    fn on(&self, verb: &str, chosen: &[(u32, u64)], args: &[Token]) -> Option<(Vec<String>, String)> {
        let open = self.open.clone()?;
        let mut state = self.server.state();
        let done = format!("OK {verb} done (Success)");
        match verb {
            "UID FETCH" | "FETCH" => {
                let items = args.get(1)?;
                let items: Vec<String> = items
                    .items()
                    .unwrap_or(std::slice::from_ref(items))
                    .iter()
                    .map(Token::word)
                    .collect::<Option<_>>()?;
                let mut lines = Vec::new();
                for (uid, id) in chosen {
                    let at = self.seen.iter().position(|one| one == &(*uid, *id))? + 1;
                    let message = state.at(*id).clone();
                    let said: Option<Vec<String>> = items.iter().map(|item| said(item, &message, &open)).collect();
                    let uid =
                        if items.iter().any(|item| item == "UID") { String::new() } else { format!(" UID {uid}") };
                    let said = said?.join(" ").replace("UID?", &format!("UID {}", message.uids.get(&open)?));
                    lines.push(format!("{at} FETCH ({said}{uid})"));
                }
                Some((lines, done))
            }
            "UID STORE" => {
                let item = args.get(1)?.word()?;
                let words: BTreeSet<String> =
                    args.get(2)?.items()?.iter().filter_map(Token::nstring).map(std::borrow::Cow::into_owned).collect();
                let item = item.strip_suffix(".SILENT").unwrap_or(&item).to_owned();
                let deletes = state.deletes;
                for (_, id) in chosen {
                    let message = state.at(*id);
                    let of = if item.ends_with("X-GM-LABELS") { &mut message.labels } else { &mut message.flags };
                    match item.as_bytes().first()? {
                        b'+' => of.extend(words.iter().cloned()),
                        b'-' => of.retain(|one| !words.contains(one)),
                        _ => *of = words.clone(),
                    }
                    for (label, place) in [("\\Trash", TRASH), ("\\Spam", SPAM)] {
                        if message.labels.remove(label) {
                            message.place = place;
                        }
                    }
                    // "Auto-Expunge on": the default.
                    if message.flags.remove("\\Deleted") {
                        message.labels.remove(&label(&open));
                        let last = deletes && message.labels.is_empty();
                        if last || matches!(open.as_str(), TRASH | SPAM) {
                            message.place = "";
                        }
                    }
                }
                state.messages.retain(|one| !one.place.is_empty());
                state.number();
                Some((Vec::new(), done))
            }
            "UID COPY" | "UID MOVE" => {
                let to = args.get(1)?.nstring()?.into_owned();
                let place =
                    SYSTEM.iter().map(|(name, ..)| *name).find(|name| *name == to && matches!(*name, TRASH | SPAM));
                for (_, id) in chosen {
                    let message = state.at(*id);
                    if verb == "UID MOVE" {
                        message.labels.remove(&label(&open));
                    }
                    message.place = place.unwrap_or(ALL);
                    if place.is_none() && to != ALL {
                        message.labels.insert(label(&to));
                    }
                }
                state.number();
                let joined = |all: Vec<u32>| all.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                let from = joined(chosen.iter().map(|(uid, _)| *uid).collect());
                let there: Option<Vec<u32>> =
                    chosen.iter().map(|(_, id)| state.at(*id).uids.get(&to).copied()).collect();
                Some((vec![format!("OK [COPYUID 7 {from} {}] Moved", joined(there?))], done))
            }
            // Whatever was marked is gone by then.
            "UID EXPUNGE" => Some((Vec::new(), done)),
            _ => None,
        }
    }
}

fn said(item: &str, message: &GmailMessage, open: &str) -> Option<String> {
    let joined = |all: &BTreeSet<String>| {
        let word = |one: &String| if one.starts_with('\\') { one.clone() } else { format!("\"{one}\"") };
        all.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    let address = |name: &str| {
        let value = message.header(name);
        let bare = value.rsplit(['<', ' ']).next().unwrap_or_default().trim_end_matches('>');
        match bare.split_once('@') {
            Some((local, host)) => format!("((NIL NIL \"{local}\" \"{host}\"))"),
            None => "NIL".to_owned(),
        }
    };
    Some(match item {
        "UID" => "UID?".to_owned(),
        "FLAGS" => format!("FLAGS ({})", message.flags.iter().cloned().collect::<Vec<_>>().join(" ")),
        "RFC822.SIZE" => format!("RFC822.SIZE {}", message.text.len()),
        "INTERNALDATE" => "INTERNALDATE \"02-Jan-2026 10:00:00 +0000\"".to_owned(),
        "X-GM-MSGID" => format!("X-GM-MSGID {}", message.id),
        "X-GM-THRID" => format!("X-GM-THRID {}", message.id),
        "X-GM-LABELS" => {
            // The label of the open mailbox is not listed.
            let mut labels = message.labels.clone();
            labels.remove(&label(open));
            format!("X-GM-LABELS ({})", joined(&labels))
        }
        "ENVELOPE" => format!(
            "ENVELOPE (NIL \"{}\" {} NIL NIL {} {} {} NIL \"{}\")",
            message.header("Subject"),
            address("From"),
            address("To"),
            address("Cc"),
            address("Bcc"),
            message.header("Message-ID")
        ),
        "BODY.PEEK[]" => format!("BODY[] {{{}}}\r\n{}", message.text.len(), message.text),
        _ => return None,
    })
}
