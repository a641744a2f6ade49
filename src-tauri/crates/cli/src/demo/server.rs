//! The made-up mailbox behind the part of Gmail's HTTP API that the demo uses, on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::mailbox::{LABELS, Mail, Mailbox, OWNER, Refused};

/// A batch of 1,000 ids is far below this.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The mailbox as it is shared with the demo's final comparison.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Mailbox>>);

impl Shared {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self(Arc::new(Mutex::new(mailbox)))
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox as it is now.
    pub(crate) fn copy(&self) -> Mailbox {
        self.lock().clone()
    }
}

/// Listens on a free port and serves until the returned task is dropped or aborted.
pub(crate) async fn start(
    mailbox: Shared,
    token: String,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let token: Arc<str> = token.into();
    let serving = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (mailbox, token) = (mailbox.clone(), Arc::clone(&token));
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&mailbox, &token, request));
                // A client that goes away in the middle is its own affair.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok((address, serving))
}

async fn answer(
    mailbox: &Shared,
    token: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if bearer.and_then(|value| value.strip_prefix("Bearer ")) != Some(token) {
        return Ok(error(StatusCode::UNAUTHORIZED, "Request had invalid authentication credentials."));
    }
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(error(StatusCode::BAD_REQUEST, "The body can't be read."));
    };
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
    let Some(path) = head.uri.path().strip_prefix("/gmail/v1/users/me/") else {
        return Ok(error(StatusCode::NOT_FOUND, "Not Found"));
    };
    let query: Vec<(String, String)> =
        form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let parts: Vec<&str> = path.split('/').collect();
    Ok(match route(&mut mailbox.lock(), &head.method, &parts, &query, &body) {
        Ok(Value::Null) => empty(),
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(Refused::NotFound) => error(StatusCode::NOT_FOUND, "Requested entity was not found."),
        Err(Refused::InvalidLabel) => error(StatusCode::BAD_REQUEST, "Invalid label"),
    })
}

type Query<'a> = &'a [(String, String)];

fn route(
    mailbox: &mut Mailbox,
    method: &Method,
    parts: &[&str],
    query: Query<'_>,
    body: &Value,
) -> Result<Value, Refused> {
    let get = method == Method::GET;
    let post = method == Method::POST;
    let delete = method == Method::DELETE;
    match parts {
        ["profile"] if get => {
            Ok(json!({"emailAddress": OWNER, "messagesTotal": mailbox.mails.len(), "historyId": "1"}))
        }
        ["labels"] if get => Ok(json!({"labels": LABELS.iter().map(label).collect::<Vec<_>>()})),
        ["labels", id] if get => LABELS.iter().find(|(known, _, _)| known == id).map(label).ok_or(Refused::NotFound),
        ["messages"] if get => Ok(page(mailbox, query, "messages")),
        ["messages"] if post => Ok(inserted(mailbox, body)),
        ["messages", "batchModify"] if post => {
            mailbox.modify(&strings(body, "ids"), &strings(body, "addLabelIds"), &strings(body, "removeLabelIds"))?;
            Ok(Value::Null)
        }
        ["messages", "batchDelete"] if post => mailbox.delete(&strings(body, "ids")).map(|()| Value::Null),
        ["messages", id] if get => {
            mailbox.mails.get(*id).map(|mail| shown(mail, value_of(query, "format"))).ok_or(Refused::NotFound)
        }
        ["messages", id] if delete => mailbox.delete(&[(*id).to_owned()]).map(|()| Value::Null),
        ["messages", id, verb] if post => {
            let (add, take) = change(verb, body).ok_or(Refused::NotFound)?;
            mailbox.modify(&[(*id).to_owned()], &add, &take)?;
            mailbox.mails.get(*id).map(|mail| shown(mail, Some("minimal"))).ok_or(Refused::NotFound)
        }
        ["threads"] if get => Ok(page(mailbox, query, "threads")),
        ["threads", id] if get => {
            let ids = thread(mailbox, id)?;
            let format = value_of(query, "format");
            let mails: Vec<Value> =
                ids.iter().filter_map(|id| mailbox.mails.get(id)).map(|mail| shown(mail, format)).collect();
            Ok(json!({"id": id, "historyId": "1", "messages": mails}))
        }
        ["threads", id] if delete => {
            let ids = thread(mailbox, id)?;
            mailbox.delete(&ids).map(|()| Value::Null)
        }
        ["threads", id, verb] if post => {
            let ids = thread(mailbox, id)?;
            let (add, take) = change(verb, body).ok_or(Refused::NotFound)?;
            mailbox.modify(&ids, &add, &take)?;
            Ok(
                json!({"id": id, "messages": ids.iter().map(|id| json!({"id": id, "threadId": id})).collect::<Vec<_>>()}),
            )
        }
        _ => Err(Refused::NotFound),
    }
}

fn thread(mailbox: &Mailbox, id: &str) -> Result<Vec<String>, Refused> {
    Some(mailbox.thread(id)).filter(|ids| !ids.is_empty()).ok_or(Refused::NotFound)
}

/// Labels to add and to take.
fn change(verb: &str, body: &Value) -> Option<(Vec<String>, Vec<String>)> {
    let trash = || vec!["TRASH".to_owned()];
    match verb {
        "modify" => Some((strings(body, "addLabelIds"), strings(body, "removeLabelIds"))),
        "trash" => Some((trash(), Vec::new())),
        "untrash" => Some((Vec::new(), trash())),
        _ => None,
    }
}

fn label((id, name, kind): &(&str, &str, &str)) -> Value {
    json!({"id": id, "name": name, "type": kind})
}

