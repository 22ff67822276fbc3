//! `jims onboard URL`: every way it can go, against a Server on loopback that keeps to the protocol.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use jims::config::secret::Secret;
use jims::net::collector_client::Proxies;
use jims::net::listener;
use jims::net::resolve::Resolver;
use jims::push::credential::{Credential, Stage, list};
use jims::push::onboarding::{Ending, Outcome, StepName, Wanted, WantedError, onboard};
use jims::push::shape::Introduction;
use jims::push::target::Target;
use jims::runtime::supervisor::Tasks;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake_hub::{GUARD, Hub};

fn wanted(state: &Path, url: &str, code: Option<&str>) -> Wanted {
    Wanted {
        target: Target::parse(url).unwrap(),
        name: None,
        code: code.map(Secret::from),
        ca_file: None,
        introduction: Introduction {
            name: "site-7".into(),
            version: "1".into(),
            description: String::new(),
        },
        state_dir: state.to_owned(),
        proxies: Proxies::None,
        resolver: Resolver::default(),
    }
}

async fn run(wanted: &Wanted) -> Outcome {
    let mut told = Vec::new();
    let outcome = onboard(wanted, &mut |step| told.push(step.clone()))
        .await
        .unwrap();
    assert_eq!(told, outcome.steps, "each step is told as it ends");
    outcome
}

/// The last step, which went wrong: its name, and all that is said of it.
fn failure(outcome: &Outcome) -> (StepName, String) {
    let last = outcome.steps.last().unwrap();
    assert!(!last.ok, "{outcome:?}");
    assert!(!last.remedy.is_empty(), "{last:?}");
    (last.name, format!("{} / {}", last.detail, last.remedy))
}

fn kept(state: &Path) -> Vec<Credential> {
    let listed = list(state).unwrap();
    listed.into_iter().map(|(_, read)| read.unwrap()).collect()
}

#[tokio::test]
async fn rule_26_a_code_becomes_a_credential_that_is_kept_before_it_is_sent() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let code = hub.code();
    let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    assert_eq!(outcome.ending, Ending::Onboarded, "{outcome:#?}");
    let names: Vec<_> = outcome.steps.iter().map(|step| step.name).collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(names, sorted);
    assert_eq!(names.len(), 9, "{names:?}");
    let file = outcome.file.unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = kept(state.path()).remove(0);
    assert_eq!(
        (kept.stage, kept.collector.as_str()),
        (Stage::Onboarded, "branch-1")
    );
    let registered = hub.state.lock().registered.clone().unwrap();
    assert_eq!(
        registered,
        (
            kept.client_id,
            kept.client_secret.expose_secret().to_owned()
        )
    );
    assert!(registered.0.starts_with("collector-") && registered.1.len() == 64);
    assert!(hub.state.lock().http2 >= 3, "one connection, HTTP/2");

    let again = run(&wanted(state.path(), &hub.url(), None)).await;
    assert_eq!(
        (again.ending, again.collector.as_str()),
        (Ending::Already, "branch-1")
    );
    assert_eq!(
        hub.state.lock().onboardings.len(),
        1,
        "the code was shown once"
    );
    hub.is_content();
}

#[tokio::test]
async fn rule_26_an_answer_that_got_lost_is_asked_for_again_with_the_same_secret() {
    let (hub, state) = (Hub::of_old(), tempfile::tempdir().unwrap());
    let code = hub.code();
    hub.state.lock().loses_onboarding = true;
    let lost = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    assert_eq!(lost.ending, Ending::Failed);
    assert_eq!(failure(&lost).0, StepName::Exchange);
    assert_eq!(kept(state.path())[0].stage, Stage::Pending);
    let without = run(&wanted(state.path(), &hub.url(), None)).await;
    assert_eq!(failure(&without).0, StepName::Code);

    hub.state.lock().loses_onboarding = false;
    let done = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    assert_eq!(done.ending, Ending::Onboarded, "{done:#?}");
    let asked = hub.state.lock().onboardings.clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0]["client_secret"], asked[1]["client_secret"]);
    assert_eq!(hub.state.lock().http2, 0, "HTTP/1.1 will do");
    hub.is_content();
}

