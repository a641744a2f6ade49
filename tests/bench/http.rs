//! The HTTP door beside nginx, haproxy and mitmproxy, all in front of the same nginx.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_tests::engine::{Engine, Start, memory_kib};
use latch_tests::ports::free_port;
use latch_tests::scene::{add_account, connect, issue};

use crate::peers::{Load, Running, haproxy, listening, mitmproxy, nginx, nginx_proxy, wrk};
use crate::table::{Row, median, time};

const ROUNDS: usize = 7;
const SECONDS: u32 = 2;
const PATH: &str = "/gmail/v1/users/me/labels";
/// The size of the large body.
const LARGE: usize = 256 * 1024 * 1024;

/// Its name, and where it stands.
type Figure = (&'static str, fn(&Load) -> f64);

/// The same answer by every way.
struct Ways {
    engine: Engine,
    /// Straight to the upstream, by nginx, haproxy, mitmproxy, Latchstring.
    urls: [String; 5],
    _peers: Vec<Running>,
    _folder: tempfile::TempDir,
}

const DIRECT: usize = 0;
const NGINX: usize = 1;
const HAPROXY: usize = 2;
const MITMPROXY: usize = 3;
const OURS: usize = 4;

impl Ways {
    async fn open(answer: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let [upstream, by_nginx, by_haproxy, by_mitmproxy] = ports;
        let server = format!("server {{ listen 127.0.0.1:{upstream}; location / {{ {answer} }} }}");
        let peers = vec![
            nginx(folder.path(), "upstream", &server),
            nginx_proxy(folder.path(), by_nginx, upstream),
            haproxy(folder.path(), by_haproxy, upstream),
            mitmproxy(folder.path(), by_mitmproxy, upstream),
        ];
        for port in ports {
            listening(port).await;
        }
        let engine = engine(folder.path(), &format!("http://127.0.0.1:{upstream}"), None).await;
        let [direct, nginx, haproxy, mitmproxy] = ports.map(|port| format!("http://127.0.0.1:{port}{PATH}"));
        let urls = [direct, nginx, haproxy, mitmproxy, format!("{}/mail{PATH}", engine.door())];
        Self { engine, urls, _peers: peers, _folder: folder }
    }
}

async fn engine(folder: &Path, upstream: &str, roots: Option<&Path>) -> Engine {
    let mut start = Start::at(&folder.join("home")).in_memory();
    if let Some(roots) = roots {
        start = start.env("SSL_CERT_FILE", &roots.to_string_lossy());
    }
    let engine = start.start().await;
    add_account(&engine, "mail", upstream, "the-credential-0123456789").await;
    connect(&engine, "claw", "mail", "organize").await;
    engine
}

/// What a permitted read costs.
pub async fn rows() -> Vec<Row> {
    let ways = Ways::open("default_type application/json; return 200 '{\"labels\":[]}';").await;
    let mut rows = Vec::new();
    for connections in [1_u32, 16, 64] {
        let mut rounds: Vec<[Load; 5]> = Vec::new();
        for _ in 0..ROUNDS {
            let token = issue(&ways.engine, "claw").await;
            rounds.push(ways.urls.each_ref().map(|url| wrk(url, &token, connections, SECONDS)));
        }
        let middle = |of: &dyn Fn(&[Load; 5]) -> f64| median(rounds.iter().map(of).collect());
        if connections == 1 {
            let figures: [Figure; 2] = [("p50", |load| load.p50), ("p99", |load| load.p99)];
            for (name, of) in figures {
                let added = |n: usize| move |round: &[Load; 5]| (of(&round[n]) - of(&round[DIRECT])).max(1e-6);
                let ratio = middle(&|round| added(OURS)(round) / added(NGINX)(round));
                let peer = format!(
                    "{} (nginx), {} (haproxy), {} (mitmproxy)",
                    time(middle(&added(NGINX))),
                    time(middle(&added(HAPROXY))),
                    time(middle(&added(MITMPROXY)))
                );
                rows.push(
                    Row::new(format!("time added to a permitted read, {name}, 1 connection"))
                        .ours(time(middle(&added(OURS))))
                        .peer(peer)
                        .ratio(format!("{ratio:.2}x nginx"))
                        .target("<= 2x nginx", ratio <= 2.0),
                );
            }
        }
        let rate = |n: usize| middle(&|round| round[n].rate);
        let against = |n: usize| middle(&|round| round[OURS].rate / round[n].rate);
        let (of_nginx, of_haproxy, of_mitm) = (against(NGINX), against(HAPROXY), against(MITMPROXY));
        let row = Row::new(format!("permitted reads a second, {connections} connections"))
            .ours(format!("{:.0}", rate(OURS)))
            .peer(format!(
                "{:.0} (nginx), {:.0} (haproxy), {:.0} (mitmproxy)",
                rate(NGINX),
                rate(HAPROXY),
                rate(MITMPROXY)
            ))
            .ratio(format!("{of_nginx:.2}x nginx, {of_haproxy:.2}x haproxy, {of_mitm:.0}x mitmproxy"));
        let met = of_nginx >= 0.8 && of_mitm >= 40.0;
        rows.push(if connections == 1 { row } else { row.target(">= 0.8x nginx, >= 40x mitmproxy", met) });
    }
    rows
}

/// An encrypted upstream. The door itself is plain: it serves this machine only.
pub async fn encrypted() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, pem("CERTIFICATE", made.cert.der())).expect("written");
    std::fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).expect("written");
    let [upstream, proxy] = [free_port(), free_port()];
    let _upstream = nginx(
        folder.path(),
        "upstream",
        &format!(
            "server {{ listen 127.0.0.1:{upstream} ssl; ssl_certificate {cert}; ssl_certificate_key {key};
                       location / {{ default_type application/json; return 200 '{{\"labels\":[]}}'; }} }}",
            cert = cert.display(),
            key = key.display(),
        ),
    );
    let _proxy = nginx(
        folder.path(),
        "proxy",
        &format!(
            "upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
             server {{ listen 127.0.0.1:{proxy};
                       location / {{ proxy_pass https://up; proxy_http_version 1.1; proxy_set_header Connection \"\";
                                     proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_name localhost; }} }}",
            cert.display()
        ),
    );
    listening(upstream).await;
    listening(proxy).await;
    let engine = engine(folder.path(), &format!("https://localhost:{upstream}"), Some(&cert)).await;
    let urls = [format!("http://127.0.0.1:{proxy}{PATH}"), format!("{}/mail{PATH}", engine.door())];
    let mut rounds: Vec<[Load; 2]> = Vec::new();
    for _ in 0..ROUNDS {
        let token = issue(&engine, "claw").await;
        rounds.push(urls.each_ref().map(|url| wrk(url, &token, 16, SECONDS)));
    }
    let middle = |of: &dyn Fn(&[Load; 2]) -> f64| median(rounds.iter().map(of).collect());
    let ratio = middle(&|round| round[1].rate / round[0].rate);
    vec![
        Row::new("TLS to the upstream, reads a second, 16 connections")
            .ours(format!("{:.0}", middle(&|round| round[1].rate)))
            .peer(format!("{:.0} (nginx)", middle(&|round| round[0].rate)))
            .ratio(format!("{ratio:.2}x nginx"))
            .target(">= 0.7x nginx", ratio >= 0.7),
        Row::new("TLS from the agent").ours("not offered: the door is on loopback only"),
    ]
}

