//! Provider files say something about everything: for Google, measured by Google's own discovery document.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::path;

/// What a provider file leaves unsaid.
fn gaps(provider: &toml::Table) -> Vec<String> {
    let routes = provider.get("routes").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for route in &routes {
        let text = |key: &str| route.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let id = text("id");
        for key in ["id", "call", "class", "verb"] {
            if text(key).is_empty() {
                found.push(format!("{id}: no {key}"));
            }
        }
        if text("class") != "read" && text("undo").is_empty() {
            found.push(format!("{id}: no word about undo"));
        }
        if route.get("examples").and_then(toml::Value::as_array).is_none_or(Vec::is_empty) {
            found.push(format!("{id}: no example"));
        }
    }
    // What the commands of mail and calendar servers do is code, with its own transcripts.
    let by_code = matches!(provider.get("protocol").and_then(toml::Value::as_str), Some("imap" | "dav"));
    if routes.is_empty() && !by_code {
        found.push("no routes".to_owned());
    }
    found
}

fn provider(name: &str) -> toml::Table {
    let file = path("src-tauri/crates/core/providers").join(format!("{name}.toml"));
    std::fs::read_to_string(file).expect("a provider file").parse().expect("TOML")
}

#[test]
fn every_provider_file_is_complete() {
    for entry in std::fs::read_dir(path("src-tauri/crates/core/providers")).expect("provider files") {
        let file = entry.expect("a file").path();
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        assert_eq!(gaps(&provider(&name)), Vec::<String>::new(), "{name}");
    }
    let partial: toml::Table =
        "routes = [{ id = 'a', call = 'GET /a', class = 'modify', verb = 'A', examples = [] }]".parse().unwrap();
    assert_eq!(gaps(&partial), ["a: no word about undo", "a: no example"]);
}

/// Method id to `VERB path`, from a discovery document.
fn methods(resource: &Value, found: &mut BTreeMap<String, String>) {
    for method in resource["methods"].as_object().into_iter().flat_map(|methods| methods.values()) {
        let text = |key: &str| method[key].as_str().unwrap_or_default().to_owned();
        found.insert(text("id"), format!("{} /{}", text("httpMethod"), text("path")));
    }
    for inner in resource["resources"].as_object().into_iter().flat_map(|resources| resources.values()) {
        methods(inner, found);
    }
}

#[test]
fn gmail_has_exactly_googles_methods() {
    let python = latch_tests::paths::python();
    let library = python.parent().and_then(|bin| bin.parent()).expect("a venv").join("lib");
    let versions = std::fs::read_dir(library).expect("a Python library").map(|entry| entry.expect("an entry").path());
    let document = versions
        .map(|version| version.join("site-packages/googleapiclient/discovery_cache/documents/gmail.v1.json"))
        .find(|document| document.exists())
        .expect("Google's client library is installed");
    let discovery: Value = serde_json::from_slice(&std::fs::read(document).expect("readable")).expect("JSON");
    let mut google = BTreeMap::new();
    methods(&discovery, &mut google);
    assert_eq!(google.len(), 79);
    let gmail = provider("gmail");
    let base = gmail["base"].as_str().expect("a base");
    let routes = gmail["routes"].as_array().expect("routes");
    let ours: BTreeMap<String, String> = routes
        .iter()
        .map(|route| {
            let (verb, below) = route["call"].as_str().expect("a call").split_once(' ').expect("a verb and a path");
            (format!("gmail.{}", route["id"].as_str().expect("an id")), format!("{verb} {base}{below}"))
        })
        .collect();
    // Names of parameters are each side's own.
    let bare = |methods: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        methods.iter().map(|(id, call)| (id.clone(), without_names(call))).collect()
    };
    assert_eq!(bare(&ours), bare(&google));
}

fn without_names(call: &str) -> String {
    let mut parts = call.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "{}" + part.split_once('}').map_or("", |(_, rest)| rest))
}
