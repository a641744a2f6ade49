//! Everything that can be typed after `latch`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Latchstring holds your mail passwords and API tokens; AI agents get narrow, short-lived tokens instead, and you decide what they may destroy.
#[derive(Debug, Parser)]
#[command(name = "latch", version, disable_help_subcommand = true, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Args {
    /// Where Latchstring keeps its state [default: $LATCHSTRING_HOME, else the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON for programs instead of sentences
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 denied or waiting for the owner, 4 engine not running, 5 panicked.
Only the tray, or the terminal where `latch serve` runs, can allow and widen; every other terminal can only look and stop.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the engine: the doors that agents talk to
    Serve(Serve),
    /// Say how things stand, without anything out of your mail
    Status,
    /// List accounts and say how to reach them; add one where no engine runs
    #[command(subcommand)]
    Account(Account),
    /// List or revoke agents; connecting asks the owner
    #[command(subcommand)]
    Agent(Agent),
    /// List or revoke grants; giving one asks the owner
    #[command(subcommand)]
    Grant(Grant),
    /// Print an access token for the agent that this process belongs to
    Token(Token),
    /// Say what requests would be, without sending anything
    #[command(long_about = EXPLAIN, args_conflicts_with_subcommands = true)]
    Explain {
        /// One request instead of lines
        #[command(subcommand)]
        one: Option<Explain>,
    },
    /// List, show or deny what waits; allowing is the owner's
    #[command(subcommand)]
    Hold(Hold),
    /// Stop everything, at once
    Panic,
    /// Ask the owner to put something back
    #[command(group(ArgGroup::new("what").required(true).args(["entry", "agent"])))]
    Undo(Undo),
    /// Read or check the record of a stopped engine; of a running one, an agent reads its own
    #[command(long_about = JOURNAL)]
    Journal {
        /// Where the key lives
        #[arg(long, value_enum, default_value_t = VaultArg::Keyring)]
        vault: VaultArg,
        #[command(flatten)]
        own: Own,
        /// What to show
        #[command(subcommand)]
        verb: Journal,
    },
    /// Live through a runaway agent, with a made-up mailbox and no account
    Demo(Demo),
    /// Say what runs, what protects you and what is missing
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const JOURNAL: &str = "\
Read or check the record of a stopped engine; of a running one, an agent reads its own.

While the engine runs, tail, show and export give only the records of one agent: the one whose program this process belongs to, or whose pairing secret is
given. Nobody can read another agent's records from here, because any program of yours could run this verb: all of the record is in the tray, and in the
terminal where latch serve runs. verify, and all of the record, want the engine stopped.";

const EXPLAIN: &str = "\
Say what requests would be, without sending anything. Opens no home, socket or network.