/// RFC 7468.
fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// A large answer, with the credential looked for in every byte of it.
pub async fn large() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_large(&folder.path().join("large"));
    let answer = format!("default_type application/json; root {}; rewrite ^ /large break;", folder.path().display());
    let ways = Ways::open(&answer).await;
    let mut rounds: Vec<[f64; 5]> = Vec::new();
    let idle = memory_kib(ways.engine.pid());
    let (mut most, ended) = (idle, AtomicBool::new(false));
    let pid = ways.engine.pid();
    let token = issue(&ways.engine, "claw").await;
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Acquire) {
                most = most.max(memory_kib(pid));
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        for _ in 0..ROUNDS {
            rounds.push(ways.urls.each_ref().map(|url| download(url, &token)));
        }
        ended.store(true, Ordering::Release);
        most = most.max(watcher.join().expect("the watcher ends"));
    });
    let rate = |n: usize| {
        let seconds = median(rounds.iter().map(|round| round[n]).collect());
        format!("{:.2} GB/s", LARGE as f64 / seconds / 1e9)
    };
    let ratio = median(rounds.iter().map(|round| round[NGINX] / round[OURS]).collect());
    let grown = most.saturating_sub(idle) as f64 * 1024.0 / 1e6;
    vec![
        Row::new("answer of 256 MB, credential looked for")
            .ours(rate(OURS))
            .peer(format!("{} (nginx), {} (haproxy), {} (mitmproxy)", rate(NGINX), rate(HAPROXY), rate(MITMPROXY)))
            .ratio(format!("{ratio:.2}x nginx"))
            .target(">= 0.6x nginx", ratio >= 0.6),
        Row::new("memory that it takes").ours(format!("{grown:.1} MB")).target("<= 16 MB", grown <= 16.0),
    ]
}

/// Text like that of encoded attachments, the same in every run.
fn write_large(path: &Path) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut block = vec![0_u8; 1024 * 1024];
    for _ in 0..LARGE / block.len() {
        for letter in &mut block {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *letter = LETTERS[(state >> 58) as usize];
        }
        file.write_all(&block).expect("written");
    }
    file.flush().expect("written");
}

/// Seconds from the request to the last byte.
fn download(url: &str, token: &str) -> f64 {
    let (host, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let mut socket = TcpStream::connect(host).expect("a connection");
    let start = Instant::now();
    let request = format!(
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut buffer = vec![0; 256 * 1024];
    let mut received = 0;
    loop {
        match socket.read(&mut buffer).expect("an answer") {
            0 => break,
            n => received += n,
        }
    }
    assert!((LARGE..LARGE + 4096).contains(&received), "{url}: {received} bytes");
    start.elapsed().as_secs_f64()
}
