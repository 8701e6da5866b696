//! The socket of DoQ, with one datagram in each buffer. The kernel can give many datagrams of one sender in one buffer
//! (UDP_GRO). QUIC's library then has all of them, up to 64 KiB, as long as it has an octet of one. So this is turned
//! off. Then the buffers for a batch take 46 KiB in place of 3 MiB, too.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use crate::server::batch::set_option;

/// The option that joins datagrams (Linux; `linux/udp.h`).
const UDP_GRO: libc::c_int = 104;

/// See the module.
#[derive(Debug)]
pub(super) struct SingleDatagrams(Arc<dyn AsyncUdpSocket>);

impl SingleDatagrams {
    /// Takes over the socket. The library turns the option on, so it is turned off after that.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Arc<SingleDatagrams>> {
        let same = socket.try_clone()?;
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        if inner.max_receive_segments() > 1 {
            set_option(&same, libc::SOL_UDP, UDP_GRO, 0)?;
        }
        Ok(Arc::new(SingleDatagrams(inner)))
    }
}

impl AsyncUdpSocket for SingleDatagrams {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}
