//! The OAuth endpoints: token (RFC 6749 sections 4.4 and 6, RFC 8693), revocation (RFC 7009), introspection (RFC 7662), metadata (RFC 8414).
//!
//! A pairing secret stands where clients expect a refresh token or a client secret, so that ordinary client libraries fetch access tokens by themselves.
//! `scope` is accepted and ignored: what an agent may do comes from its grant alone.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use latch_core::catalog::ErrorShape;
use latch_ipc::Secret;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::body::{AgentBody, AnswerBody};
use super::problem::{json_response, problem};
use super::{Door, Inside};

/// The largest form.
const MAX_FORM: usize = 16 * 1024;
const METADATA: &str = "/.well-known/oauth-authorization-server";
const GRANT_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE_ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a token is asked for with.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenRequest {
    /// `refresh_token` (the secret stands as refresh token) or `client_credentials` (as client secret).
    Paired {
        /// The agent's client id; without it the secret alone tells whose it is.
        client_id: Option<String>,
        /// The pairing secret.
        secret: Secret,
        /// RFC 9396: less than what is granted.
        details: Option<Vec<Value>>,
    },
    /// RFC 8693: a narrower token for a sub-agent.
    Exchange {
        /// A live access token.
        subject: Secret,
        /// What the new one may do; without it, the same.
        details: Option<Vec<Value>>,
    },
}

/// A token that was issued.
#[derive(Debug)]
pub struct TokenAnswer {
    /// The access token.
    pub access_token: Secret,
    /// Its life in seconds.
    pub expires_in: u64,
    /// What it may do.
    pub details: Vec<Value>,
}

/// What RFC 7662 tells about a live token.
#[derive(Debug, Clone, PartialEq)]
pub struct Introspection {
    /// The agent's client id.
    pub client_id: String,
    /// The agent's id.
    pub subject: String,
    /// Remaining life in seconds.
    pub expires_in: u64,
    /// When it ends, seconds since the Unix epoch.
    pub expires_at: u64,
    /// What it may do.
    pub details: Vec<Value>,
}

/// An error of RFC 6749 section 5.2, RFC 8693 or RFC 9396; the text is for whoever runs the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuthError {
    /// The form is wrong.
    InvalidRequest(String),
    /// No such client.
    InvalidClient(String),
    /// The pairing secret or subject token is not good.
    InvalidGrant(String),
    /// This grant type is not offered.
    UnsupportedGrantType(String),
    /// More than what is granted was asked for.
    InvalidDetails(String),
    /// A token for somebody else was asked for.
    InvalidTarget(String),
    /// Stopped by the person: asking again does not help until they resume.
    Stopped(String),
    /// Not now.
    Unavailable(String),
}

impl OAuthError {
    fn parts(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::InvalidRequest(text) => (StatusCode::BAD_REQUEST, "invalid_request", text),
            Self::InvalidClient(text) => (StatusCode::UNAUTHORIZED, "invalid_client", text),
            Self::InvalidGrant(text) => (StatusCode::BAD_REQUEST, "invalid_grant", text),
            Self::UnsupportedGrantType(text) => (StatusCode::BAD_REQUEST, "unsupported_grant_type", text),
            Self::InvalidDetails(text) => (StatusCode::BAD_REQUEST, "invalid_authorization_details", text),
            Self::InvalidTarget(text) => (StatusCode::BAD_REQUEST, "invalid_target", text),
            Self::Stopped(text) => (StatusCode::FORBIDDEN, "access_denied", text),
            Self::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text),
        }
    }

    fn response(&self) -> Response<AnswerBody> {
        let (status, code, text) = self.parts();
        let mut response =
            json_response(status, "application/json", &json!({ "error": code, "error_description": text }));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"latchstring\""));
        }
        response
    }
}

/// A path of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Token,
    Revoke,
    Introspect,
    Metadata,
    Unknown,
}

impl Endpoint {
    /// `oauth2` and `.well-known` are no account's.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/oauth2/token" => Some(Self::Token),
            "/oauth2/revoke" => Some(Self::Revoke),
            "/oauth2/introspect" => Some(Self::Introspect),
            METADATA => Some(Self::Metadata),
            _ if path.strip_prefix(METADATA).is_some_and(|suffix| suffix.starts_with('/')) => Some(Self::Metadata),
            _ if path.starts_with("/oauth2/") || path.starts_with("/.well-known/") => Some(Self::Unknown),
            _ => None,
        }
    }

    fn method(self) -> Method {
        if self == Self::Metadata { Method::GET } else { Method::POST }
    }
}

