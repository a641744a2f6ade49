//! From a mail address to the servers that may be its own: what is known of providers, which names DNS is asked for, and what is left to guess.
//!
//! ```text
//!   Address ─┬─ Servers::known ── the provider of its domain
//!            ├─ SRV_NAMES ─ the daemon asks ─ best ── what the domain says itself (RFC 6186, 8314, 5804, 6764)
//!            ├─ the daemon asks for MX ─ Servers::by_mx ── the provider that takes its mail
//!            └─ guesses ── usual names; the daemon looks which of them answer
//! ```
//! Nothing here is trusted with a password: a person sees the host's name first, and [`is_outside`] says when it is not the domain's own.

mod file;
#[cfg(test)]
mod tests;

use serde::Deserialize;

const SHIPPED: &str = include_str!("../../servers/servers.toml");
/// The longest address (RFC 5321 section 4.5.3.1.3).
const LONGEST_ADDRESS: usize = 254;
/// The longest host name (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

/// A mail address, taken apart. Its domain is in small ASCII letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What stands before the `@`.
    pub local: String,
    /// What stands behind it.
    pub domain: String,
}

/// Why a text is no address that servers could be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a mail address such as you@example.org")]
pub struct NotAnAddress;

impl Address {
    /// Reads `you@example.org`. A domain with other than ASCII letters comes as punycode.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let (local, domain) = text.trim().rsplit_once('@').ok_or(NotAnAddress)?;
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let shown = |c: char| !c.is_control() && !c.is_whitespace();
        let good = !local.is_empty() && local.chars().all(shown) && text.len() <= LONGEST_ADDRESS && is_name(&domain);
        if good { Ok(Self { local: local.to_owned(), domain }) } else { Err(NotAnAddress) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Whether a text is a host name of two labels or more.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= LONGEST_NAME && text.contains('.') && text.split('.').all(label)
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, or nothing is said.
    StartTls,
    /// Not at all: on this machine only.
    None,
}

/// What a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Reading mail.
    Imap,
    /// Sending it.
    Smtp,
    /// Filters (RFC 5804).
    Sieve,
    /// Calendars (RFC 6764).
    Caldav,
    /// Address books (RFC 6764).
    Carddav,
}

impl Kind {
    /// The port when nothing is said of it.
    #[must_use]
    pub const fn port(self, security: Security) -> u16 {
        match (self, security) {
            (Self::Imap, Security::Implicit) => 993,
            (Self::Imap, Security::StartTls | Security::None) => 143,
            (Self::Smtp, Security::Implicit) => 465,
            (Self::Smtp, Security::StartTls | Security::None) => 587,
            (Self::Sieve, _) => 4190,
            (Self::Caldav | Self::Carddav, Security::None) => 80,
            (Self::Caldav | Self::Carddav, _) => 443,
        }
    }
}

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub security: Security,
}

impl TryFrom<String> for Server {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no server such as imaps://imap.example.org");
        let (scheme, place) = text.split_once("://").ok_or_else(wrong)?;
        let (kind, security) = match scheme {
            "imaps" => (Kind::Imap, Security::Implicit),
            "imap+starttls" => (Kind::Imap, Security::StartTls),
            "imap" => (Kind::Imap, Security::None),
            "smtps" => (Kind::Smtp, Security::Implicit),
            "smtp+starttls" => (Kind::Smtp, Security::StartTls),
            "smtp" => (Kind::Smtp, Security::None),
            "sieve+starttls" => (Kind::Sieve, Security::StartTls),
            _ => return Err(wrong()),
        };
        let (host, port) = match place.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (place, kind.port(security)),
        };
        let local = host == "127.0.0.1";
        if !is_name(host) || (security == Security::None && !local) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, security })
    }
}

/// What a provider wants as user name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserName {
    /// The whole address.
    #[default]
    Address,
    /// What stands before the `@`.
    Local,
}

/// Which password a provider takes from a mail program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Password {
    /// The account's own.
    Own,
    /// One that is made for this program.
    App,
    /// The own one, or an app password where the person signs in with two steps.
    Either,
    /// That of a program on this machine.
    Bridge,
    /// None: only a sign-in by OAuth 2.0.
    #[serde(rename = "oauth")]
    OAuth,
    /// No mail program can get in.
    None,
}

/// What is known of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Unique.
    pub id: String,
    /// For people.
    pub name: String,
    /// Reading mail.
    pub imap: Option<Server>,
    /// Sending it.
    pub smtp: Option<Server>,
    /// Filters.
    pub sieve: Option<Server>,
    /// Calendars' address.
    pub caldav: Option<String>,
    /// Address books' address.
    pub carddav: Option<String>,
    /// What the user name is.
    pub user: UserName,
    /// Which password it takes.
    pub password: Password,
    /// How the person gets it.
    pub help: String,
    /// The page for it.
    pub link: String,
    domains: Vec<String>,
    mx: Vec<String>,
}

impl Provider {
    /// The user name for an address.
    #[must_use]
    pub fn user_name(&self, address: &Address) -> String {
        // Somebody's own domain: what stands before its @ need not be the account's name there.
        match self.user {
            UserName::Local if self.owns(&address.domain) => address.local.clone(),
            UserName::Local | UserName::Address => address.to_string(),
        }
    }

    fn owns(&self, domain: &str) -> bool {
        self.domains.iter().any(|own| own == domain)
    }
}

