//! The running engine, over its control socket.

use std::path::Path;

use latch_daemon::control::SOCKET;
use latch_ipc::Client;

use crate::exit::{Exit, Failure};

/// Connects to the home's engine.
#[cfg(unix)]
pub(crate) async fn connect(home: &Path) -> Result<Client, Failure> {
    let path = home.join(SOCKET);
    let stream = tokio::net::UnixStream::connect(&path).await.map_err(|error| absent(home, &error))?;
    let own = rustix::process::geteuid().as_raw();
    if stream.peer_cred().map_err(Failure::failed)?.uid() != own {
        return Err(Failure::new(
            Exit::Failed,
            format!("{} is served by another user; nothing was sent.", path.display()),
        ));
    }
    let (reader, writer) = stream.into_split();
    Ok(Client::start(tokio::io::BufReader::new(reader), writer).0)
}

/// Elsewhere the tray is the way to the engine.
#[cfg(not(unix))]
pub(crate) async fn connect(home: &Path) -> Result<Client, Failure> {
    Err(Failure::new(
        Exit::NotRunning,
        format!("The engine of {} is reachable only through the tray here.", home.display()),
    ))
}

#[cfg(unix)]
fn absent(home: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Failure::new(
            Exit::NotRunning,
            format!(
                "No engine runs for {}. Start the tray (latchstring), or latch serve in a terminal.",
                home.display()
            ),
        ),
        _ => Failure::new(Exit::Failed, format!("The engine of {} can't be reached: {error}.", home.display())),
    }
}
