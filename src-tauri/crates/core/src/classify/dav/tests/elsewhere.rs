//! Collections that move as a whole.
use super::*;
use crate::undo::dav::elsewhere::{arrived, ends, hindrance};

const TO: (&str, &str) = ("destination", "/cal/e/x/");

fn whole(entries: usize) -> Seen {
    Seen { around: Some(Holds::Else), ..seen(calendar(entries)) }
}

fn moved(entries: usize) -> Part {
    part("MOVE", "/e/w", &[TO, ("depth", "infinity")], &Bytes::new(), &whole(entries)).unwrap()
}

fn first() -> crate::undo::Entry {
    let part = moved(2);
    entry(&part, &frozen(&part).unwrap(), &BTreeMap::new()).unwrap()
}

/// What is at the new address, by name and version.
fn now(members: &[(&str, &str)]) -> Tree {
    let At::Tree(tree, _) = calendar(0) else { panic!() };
    let there = Collection { path: "/e/x/".to_owned(), ..tree.collections[0].clone() };
    let member = |(name, etag): &(&str, &str)| Member { path: format!("/e/x/{name}"), etag: (*etag).to_owned() };
    Tree { collections: vec![there], members: members.iter().map(member).collect() }
}

#[test]
fn it_is_asked_like_a_deletion_counted_like_moves_and_bound_to_all_of_it() {
    let part = moved(3);
    assert_eq!(
        line(&part),
        "dav.move-collection | destroy | Move a calendar of 3 event | if-match: \"c\", overwrite: F, destination: /dav/e/x/ | "
    );
    assert_eq!(part.operation.meters, [Meter::Modify]);
    assert!(part.call.headers.contains(&("depth".to_owned(), "infinity".to_owned())));
    assert!(is_whole(&part));
    let state = frozen(&part).unwrap();
    assert_eq!((state.deed, state.path.as_str(), state.to.as_deref()), (Deed::MoveAll, "/e/w/", Some("/e/x/")));
    assert_eq!((state.expects, state.tree.unwrap().members.len()), (vec![("/e/x/".to_owned(), None)], 3));
    assert_eq!(part.call.target, "/e/w/");
    let other = Seen { around: Some(Holds::Else), ..seen(calendar(4)) };
    let other = super::part("MOVE", "/e/w/", &[TO], &Bytes::new(), &other).unwrap();
    assert_ne!(part.operation.canonical(), other.operation.canonical());
    let empty = super::part("MOVE", "/e/w/", &[TO], &Bytes::new(), &whole(0)).unwrap();
    assert_eq!((empty.operation.verb.as_str(), empty.operation.objects.count()), ("Move", 1));
}

#[test]
fn it_replaces_nothing_and_goes_only_where_such_collections_are() {
    let at = |to: At, around: Option<Holds>| Seen { to, around, ..seen(calendar(2)) };
    let entry = || At::Entry(member("/e/x"), event("Old", ""));
    let free = || at(At::Nothing, Some(Holds::Else));
    for (to, headers, seen, status) in [
        ("/cal/e/x/", vec![], at(calendar(1), Some(Holds::Else)), 403),
        ("/cal/e/x/", vec![("overwrite", "F")], at(calendar(1), Some(Holds::Else)), 412),
        ("/cal/e/x", vec![], at(entry(), Some(Holds::Else)), 403),
        ("/cal/e/x/", vec![], at(At::Nothing, None), 409),
        ("/cal/e/x/", vec![], at(At::Nothing, Some(Holds::Events)), 409),
        ("/cal/e/x/", vec![], at(At::Nothing, Some(Holds::Contacts)), 409),
        ("/cal/e/x/", vec![("depth", "0")], free(), 400),
        ("/cal/e/x/", vec![("depth", "1")], free(), 400),
        ("/cal/e/x/", vec![("if-match", "\"9\"")], free(), 412),
        ("/cal/e/w", vec![], free(), 403),
        ("/cal/e/w/in/", vec![], free(), 403),
        ("/cal/e/", vec![], free(), 403),
        ("/cal", vec![], free(), 403),
        ("/dav/e/x/", vec![], free(), 403),
        ("https://other.example/cal/e/x/", vec![], free(), 403),
    ] {
        let headers: Vec<(&str, &str)> = headers.into_iter().chain([("destination", to)]).collect();
        let refused = part("MOVE", "/e/w/", &headers, &Bytes::new(), &seen).map_or_else(|no| no.status, |_| 0);
        assert_eq!(refused, status, "{headers:?}");
    }
    // A name that only begins the same is another place.
    assert!(part("MOVE", "/e/w/", &[("destination", "/cal/e/w2/")], &Bytes::new(), &free()).is_ok());
    let copy = part("COPY", "/e/w/", &[TO], &Bytes::new(), &free());
    assert_eq!(copy.unwrap_err().status, 403);
}