#[tokio::test]
async fn a_mistyped_code_is_never_sent() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let mut code = hub.code();
    let last = code.pop().unwrap();
    code.push(if last == 'A' { 'B' } else { 'A' });
    for code in [code.as_str(), "JIMS1-ABC", "hello"] {
        let outcome = run(&wanted(state.path(), &hub.url(), Some(code))).await;
        assert_eq!(failure(&outcome).0, StepName::Code);
    }
    assert!(hub.state.lock().requests.is_empty());
    assert!(kept(state.path()).is_empty());
}

#[tokio::test]
async fn rule_26_to_a_server_with_another_key_nothing_is_sent() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let code = hub.code_with_key([9; 32]);
    let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    let (step, said) = failure(&outcome);
    assert_eq!(
        (step, outcome.ending),
        (StepName::Certificate, Ending::Failed)
    );
    assert!(said.contains(&"09".repeat(32)), "{said}");
    assert!(hub.state.lock().requests.is_empty());
    assert!(kept(state.path()).is_empty(), "nothing is kept either");

    let mut with_ca = wanted(state.path(), &hub.url(), Some(&code));
    with_ca.ca_file = Some(hub.issuer());
    let outcome = run(&with_ca).await;
    assert_eq!(
        outcome.ending,
        Ending::Onboarded,
        "its issuer is enough: {outcome:#?}"
    );
    let kept = kept(state.path()).remove(0);
    let copy = std::fs::read(kept.ca_file.unwrap()).unwrap();
    assert_eq!(copy, std::fs::read(hub.issuer()).unwrap());
    let again = run(&wanted(state.path(), &hub.url(), None)).await;
    assert_eq!(again.ending, Ending::Already, "by the copy: {again:#?}");
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_terms() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let code = hub.code();
    for (status, error, words) in [
        (403, "expired_invitation", "expired"),
        (403, "revoked_invitation", "revoked"),
        (403, "unknown_invitation", "no invitation"),
        (409, "used_invitation", "another Collector"),
        (400, "protocol", "takes protocol 2"),
    ] {
        let body = json!({ "error": error, "error_description": "no", "minimum": 2 });
        hub.state.lock().refuses = Some((status, body));
        let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
        let (step, said) = failure(&outcome);
        assert_eq!(
            (step, outcome.ending),
            (StepName::Exchange, Ending::Refused)
        );
        assert!(said.contains(words), "{said}");
    }
    let asked = hub.state.lock().onboardings.clone();
    assert!(
        asked
            .iter()
            .all(|one| one["client_id"] == asked[0]["client_id"])
    );
}

#[tokio::test]
async fn who_was_removed_is_told_so_and_begins_anew_with_a_new_code() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let code = hub.code();
    run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    let first = hub.state.lock().registered.take().unwrap();
    let outcome = run(&wanted(state.path(), &hub.url(), None)).await;
    assert_eq!(
        (failure(&outcome).0, outcome.ending),
        (StepName::Verify, Ending::Refused)
    );
    let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    assert_eq!(outcome.ending, Ending::Onboarded, "{outcome:#?}");
    assert_ne!(hub.state.lock().registered, Some(first));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found_before_anything_is_sent() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    hub.state.lock().clock_off = 3 * 3600 + 60;
    let code = hub.code();
    let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    let (step, said) = failure(&outcome);
    assert_eq!(step, StepName::Clock);
    assert!(said.contains("3 h behind"), "{said}");
    assert!(hub.state.lock().onboardings.is_empty());
}