Reads JSON lines: {\"provider\": \"gmail\", \"method\": \"POST\", \"url\": \"/gmail/v1/users/me/messages/17/trash\", \"headers\": {}, \"body\": ...}
or {\"provider\": \"dav\", \"method\", \"url\", \"headers\", \"body\", \"there\": the entry that is at this address}
or {\"protocol\": \"imap\", \"command\": \"a1 UID MOVE 1:3 Trash\"} or {\"protocol\": \"smtp\", \"from\", \"to\": [..], \"mail\"}
or {\"protocol\": \"sieve\", \"command\": \"DELETESCRIPT \\\"main\\\"\", \"there\": the script of this name that runs now}.
Or one request: latch explain imap 'UID MOVE 1:3 Trash'
                latch explain smtp --from me@example.org --to you@example.com < mail
                latch explain sieve 'PUTSCRIPT \"main\"' < script
                latch explain dav 'DELETE /calendars/me/work/17.ics'
Writes JSON lines: {\"operations\": [{\"action\", \"class\", \"objects\", \"audience\", \"facts\"}], \"class\", \"default_decision\": {preset: decision}}";

#[derive(Debug, Subcommand)]
pub(crate) enum Explain {
    /// An IMAP command, without its tag; the mail of an APPEND comes from stdin
    Imap {
        /// Such as 'UID MOVE 1:3 Trash'
        command: String,
    },
    /// A mail, from stdin, on its way to these
    Smtp {
        /// Who sends it
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// Who gets it; once for each
        #[arg(long, value_name = "ADDRESS", required = true)]
        to: Vec<String>,
    },
    /// A ManageSieve command; the script of a PUTSCRIPT or CHECKSCRIPT comes from stdin
    Sieve {
        /// Such as 'PUTSCRIPT "main"'
        command: String,
        /// The script of this name that is stored now and runs; otherwise there is none
        #[arg(long, value_name = "FILE")]
        there: Option<PathBuf>,
    },
    /// A request to a calendar or contacts server; its body comes from stdin
    Dav {
        /// Such as 'DELETE /calendars/me/work/17.ics'
        request: String,
        /// Such as 'If-Match: "3"'; once for each
        #[arg(long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The entry that is at this address; otherwise a plain one is taken to be there
        #[arg(long, value_name = "FILE")]
        there: Option<PathBuf>,
    },
}

#[derive(Debug, Group)]
pub(crate) struct Serve {
    /// Who answers questions: the program at the other end of stdin and stdout, this terminal, or nobody [default: tty in a terminal, else none]
    #[arg(long, value_enum)]
    pub(crate) owner: Option<Owner>,
    /// Where the HTTP door listens; port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) http: SocketAddr,
    /// Where the IMAP door listens; port 0 picks one; no IMAP door without it
    #[arg(long, value_name = "ADDR")]
    pub(crate) imap: Option<SocketAddr>,
    /// Where the door for sending mail (SMTP submission) listens; port 0 picks one; no such door without it
    #[arg(long, value_name = "ADDR")]
    pub(crate) smtp: Option<SocketAddr>,
    /// Where the door to mail filters (ManageSieve) listens; port 0 picks one; no such door without it
    #[arg(long, value_name = "ADDR")]
    pub(crate) sieve: Option<SocketAddr>,
    /// Where the key to stored credentials lives
    #[arg(long, value_enum, default_value_t = VaultArg::Keyring)]
    pub(crate) vault: VaultArg,
    /// When the owner leaves: end, or keep serving within budgets and deny the rest
    #[arg(long, value_enum, default_value_t = OnEof::Exit)]
    pub(crate) on_eof: OnEof,
    /// A mail door whose port is taken stays closed and says so, instead of ending the engine
    #[arg(long)]
    pub(crate) optional_doors: bool,
    /// Play the demo for the tray
    #[arg(long, hide = true)]
    pub(crate) demo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Owner {
    /// JSON-RPC on stdin and stdout: the tray, tests
    Stdio,
    /// A person at this terminal
    Tty,
    /// Nobody: whatever needs you is denied
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VaultArg {
    /// The operating system's keyring
    Keyring,
    /// A file wrapped by a passphrase
    Passphrase,
    /// This process only; nothing survives it
    Memory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnEof {
    /// Deny what waits and end
    Exit,
    /// Deny what waits and go on
    Keep,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Add a mailbox: find its servers, ask for its password, try it, seal it
    #[command(long_about = ACCOUNT_ADD)]
    Add(AccountAdd),
    /// Say how an agent's mail program reaches one
    Show {
        /// The account
        id: String,
        /// Print settings for this program
        #[arg(long, value_enum)]
        client: Option<ClientArg>,
        /// Whose token the settings ask for
        #[arg(long, requires = "client")]
        agent: Option<String>,
    },
    /// List every account, without credentials
    List,
    /// Forget an account and its credential
    Remove {
        /// The account
        id: String,
    },
    /// Ask the owner to leave a mail in the inbox whose leaving it stops everything, or to take it away
    PhoneStop {
        /// The account
        id: String,
        /// Leave it or take it away
        turn: Turn,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Turn {
    /// A mail is left and watched
    On,
    /// It is taken away
    Off,
}

const ACCOUNT_ADD: &str = "\
Add a mailbox: find its servers, ask for its password, try it, seal it.

The servers come from what Latchstring knows of providers, from what the domain says (RFC 6186), from who takes its mail, or from usual names that answer. You see
them and say yes before the password goes anywhere. While an engine runs, only its own window or terminal can add an account.";

#[derive(Debug, Group)]
pub(crate) struct AccountAdd {
    /// The mailbox's address
    pub(crate) address: Option<String>,
    /// A short name for it [default: from the address]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Its IMAP server, instead of looking for it: HOST or HOST:PORT
    #[arg(long, value_name = "HOST")]
    pub(crate) imap: Option<String>,
    /// How that server is encrypted; none: on this machine only
    #[arg(long, value_enum, default_value_t = TlsArg::Implicit, requires = "imap")]
    pub(crate) tls: TlsArg,
    /// The server that it sends mail through: HOST or HOST:PORT
    #[arg(long, value_name = "HOST")]
    pub(crate) smtp: Option<String>,
    /// How that one is encrypted
    #[arg(long, value_enum, default_value_t = TlsArg::Implicit, requires = "smtp")]
    pub(crate) smtp_tls: TlsArg,
    /// The server of its mail filters (ManageSieve): HOST or HOST:PORT
    #[arg(long, value_name = "HOST")]
    pub(crate) sieve: Option<String>,
    /// How that one is encrypted
    #[arg(long, value_enum, default_value_t = TlsArg::Starttls, requires = "sieve")]
    pub(crate) sieve_tls: TlsArg,
    /// The user name there [default: what the provider wants, most often the address]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Keep it without trying the login, for instance while offline
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Where the key to stored credentials lives
    #[arg(long, value_enum, default_value_t = VaultArg::Keyring)]
    pub(crate) vault: VaultArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsArg {
    /// TLS from the first byte
    Implicit,
    /// STARTTLS
    Starttls,
    /// Plain
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientArg {
    /// himalaya from 2.0 on
    Himalaya,
    /// himalaya up to 1.x
    #[value(name = "himalaya-1")]
    Himalaya1,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Ask the owner to connect an agent
    Connect {
        /// Letters, digits, `-`, `_`, `.`
        id: String,
        /// For people [default: the id]
        #[arg(long)]
        name: Option<String>,
        /// Its program, so that it can be recognised
        #[arg(long)]
        program: Option<String>,
    },
    /// List every agent and what it may do
    List,
    /// End an agent: its tokens, grants and pairing secret
    Revoke {
        /// The agent
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Ask the owner to let an agent use an account
    Put {
        /// The agent
        agent: String,
        /// The account
        account: String,
        /// How much it may do unasked
        #[arg(value_parser = ["read-only", "organize", "assistant", "ask-everything"])]
        preset: String,
        /// Until when, in seconds from now [default: until revoked]
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
        /// RFC 9396 authorization details that narrow it, as JSON
        #[arg(long, value_name = "JSON")]
        details: Option<String>,
    },
    /// List every grant
    List,
    /// Take a grant away
    Revoke {
        /// The grant
        id: String,
    },
}

#[derive(Debug, Group)]
#[command(group(ArgGroup::new("pairing").args(["pairing_secret_file", "pairing_secret_env"])))]
pub(crate) struct Token {
    /// For which agent [default: the one whose program this process belongs to]
    pub(crate) agent: Option<String>,
    /// How long it lives, in seconds, at most 3600 [default: 900]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) expires_in: Option<u64>,
    /// A file with the agent's pairing secret
    #[arg(long, value_name = "FILE")]
    pub(crate) pairing_secret_file: Option<PathBuf>,
    /// An environment variable with the agent's pairing secret
    #[arg(long, value_name = "NAME")]
    pub(crate) pairing_secret_env: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// List what waits
    List,
    /// Show one, without anything out of your mail
    Show {
        /// The hold
        id: String,
    },
    /// Deny it
    Deny {
        /// The hold
        id: String,
    },
    /// Say why this can't be done here
    Allow {
        /// The hold
        id: String,
    },
}

#[derive(Debug, Group)]
pub(crate) struct Undo {
    /// One entry of the undo list
    #[arg(value_name = "ENTRY", conflicts_with = "since")]
    pub(crate) entry: Option<String>,
    /// Everything that this agent did
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Since when: 30m, 1h, 2d
    #[arg(long, default_value = "1h")]
    pub(crate) since: String,
}

/// Which agent's records a running engine is asked for.
#[derive(Debug, Group)]
#[command(group(ArgGroup::new("own").args(["file", "env"])))]
pub(crate) struct Own {
    /// The agent [default: the one whose program this process belongs to]
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// A file with the agent's pairing secret
    #[arg(long = "pairing-secret-file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// An environment variable with the agent's pairing secret
    #[arg(long = "pairing-secret-env", value_name = "NAME")]
    pub(crate) env: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// Show the newest records
    Tail {
        /// How many
        #[arg(long, short = 'n', default_value_t = 30)]
        limit: u32,
        /// Leave reads out
        #[arg(long)]
        skip_reads: bool,
    },
    /// Show one record
    Show {
        /// Its number
        seq: u64,
    },
    /// Check that nothing was changed or removed
    Verify,
    /// Write every record as a JSON line
    Export,
}

#[derive(Debug, Group)]
pub(crate) struct Demo {
    /// Play it without a person, and check every message
    #[arg(long)]
    pub(crate) script: bool,
    /// Stay in this terminal even if there is a display
    #[arg(long, conflicts_with = "script")]
    pub(crate) terminal: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_reads_like_this() {
        let mut texts = String::new();
        let mut command = Args::command().term_width(110);
        command.build();
        collect(&mut command, &mut texts);
        insta::assert_snapshot!(texts);
    }

    /// Every verb's help without what stands in every one of them.
    fn collect(command: &mut clap::Command, texts: &mut String) {
        let help = command.render_help().to_string();
        let everywhere = ["--home <DIR>", "--json ", "-h, --help"];
        let own =
            help.lines().filter(|line| command.has_subcommands() || !everywhere.iter().any(|flag| line.contains(flag)));
        texts.push_str(&format!("=== {}\n", own.collect::<Vec<_>>().join("\n")));
        command.get_subcommands_mut().for_each(|inner| collect(inner, texts));
    }
}
