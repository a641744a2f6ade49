//! Whatever bytes come: the committed corpora, and small changes to them, the same in every run.
//!
//! `cargo xtask fuzz TARGET` looks further, led by coverage. What it finds goes, cut down, into the corpus.

mod eyes;
mod imap_agent;
mod imap_server;
mod mutate;
mod script;
mod sieve;
mod smtp;
mod targets;

use std::path::PathBuf;

use mutate::Mutator;
use targets::{TARGETS, Target};

/// How many changed inputs each target gets.
const CHANGED: usize = 4_000;

fn folder() -> PathBuf {
    latch_tests::paths::workspace().join("tests/fuzz")
}

/// The committed inputs, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder().join("corpus").join(target)).expect("a corpus");
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("a file").path())
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    inputs.sort();
    inputs
}

/// The quoted words of libFuzzer's dictionary, with its escapes.
fn dictionary(target: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(folder().join(format!("{target}.dict"))).expect("a dictionary");
    let quoted = |line: &str| Some(line.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    let unescaped = |word: String| {
        let mut bytes = Vec::new();
        let mut rest = word.as_bytes();
        while let [first, after @ ..] = rest {
            (bytes, rest) = match (first, after) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digits = [*high, *low];
                    let hex = std::str::from_utf8(&digits).expect("digits");
                    ([bytes, vec![u8::from_str_radix(hex, 16).expect("hexadecimal")]].concat(), after)
                }
                (b'\\', [escaped, after @ ..]) => ([bytes, vec![*escaped]].concat(), after),
                _ => ([bytes, vec![*first]].concat(), after),
            };
        }
        bytes
    };
    text.lines().filter_map(quoted).map(unescaped).collect()
}

fn run(name: &str) {
    let Target { check, .. } = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let inputs = corpus(name);
    assert!(inputs.len() >= 10, "{} inputs", inputs.len());
    let during = |what: &str, bytes: &[u8]| {
        if let Err(why) = std::panic::catch_unwind(|| check(bytes)) {
            eprintln!("{name}, {what}: {}", bytes.escape_ascii());
            std::panic::resume_unwind(why);
        }
    };
    for (file, bytes) in &inputs {
        during(file, bytes);
    }
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(0x9e37_79b9_7f4a_7c15, dictionary(name));
    for turn in 0..CHANGED {
        let bytes = mutator.next(&inputs);
        during(&format!("change {turn}"), &bytes);
    }
}

#[test]
fn what_agents_say_over_imap() {
    run("imap-agent");
}

#[test]
fn what_mail_servers_say_over_imap() {
    run("imap-server");
}

#[test]
fn what_agents_hand_in_over_smtp() {
    run("smtp");
}

#[test]
fn what_agents_say_over_managesieve() {
    run("sieve");
}

#[test]
fn attack_18_cut_at_every_byte() {
    for (_, bytes) in corpus("imap-agent").iter().filter(|(_, bytes)| bytes.len() < 1500) {
        imap_agent::check_every_cut(bytes);
    }
    for (_, bytes) in corpus("imap-server").iter().filter(|(_, bytes)| bytes.len() < 1500) {
        imap_server::check_every_cut(bytes);
    }
    for (_, bytes) in corpus("sieve").iter().filter(|(_, bytes)| bytes.len() < 1500) {
        sieve::check_every_cut(bytes);
    }
}

#[test]
fn a_flood_has_an_end() {
    let said = [
        "\r\n",
        "* {0}\r\n",
        "{0}\r\n",
        "* OK [X] \r\n",
        "* 1 EXISTS\r\n",
        "* X {9}\r\nabcdefghi",
        "* BYE",
        "+ \r\n",
        "* SEARCH 1 1 1\r\n",
        "* 1 FETCH (FLAGS (a a a))\r\n",
    ];
    for said in said {
        for limit in [0, 100, 64 * 1024] {
            imap_server::flood(said.as_bytes(), limit);
        }
    }
}

#[test]
fn the_other_eyes_see_what_they_should() {
    use latch_core::classify::imap::token::Token;
    let words = eyes::command(b"a UID FETCH 1 (BODY[HEADER.FIELDS (A \"B\")] {2}\r\nx))\r\n").expect("a command");
    let item = Token::atom("BODY[HEADER.FIELDS (A \"B\")]");
    assert_eq!(words[4], Token::List(vec![item, Token::text("x)")]));
    assert_eq!(eyes::command(b"a X b[ c ]\r\n").expect("a command").len(), 5);
    for none in ["a X", "a X\r\nb Y\r\n", "a \"x\r\n", "a (x\r\n", "a {3}\r\nab\r\n", "a x\"y\"\r\n"] {
        assert_eq!(eyes::command(none.as_bytes()), None, "{none}");
    }
    let (all, left) = eyes::responses(b"* OK {2}\r\n\r\n\r\n* X\r\nrest");
    assert_eq!((all.len(), all[0].len(), left), (2, 3, true));
    let strings = |text: &str| eyes::sieve(text.as_bytes(), "+").map(|words| words.len());
    let whole = ["X\r\n", "X \"a\\\"b\" 3\r\n", "X {3+}\r\na\r\n \"b\"\r\n", "OK (TAG \"a\") \"b\"\r\n"];
    assert_eq!(whole.map(strings), [Some(1), Some(3), Some(3), Some(6)]);
    for none in ["X", "X\r\nY\r\n", "X \"a\r\n\"\r\n", "X {3+}\r\nab\r\n", "X \"a\"b\r\n", "X {3}\r\nabc\r\n"] {
        assert_eq!(strings(none), None, "{none}");
    }
    for (wire, end) in [(".\r\nx", 3), ("a\r\n.\r\nx", 6), ("a\n.\nx", 4), ("a\r\n.\nx", 5), ("a\r.\rx", 4)] {
        assert_eq!(eyes::end_of_mail(wire.as_bytes()), Some(end), "{wire:?}");
    }
    assert_eq!(eyes::end_of_mail(b"a\r\n..\r\n.b\r\n"), None);
}
