//! ATTACKS 24: every spelling of a path is classified as what the origin does with it, or refused. The origin is asked itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use latch_core::catalog::Catalog;
use latch_core::classify::http::{Head, route};
use latch_core::operation::{Class, Objects};
use latch_tests::emulator::Labels;
use latch_tests::{Emulator, Mail};

use crate::attacks_http::say;

const REMOVALS: [(&str, &str); 3] = [
    ("DELETE", "/gmail/v1/users/me/messages/m0001"),
    ("POST", "/gmail/v1/users/me/messages/m0001/trash"),
    ("POST", "/gmail/v1/users/me/threads/t0001/trash"),
];

/// Ways to write a path that some server takes for the same, and some for another.
fn spellings(path: &str) -> Vec<String> {
    let last = path.rfind('/').unwrap();
    let (folder, name) = (&path[..last], &path[last + 1..]);
    let (first, rest) = name.split_at(1);
    let hex = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let mut all = vec![
        path.to_owned(),
        format!("{folder}/{}{rest}", hex(first)),
        format!("{folder}/{}{rest}", hex(first).to_uppercase()),
        format!("{folder}/{}", hex(name)),
        format!("{folder}/%25{}{rest}", &hex(first)[1..]),
        format!("{folder}%2f{name}"),
        format!("{folder}%2F{name}"),
        format!("{folder}%252f{name}"),
        format!("{folder}%5c{name}"),
        format!("{folder}\\{name}"),
        format!("{folder}//{name}"),
        format!("{folder}/./{name}"),
        format!("{folder}/%2e/{name}"),
        format!("{folder}/x/../{name}"),
        format!("{folder}/x/%2e%2e/{name}"),
        format!("{folder}/x/.%2E/{name}"),
        format!("{folder}/x/%252e%252e/{name}"),
        format!("{folder}/x/..;/{name}"),
        format!("{folder}/;a=b/{name}"),
        format!("{folder}/{name};a=b"),
        format!("{folder}/{name};"),
        format!("{folder}/{name}/"),
        format!("{folder}/{name}//"),
        format!("{folder}/{name}/."),
        format!("{folder}/{name}."),
        format!("{folder}/{name}.."),
        format!("{folder}/{name}%2e"),
        format!("{folder}/{name}%20"),
        format!("{folder}/{name}%00"),
        format!("{folder}/{name}%0a"),
        format!("{folder}/{name}.json"),
        format!("{folder}/{name}?alt=json"),
        format!("{folder}/{name}?"),
        format!("{folder}/{name}?x=/../y"),
        format!("{folder}/{name}%3falt=json"),
        format!("{folder}/{name}%23"),
        format!("{folder}/{name}/../{name}"),
        format!("{folder}/{name}:trash"),
        format!("/{path}"),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("/x/%2e%2e{path}"),
        path.to_uppercase(),
        path.replace("/messages/", "/Messages/"),
        path.replace("/gmail/", "/GMAIL/"),
        path.replace("/users/me/", "/users/me@example.com/"),
        path.replace("/users/me/", "/users/me%40example.com/"),
        path.replace("/users/me/", "/users/ME/"),
        path.replace("/users/me/", "/users/%6de/"),
        path.replace("/v1/", "/v1%2f"),
        path.replace("m0001", "m0001,m0002"),
        path.replace("m0001", "%6d0001"),
        path.replace("m0001", "M0001"),
    ];
    all.extend(["gmail", "v1", "users"].map(|segment| path.replacen(segment, &hex(segment), 1)));
    all
}

/// What the door would say to it: `None` if it is refused, else the Class and the objects, if they are known by then.
fn classified(method: &str, target: &str) -> Option<(Class, Option<BTreeSet<String>>)> {
    let catalog = Catalog::shipped().unwrap();
    let (method, headers) = (method.parse::<Method>().unwrap(), HeaderMap::new());
    let target = format!("/mail{target}");
    let head = Head { method: &method, target: &target, headers: &headers, mount: "/mail" };
    let request = route(catalog.provider("gmail").unwrap(), head).ok()?.classify(&Bytes::new()).ok()?;
    let within = request.parts.iter().any(|part| matches!(part.operation.objects, Objects::Within { .. }));
    let ids = request.parts.iter().flat_map(|part| part.operation.objects.ids().to_vec()).collect();
    Some((request.class(), (!within).then_some(ids)))
}

fn changed(before: &Labels, after: &Labels) -> BTreeSet<String> {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    all.into_iter().filter(|id| before.get(*id) != after.get(*id)).cloned().collect()
}

#[tokio::test]
async fn attack_24_a_spelling_is_classed_as_what_the_origin_does_with_it() {
    let (mut same, mut refused, mut told) = (0, 0, Vec::new());
    for (method, path) in REMOVALS {
        let mut gmail = Emulator::start(&Mail::box_of(3)).await;
        let mut before = gmail.labels().await;
        for spelling in spellings(path) {
            let class = classified(method, &spelling);
            let request = format!(
                "{method} {spelling} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                gmail.token
            );
            say(&gmail.url, request.as_bytes()).await;
            let removed = changed(&before, &gmail.labels().await);
            match &class {
                None => refused += 1,
                Some((class, ids)) if !removed.is_empty() => {
                    same += 1;
                    let is_seen = matches!(class, Class::Remove | Class::Destroy | Class::Unclassified);
                    assert!(is_seen, "{method} {spelling}: the origin removes, we say {class:?}");
                    let known = *class == Class::Unclassified || ids.as_ref().is_none_or(|ids| removed.is_subset(ids));
                    assert!(known, "{method} {spelling}: the origin removes {removed:?}, we say {ids:?}");
                }
                Some((class, _)) => {
                    assert!(*class != Class::Read, "{method} {spelling} is no read");
                    told.push(spelling.clone());
                }
            }
            if !removed.is_empty() {
                gmail = Emulator::start(&Mail::box_of(3)).await;
                before = gmail.labels().await;
            }
        }
    }
    assert!(same >= 9 && refused >= 60, "{same} the same, {refused} refused; only we see: {told:?}");
}
