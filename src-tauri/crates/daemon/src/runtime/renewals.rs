//! Sign-ins of accounts that were tried and not added: the provider may have handed out another refresh token meanwhile, and ended the one that was typed.

use std::collections::VecDeque;

use latch_core::call::Digest;
use latch_ipc::Secret;

use crate::vault::Credential;

/// Of more, the oldest are forgotten.
const MOST: usize = 16;

/// What stands instead of what was typed. In memory alone: nobody has said yet that it is to be kept.
#[derive(Debug, Default)]
pub(crate) struct Renewals(VecDeque<(Digest, Secret)>);

impl Renewals {
    /// The sign-in as its provider knows it by now.
    pub(super) fn newest(&self, typed: Credential) -> Credential {
        let known = name(&typed).and_then(|name| self.of(&name));
        match (typed, known) {
            (Credential::OAuth2 { client_id, client_secret, token_endpoint, .. }, Some(known)) => {
                Credential::OAuth2 { client_id, client_secret, refresh_token: known.clone(), token_endpoint }
            }
            (typed, _) => typed,
        }
    }

    /// What stands instead of a sign-in of this name.
    pub(super) fn of(&self, name: &Digest) -> Option<&Secret> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, token)| token)
    }

    pub(super) fn note(&mut self, name: Digest, token: Secret) {
        self.forget(&name);
        self.0.push_back((name, token));
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    pub(super) fn forget(&mut self, name: &Digest) {
        self.0.retain(|(known, _)| known != name);
    }
}

/// A sign-in's name: its token together with the only place that the token may go to.
pub(super) fn name(credential: &Credential) -> Option<Digest> {
    let Credential::OAuth2 { client_id, client_secret, refresh_token, token_endpoint } = credential else {
        return None;
    };
    let secret = client_secret.as_ref().map_or("", |secret| secret.expose());
    let fields = [token_endpoint, client_id, secret, refresh_token.expose()];
    Some(Digest::of(&fields.map(str::as_bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn sign_in(token: &str, token_endpoint: &str) -> Credential {
        Credential::OAuth2 {
            client_id: "id".to_owned(),
            client_secret: None,
            refresh_token: Secret::new(token.to_owned()),
            token_endpoint: token_endpoint.to_owned(),
        }
    }

    fn token(credential: &Credential) -> &str {
        let Credential::OAuth2 { refresh_token, .. } = credential else { return "" };
        refresh_token.expose()
    }

    #[test]
    fn a_new_token_stands_for_the_typed_one_where_that_one_was_for() {
        let mut renewals = Renewals::default();
        let (here, there) = ("https://a.example/token", "https://b.example/token");
        let typed = name(&sign_in("typed", here)).unwrap();
        renewals.note(typed, Secret::new("second".to_owned()));
        renewals.note(typed, Secret::new("third".to_owned()));
        assert_eq!(token(&renewals.newest(sign_in("typed", here))), "third");
        assert_eq!(token(&renewals.newest(sign_in("typed", there))), "typed");
        assert_eq!(token(&renewals.newest(sign_in("other", here))), "other");
        for n in 0..MOST {
            renewals.note(name(&sign_in(&n.to_string(), here)).unwrap(), Secret::new("x".to_owned()));
        }
        assert_eq!(token(&renewals.newest(sign_in("typed", here))), "typed", "the oldest is forgotten");
        renewals.forget(&name(&sign_in("0", here)).unwrap());
        assert_eq!((renewals.0.len(), token(&renewals.newest(sign_in("0", here)))), (MOST - 1, "0"));
    }
}
