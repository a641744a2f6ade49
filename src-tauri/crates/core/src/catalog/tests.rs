#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::file::{Example, Route};
use super::{Catalog, Provider};
use crate::classify::http::{Head, route};
use crate::classify::{mail, upload};
use crate::operation::{Class, Objects, Part};

/// Google's own list: method id, HTTP method, path, and whether it takes uploads.
const GMAIL: &str = include_str!("../../providers/discovery/gmail.v1.tsv");

#[test]
fn gmail_has_exactly_the_methods_of_googles_discovery_document() {
    let catalog = Catalog::shipped().unwrap();
    let gmail = catalog.provider("gmail").unwrap();
    let ours: BTreeMap<String, (String, String, bool)> = gmail
        .file
        .routes
        .iter()
        .map(|route| {
            (gmail.action(&route.id), (route.call.method.to_string(), gmail.full(&route.call.path), route.upload))
        })
        .collect();
    let google: BTreeMap<String, (String, String, bool)> = GMAIL
        .lines()
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().unwrap_or_default().to_owned();
            (next(), (next(), next(), next() == "upload"))
        })
        .collect();
    assert_eq!(google.len(), 79);
    assert_eq!(ours, google);
}

/// Runs every example of every provider file: add a provider and its examples are tested.
#[test]
fn every_example_is_what_its_file_says() {
    for provider in Catalog::shipped().unwrap().providers() {
        for route in &provider.file.routes {
            for example in &route.examples {
                run(provider, route, example);
            }
        }
    }
}

fn run(provider: &Provider, expected: &Route, example: &Example) {
    let at = format!("{}: {} {}", expected.id, example.call.method, example.call.path);
    let base = provider
        .file
        .example
        .iter()
        .fold(provider.file.base.clone(), |base, (name, value)| base.replace(&format!("{{{name}}}"), value));
    let target = format!("{base}{}", example.call.path);
    let part = classify(provider, expected, example, &target).unwrap_or_else(|why| panic!("{at}: {why}"));
    let operation = &part.operation;
    assert_eq!(operation.action, provider.action(&expected.id), "{at}");
    assert_eq!(operation.class, example.class.unwrap_or(expected.class), "{at}");
    assert_eq!(&operation.verb, example.verb.as_ref().unwrap_or(&expected.verb), "{at}");
    assert_eq!(&operation.meters, example.meters.as_ref().unwrap_or(&expected.meters), "{at}");
    let count = match &operation.objects {
        Objects::None => 0,
        Objects::Listed { ids, .. } | Objects::Within { ids, .. } => ids.len(),
    };
    assert_eq!(count, example.count as usize, "{at}");
    let reached: Vec<&str> = operation
        .audience
        .iter()
        .flat_map(|audience| &audience.members)
        .map(|member| member.address.as_str())
        .collect();
    assert_eq!(reached, example.audience, "{at}");
    assert!(!operation.opaque, "{at}");
    if operation.class != Class::Read {
        assert_ne!(operation.content.0, [0; 32], "{at}");
    }
}

fn classify(provider: &Provider, expected: &Route, example: &Example, target: &str) -> Result<Part, String> {
    let mut body = example.body.clone();
    if let (Some(text), Some(pointer)) = (&example.mail, &expected.mail) {
        let mut value = Value::Object(Map::new());
        upload::put(&mut value, pointer, Value::from(mail::to_base64(text.as_bytes()))).unwrap();
        body = Some(value);
    }
    let mut headers = HeaderMap::new();
    if body.is_some() {
        headers.insert("content-type", "application/json".parse().unwrap());
    }
    let head = Head { method: &example.call.method, target, headers: &headers, mount: "" };
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let mut request =
        route(provider, head).and_then(|routed| routed.classify(&body)).map_err(|refusal| refusal.to_string())?;
    Ok(request.parts.remove(0))
}

#[test]
fn every_class_has_a_deny_text_and_every_kind_a_noun() {
    let catalog = Catalog::shipped().unwrap();
    let gmail = catalog.provider("gmail").unwrap();
    for route in &gmail.file.routes {
        if route.class != Class::Read {
            assert!(gmail.file.keep.contains_key(route.class.name()), "{}", route.id);
        }
    }
    assert_eq!(gmail.noun("message"), ["message", "messages"]);
    assert_eq!(gmail.noun("unheard-of"), ["unheard-of", "unheard-of"]);
}

#[test]
fn a_wrong_file_says_what_is_wrong() {
    let head = "id=\"x\"\nname=\"X\"\nbase_url=\"https://x.example\"\nbase=\"/v1\"\nerror_shape=\"plain\"\n";
    let check = |routes: &str, expect: &str| {
        let text = format!("{head}routes=[{routes}]\n[kinds]\nthing={{noun=[\"thing\",\"things\"]}}\n");
        let error = Catalog::parse(&[("x.toml", &text)]).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
    };
    let example = "examples=[{call=\"GET /a\"}]";
    check(&format!("{{id=\"a\",call=\"POST /a\",class=\"modify\",verb=\"Do\",{example}}}"), "undo");
    check("{id=\"a\",call=\"GET /a\",class=\"read\",verb=\"Do\",examples=[]}", "example");
    check(
        &format!(
            "{{id=\"a\",call=\"GET /a\",class=\"read\",verb=\"Do\",objects={{kind=\"thing\",param=\"id\"}},{example}}}"
        ),
        "{id}",
    );
    check(&format!("{{id=\"a\",call=\"GET a\",class=\"read\",verb=\"Do\",{example}}}"), "slash");
    check(
        &format!("{{id=\"a\",call=\"POST /a\",class=\"modify\",undo=\"back\",verb=\"Do\",{example}}}"),
        "no undo \"back\"",
    );
    check(&format!("{{id=\"a\",call=\"GET /a\",class=\"reed\",verb=\"Do\",{example}}}"), "reed");
}