impl<I: Inside> Door<I> {
    pub(super) async fn oauth(
        &self,
        endpoint: Endpoint,
        head: Parts,
        body: AgentBody,
        peer: SocketAddr,
    ) -> Response<AnswerBody> {
        if endpoint == Endpoint::Unknown {
            let detail = format!("There is nothing at this path. {METADATA} lists the endpoints.");
            return problem(ErrorShape::Plain, StatusCode::NOT_FOUND, "Not found", &detail, Value::Null);
        }
        let method = endpoint.method();
        if head.method != method {
            let detail = format!("This endpoint takes {method} only.");
            let mut response =
                problem(ErrorShape::Plain, StatusCode::METHOD_NOT_ALLOWED, "Wrong method", &detail, Value::Null);
            if let Ok(allow) = HeaderValue::from_str(method.as_str()) {
                response.headers_mut().insert(ALLOW, allow);
            }
            return response;
        }
        if endpoint == Endpoint::Metadata {
            return metadata(&head);
        }
        let form = match form(&head, body).await {
            Ok(form) => form,
            Err(error) => return error.response(),
        };
        match endpoint {
            Endpoint::Token => match self.token(form, peer).await {
                Ok(response) => response,
                Err(error) => error.response(),
            },
            Endpoint::Revoke => {
                let Some(token) = form.secret("token") else {
                    return OAuthError::InvalidRequest("The parameter 'token' is missing.".to_owned()).response();
                };
                self.inside.revoke(token.expose()).await;
                json_response(StatusCode::OK, "application/json", &json!({}))
            }
            Endpoint::Introspect => match self.session(&head, None, peer) {
                Ok(caller) => self.introspect(&caller, &form),
                Err(refused) => refused.response(ErrorShape::Plain),
            },
            Endpoint::Metadata | Endpoint::Unknown => {
                json_response(StatusCode::NOT_FOUND, "application/json", &json!({}))
            }
        }
    }

    async fn token(&self, form: Form, peer: SocketAddr) -> Result<Response<AnswerBody>, OAuthError> {
        let request = token_request(&form)?;
        let exchanged = matches!(request, TokenRequest::Exchange { .. });
        let answer = self.inside.token(request, peer).await?;
        let mut members = Map::new();
        members.insert("access_token".to_owned(), json!(answer.access_token.expose()));
        if exchanged {
            members.insert("issued_token_type".to_owned(), json!(TYPE_ACCESS_TOKEN));
        }
        members.insert("token_type".to_owned(), json!("Bearer"));
        members.insert("expires_in".to_owned(), json!(answer.expires_in));
        members.insert("authorization_details".to_owned(), Value::Array(answer.details));
        Ok(json_response(StatusCode::OK, "application/json", &Value::Object(members)))
    }

    fn introspect(&self, caller: &I::Session, form: &Form) -> Response<AnswerBody> {
        let Some(token) = form.secret("token") else {
            return OAuthError::InvalidRequest("The parameter 'token' is missing.".to_owned()).response();
        };
        let value = match self.inside.introspect(caller, token.expose()) {
            None => json!({ "active": false }),
            Some(about) => json!({
                "active": true,
                "client_id": about.client_id,
                "sub": about.subject,
                "token_type": "Bearer",
                "exp": about.expires_at,
                "expires_in": about.expires_in,
                "authorization_details": about.details,
            }),
        };
        json_response(StatusCode::OK, "application/json", &value)
    }
}

