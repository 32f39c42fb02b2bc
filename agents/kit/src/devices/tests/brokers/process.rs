//! Folders, ports and processes of a broker.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Below the ports that outgoing connections take, or one of them might be faster.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A program that the test runner names in `variable`. `None`: it names none, and this may be skipped.
pub fn required(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).filter(|path| !path.is_empty());
    if found.is_none() {
        assert!(
            std::env::var_os("FAREWELL_TEST_REQUIRED").is_none(),
            "{variable} is not set, and nothing may be skipped"
        );
        println!("skipped: {variable} is not set");
    }
    found.map(PathBuf::from)
}

/// Ports of loopback that nobody listens on, and that no other test of this process is given: a broker that is slow to start,
/// or that comes back, finds its own free still.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    [(); N].map(|()| {
        let mut drawn = (0..PORTS.len()).map(|_| rand::random_range(PORTS));
        let free = drawn
            .find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok());
        given.insert(free.unwrap());
        free.unwrap()
    })
}

/// A folder that goes with its owner, unless the test failed: then there is something to look at.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("farewell-{name}-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and says where it is.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("left behind: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Room for so many of a kind at a time, in all tests of this process.
pub struct Seats {
    free: Mutex<usize>,
    left: Condvar,
}

/// One of them, until it is dropped.
pub struct Seat(&'static Seats);

impl Seats {
    pub const fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count),
            left: Condvar::new(),
        }
    }

    /// Waits for one.
    pub fn take(&'static self) -> Seat {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let none = self.left.wait_while(free, |free| *free == 0);
        *none.unwrap_or_else(PoisonError::into_inner) -= 1;
        Seat(self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let free = self.0.free.lock();
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.left.notify_one();
    }
}

/// A process that ends with its owner.
pub struct Process(Child);

impl Process {
    /// Starts it in silence: what it has to say it writes to files.
    pub fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for what has to become true.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn listens(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}
