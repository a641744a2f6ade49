//! The HTTP door beside nginx and mitmproxy, all in front of the same nginx.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use latch_tests::engine::Start;
use latch_tests::scene::{add_account, connect, issue};

use crate::{Row, median, time};

const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// What wrk measured.
#[derive(Debug, Clone, Copy)]
struct Load {
    p50: f64,
    p99: f64,
    rate: f64,
}

/// All of them.
pub async fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (upstream, proxy, mitm) = (free_port(), free_port(), free_port());
    let _upstream = nginx(
        folder.path(),
        "upstream",
        &format!(
            "server {{ listen 127.0.0.1:{upstream}; keepalive_requests 100000000; location / {{ default_type application/json; return 200 '{{\"labels\":[]}}'; }} }}"
        ),
    );
    let _proxy = nginx(folder.path(), "proxy", &format!(
        "upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
         server {{ listen 127.0.0.1:{proxy}; keepalive_requests 100000000; location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}"
    ));
    let _mitm = mitmproxy(folder.path(), mitm, upstream);
    let home = folder.path().join("home");
    let engine = Start::at(&home).in_memory().start().await;
    add_account(&engine, "mail", &format!("http://127.0.0.1:{upstream}"), "the-credential").await;
    connect(&engine, "claw", "mail", "organize").await;
    for port in [upstream, proxy, mitm] {
        listening(port).await;
    }
    let path = "/gmail/v1/users/me/labels";
    let urls = [
        format!("http://127.0.0.1:{upstream}{path}"),
        format!("http://127.0.0.1:{proxy}{path}"),
        format!("http://127.0.0.1:{mitm}{path}"),
        format!("{}/mail{path}", engine.door()),
    ];
    let mut rows = Vec::new();
    for connections in [1_u32, 16, 64] {
        let mut rounds: Vec<[Load; 4]> = Vec::new();
        for _ in 0..ROUNDS {
            let token = issue(&engine, "claw").await;
            rounds.push([0, 1, 2, 3].map(|n| wrk(&urls[n], &token, connections)));
        }
        let middle = |of: &dyn Fn(&[Load; 4]) -> f64| median(rounds.iter().map(of).collect());
        if connections == 1 {
            for (name, of, target) in [
                ("added p50, 1 connection", (|load: &Load| load.p50) as fn(&Load) -> f64, "<= 2x nginx"),
                ("added p99, 1 connection", |load| load.p99, "<= 2x nginx"),
            ] {
                let added = |n: usize| move |round: &[Load; 4]| (of(&round[n]) - of(&round[0])).max(1e-6);
                let ratio = middle(&|round| added(3)(round) / added(1)(round));
                let peers = format!("{} (nginx), {} (mitmproxy)", time(middle(&added(1))), time(middle(&added(2))));
                rows.push(Row::new(name, time(middle(&added(3))), peers, format!("{ratio:.2}x nginx"), target));
            }
        }
        let rate = |n: usize| move |round: &[Load; 4]| round[n].rate;
        let of_nginx = middle(&|round| round[3].rate / round[1].rate);
        let of_mitm = middle(&|round| round[3].rate / round[2].rate);
        rows.push(Row::new(
            format!("permitted reads, {connections} connections"),
            format!("{:.0}/s", middle(&rate(3))),
            format!("{:.0}/s (nginx), {:.0}/s (mitmproxy)", middle(&rate(1)), middle(&rate(2))),
            format!("{of_nginx:.2}x nginx, {of_mitm:.0}x mitmproxy"),
            if connections == 1 { "-" } else { ">= 0.8x nginx, >= 40x mitmproxy" },
        ));
    }
    rows
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

fn nginx(folder: &Path, name: &str, servers: &str) -> Running {
    let prefix = folder.join(name);
    std::fs::create_dir_all(prefix.join("logs")).expect("a folder");
    let conf = prefix.join("nginx.conf");
    let text = format!(
        "daemon off; worker_processes 2; pid {0}/pid; error_log {0}/logs/error.log;
         events {{ worker_connections 1024; }}
         http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; {servers} }}",
        prefix.display()
    );
    std::fs::write(&conf, text).expect("written");
    let child = Command::new("nginx").arg("-p").arg(&prefix).arg("-c").arg(&conf).stderr(Stdio::null()).spawn();
    Running(child.expect("nginx is missing: run `cargo xtask bench`"))
}

fn mitmproxy(folder: &Path, port: u16, upstream: u16) -> Running {
    let program = std::env::var_os("LATCH_MITMDUMP")
        .map_or_else(|| latch_tests::paths::workspace().join("target/bench-venv/bin/mitmdump"), PathBuf::from);
    let child = Command::new(program)
        .args(["-q", "--mode", &format!("reverse:http://127.0.0.1:{upstream}"), "--listen-host", "127.0.0.1"])
        .args(["--listen-port", &port.to_string(), "--set"])
        .arg(format!("confdir={}", folder.join("mitm").display()))
        .stdout(Stdio::null())
        .spawn();
    Running(child.expect("mitmproxy is missing: run `cargo xtask bench`"))
}

async fn listening(port: u16) {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody listens on {port}");
}

fn wrk(url: &str, token: &str, connections: u32) -> Load {
    let threads = connections.min(2).to_string();
    let output = Command::new("wrk")
        .args(["-t", &threads, "-c", &connections.to_string(), "-d", &format!("{SECONDS}s"), "--latency", "-H"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(url)
        .output()
        .expect("wrk is missing: run `cargo xtask bench`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{url}: {text}");
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().last().unwrap_or_default().to_owned()
    };
    Load {
        p50: seconds(&after("50%")),
        p99: seconds(&after("99%")),
        rate: after("Requests/sec:").parse().expect("a rate"),
    }
}

/// `43.00us`, `1.20ms`, `2.00s`.
fn seconds(text: &str) -> f64 {
    let (number, factor) = match text {
        text if text.ends_with("us") => (text.trim_end_matches("us"), 1e-6),
        text if text.ends_with("ms") => (text.trim_end_matches("ms"), 1e-3),
        text => (text.trim_end_matches('s'), 1.0),
    };
    number.parse::<f64>().expect("a number") * factor
}
