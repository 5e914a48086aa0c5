//! Real daemons for tests and benchmarks: the binary, a temporary directory, its API.
//!
//! Nothing waits for a fixed time: [`until`] looks again until something is true, and fails with what it
//! last saw.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by the tests and the benchmarks"
)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// How long anything may take to come true: generous, because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a second device needs to join the first one's organisation.
#[derive(Clone, Debug)]
pub struct Membership {
    pub organisation: String,
    pub secret: String,
}

/// A device: its directory and, while it runs, its daemon.
#[derive(Debug)]
pub struct Daemon {
    pub name: String,
    home: TempDir,
    child: Option<Child>,
    http: reqwest::Client,
    pub membership: Membership,
    args: Vec<String>,
}

/// The program under test.
pub fn fieldmesh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldmesh"));
    command
        .env_remove("FIELDMESH_DIR")
        .env_remove("FIELDMESH_API")
        .env_remove("FIELDMESH_TOKEN");
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("the program runs")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Daemon {
    /// A device that founds an organisation, not yet running.
    pub fn found(name: &str) -> Self {
        Self::init(name, None, None)
    }

    /// A device of an existing organisation, not yet running.
    pub fn join(name: &str, membership: &Membership) -> Self {
        Self::init(name, Some(membership), None)
    }

    /// A device of `other`'s organisation that dials it, running.
    pub async fn beside(name: &str, other: &Self) -> Self {
        Self::join(name, &other.membership)
            .peer(other)
            .await
            .start()
            .await
    }

    /// A device with a schema of its own, not yet running.
    pub fn with_schema(name: &str, membership: Option<&Membership>, schema: &str) -> Self {
        Self::init(name, membership, Some(schema))
    }

    fn init(name: &str, membership: Option<&Membership>, schema: Option<&str>) -> Self {
        let home = tempfile::Builder::new()
            .prefix("fm")
            .tempdir()
            .expect("a temporary directory");
        let mut command = fieldmesh();
        command
            .args(["--json", "init", "--name", name, "--dir"])
            .arg(home.path().join("d"));
        if let Some(membership) = membership {
            command.args([
                "--organisation",
                &membership.organisation,
                "--join",
                &membership.secret,
            ]);
        }
        if let Some(schema) = schema {
            let path = home.path().join("schema.toml");
            fs::write(&path, schema).expect("the schema is written");
            command.arg("--schema").arg(path);
        }
        let said = output(&mut command);
        assert!(said.status.success(), "init failed: {}", stderr(&said));
        let said: Json =
            serde_json::from_str(stdout(&said).trim()).expect("init --json prints JSON");
        let word = |key: &str| said[key].as_str().expect("init names it").to_owned();
        let membership = Membership {
            organisation: word("organisation"),
            secret: word("join"),
        };
        let socket = home.path().join("d/api.sock");
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .build()
            .expect("an HTTP client");
        let args = [
            "--no-mdns",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--api",
            "127.0.0.1:0",
        ];
        let args = args.map(str::to_owned).to_vec();
        Self {
            name: name.to_owned(),
            home,
            child: None,
            http,
            membership,
            args,
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("d")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The arguments that `run` gets on top of the usual ones, from here on.
    pub fn arg(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Replaces the usual arguments of `run`.
    pub fn only_args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    pub async fn peer(self, other: &Self) -> Self {
        let address = other.address().await;
        self.arg(&["--peer", &address])
    }

    /// Starts the daemon and waits until it serves.
    pub async fn start(mut self) -> Self {
        self.spawn();
        self.serving().await;
        self
    }

    /// Starts the daemon and does not wait.
    pub fn spawn(&mut self) {
        let mut command = fieldmesh();
        self.spawn_as(&mut command);
    }

    /// Starts the daemon through another command, such as one that enters a network namespace.
    pub fn spawn_as(&mut self, command: &mut Command) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"));
        command
            .args(["run", "--dir"])
            .arg(self.dir())
            .args(&self.args);
        command
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"));
        self.child = Some(command.spawn().expect("the daemon starts"));
    }

    pub async fn serving(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        while self.try_get("/v1/status").await.is_err() {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none(),
                "{} ended with {ended:?}:\n{}",
                self.name,
                self.log()
            );
            assert!(
                Instant::now() < give_up,
                "{} does not serve:\n{}",
                self.name,
                self.log()
            );
            look_again.tick().await;
        }
    }

    pub async fn restart(&mut self) {
        self.spawn();
        self.serving().await;
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the daemon can be killed");
            child.wait().expect("the daemon has ended");
        }
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("the daemon runs");
        let pid = child.id().to_string();
        let status = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(status.success());
        child.wait().expect("the daemon ends").code()
    }

    /// Waits for the daemon to end by itself.
    pub fn wait(&mut self) -> Option<i32> {
        self.child
            .take()
            .expect("the daemon was started")
            .wait()
            .expect("it ends")
            .code()
    }

    /// Sends the daemon a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name}");
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// The address that peers dial.
    pub async fn address(&self) -> String {
        let status = self.get("/v1/status").await;
        status["network"]["listening"][0]
            .as_str()
            .expect("the daemon listens")
            .to_owned()
    }

    /// A command of the program against this device.
    pub fn cli(&self, args: &[&str]) -> Output {
        output(fieldmesh().args(args).arg("--dir").arg(self.dir()))
    }

    /// A request, its status and its body as JSON.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Json>) -> (StatusCode, Json) {
        self.ask_with(method, path, body, &[])
            .await
            .expect("the daemon answers")
    }

    pub async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Json>,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<(StatusCode, Json)> {
        let mut request = self.http.request(method, format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Json::Null)))
    }

    /// A request whose reply is read while it arrives.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.get(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the daemon answers")
    }

    pub async fn try_get(&self, path: &str) -> reqwest::Result<(StatusCode, Json)> {
        self.ask_with(Method::GET, path, None, &[]).await
    }

    /// A request that must succeed.
    pub async fn get(&self, path: &str) -> Json {
        self.good(Method::GET, path, None).await
    }

    pub async fn good(&self, method: Method, path: &str, body: Option<Json>) -> Json {
        let (status, reply) = self.ask(method.clone(), path, body).await;
        assert!(
            status.is_success(),
            "{method} {path}: {status} {reply}\n{}",
            self.log()
        );
        reply
    }

    pub async fn record(&self, collection: &str, id: &str) -> Json {
        self.get(&format!("/v1/collections/{collection}/records/{id}"))
            .await
    }

    /// Writes fields (merge-patch with intents), creating the record if need be.
    pub async fn put(&self, collection: &str, id: &str, fields: Json) -> Json {
        let path = format!("/v1/collections/{collection}/records/{id}?upsert=true");
        self.good(Method::PATCH, &path, Some(fields)).await
    }

    pub async fn delete(&self, collection: &str, id: &str) {
        self.good(
            Method::DELETE,
            &format!("/v1/collections/{collection}/records/{id}"),
            None,
        )
        .await;
    }

    pub async fn online(&self, online: bool) {
        self.good(
            Method::PUT,
            "/v1/network",
            Some(json!({ "online": online })),
        )
        .await;
    }

    /// Live records of a collection.
    pub async fn count(&self, collection: &str) -> u64 {
        let status = self.get("/v1/status").await;
        let counts = status["store"]["collections"].as_array().expect("counts");
        let count = counts
            .iter()
            .find(|count| count["collection"] == collection);
        count.map_or(0, |count| count["live"].as_u64().expect("a number"))
    }

    pub async fn reviews(&self) -> Vec<Json> {
        self.get("/v1/reviews").await["items"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// Everything the device shows of a collection, deleted records too, without what differs between
    /// devices by its nature (who else holds a record).
    pub async fn shown(&self, collection: &str) -> Vec<Json> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path =
                format!("/v1/collections/{collection}/records?deleted=true&limit=1000{cursor}");
            let page = self.get(&path).await;
            for record in page["items"].as_array().expect("a list") {
                let mut record = record.clone();
                for own in ["status", "shared"] {
                    record.as_object_mut().expect("an object").remove(own);
                }
                all.push(record);
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The test has ended; whether the daemon had ended first does not matter.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
    }
}

/// Waits until `look` answers something. Fails with what it was waiting for.
pub async fn until<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let give_up = Instant::now() + PATIENCE;
    let mut look_again = tokio::time::interval(LOOK_AGAIN);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            Instant::now() < give_up,
            "waited {PATIENCE:?} in vain until {what}"
        );
        look_again.tick().await;
    }
}

/// Waits until `look` says yes.
pub async fn until_true<F, Fut>(what: &str, mut look: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let mut look = || {
        let answer = look();
        async { answer.await.then_some(()) }
    };
    until(what, &mut look).await;
}

/// Waits until all devices show the same of a collection, and returns it.
pub async fn converged(devices: &[&Daemon], collection: &str) -> Vec<Json> {
    until(
        &format!("{} devices agree on {collection}", devices.len()),
        || async {
            let first = devices[0].shown(collection).await;
            for device in &devices[1..] {
                if device.shown(collection).await != first {
                    return None;
                }
            }
            Some(first)
        },
    )
    .await
}

/// The resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    Ok(kilobytes * 1024)
}
