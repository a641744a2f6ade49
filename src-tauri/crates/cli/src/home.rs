//! Which home folder is meant.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::exit::{Exit, Failure};

/// `--home`, else `LATCHSTRING_HOME`, else the platform's data folder.
pub(crate) fn resolve(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    choose(given, std::env::var_os("LATCHSTRING_HOME"))
}

fn choose(given: Option<PathBuf>, variable: Option<OsString>) -> Result<PathBuf, Failure> {
    let named = given.or_else(|| variable.filter(|value| !value.is_empty()).map(PathBuf::from));
    match named {
        Some(path) if path.as_os_str().is_empty() => Err(Failure::new(Exit::Usage, "--home needs a folder.")),
        Some(path) => std::path::absolute(path).map_err(Failure::failed),
        None => latch_daemon::home::default_path().map_err(Failure::failed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_given_wins_over_the_variable() {
        assert_eq!(choose(Some("/a".into()), Some("/b".into())).unwrap(), PathBuf::from("/a"));
        assert_eq!(choose(None, Some("/b".into())).unwrap(), PathBuf::from("/b"));
        assert_eq!(choose(Some(PathBuf::new()), None).unwrap_err().exit, Exit::Usage);
    }
}