fn page(mailbox: &Mailbox, query: Query<'_>, what: &str) -> Value {
    let labels: Vec<String> = values(query, "labelIds");
    let hidden = value_of(query, "includeSpamTrash") == Some("true");
    let limit: usize = value_of(query, "maxResults").and_then(|limit| limit.parse().ok()).unwrap_or(100).clamp(1, 500);
    let from: usize = value_of(query, "pageToken").and_then(|token| token.parse().ok()).unwrap_or(0);
    let found = mailbox.list(&labels, hidden);
    let entries: Vec<Value> = found
        .iter()
        .skip(from)
        .take(limit)
        .map(|mail| match what {
            "threads" => json!({"id": mail.thread, "snippet": mail.body.lines().next(), "historyId": "1"}),
            _ => json!({"id": mail.id, "threadId": mail.thread}),
        })
        .collect();
    let mut answer = json!({ what: entries, "resultSizeEstimate": found.len() });
    if from + limit < found.len()
        && let Some(fields) = answer.as_object_mut()
    {
        fields.insert("nextPageToken".to_owned(), Value::String((from + limit).to_string()));
    }
    answer
}

fn shown(mail: &Mail, format: Option<&str>) -> Value {
    let mut view = json!({
        "id": mail.id,
        "threadId": mail.thread,
        "labelIds": mail.labels,
        "snippet": mail.body.lines().find(|line| !line.is_empty()),
        "historyId": "1",
        "internalDate": mail.date.to_string(),
        "sizeEstimate": mail.raw().len(),
    });
    let headers = json!([
        {"name": "From", "value": mail.from},
        {"name": "To", "value": OWNER},
        {"name": "Subject", "value": mail.subject},
        {"name": "Date", "value": mail.date_header()},
        {"name": "Message-ID", "value": format!("<{}@demo.example>", mail.id)},
    ]);
    let Some(fields) = view.as_object_mut() else { return view };
    match format.unwrap_or("full") {
        "minimal" => {}
        "raw" => {
            fields.insert("raw".to_owned(), Value::String(URL_SAFE.encode(mail.raw())));
        }
        "metadata" => {
            fields.insert("payload".to_owned(), json!({"mimeType": "text/plain", "headers": headers}));
        }
        _ => {
            let body = json!({"size": mail.body.len(), "data": URL_SAFE.encode(&mail.body)});
            fields.insert("payload".to_owned(), json!({"mimeType": "text/plain", "headers": headers, "body": body}));
        }
    }
    view
}

fn inserted(mailbox: &mut Mailbox, body: &Value) -> Value {
    let raw = body.get("raw").and_then(Value::as_str).unwrap_or_default();
    let raw = URL_SAFE_NO_PAD.decode(raw.trim_end_matches('=')).unwrap_or_default();
    let raw = String::from_utf8_lossy(&raw).replace("\r\n", "\n");
    let mail = mailbox.insert(&raw, &strings(body, "labelIds"));
    shown(&mail, Some("minimal"))
}

fn strings(body: &Value, name: &str) -> Vec<String> {
    let list = body.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn value_of<'a>(query: Query<'a>, name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn values(query: Query<'_>, name: &str) -> Vec<String> {
    query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
}

fn empty() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn error(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let reason = status.canonical_reason().unwrap_or_default();
    json_response(status, &json!({"error": {"code": status.as_u16(), "message": message, "status": reason}}))
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn ask(mailbox: &mut Mailbox, method: &Method, path: &str, body: &Value) -> Result<Value, Refused> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        route(mailbox, method, &path.split('/').collect::<Vec<_>>(), &query, body)
    }

    #[test]
    fn it_answers_like_gmail() {
        let mut mailbox = Mailbox::new();
        let page = ask(&mut mailbox, &Method::GET, "messages?labelIds=INBOX&maxResults=2", &Value::Null).unwrap();
        assert_eq!((&page["nextPageToken"], &page["resultSizeEstimate"]), (&json!("2"), &json!(300)));
        let id = page["messages"][0]["id"].as_str().unwrap().to_owned();
        let mail = ask(&mut mailbox, &Method::GET, &format!("messages/{id}?format=metadata"), &Value::Null).unwrap();
        assert_eq!(mail["payload"]["headers"][2]["name"], "Subject");
        let trashed = ask(&mut mailbox, &Method::POST, &format!("messages/{id}/trash"), &Value::Null).unwrap();
        assert!(trashed["labelIds"].as_array().unwrap().contains(&json!("TRASH")));
        let body = json!({"ids": [id], "addLabelIds": ["INBOX"], "removeLabelIds": ["TRASH"]});
        assert_eq!(ask(&mut mailbox, &Method::POST, "messages/batchModify", &body), Ok(Value::Null));
        assert_eq!(mailbox, Mailbox::new());
        assert_eq!(ask(&mut mailbox, &Method::GET, "messages/nope", &Value::Null), Err(Refused::NotFound));
        assert_eq!(ask(&mut mailbox, &Method::GET, "settings/filters", &Value::Null), Err(Refused::NotFound));
    }

    #[test]
    fn a_raw_copy_can_be_put_back() {
        let mut mailbox = Mailbox::new();
        let id = mailbox.mails.keys().next().unwrap().clone();
        let before = mailbox.mails[&id].clone();
        let raw = ask(&mut mailbox, &Method::GET, &format!("messages/{id}?format=raw"), &Value::Null).unwrap();
        ask(&mut mailbox, &Method::DELETE, &format!("messages/{id}"), &Value::Null).unwrap();
        let body = json!({"raw": raw["raw"], "labelIds": before.labels});
        let copy = ask(&mut mailbox, &Method::POST, "messages?internalDateSource=dateHeader", &body).unwrap();
        let copy = &mailbox.mails[copy["id"].as_str().unwrap()];
        assert_eq!((&copy.subject, copy.date, &copy.labels), (&before.subject, before.date, &before.labels));
    }
}
