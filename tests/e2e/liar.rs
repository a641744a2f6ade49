//! A line between the engine and its mail server that can break, and that can change what is said.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// When the line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the server hears the command.
    Before,
    /// After the server did what it was told, before its answer is heard.
    After,
}

#[derive(Default)]
struct Rules {
    /// A command with this word in it.
    cut: Option<(String, Cut)>,
    /// A line of the server with these words in it is replaced, up to its end.
    says: Vec<(String, Vec<u8>)>,
    /// Words of a command that the server hears differently.
    hears: Vec<(String, String)>,
    /// A command, or a line of the server, with this word in it takes so long.
    slow: Option<(String, Duration)>,
    /// Commands with this word in them, and how many there were.
    counted: Option<(String, usize)>,
}

/// How many connections there are, and were at most.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// The line.
pub(crate) struct Liar {
    /// Where it begins.
    pub(crate) port: u16,
    rules: Arc<Mutex<Rules>>,
    open: Arc<Open>,
}

impl Liar {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let rules = Arc::<Mutex<Rules>>::default();
        let open = Arc::<Open>::default();
        let (own, counting) = (Arc::clone(&rules), Arc::clone(&open));
        tokio::spawn(async move {
            while let Ok((engine, _)) = listener.accept().await {
                let (rules, open) = (Arc::clone(&own), Arc::clone(&counting));
                let now = open.now.fetch_add(1, Ordering::SeqCst) + 1;
                open.most.fetch_max(now, Ordering::SeqCst);
                tokio::spawn(async move {
                    let _ = relay(engine, server, rules).await;
                    open.now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, rules, open }
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().expect("not poisoned")
    }

    /// From now on the line breaks at each command with this word.
    pub(crate) fn cut(&self, word: &str, cut: Cut) {
        self.rules().cut = Some((word.to_owned(), cut));
    }

    /// From now on the engine hears this instead of a line with these words; `{tag}` at its beginning is that line's own.
    pub(crate) fn says(&self, instead_of: &str, line: impl Into<Vec<u8>>) {
        self.rules().says.push((instead_of.to_owned(), line.into()));
    }

    /// From now on the server hears these words instead of others, or as they are if they are the same.
    pub(crate) fn hears(&self, instead_of: &str, words: &str) {
        let mut rules = self.rules();
        rules.hears.retain(|(former, _)| former != instead_of);
        rules.hears.push((instead_of.to_owned(), words.to_owned()));
    }

    /// From now on each command, and each line of the server, with this word in it takes so long.
    pub(crate) fn slow(&self, word: &str, by: Duration) {
        self.rules().slow = Some((word.to_owned(), by));
    }

    /// The most connections that there were at once.
    pub(crate) fn most(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }

    /// From now on commands with this word are counted.
    pub(crate) fn counts(&self, word: &str) {
        self.rules().counted = Some((word.to_owned(), 0));
    }

    /// How many there were.
    pub(crate) fn counted(&self) -> usize {
        self.rules().counted.as_ref().map_or(0, |(_, times)| *times)
    }

    /// Honest again, for new connections and old ones.
    pub(crate) fn mend(&self) {
        *self.rules() = Rules::default();
    }
}

/// Waits where the line is slow.
async fn crawl(rules: &Mutex<Rules>, line: &[u8]) {
    let slow = rules.lock().expect("not poisoned").slow.clone();
    if let Some((_, by)) = slow.filter(|(word, _)| has(line, word)) {
        tokio::time::sleep(by).await;
    }
}

fn has(line: &[u8], words: &str) -> bool {
    line.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

fn tagged(lie: Vec<u8>, line: &[u8]) -> Vec<u8> {
    match lie.strip_prefix(b"{tag}") {
        Some(rest) => [line.split(|byte| *byte == b' ').next().unwrap_or_default(), rest].concat(),
        None => lie,
    }
}

async fn relay(engine: TcpStream, server: u16, rules: Arc<Mutex<Rules>>) -> std::io::Result<()> {
    if matches!(&rules.lock().expect("not poisoned").cut, Some((word, _)) if word == "(connect)") {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    let (from_engine, mut to_engine) = engine.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (mut from_engine, mut from_server) = (BufReader::new(from_engine), BufReader::new(from_server));
    let (said, deaf) = (Arc::clone(&rules), Arc::new(AtomicBool::new(false)));
    let is_deaf = Arc::clone(&deaf);
    let answers = async move {
        let mut line = Vec::new();
        while from_server.read_until(b'\n', &mut line).await? > 0 {
            let lie = said.lock().expect("not poisoned").says.iter().find(|(words, _)| has(&line, words)).cloned();
            if is_deaf.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            crawl(&said, &line).await;
            let lie = lie.map_or_else(|| line.clone(), |(_, lie)| tagged(lie, &line));
            to_engine.write_all(&lie).await?;
            line.clear();
        }
        std::io::Result::Ok(())
    };
    let commands = async move {
        let mut line = Vec::new();
        while from_engine.read_until(b'\n', &mut line).await? > 0 {
            let (cut, hears) = {
                let mut rules = rules.lock().expect("not poisoned");
                if let Some((_, times)) = rules.counted.as_mut().filter(|(word, _)| has(&line, word)) {
                    *times += 1;
                }
                let cut = rules.cut.clone().filter(|(word, _)| has(&line, word)).map(|(_, cut)| cut);
                (cut, rules.hears.iter().find(|(words, _)| has(&line, words)).cloned())
            };
            if let Some((words, instead)) = hears {
                line = String::from_utf8_lossy(&line).replace(&words, &instead).into_bytes();
            }
            crawl(&rules, &line).await;
            deaf.store(cut.is_some(), Ordering::SeqCst);
            if cut != Some(Cut::Before) {
                to_server.write_all(&line).await?;
            }
            if cut.is_some() {
                // By then the server has done it.
                let wait = if cut == Some(Cut::After) { 150 } else { 0 };
                tokio::time::sleep(Duration::from_millis(wait)).await;
                return std::io::Result::Ok(());
            }
            line.clear();
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        ended = answers => ended,
        ended = commands => ended,
    }
}
