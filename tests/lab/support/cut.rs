//! A line between two processes that can be cut: what is on its way then waits, as packets that are lost come again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often a cut line looks whether it is whole again.
const LOOK: Duration = Duration::from_millis(10);

/// The line.
pub(crate) struct Line {
    cut: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl Line {
    /// From an address to another.
    pub(crate) fn between(from: &str, to: &str) -> Self {
        let listener = TcpListener::bind(from).expect("a free port");
        let line = Self {
            cut: Arc::default(),
            ended: Arc::default(),
            connections: Arc::default(),
        };
        let (cut, ended, connections) = (
            Arc::clone(&line.cut),
            Arc::clone(&line.ended),
            Arc::clone(&line.connections),
        );
        let to = to.to_owned();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                connections.fetch_add(1, Ordering::AcqRel);
                let (cut, ended, to) = (Arc::clone(&cut), Arc::clone(&ended), to.clone());
                std::thread::spawn(move || carry(&near, &to, &cut, &ended));
            }
        });
        line
    }

    /// Nothing goes through any more.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Everything goes through again.
    pub(crate) fn mend(&self) {
        self.cut.store(false, Ordering::Release);
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

fn carry(near: &TcpStream, to: &str, cut: &AtomicBool, ended: &AtomicBool) {
    wait_whole(cut, ended);
    let Ok(far) = TcpStream::connect(to) else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pump(near, &far, cut, ended));
        pump(&far, near, cut, ended);
    });
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, cut: &AtomicBool, ended: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        wait_whole(cut, ended);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

fn wait_whole(cut: &AtomicBool, ended: &AtomicBool) {
    while cut.load(Ordering::Acquire) && !ended.load(Ordering::Acquire) {
        std::thread::sleep(LOOK);
    }
}