#[tokio::test]
async fn what_is_no_server_gets_no_code() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let code = hub.code();
    hub.state.lock().is_other = true;
    let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    assert_eq!(failure(&outcome).0, StepName::Server);
    assert!(hub.state.lock().onboardings.is_empty());

    hub.end().await;
    let outcome = run(&wanted(state.path(), &hub.url(), Some(&code))).await;
    let (step, said) = failure(&outcome);
    assert_eq!(step, StepName::Connect);
    assert!(said.contains("nobody listens"), "{said}");

    let nowhere = "https://no-such-host.invalid";
    let outcome = run(&wanted(state.path(), nowhere, Some(&code))).await;
    assert_eq!(failure(&outcome).0, StepName::Name);
}

#[tokio::test]
async fn what_speaks_no_tls_is_named() {
    let (port, tasks) = (
        listener::tcp("127.77.26.2:0".parse().unwrap(), "x").unwrap(),
        Tasks::new(),
    );
    let url = format!("https://{}", port.local_addr().unwrap());
    tasks.spawn("plain", async move {
        let (mut stream, _) = port.accept().await.unwrap();
        let mut hello = [0; 512];
        let _read = stream.read(&mut hello).await;
        let _wrote = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let outcome = run(&wanted(state.path(), &url, Some(&hub.code()))).await;
    let (step, said) = failure(&outcome);
    assert_eq!(step, StepName::Connect);
    assert!(said.contains("no TLS"), "{said}");
}

/// A proxy that answers CONNECT so, and with 200 connects.
async fn proxy(answer: &'static str) -> Proxies {
    let listener = listener::tcp("127.77.26.3:0".parse().unwrap(), "proxy").unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let own = tasks.clone();
    tasks.spawn("proxy", async move {
        while let Ok((mut client, _)) = listener.accept().await {
            own.spawn("tunnel", async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let to = head
                    .strip_prefix("CONNECT ")
                    .unwrap()
                    .split(' ')
                    .next()
                    .unwrap();
                client.write_all(answer.as_bytes()).await.unwrap();
                if answer.starts_with("HTTP/1.1 200") {
                    let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                    let _closed = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    Proxies::Through(format!("http://user:secret@{address}"))
}

#[tokio::test]
async fn a_proxy_is_used_and_its_refusal_is_not_the_servers() {
    let (hub, state) = (Hub::start().await, tempfile::tempdir().unwrap());
    let code = hub.code();
    for (answer, words) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "HTTPS_PROXY",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "CONNECT"),
    ] {
        let mut through = wanted(state.path(), &hub.url(), Some(&code));
        through.proxies = proxy(answer).await;
        let outcome = run(&through).await;
        let (step, said) = failure(&outcome);
        assert_eq!(step, StepName::Connect, "{said}");
        assert!(said.contains("the proxy") && said.contains(words), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let mut through = wanted(state.path(), &hub.url(), Some(&code));
    through.proxies = Proxies::Through("http://127.77.26.3:1".into());
    let (step, said) = failure(&run(&through).await);
    assert_eq!(step, StepName::Connect, "{said}");
    assert!(
        said.contains("port of the proxy") && !said.contains("client error"),
        "{said}"
    );
    assert!(hub.state.lock().requests.is_empty());
    let mut through = wanted(state.path(), &hub.url(), Some(&code));
    through.proxies = proxy("HTTP/1.1 200 Connected\r\n\r\n").await;
    let outcome = run(&through).await;
    assert_eq!(outcome.ending, Ending::Onboarded, "{outcome:#?}");
    assert!(
        outcome
            .steps
            .iter()
            .any(|step| step.detail.contains("through the proxy"))
    );
}

/// Runs `jims onboard` on a configuration of its own; exit code, stdout, stderr.
async fn jims(folder: &Path, arguments: &[&str], code: &str) -> (i32, String, String) {
    std::fs::write(
        folder.join("jims.toml"),
        "schema = 1\n[collector]\nname = \"site-7\"\nstate_dir = \"state\"\n[control]\nsocket = \"control.sock\"\n",
    )
    .unwrap();
    let mut child = tokio::process::Command::new(assert_cmd::cargo::cargo_bin("jims"))
        .arg("--config")
        .arg(folder.join("jims.toml"))
        .arg("onboard")
        .args(arguments)
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may not want to read anything.
    let _closed = stdin.write_all(format!("{code}\n").as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(GUARD, child.wait_with_output());
    let output = output.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn the_command_says_each_step_and_the_service_can_read_what_it_wrote() {
    let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
    let (url, code, state) = (hub.url(), hub.code(), folder.path().join("state"));
    std::fs::create_dir(&state).unwrap();
    let root = std::fs::metadata(&state).unwrap().uid() == 0;
    if root {
        // As under systemd: root types, another user runs the service.
        std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
        std::os::unix::fs::chown(&state, Some(65_534), Some(65_534)).unwrap();
    }
    let (exit, text, said) = jims(folder.path(), &[&url, "--code-stdin"], &code).await;
    assert_eq!(exit, 0, "{text} {said}");
    assert!(
        text.starts_with(&format!("onboarded at {url} as branch-1\n")),
        "{text}"
    );
    assert!(text.contains("no service answers here"), "{text}");
    assert!(
        said.contains("ok  certificate") && said.contains("ok  verify"),
        "{said}"
    );
    assert!(!said.contains(&code), "{said}");
    let owner = std::fs::metadata(&state).unwrap().uid();
    for entry in std::fs::read_dir(state.join("push")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), owner, "{entry:?}");
    }

    let (exit, text, said) = jims(folder.path(), &[&url, "--json"], "").await;
    assert_eq!((exit, said.as_str()), (0, ""), "{text}");
    let printed: serde_json::Value = serde_json::from_str(&text).unwrap();
    crate::schema::check("onboard", &printed);
    assert_eq!(printed["collector"], "branch-1");
    assert_eq!(printed["ending"], "already");
    assert!(
        printed["credential_file"]
            .as_str()
            .unwrap()
            .ends_with(".toml")
    );
    let steps = printed["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["name"], "verify");
    assert!(
        steps
            .iter()
            .all(|step| step["ok"] == true && step["ms"].is_u64())
    );

    hub.state.lock().registered = None;
    let (exit, text, said) = jims(folder.path(), &[&url], "").await;
    assert_eq!(exit, 1, "the Server says no: {text} {said}");
    assert!(
        said.contains("NO  verify") && said.contains("try"),
        "{said}"
    );
    let (exit, _, said) = jims(folder.path(), &[&url, "--code", "JIMS1-X"], "").await;
    assert_eq!(exit, 2, "{said}");
    let (exit, _, said) = jims(folder.path(), &["http://127.77.26.9", "--code", "x"], "").await;
    assert_eq!(exit, 2);
    assert!(said.contains("https only"), "{said}");
}

#[tokio::test]
async fn a_name_is_one_servers_alone() {
    let (hub, other) = (Hub::start().await, Hub::of_old());
    let state = tempfile::tempdir().unwrap();
    let mut first = wanted(state.path(), &hub.url(), Some(&hub.code()));
    first.name = Some("hq".into());
    assert_eq!(run(&first).await.name, "hq");
    let code = other.code();
    for (name, remedy) in [("hq", "--name"), ("../x", "letters")] {
        let mut second = wanted(state.path(), &other.url(), Some(&code));
        second.name = Some(name.into());
        let error = onboard(&second, &mut |_| ()).await.unwrap_err();
        assert!(matches!(
            error,
            WantedError::NameTaken { .. } | WantedError::Name(_)
        ));
        assert!(error.remedy().contains(remedy), "{error}");
    }
    let mut second = wanted(state.path(), &other.url(), Some(&code));
    second.name = Some("hq-2".into());
    assert_eq!(run(&second).await.ending, Ending::Onboarded);
    assert_eq!(kept(state.path()).len(), 2);
}
