//! The runaway agent: an ordinary HTTP client with an ordinary token at the HTTP door. It does what an over-eager assistant did to a real inbox.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use latch_ipc::Secret;
use serde_json::{Value, json};

use super::mailbox::TO_SORT;

/// How long it goes on asking for one thing.
const PATIENCE: Duration = Duration::from_secs(600);

/// What it does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Sort,
    TrashEach,
    TrashMany,
    Archive,
    DeleteSome,
    DeleteMany,
}

impl Step {
    pub(crate) const ALL: [Self; 6] =
        [Self::Sort, Self::TrashEach, Self::TrashMany, Self::Archive, Self::DeleteSome, Self::DeleteMany];

    /// Which mails, counted from the newest.
    fn range(self) -> Range<usize> {
        match self {
            Self::Sort => 0..8,
            Self::TrashEach => 8..13,
            Self::TrashMany => 16..136,
            Self::Archive => 136..216,
            Self::DeleteSome => 216..226,
            Self::DeleteMany => 226..266,
        }
    }

    /// What the agent says about it.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Sort => "I only look, and label eight mails for you. I will not act until you say so.",
            Self::TrashEach => "These five look old. I throw them away, one at a time.",
            Self::TrashMany => "This is slow. I throw away 120 at once.",
            Self::Archive => "And 80 more out of the inbox.",
            Self::DeleteSome => "To keep it clean I delete 10 for ever.",
            Self::DeleteMany => "And 40 more for ever. I know what you want.",
        }
    }

    /// What it is, for the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sort => "label mails",
            Self::TrashEach => "trash, one by one",
            Self::TrashMany => "trash, all at once",
            Self::Archive => "archive",
            Self::DeleteSome | Self::DeleteMany => "delete for ever",
        }
    }
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Ran(Value),
    /// Refused, with Latchstring's own words.
    Denied(String),
    /// Its access is gone.
    Stopped(String),
}

/// The agent.
pub(crate) struct Agent {
    http: Client<HttpConnector, Full<Bytes>>,
    door: String,
    account: String,
    client_id: String,
    pairing_secret: Secret,
    token: Option<Secret>,
    inbox: Vec<String>,
}

impl Agent {
    pub(crate) fn new(door: String, account: &str, client_id: String, pairing_secret: Secret) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, door, account: account.to_owned(), client_id, pairing_secret, token: None, inbox: Vec::new() }
    }

    /// Lists the inbox, page by page.
    pub(crate) async fn look(&mut self) -> Answer {
        let mut page = String::new();
        loop {
            let listed = match self.get(&format!("messages?labelIds=INBOX&maxResults=100{page}")).await {
                Answer::Ran(listed) => listed,
                other => return other,
            };
            let mails = listed.get("messages").and_then(Value::as_array);
            let ids = mails.into_iter().flatten().filter_map(|mail| mail.get("id")?.as_str().map(str::to_owned));
            self.inbox.extend(ids);
            match listed.get("nextPageToken").and_then(Value::as_str) {
                Some(token) => page = format!("&pageToken={token}"),
                None => return Answer::Ran(listed),
            }
        }
    }

    /// The mails that a step is about.
    pub(crate) fn targets(&self, step: Step) -> Vec<String> {
        self.inbox.get(step.range()).unwrap_or_default().to_vec()
    }

    /// Does one step; one answer a request.
    pub(crate) async fn act(&mut self, step: Step) -> Vec<Answer> {
        let ids = self.targets(step);
        match step {
            Step::Sort => {
                for id in &ids {
                    self.get(&format!("messages/{id}?format=metadata")).await;
                }
                let body = json!({ "ids": ids, "addLabelIds": [TO_SORT] });
                vec![self.post("messages/batchModify", &body).await]
            }
            Step::TrashEach => {
                let mut answers = Vec::new();
                for id in ids {
                    let answer = self.post(&format!("messages/{id}/trash"), &Value::Null).await;
                    let stopped = matches!(answer, Answer::Stopped(_));
                    answers.push(answer);
                    if stopped {
                        break;
                    }
                }
                answers
            }
            Step::TrashMany => {
                let body = json!({ "ids": ids, "addLabelIds": ["TRASH"] });
                vec![self.post("messages/batchModify", &body).await]
            }
            Step::Archive => {
                let body = json!({ "ids": ids, "removeLabelIds": ["INBOX"] });
                vec![self.post("messages/batchModify", &body).await]
            }
            Step::DeleteSome | Step::DeleteMany => {
                vec![self.post("messages/batchDelete", &json!({ "ids": ids })).await]
            }
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        self.ask(Method::POST, path, body).await
    }

    /// Asks until there is an answer: `429` means that the person has not decided yet, `401` that the token is over.
    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Answer {
        let until = Instant::now() + PATIENCE;
        let uri = format!("{}/{}/gmail/v1/users/me/{path}", self.door, self.account);
        let mut refreshed = false;
        while Instant::now() < until {
            let token = match self.token().await {
                Ok(token) => token,
                Err(why) => return Answer::Stopped(why),
            };
            let request = Request::builder()
                .method(method.clone())
                .uri(&uri)
                .header(header::AUTHORIZATION, format!("Bearer {}", token.expose()))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()));
            match self.send(request).await {
                Some((status, _, answer)) if status.is_success() => return Answer::Ran(answer),
                Some((StatusCode::TOO_MANY_REQUESTS, wait, _)) => tokio::time::sleep(wait).await,
                Some((StatusCode::UNAUTHORIZED, _, answer)) if refreshed => return Answer::Stopped(words(&answer)),
                Some((StatusCode::UNAUTHORIZED, _, _)) | None if !refreshed => {
                    refreshed = true;
                    self.token = None;
                }
                Some((_, _, answer)) => return Answer::Denied(words(&answer)),
                None => return Answer::Stopped("the connection was cut".to_owned()),
            }
        }
        Answer::Denied("nobody answered".to_owned())
    }

    /// Buys an access token with the pairing secret (RFC 6749 section 6).
    async fn token(&mut self) -> Result<Secret, String> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", &self.client_id)
            .append_pair("refresh_token", self.pairing_secret.expose())
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/oauth2/token", self.door))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)));
        let Some((status, _, answer)) = self.send(request).await else {
            return Err("nobody opens at the door any more".to_owned());
        };
        match answer.get("access_token").and_then(Value::as_str) {
            Some(token) if status.is_success() => {
                let token = Secret::new(token.to_owned());
                self.token = Some(token.clone());
                Ok(token)
            }
            Some(_) | None => Err(words(&answer)),
        }
    }

    async fn send(&self, request: http::Result<Request<Full<Bytes>>>) -> Option<(StatusCode, Duration, Value)> {
        let response = self.http.request(request.ok()?).await.ok()?;
        let status = response.status();
        let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // It is impatient: it asks again sooner than it was told to.
        let wait = Duration::from_secs(wait.unwrap_or(1)).clamp(Duration::from_millis(200), Duration::from_secs(2));
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, wait, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// The refusal in Latchstring's own words.
fn words(answer: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    text(answer, "detail")
        .or_else(|| text(answer, "error_description"))
        .or_else(|| text(answer, "title"))
        .or_else(|| answer.get("error").and_then(|error| text(error, "message")))
        .unwrap_or_else(|| "refused".to_owned())
}
