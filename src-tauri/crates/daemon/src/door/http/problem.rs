//! Refusals in the agent's own words: RFC 9457 problem details that also fill the provider's error shape.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use latch_core::catalog::ErrorShape;
use serde_json::{Map, Value, json};

use super::body::AnswerBody;

/// A refusal. `extra` adds members (`type`, `hold`, `retry_after` in seconds, which also becomes the `Retry-After` header); it can't replace `title`,
/// `status` or `detail`.
#[must_use]
pub fn problem(shape: ErrorShape, status: StatusCode, title: &str, detail: &str, extra: Value) -> Response<AnswerBody> {
    let code = status.as_u16();
    let mut members = Map::new();
    members.insert("type".to_owned(), json!("about:blank"));
    let mut retry_after = None;
    if let Value::Object(extra) = extra {
        retry_after = extra.get("retry_after").and_then(Value::as_u64);
        members.extend(extra);
    }
    members.insert("title".to_owned(), json!(title));
    members.insert("status".to_owned(), json!(code));
    members.insert("detail".to_owned(), json!(detail));
    match shape {
        ErrorShape::Google => {
            let message = format!("{title}: {detail}");
            members.insert(
                "error".to_owned(),
                json!({
                    "code": code,
                    "message": message,
                    "status": google_status(code),
                    "errors": [{ "message": message, "domain": "latchstring", "reason": google_reason(code) }],
                }),
            );
        }
        ErrorShape::Plain => {}
    }
    let mut response = json_response(status, "application/problem+json", &Value::Object(members));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// 401 with the challenge of RFC 6750 section 3. Without `error`: no token was sent.
#[must_use]
pub fn unauthorized(shape: ErrorShape, error: Option<&str>, detail: &str) -> Response<AnswerBody> {
    let challenge = match error {
        None => "Bearer realm=\"latchstring\"".to_owned(),
        Some(error) => {
            format!("Bearer realm=\"latchstring\", error=\"{error}\", error_description=\"{}\"", quotable(detail))
        }
    };
    let title = if error.is_some() { "The access token is not accepted" } else { "An access token is needed" };
    let mut response = problem(shape, StatusCode::UNAUTHORIZED, title, detail, Value::Null);
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    // Programs for calendars and contacts ask without a password first, and know no other challenge.
    let basic = HeaderValue::from_static("Basic realm=\"latchstring\", charset=\"UTF-8\"");
    response.headers_mut().append(WWW_AUTHENTICATE, basic);
    response
}

/// A JSON answer that nobody may store.
#[must_use]
pub fn json_response(status: StatusCode, media_type: &'static str, value: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// RFC 6750 allows %x20-21 / %x23-5B / %x5D-7E in `error_description`.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect()
}

/// google.rpc.Code by HTTP status.
fn google_status(code: u16) -> &'static str {
    match code {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        412 => "FAILED_PRECONDITION",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

fn google_reason(code: u16) -> &'static str {
    match code {
        401 => "authError",
        403 => "forbidden",
        404 => "notFound",
        429 => "rateLimitExceeded",
        400..=499 => "badRequest",
        _ => "backendError",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn members(response: Response<AnswerBody>) -> Value {
        serde_json::from_slice(response.into_body().as_whole().expect("whole")).expect("json")
    }

    #[test]
    fn fills_both_shapes_and_keeps_its_own_members() {
        let extra = json!({ "hold": "h1", "retry_after": 7, "status": 200, "type": "urn:x" });
        let response = problem(ErrorShape::Google, StatusCode::TOO_MANY_REQUESTS, "Waiting", "for the person", extra);
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let value = members(response);
        assert_eq!(value["status"], 429);
        assert_eq!(value["type"], "urn:x");
        assert_eq!(value["hold"], "h1");
        assert_eq!(value["error"]["code"], 429);
        assert_eq!(value["error"]["message"], "Waiting: for the person");
        assert_eq!(value["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(value["error"]["errors"][0]["reason"], "rateLimitExceeded");
    }

    #[test]
    fn a_challenge_names_the_error_only_when_a_token_was_sent() {
        let without = unauthorized(ErrorShape::Plain, None, "send one");
        assert_eq!(without.headers()[WWW_AUTHENTICATE], "Bearer realm=\"latchstring\"");
        let with = unauthorized(ErrorShape::Plain, Some("invalid_token"), "it \"expired\"\n");
        assert_eq!(
            with.headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"latchstring\", error=\"invalid_token\", error_description=\"it 'expired''\""
        );
        assert_eq!(members(with)["detail"], "it \"expired\"\n");
    }
}
