//! A client's TCP connection, and noticing that the client is gone without a word: its machine is off, or a firewall has
//! forgotten it. Then a session's process would go on, and a watch would be kept up, for nobody.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// When nothing is on its way, the kernel asks: after so many seconds of silence, again after so many more, and gives the
/// client up when it was not answered so many times.
const IDLE_SECONDS: u32 = 30;
const ASK_SECONDS: u32 = 10;
const ASK_COUNT: u32 = 3;
/// What is on its way the kernel sends again for a quarter of an hour, with ever longer pauses. A client whose machine has
/// confirmed nothing for so long, asked at least so many times, is gone. One that does not read confirms that.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(60);
const UNCONFIRMED_COUNT: u8 = 3;
/// How often that is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// A client's connection; reading and writing fail when the client is gone.
pub(crate) struct Peer {
    tcp: TcpStream,
    look: Interval,
}

/// What the kernel knows of the other end.
#[derive(Clone, Copy, Debug)]
struct Confirmed {
    /// How often something was sent again, or asked, since anything was confirmed.
    attempts: u8,
    /// Since when nothing was.
    since: Duration,
}

impl Peer {
    /// # Errors
    /// When the connection is broken already.
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        setsockopt(&tcp, sockopt::TcpKeepIdle, &IDLE_SECONDS)?;
        setsockopt(&tcp, sockopt::TcpKeepInterval, &ASK_SECONDS)?;
        setsockopt(&tcp, sockopt::TcpKeepCount, &ASK_COUNT)?;
        setsockopt(&tcp, sockopt::KeepAlive, &true)?;
        let mut look = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { tcp, look })
    }

    /// Looks when it is time, and comes back for the next time.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.look.poll_tick(context).is_ready() {
            if is_gone(confirmed(&self.tcp)?) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

fn is_gone(confirmed: Confirmed) -> bool {
    confirmed.attempts >= UNCONFIRMED_COUNT && confirmed.since >= UNCONFIRMED_MAX
}

fn confirmed(tcp: &TcpStream) -> io::Result<Confirmed> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the struct, whose bytes mean something whatever they are.
    let info = unsafe {
        let done = libc::getsockopt(
            tcp.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        info.assume_init()
    };
    Ok(Confirmed {
        attempts: info.tcpi_retransmits.max(info.tcpi_probes),
        since: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.look(context)?;
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        Pin::new(&mut self.tcp).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn who_confirms_nothing_for_long_is_gone() {
        let gone = |attempts, seconds| is_gone(Confirmed { attempts, since: Duration::from_secs(seconds) });
        assert!(gone(3, 60));
        assert!(!gone(3, 59), "it may be a bad line");
        assert!(!gone(0, 3600), "nothing was sent");
        assert!(!gone(1, 110), "one that does not read is asked every two minutes");
    }

    #[tokio::test]
    async fn a_client_that_is_there_is_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut peer = Peer::new(listener.accept().await.unwrap().0).unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).await.unwrap();
        peer.write_all(&heard).await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        assert!(!is_gone(confirmed(&peer.tcp).unwrap()));
    }
}