fn token_request(form: &Form) -> Result<TokenRequest, OAuthError> {
    let missing = |name: &str| OAuthError::InvalidRequest(format!("The parameter '{name}' is missing."));
    let details = details(form)?;
    match form.get("grant_type").ok_or_else(|| missing("grant_type"))? {
        "refresh_token" => Ok(TokenRequest::Paired {
            client_id: form.get("client_id").map(str::to_owned),
            secret: form.secret("refresh_token").ok_or_else(|| missing("refresh_token"))?,
            details,
        }),
        "client_credentials" => {
            let unnamed = || {
                OAuthError::InvalidClient("client_id and the pairing secret as client_secret are needed.".to_owned())
            };
            Ok(TokenRequest::Paired {
                client_id: Some(form.get("client_id").ok_or_else(unnamed)?.to_owned()),
                secret: form.secret("client_secret").ok_or_else(unnamed)?,
                details,
            })
        }
        GRANT_EXCHANGE => {
            for name in ["subject_token_type", "requested_token_type"] {
                if form.get(name).is_some_and(|kind| kind != TYPE_ACCESS_TOKEN) {
                    return Err(OAuthError::InvalidRequest(format!("The only {name} is {TYPE_ACCESS_TOKEN}.")));
                }
            }
            if form.get("actor_token").is_some() {
                return Err(OAuthError::InvalidRequest("Acting for another (actor_token) is not offered.".to_owned()));
            }
            if form.get("audience").is_some() || form.get("resource").is_some() {
                let text = "Tokens are good for this door only; choose accounts by authorization_details.";
                return Err(OAuthError::InvalidTarget(text.to_owned()));
            }
            Ok(TokenRequest::Exchange {
                subject: form.secret("subject_token").ok_or_else(|| missing("subject_token"))?,
                details,
            })
        }
        _ => {
            let text = format!("Offered are refresh_token, client_credentials and {GRANT_EXCHANGE}.");
            Err(OAuthError::UnsupportedGrantType(text))
        }
    }
}

fn details(form: &Form) -> Result<Option<Vec<Value>>, OAuthError> {
    let Some(text) = form.get("authorization_details") else { return Ok(None) };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|_| OAuthError::InvalidDetails("authorization_details must be a JSON array (RFC 9396).".to_owned()))
}

/// Decoded parameters; empty ones count as left out (RFC 6749 section 3.2).
struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(value.to_owned()))
    }
}

async fn form(head: &Parts, body: AgentBody) -> Result<Form, OAuthError> {
    let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(OAuthError::InvalidRequest("The body must be application/x-www-form-urlencoded.".to_owned()));
    }
    let bytes = body.collect(MAX_FORM).await.map_err(|error| OAuthError::InvalidRequest(error.to_string()))?;
    let mut form = Form(Vec::new());
    for (key, value) in form_urlencoded::parse(&bytes) {
        let value = Zeroizing::new(value.into_owned());
        if value.is_empty() {
            continue;
        }
        if form.get(&key).is_some() {
            return Err(OAuthError::InvalidRequest("A parameter was sent twice.".to_owned()));
        }
        form.0.push((key.into_owned(), value));
    }
    basic(head, &mut form)?;
    Ok(form)
}

/// RFC 6749 section 2.3.1: id and secret in the Authorization header.
fn basic(head: &Parts, form: &mut Form) -> Result<(), OAuthError> {
    let Some(value) = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return Ok(()) };
    let Some((scheme, encoded)) = value.split_once(' ') else { return Ok(()) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(());
    }
    let wrong = || OAuthError::InvalidClient("The Authorization header is not valid Basic authentication.".to_owned());
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).map_err(|_| wrong())?);
    let text = std::str::from_utf8(&decoded).map_err(|_| wrong())?;
    let (id, secret) = text.split_once(':').ok_or_else(wrong)?;
    for (name, part) in [("client_id", id), ("client_secret", secret)] {
        let part = Zeroizing::new(form_urlencoded_decode(part));
        match form.get(name) {
            Some(other) if other != part.as_str() => {
                return Err(OAuthError::InvalidRequest("Two different client authentications were sent.".to_owned()));
            }
            Some(_) => {}
            None if part.is_empty() => {}
            None => form.0.push((name.to_owned(), part)),
        }
    }
    Ok(())
}

fn form_urlencoded_decode(part: &str) -> String {
    let spaced = part.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// RFC 8414; for an issuer with a path, the path follows the well-known name.
fn metadata(head: &Parts) -> Response<AnswerBody> {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let base = format!("http://{host}");
    let suffix = head.uri.path().strip_prefix(METADATA).unwrap_or_default();
    let methods = json!(["none", "client_secret_basic", "client_secret_post"]);
    let value = json!({
        "issuer": format!("{base}{suffix}"),
        "token_endpoint": format!("{base}/oauth2/token"),
        "token_endpoint_auth_methods_supported": methods,
        "grant_types_supported": ["refresh_token", "client_credentials", GRANT_EXCHANGE],
        "response_types_supported": [],
        "revocation_endpoint": format!("{base}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": format!("{base}/oauth2/introspect"),
        "authorization_details_types_supported": ["latchstring_account"],
    });
    json_response(StatusCode::OK, "application/json", &value)
}
