//! How a new `ogeld` replaces a running one without a refused or lost connection: it asks for the listening sockets over
//! a Unix socket, begins to answer on them, says so, and the old one drains.
//!
//! The sockets are handed over themselves (`SCM_RIGHTS`). Closing one and binding another would lose the connections that
//! wait in the closed one's queue.

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    net::TcpListener,
    os::{
        fd::AsFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::Path,
    time::Duration,
};

/// Sockets one message carries; the kernel takes 253.
const MOST: usize = 250;
/// How long the other side may take for one step: the new process opens its database before it says it is ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// What comes with a message of sockets: that there is another one, or that these are the last.
const MORE: u8 = b'M';
const LAST: u8 = b'S';
const READY: u8 = b'R';

/// The sockets of a running predecessor, which goes on until [`Predecessor::may_leave`].
pub struct Predecessor {
    stream: UnixStream,
    pub sockets: Vec<TcpListener>,
}

impl Predecessor {
    /// None when nobody listens there. Blocks for as long as the other side takes.
    pub fn ask(path: &Path) -> io::Result<Option<Self>> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut room = vec![std::mem::MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
        let mut sockets = Vec::new();
        loop {
            let mut received = RecvAncillaryBuffer::new(&mut room);
            let mut byte = [0];
            let got = recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut received, RecvFlags::CMSG_CLOEXEC)?;
            if got.bytes == 0 {
                return Ok(None);
            }
            for message in received.drain() {
                if let RecvAncillaryMessage::ScmRights(handed) = message {
                    sockets.extend(handed.map(TcpListener::from));
                }
            }
            if byte[0] != MORE {
                return Ok(Some(Self { stream, sockets }));
            }
        }
    }

    /// Tells it that connections are answered here now.
    pub fn may_leave(mut self) -> io::Result<()> {
        self.stream.write_all(&[READY])
    }
}

/// Waits on `path` for a successor, hands it `sockets`, and returns once it answers on them. A successor that fails on
/// the way is forgotten, and the next one may ask.
pub async fn successor(path: &Path, sockets: &[TcpListener]) -> io::Result<()> {
    let listener = listen(path)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let stream = stream.into_std()?;
        let sockets = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<Vec<_>>>()?;
        match tokio::task::spawn_blocking(move || hand_over(stream, &sockets)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => tracing::warn!(%error, "a successor asked for the sockets and did not start"),
            Err(error) => tracing::error!(%error, "handing over the sockets panicked"),
        }
    }
}

/// A name that was left behind by a process that is gone, or belongs to a predecessor that is draining, is replaced: the
/// new socket is complete before it takes the name.
fn listen(path: &Path) -> io::Result<tokio::net::UnixListener> {
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&fresh);
    let listener = tokio::net::UnixListener::bind(&fresh)?;
    // Whoever may connect gets our sockets.
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

fn hand_over(mut stream: UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut room = vec![std::mem::MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut messages = sockets.chunks(MOST).peekable();
    while let Some(sockets) = messages.next() {
        let handed: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let mut message = SendAncillaryBuffer::new(&mut room);
        if !message.push(SendAncillaryMessage::ScmRights(&handed)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let word = if messages.peek().is_some() { MORE } else { LAST };
        sendmsg(&stream, &[IoSlice::new(&[word])], &mut message, SendFlags::empty())?;
    }
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer[0] == READY { Ok(()) } else { Err(io::Error::other("the successor said something else than ready")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sockets_than_a_message_carries_come_in_several() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets: Vec<_> = (0..MOST + 10).map(|_| listener.try_clone().unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("takeover.sock");
        let door = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let old = std::thread::spawn(move || hand_over(door.accept().unwrap().0, &sockets));
        let found = Predecessor::ask(&path).unwrap().unwrap();
        assert_eq!(found.sockets.len(), MOST + 10);
        let last = found.sockets.last().unwrap().local_addr().unwrap();
        assert_eq!(last, listener.local_addr().unwrap());
        found.may_leave().unwrap();
        old.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_successor_gets_the_same_sockets_and_one_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("takeover.sock");
        assert!(Predecessor::ask(&path).unwrap().is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let old = tokio::spawn({
            let path = path.clone();
            async move { successor(&path, &[listener]).await }
        });
        let ask = || {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                loop {
                    if let Some(found) = Predecessor::ask(&path).unwrap() {
                        return found;
                    }
                    std::thread::yield_now();
                }
            })
        };
        drop(ask().await.unwrap());
        let found = ask().await.unwrap();
        assert_eq!(found.sockets[0].local_addr().unwrap(), address);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!old.is_finished());
        let waiting = std::net::TcpStream::connect(address).unwrap();
        let (sockets, stream) = (found.sockets, found.stream);
        Predecessor { stream, sockets: Vec::new() }.may_leave().unwrap();
        old.await.unwrap().unwrap();
        let (accepted, _) = sockets[0].accept().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), waiting.local_addr().unwrap());
    }
}