/// The shipped file does not say what it should: our own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the shipped list of mail servers is broken: {0}")]
pub struct Broken(String);

/// All that is shipped.
#[derive(Debug, Clone)]
pub struct Servers(Vec<Provider>);

impl Servers {
    /// Reads what is shipped.
    pub fn shipped() -> Result<Self, Broken> {
        Self::read(SHIPPED)
    }

    fn read(text: &str) -> Result<Self, Broken> {
        let file: file::File = toml::from_str(text).map_err(|error| Broken(error.to_string()))?;
        let providers = file.provider.into_iter().map(|one| Provider {
            id: one.id,
            name: one.name,
            imap: one.imap,
            smtp: one.smtp,
            sieve: one.sieve,
            caldav: one.caldav,
            carddav: one.carddav,
            user: one.user,
            password: one.password,
            help: one.help,
            link: one.link,
            domains: one.domains,
            mx: one.mx,
        });
        Ok(Self(providers.collect()))
    }

    /// The provider whose addresses end like this one.
    #[must_use]
    pub fn known(&self, address: &Address) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.owns(&address.domain))
    }

    /// The provider that one of these mail exchangers, the most wanted first, belongs to.
    #[must_use]
    pub fn by_mx(&self, exchangers: &[String]) -> Option<&Provider> {
        exchangers.iter().find_map(|host| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            let fits = self.0.iter().flat_map(|provider| provider.mx.iter().map(move |end| (end, provider)));
            let longest = fits.filter(|(end, _)| is_below(&host, end)).max_by_key(|(end, _)| end.len());
            longest.map(|(_, provider)| provider)
        })
    }

    /// The provider whose server this is: for words about its password.
    #[must_use]
    pub fn by_host(&self, host: &str) -> Option<&Provider> {
        let serves =
            |server: &Option<Server>| server.as_ref().is_some_and(|server| server.host.eq_ignore_ascii_case(host));
        // Whatever listens on this machine need not be anybody's bridge.
        self.0.iter().find(|one| one.password != Password::Bridge && (serves(&one.imap) || serves(&one.smtp)))
    }

    /// Every provider, for tests and lists.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}

/// The names that a domain says its servers under, the better ones first (RFC 8314 section 5.1 prefers TLS from the first byte).
pub const SRV_NAMES: [(Kind, Security, &str); 7] = [
    (Kind::Imap, Security::Implicit, "_imaps._tcp"),
    (Kind::Imap, Security::StartTls, "_imap._tcp"),
    (Kind::Smtp, Security::Implicit, "_submissions._tcp"),
    (Kind::Smtp, Security::StartTls, "_submission._tcp"),
    (Kind::Sieve, Security::StartTls, "_sieve._tcp"),
    (Kind::Caldav, Security::Implicit, "_caldavs._tcp"),
    (Kind::Carddav, Security::Implicit, "_carddavs._tcp"),
];

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// The lowest is asked first.
    pub priority: u16,
    /// Among equals, the highest is asked first: what is shown should not change from time to time.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` says that there is none (RFC 6186 section 3.4).
    pub target: String,
}

/// What a domain's answers name, the one to ask first at the front. A name that is none is left out.
#[must_use]
pub fn best(mut records: Vec<Srv>, security: Security) -> Vec<Server> {
    records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight), record.port));
    let server = |record: Srv| {
        let host = record.target.trim_end_matches('.').to_ascii_lowercase();
        let good = record.port != 0 && (is_name(&host) || host == "localhost");
        good.then_some(Server { host, port: record.port, security })
    };
    records.into_iter().filter_map(server).collect()
}

/// Usual names, the likeliest first. Each counts only if it answers and proves who it is.
#[must_use]
pub fn guesses(address: &Address, kind: Kind) -> Vec<Server> {
    let names: &[&str] = match kind {
        Kind::Imap => &["imap.", "mail."],
        Kind::Smtp => &["smtp.", "mail."],
        Kind::Sieve | Kind::Caldav | Kind::Carddav => &[],
    };
    let at = |security: Security| {
        names.iter().map(move |name| Server {
            host: format!("{name}{}", address.domain),
            port: kind.port(security),
            security,
        })
    };
    at(Security::Implicit).chain(at(Security::StartTls)).collect()
}

/// Whether a host is not the domain's own or below it: the person must have seen it before a password goes there (RFC 6186 section 6).
#[must_use]
pub fn is_outside(host: &str, domain: &str) -> bool {
    !is_below(&host.trim_end_matches('.').to_ascii_lowercase(), &domain.to_ascii_lowercase())
}

fn is_below(host: &str, end: &str) -> bool {
    host.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A short name for the account that nobody has yet, in letters that may stand in URLs.
#[must_use]
pub fn account_id(address: &Address, taken: impl Fn(&str) -> bool) -> String {
    let clean = |text: &str| {
        let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let text: String = text.chars().map(letter).take(40).collect();
        text.trim_matches(['.', '-']).to_ascii_lowercase()
    };
    let local = Some(clean(&address.local)).filter(|name| !name.is_empty() && name != "oauth2");
    let local = local.unwrap_or_else(|| "mail".to_owned());
    let label = clean(address.domain.split('.').next().unwrap_or_default());
    let longer = format!("{local}-{}", label.chars().take(20).collect::<String>());
    let numbered = (2..).map(|number: u32| format!("{longer}-{number}"));
    [local, longer.clone()].into_iter().chain(numbered).find(|id| !taken(id)).unwrap_or(longer)
}
