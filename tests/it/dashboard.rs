//! The dashboard as an operator uses it: the binary on a terminal of 80 columns, against a running control socket.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt as _;
use expectrl::process::Process as _;
use expectrl::process::unix::{UnixProcess, WaitStatus};
use jims::runtime::clock;
use rustix::termios::{LocalModes, OutputModes, tcgetattr};

use crate::cli_control::Running;

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);

/// A program on a terminal, and what the terminal shows.
pub(crate) struct Terminal {
    process: UnixProcess,
    keyboard: File,
    output: mpsc::Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// Everything that the program wrote.
    raw: Vec<u8>,
    deadline: Instant,
}

impl Terminal {
    /// Starts `jims` on a terminal of 80 columns and 24 lines.
    pub(crate) fn jims(arguments: &[&str]) -> Self {
        let mut command = Command::cargo_bin("jims").expect("binary");
        command.args(arguments);
        command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8");
        command.env_remove("NO_COLOR");
        let mut process = UnixProcess::spawn_command(command).expect("a pty");
        process.set_window_size(80, 24).expect("sized");
        let keyboard = process.get_raw_handle().expect("the pty");
        let mut read = process.get_raw_handle().expect("the pty");
        let (sender, output) = mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            // At the end of the program reading fails.
            while let Ok(length @ 1..) = read.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            keyboard,
            output,
            screen: vt100::Parser::new(24, 80, 0),
            raw: Vec::new(),
            deadline: clock::monotonic_now() + GUARD,
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    fn resize(&mut self, columns: u16, lines: u16) {
        self.process.set_window_size(columns, lines).expect("sized");
        self.screen.screen_mut().set_size(lines, columns);
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Takes what the program writes; whether it still runs.
    fn read(&mut self) -> bool {
        let left = self
            .deadline
            .saturating_duration_since(clock::monotonic_now());
        match self.output.recv_timeout(left) {
            Ok(bytes) => {
                self.screen.process(&bytes);
                self.raw.extend(bytes);
                true
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => false,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("nothing more is shown:\n{}", self.text())
            }
        }
    }

    /// Waits until the screen shows the text.
    pub(crate) fn shows(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert!(self.read(), "it ended before `{text}`:\n{}", self.text());
        }
    }

    /// Waits for its end; the exit code. The terminal is as it was before.
    pub(crate) fn ends(mut self) -> i32 {
        while self.read() {}
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the screen before is back");
        assert!(!screen.hide_cursor(), "the cursor is back");
        assert!(!screen.bracketed_paste());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let modes = tcgetattr(&self.keyboard).expect("a terminal");
        assert!(
            modes
                .local_modes
                .contains(LocalModes::ICANON | LocalModes::ISIG)
        );
        assert!(modes.output_modes.contains(OutputModes::OPOST));
        match self.process.wait().expect("it ended") {
            WaitStatus::Exited(_, code) => code,
            other => panic!("it ended by {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_around_and_leaves() {
    let running = Running::start();
    running.logon("alice", "10.1.2.50").await;
    running.logon("bob", "10.1.2.51").await;
    let configuration = running.configuration();
    let mut terminal = Terminal::jims(&["--config", &configuration, "status", "--watch"]);
    terminal.shows("1 Overview");
    terminal.shows("Sessions 2");
    terminal.press("4");
    terminal.shows("1 of 2 addresses · by last change");
    terminal.shows("10.1.2.51");
    terminal.press("/alice");
    terminal.shows("of 1 address · by last change");
    terminal.press("\r");
    terminal.press("\r");
    terminal.shows("evidence     vpn: my-vpn/up (strong)");
    terminal.resize(120, 40);
    terminal.shows("5 Users & groups");
    terminal.resize(50, 10);
    terminal.shows("60x16 needed, this is 50x10");
    terminal.resize(80, 24);
    terminal.shows("evidence     vpn");
    terminal.press("y");
    terminal.shows("sent to the terminal's clipboard");
    let copied = b"\x1b]52;c;";
    assert!(
        terminal
            .raw
            .windows(copied.len())
            .any(|part| part == copied)
    );
    // On the way out of the detail the log-off is asked about, and done.
    terminal.press("l");
    terminal.shows("Log off alice at 10.1.2.50?");
    terminal.press("y");
    terminal.shows("1 session at 10.1.2.50 ended");
    terminal.press("8");
    terminal.shows("following");
    running.logon("carol", "10.1.2.52").await;
    terminal.shows("10.1.2.52");
    terminal.shows("carol");
    terminal.press("q");
    assert_eq!(terminal.ends(), 0);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_restarts_is_found_again() {
    let running = Running::start();
    running.logon("alice", "10.1.2.50").await;
    let configuration = running.configuration();
    let mut terminal = Terminal::jims(&["--config", &configuration, "status", "--watch"]);
    terminal.shows("Sessions 1");
    let folder = running.stop().await;
    terminal.shows("no answer for");
    terminal.shows("Sessions 1");
    let running = Running::start_in(folder);
    running.logon("bob", "10.1.2.51").await;
    running.logon("carol", "10.1.2.52").await;
    terminal.shows("Sessions 2");
    terminal.shows("the service answers again");
    // Ctrl-C.
    terminal.press("\x03");
    assert_eq!(terminal.ends(), 0);
    running.end().await;
}

#[test]
fn a_service_that_was_never_there_is_waited_for_and_a_signal_gives_the_terminal_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    let socket = folder.path().join("nobody.sock");
    let text = format!("[control]\nsocket = \"{}\"\n", socket.display());
    std::fs::write(&path, text).expect("a configuration");
    let path = path.display().to_string();
    let mut terminal = Terminal::jims(&["--config", &path, "status", "--watch"]);
    terminal.shows("The service does not answer.");
    terminal
        .process
        .kill(expectrl::process::unix::Signal::SIGTERM)
        .expect("sent");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn the_demo_shows_the_dashboard_and_ends_with_it() {
    let mut terminal = Terminal::jims(&["run", "--demo"]);
    terminal.shows("self-contained demo");
    terminal.press("6");
    terminal.shows("srx-demo");
    terminal.press("q");
    terminal.shows("Stop the demo and leave?");
    terminal.press("n2");
    terminal.shows("wifi");
    terminal.press("qy");
    assert_eq!(terminal.ends(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_it_says_what_to_do() {
    let running = Running::start();
    let (code, out, error) = running.jims(&["status", "--watch"]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(error.contains("stdout is no terminal"), "{error}");
    assert!(error.contains("try: run it on a terminal"), "{error}");
    running.end().await;
}
