#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn line(kind: &str, server: Option<&Server>) -> String {
    server.map_or_else(String::new, |one| format!(" {kind}={}:{}/{:?}", one.host, one.port, one.security))
}

#[test]
fn what_is_shipped_reads_like_this() {
    let servers = Servers::shipped().unwrap();
    let mut text = String::new();
    for one in servers.iter() {
        let _ = writeln!(
            text,
            "{} ({}), {:?}, {:?}{}{}{}",
            one.name,
            one.id,
            one.password,
            one.user,
            line("imap", one.imap.as_ref()),
            line("smtp", one.smtp.as_ref()),
            line("sieve", one.sieve.as_ref())
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_shipped_file_keeps_its_own_rules() {
    let servers = Servers::shipped().unwrap();
    let (mut ids, mut domains, mut exchangers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for one in servers.iter() {
        assert!(ids.insert(&one.id), "{} twice", one.id);
        assert!(!one.domains.is_empty() || !one.mx.is_empty(), "{}: nobody would find it", one.id);
        for domain in &one.domains {
            assert!(is_name(domain) && domain.to_ascii_lowercase() == *domain, "{domain}");
            assert!(domains.insert(domain), "{domain} twice");
        }
        for end in &one.mx {
            assert!(is_name(end) && end.to_ascii_lowercase() == *end, "{end}");
            assert!(exchangers.insert(end), "{end} twice");
        }
        assert_eq!(one.imap.is_none(), one.password == Password::None, "{}", one.id);
        assert_eq!(one.imap.is_none(), one.smtp.is_none(), "{}", one.id);
        let local = one.imap.as_ref().is_some_and(|server| server.host == "127.0.0.1");
        assert_eq!(local, one.password == Password::Bridge, "{}", one.id);
        for url in [Some(&one.link), one.caldav.as_ref(), one.carddav.as_ref()].into_iter().flatten() {
            assert!(url.starts_with("https://"), "{url}");
        }
        assert!(one.help.ends_with('.') && one.help.len() > 20, "{}", one.id);
    }
    for wanted in ["gmail", "icloud", "yahoo", "fastmail"] {
        let one = servers.iter().find(|one| one.id == wanted).unwrap();
        assert!(one.password == Password::App && one.help.contains("password"), "{wanted}");
    }
}

#[test]
fn a_broken_file_is_refused() {
    for text in [
        "[[provider]]\nid = 'a'\nname = 'A'\npassword = 'own'\nhelp = 'h'\nlink = 'l'\nimap = 'imap://imap.example.org'",
        "[[provider]]\nid = 'a'\nname = 'A'\npassword = 'own'\nhelp = 'h'\nlink = 'l'\nimap = 'https://imap.example.org'",
        "[[provider]]\nid = 'a'\nname = 'A'\npassword = 'own'\nhelp = 'h'\nlink = 'l'\nimaps = 'x'",
    ] {
        Servers::read(text).unwrap_err();
    }
}

#[test]
fn addresses_are_taken_apart() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(Address::parse(text).ok().map(|one| one.to_string()).as_deref(), expected, "{text}");
    };
    check(" You@Example.ORG. ", Some("You@example.org"));
    check("\"a@b\"@example.org", Some("\"a@b\"@example.org"));
    check("you@xn--bcher-kva.example", Some("you@xn--bcher-kva.example"));
    for bad in [
        "you",
        "@example.org",
        "you@",
        "you@localhost",
        "you@exa mple.org",
        "y ou@example.org",
        "you@-a.example",
        "you@a..b",
        "you@b\u{fc}cher.example",
        "you@example.org/x",
        "you\r\n@example.org",
    ] {
        check(bad, None);
    }
}

#[test]
fn a_provider_is_known_by_the_domain_or_by_who_takes_its_mail() {
    let servers = Servers::shipped().unwrap();
    let known = |text: &str| servers.known(&address(text)).map(|one| one.id.clone());
    assert_eq!(known("a@gmail.com").as_deref(), Some("gmail"));
    assert_eq!(known("a@ICLOUD.com").as_deref(), Some("icloud"));
    assert_eq!(known("a@notgmail.com"), None);
    assert_eq!(known("a@mail.gmail.com"), None);
    let by_mx = |hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        servers.by_mx(&hosts).map(|one| one.id.clone())
    };
    assert_eq!(by_mx(&["ASPMX.L.GOOGLE.COM.", "alt1.aspmx.l.google.com."]).as_deref(), Some("gmail"));
    assert_eq!(by_mx(&["example-org.mail.protection.outlook.com."]).as_deref(), Some("microsoft365"));
    assert_eq!(by_mx(&["mx-aol.mail.gm0.yahoodns.net."]).as_deref(), Some("aol"));
    assert_eq!(by_mx(&["mta5.am0.yahoodns.net."]).as_deref(), Some("yahoo"));
    assert_eq!(by_mx(&["in1-smtp.messagingengine.com."]).as_deref(), Some("fastmail"));
    assert_eq!(by_mx(&["mx.evilgoogle.com.", "google.com.evil.example."]), None);
}

#[test]
fn the_user_name_is_what_the_provider_wants() {
    let servers = Servers::shipped().unwrap();
    let icloud = servers.iter().find(|one| one.id == "icloud").unwrap();
    assert_eq!(icloud.user_name(&address("erin@icloud.com")), "erin");
    assert_eq!(icloud.user_name(&address("erin@own.example")), "erin@own.example");
    let gmail = servers.iter().find(|one| one.id == "gmail").unwrap();
    assert_eq!(gmail.user_name(&address("erin@gmail.com")), "erin@gmail.com");
}

#[test]
fn the_owner_of_a_server_is_known_for_words_about_its_password() {
    let servers = Servers::shipped().unwrap();
    assert_eq!(servers.by_host("IMAP.gmail.com").map(|one| one.name.as_str()), Some("Gmail"));
    assert!(servers.by_host("127.0.0.1").is_none());
    assert!(servers.by_host("imap.example.org").is_none());
}

#[test]
fn what_a_domain_says_is_sorted_and_a_dot_says_no() {
    let record = |priority, weight, target: &str| Srv { priority, weight, port: 993, target: target.to_owned() };
    let found = best(
        vec![record(10, 0, "last.example."), record(0, 1, "b.example."), record(0, 5, "A.example.")],
        Security::Implicit,
    );
    let hosts: Vec<&str> = found.iter().map(|one| one.host.as_str()).collect();
    assert_eq!(hosts, ["a.example", "b.example", "last.example"]);
    assert!(best(vec![record(0, 0, ".")], Security::Implicit).is_empty());
    assert!(best(vec![record(0, 0, "a b.example."), record(0, 0, "x/y.example.")], Security::Implicit).is_empty());
}

#[test]
fn what_is_left_is_guessed() {
    let at = address("you@example.org");
    let shown = |kind| guesses(&at, kind).iter().map(|one| format!("{}:{}", one.host, one.port)).collect::<Vec<_>>();
    assert_eq!(
        shown(Kind::Imap),
        ["imap.example.org:993", "mail.example.org:993", "imap.example.org:143", "mail.example.org:143"]
    );
    assert_eq!(
        shown(Kind::Smtp),
        ["smtp.example.org:465", "mail.example.org:465", "smtp.example.org:587", "mail.example.org:587"]
    );
    assert!(shown(Kind::Sieve).is_empty());
    assert!(guesses(&at, Kind::Imap).iter().all(|one| one.security != Security::None));
}

#[test]
fn a_host_is_inside_only_at_or_below_the_domain() {
    for (host, outside) in [
        ("imap.example.org", false),
        ("IMAP.Example.org.", false),
        ("example.org", false),
        ("notexample.org", true),
        ("example.org.evil.example", true),
        ("imap.fastmail.com", true),
        ("127.0.0.1", true),
    ] {
        assert_eq!(is_outside(host, "example.org"), outside, "{host}");
    }
}

#[test]
fn an_account_gets_a_short_free_name() {
    let named = |text: &str, taken: &[&str]| account_id(&address(text), |id| taken.contains(&id));
    assert_eq!(named("Erin@example.org", &[]), "erin");
    assert_eq!(named("erin@example.org", &["erin"]), "erin-example");
    assert_eq!(named("erin@example.org", &["erin", "erin-example"]), "erin-example-2");
    assert_eq!(named("erin+lists@example.org", &[]), "erin-lists");
    assert_eq!(named("..@example.org", &[]), "mail");
    assert_eq!(named("oauth2@example.org", &[]), "mail");
}
