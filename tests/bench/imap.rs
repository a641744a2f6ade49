//! The IMAP door beside nginx's mail proxy, both in front of the same Dovecot.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use latch_ipc::contract::{GrantPut, GrantPutParams};
use latch_tests::dovecot::{Dovecot, PASSWORD, USER};
use latch_tests::engine::{Engine, Start};
use latch_tests::mail::add;
use latch_tests::ports::free_port;
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};

use crate::peers::{Running, has_mail_proxy, listening, nginx_mail};
use crate::table::{Row, median, time};

const ROUNDS: usize = 9;
/// Mails of a bulk FETCH, and the bytes of each.
const MAILS: usize = 64;
const MAIL: usize = 1024 * 1024;
/// NOOPs of a round.
const NOOPS: usize = 2_000;

/// What a bulk FETCH and a NOOP cost.
pub async fn rows() -> Vec<Row> {
    if !has_mail_proxy() {
        let why = "not measured: nginx has no mail module here (Debian: libnginx-mod-mail)";
        return vec![Row::new("IMAP bulk FETCH").peer(why), Row::new("time added to an IMAP NOOP").peer(why)];
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dovecot = Dovecot::start(0).await;
    fill(dovecot.port);
    let engine = Start::at(&folder.path().join("home")).in_memory().imap().start().await;
    add(&engine, dovecot.port, PASSWORD).await;
    connect(&engine, AGENT, ACCOUNT, "organize").await;
    reads_all(&engine).await;
    let (port, _proxy) = proxy(folder.path(), dovecot.port).await;
    let token = issue(&engine, AGENT).await;
    let ours = engine.welcome.doors.imap.clone().expect("an IMAP door");
    let mut ways = [
        Client::enter(&format!("127.0.0.1:{}", dovecot.port), USER, PASSWORD),
        Client::enter(&format!("127.0.0.1:{port}"), USER, PASSWORD),
        Client::enter(&ours, ACCOUNT, &token),
    ];
    for way in &mut ways {
        way.command("SELECT INBOX");
        way.command("UID FETCH 1:* (BODY.PEEK[])");
    }
    let (mut bulk, mut noops): (Vec<[f64; 3]>, Vec<[f64; 3]>) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bulk.push(ways.each_mut().map(|way| {
            let start = Instant::now();
            let heard = way.command("UID FETCH 1:* (BODY.PEEK[])");
            assert!(heard > MAILS * MAIL, "{heard} bytes");
            heard as f64 / start.elapsed().as_secs_f64()
        }));
        noops.push(ways.each_mut().map(|way| {
            median(
                (0..NOOPS)
                    .map(|_| {
                        let start = Instant::now();
                        way.command("NOOP");
                        start.elapsed().as_secs_f64()
                    })
                    .collect(),
            )
        }));
    }
    let middle = |rounds: &[[f64; 3]], of: &dyn Fn(&[f64; 3]) -> f64| median(rounds.iter().map(of).collect());
    let rate = |n: usize| format!("{:.0} MB/s", middle(&bulk, &|round| round[n]) / 1e6);
    let faster = middle(&bulk, &|round| round[OURS] / round[NGINX]);
    let added = |n: usize| move |round: &[f64; 3]| (round[n] - round[DIRECT]).max(1e-6);
    let slower = middle(&noops, &|round| added(OURS)(round) / added(NGINX)(round));
    vec![
        Row::new(format!("IMAP bulk FETCH, {MAILS} mails of 1 MB"))
            .ours(rate(OURS))
            .peer(format!("{} (nginx mail proxy), {} (Dovecot itself)", rate(NGINX), rate(DIRECT)))
            .ratio(format!("{faster:.2}x nginx"))
            .target(">= 1.2x nginx", faster >= 1.2),
        Row::new("time added to an IMAP NOOP, p50")
            .ours(time(middle(&noops, &added(OURS))))
            .peer(format!("{} (nginx mail proxy)", time(middle(&noops, &added(NGINX)))))
            .ratio(format!("{slower:.2}x nginx"))
            .target("<= 1.5x nginx", slower <= 1.5),
    ]
}

const DIRECT: usize = 0;
const NGINX: usize = 1;
const OURS: usize = 2;

/// Lets the agent read as much as it likes.
async fn reads_all(engine: &Engine) {
    let params = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([("read".to_owned(), [1_000_000, 1_000_000])].into()),
        expires_in: None,
    };
    engine.call(GrantPut, params).await;
}

/// nginx, and whoever tells it where the mail server is.
async fn proxy(folder: &Path, upstream: u16) -> (u16, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let auth = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let answer = format!(
                "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: {upstream}\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let port = free_port();
    let proxy = nginx_mail(folder, port, auth);
    listening(port).await;
    (port, proxy)
}

/// Puts the mails there.
fn fill(port: u16) {
    let mut client = Client::enter(&format!("127.0.0.1:{port}"), USER, PASSWORD);
    let line = format!("{}\r\n", "x".repeat(76));
    for n in 0..MAILS {
        let mut mail = format!("From: Alice <alice@example.org>\r\nSubject: Mail number {n}\r\n\r\n");
        while mail.len() < MAIL {
            mail.push_str(&line);
        }
        client.command(&format!("APPEND INBOX {{{}+}}\r\n{mail}", mail.len()));
    }
}

/// A client that only counts what it hears.
struct Client {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Client {
    fn enter(address: &str, user: &str, password: &str) -> Self {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_nodelay(true).expect("a socket");
        let mut client = Self { stream: BufReader::with_capacity(256 * 1024, socket), line: Vec::new() };
        client.read_line();
        client.command(&format!("LOGIN {user} {password}"));
        client
    }

    fn read_line(&mut self) -> usize {
        self.line.clear();
        let read = self.stream.read_until(b'\n', &mut self.line).expect("a line");
        assert!(read > 0, "the connection ended");
        read
    }

    /// How many bytes a command brings.
    fn command(&mut self, command: &str) -> usize {
        self.stream.get_mut().write_all(format!("t {command}\r\n").as_bytes()).expect("sent");
        let mut heard = 0;
        loop {
            heard += self.read_line();
            if self.line.starts_with(b"t ") {
                assert!(self.line.starts_with(b"t OK"), "{}", String::from_utf8_lossy(&self.line));
                return heard;
            }
            let text = String::from_utf8_lossy(&self.line);
            let size = text.trim_end().strip_suffix('}').and_then(|text| text.rsplit_once('{')?.1.parse().ok());
            let mut left: usize = size.unwrap_or_default();
            heard += left;
            while left > 0 {
                let there = self.stream.fill_buf().expect("a literal").len().min(left);
                assert!(there > 0, "the connection ended");
                self.stream.consume(there);
                left -= there;
            }
        }
    }
}