#[test]
fn it_goes_back_only_as_it_was_moved() {
    let entry = first();
    assert_eq!((ends(&entry), entry.changes.len()), (Some(("/e/w/", "/e/x/")), 3));
    assert_eq!(whereabouts(&entry), ["/e/w/", "/e/x/"]);
    let same = now(&[("0.ics", "\"1\""), ("1.ics", "\"1\"")]);
    assert_eq!(hindrance(&entry, false, Some(&same)), None);
    assert!(hindrance(&entry, true, Some(&same)).unwrap().contains("old address"));
    for (members, why) in [
        (vec![("0.ics", "\"1\""), ("1.ics", "\"1\""), ("a.ics", "\"1\"")], "1 came in (a.ics)"),
        (vec![("0.ics", "\"1\"")], "1 went (1.ics)"),
        (vec![("0.ics", "\"1\""), ("1.ics", "\"2\"")], "1 with another version (1.ics)"),
        (
            vec![("2.ics", "\"1\""), ("1.ics", "\"2\"")],
            "1 came in (2.ics); 1 went (0.ics); 1 with another version (1.ics)",
        ),
    ] {
        let said = hindrance(&entry, false, Some(&now(&members))).unwrap();
        assert!(said.ends_with(why), "{said}");
    }
    let mut inner = same.clone();
    inner.collections.push(Collection { path: "/e/x/in/".to_owned(), ..same.collections[0].clone() });
    assert!(hindrance(&entry, false, Some(&inner)).unwrap().contains("1 came in (in)"));
    // Versions that a server gave it on the way count once it is known that it is the same text.
    let renewed = now(&[("0.ics", "\"1\""), ("1.ics", "\"2\"")]);
    let known = arrived(entry.clone(), &renewed.members[1..]);
    assert_eq!(hindrance(&known, false, Some(&renewed)), None);
    assert!(hindrance(&known, false, Some(&same)).is_some());
}

#[test]
fn it_goes_back_in_one_call_over_nothing() {
    let entry = first();
    let at = |tree: &Tree| Found::Collection(tree.collections[0].clone());
    let there = ("/e/x/".to_owned(), at(&now(&[])));
    let home = ("/e/w/".to_owned(), at(&now(&[])));
    let back = |now: &[(String, Found)]| inverse(&entry, &now.iter().cloned().collect(), &BTreeMap::new(), &here());
    let one = back(std::slice::from_ref(&there));
    let step = &one.steps[0];
    assert_eq!((one.steps.len(), step.only, step.class), (1, Only::AsMoved, Class::Modify));
    assert_eq!((step.object.as_str(), step.with.len()), ("/e/w/", 2));
    assert_eq!((step.call.method.as_str(), step.call.target.as_str()), ("MOVE", "/e/x/"));
    let headers: Vec<String> = step.call.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(headers, ["depth: infinity", "overwrite: F", "destination: /dav/e/w/", "if-match: \"c\""]);
    for (now, why) in [
        (vec![there, home.clone()], "something is at its old address"),
        (vec![home], "it is at its own address"),
        (vec![], "it is not there any more"),
    ] {
        let left = back(&now);
        assert_eq!(left.steps.len(), 0);
        assert!(left.not_restored[0].1.starts_with(why), "{left:?}");
    }
}

#[test]
fn what_taking_it_back_does_is_told() {
    let At::Tree(tree, _) = calendar(2) else { panic!() };
    let guests = At::Tree(tree, ["bob@example.org".to_owned()].into());
    let seen = Seen { around: Some(Holds::Else), ..seen(guests) };
    let part = part("MOVE", "/e/w/", &[TO], &Bytes::new(), &seen).unwrap();
    let entry = entry(&part, &frozen(&part).unwrap(), &BTreeMap::new()).unwrap();
    let said = promise(&part.operation).unwrap();
    assert_eq!(Some(&said), limits(&entry).as_ref());
    assert!(
        said.starts_with("Undo moves it back to its address as a whole") && said.contains("can't be called back"),
        "{said}"
    );
    let back = inverse(
        &entry,
        &[("/e/x/".to_owned(), Found::Collection(now(&[]).collections[0].clone()))].into(),
        &BTreeMap::new(),
        &here(),
    );
    assert_eq!((back.steps[0].class, back.notes.len()), (Class::Send, 1));
}
