//! Datagrams in batches: `recvmmsg` and `sendmmsg`, with the local address of each datagram, so that its reply is sent
//! from there. It knows sockets and bytes, never DNS. This is the only file with `unsafe`: each block states what
//! makes it sound. Only [`udp`](super::udp) uses a [`Batch`]; [`socket`](super::socket) uses [`set_option`].
#![expect(unsafe_code, reason = "recvmmsg, sendmmsg, control messages and some socket options exist only in C")]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_uint, cmsghdr, mmsghdr, sockaddr_in, sockaddr_in6};

/// Datagrams in one system call. Measured on echoes: what a call costs by itself is under 2 % of a full batch of 64,
/// and the buffers of a batch, 180 KiB, still fit a core's second cache.
pub(crate) const BATCH: usize = 64;

/// Longest query that is read: what Ethernet carries in one piece. Our EDNS size is 1232 octets.
const QUERY_ROOM: usize = 1472;

/// Longest reply: the 1232 octets that pass any path unfragmented (DNS flag day 2020).
pub(crate) const REPLY_ROOM: usize = 1232;

/// Room for control messages: packet info of IPv6 takes 40 octets, the drop counter 24, and both can come.
const CONTROL_ROOM: usize = 96;

/// The option with a socket's counters of memory and drops, which `libc` does not name (asm-generic/socket.h).
const SO_MEMINFO: c_int = 55;

/// How long a batch waits for a full send buffer before its replies are dropped; milliseconds.
const SEND_PATIENCE_MS: c_int = 10;

/// Whether to wait for the first datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until one comes or the socket's receive timeout ends.
    ForOne,
    /// Not at all.
    No,
}

/// How many replies were sent, and how many were not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Handed to the kernel.
    pub(crate) sent: usize,
    /// Refused by the kernel: no route, a firewall, no buffers.
    pub(crate) failed: usize,
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_ROOM]);

/// The buffers of one datagram.
struct Slot {
    peer: sockaddr_in6,
    query_iov: libc::iovec,
    reply_iov: libc::iovec,
    query_control: Control,
    reply_control: Control,
    query: [u8; QUERY_ROOM],
    reply: [u8; REPLY_ROOM],
}

/// A socket and the buffers of one batch. All memory is taken at [`Batch::new`]. Its headers have
/// pointers to its slots, which are on the heap, so that it may move; it can't be sent to another thread.
pub(crate) struct Batch {
    socket: UdpSocket,
    slots: Vec<Slot>,
    incoming: Vec<mmsghdr>,
    outgoing: Vec<mmsghdr>,
    received: usize,
    queued: usize,
    /// The last value of the kernel's drop counter, which counts from the creation of the socket, modulo 2^32.
    drops_seen: u32,
    drops: u64,
}

impl Batch {
    /// Takes a blocking socket. With packet info switched on, replies are sent from the address that their query was
    /// sent to.
    pub(crate) fn new(socket: UdpSocket) -> Batch {
        // SAFETY: slots and headers are plain C data and byte arrays, for which all zeroes is a value.
        let mut slots: Vec<Slot> = (0..BATCH).map(|_| unsafe { mem::zeroed() }).collect();
        let incoming = slots.iter_mut().map(header_of).collect();
        // SAFETY: as above.
        let outgoing = (0..BATCH).map(|_| unsafe { mem::zeroed() }).collect();
        let drops_seen = drops_before(&socket);
        Batch { socket, slots, incoming, outgoing, received: 0, queued: 0, drops_seen, drops: 0 }
    }

    /// Receives up to [`BATCH`] datagrams and returns how many; 0 when none came in time. An error is the socket's,
    /// such as a reported ICMP error: the next call may succeed.
    pub(crate) fn receive(&mut self, wait: Wait) -> io::Result<usize> {
        for header in &mut self.incoming[..self.received] {
            header.msg_hdr.msg_namelen = mem::size_of::<sockaddr_in6>() as u32;
            header.msg_hdr.msg_controllen = CONTROL_ROOM as _;
            header.msg_hdr.msg_flags = 0;
        }
        self.received = 0;
        let flags = if wait == Wait::ForOne { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let headers = self.incoming.as_mut_ptr();
        // SAFETY: BATCH headers, each pointing at the buffers of its slot, which lives as long as self and isn't
        // borrowed now. The kernel writes no more than the lengths say.
        let count = unsafe { libc::recvmmsg(self.fd(), headers, BATCH as c_uint, flags as _, ptr::null_mut()) };
        if count >= 0 {
            self.received = count as usize;
            return Ok(self.received);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        }
    }

    /// Calls `answer` for each received datagram with its source and room for a reply, and queues the reply, of at most
    /// [`REPLY_ROOM`] octets. Returns how many datagrams were longer than we read, for which `answer` is not called.
    pub(crate) fn answer_each(&mut self, mut answer: impl FnMut(&[u8], SocketAddr, &mut [u8]) -> Option<usize>) -> u64 {
        let mut cut = 0;
        self.queued = 0;
        for at in 0..self.received {
            let slot = &mut self.slots[at];
            let header = &self.incoming[at];
            let (local, drops) = read_control(&header.msg_hdr);
            if let Some(total) = drops {
                self.drops += u64::from(total.wrapping_sub(self.drops_seen));
                self.drops_seen = total;
            }
            let Some(source) = source_of(&slot.peer, header.msg_hdr.msg_namelen) else { continue };
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                cut += 1;
                continue;
            }
            let length = (header.msg_len as usize).min(QUERY_ROOM);
            let Some(reply) = answer(&slot.query[..length], source, &mut slot.reply) else { continue };
            self.outgoing[self.queued] = reply_header(slot, header.msg_hdr.msg_namelen, reply, local);
            self.queued += 1;
        }
        cut
    }

    /// Sends what [`Batch::answer_each`] queued. A reply that the kernel refuses does not stop those after it.
    pub(crate) fn send(&mut self) -> Sent {
        let mut tally = Sent::default();
        let (fd, mut at, mut has_waited) = (self.fd(), 0, false);
        while at < self.queued {
            let rest = &mut self.outgoing[at..self.queued];
            // SAFETY: the headers of `rest` were set by reply_header from slots that have not moved or changed since.
            let count = unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), rest.len() as c_uint, libc::MSG_DONTWAIT as _) };
            if count > 0 {
                at += count as usize;
                tally.sent += count as usize;
                continue;
            }
            match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock if !has_waited => {
                    has_waited = true;
                    self.wait_for_room();
                    continue;
                }
                io::ErrorKind::WouldBlock => {
                    tally.failed += self.queued - at;
                    break;
                }
                _ => {
                    tally.failed += 1;
                    at += 1;
                }
            }
        }
        self.queued = 0;
        tally
    }

    /// How many datagrams the kernel dropped since the last call, because the receive queue was full.
    pub(crate) fn take_queue_drops(&mut self) -> u64 {
        mem::take(&mut self.drops)
    }

    fn wait_for_room(&self) {
        let mut writable = libc::pollfd { fd: self.fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one pollfd, which lives through the call. Its result does not matter: the next send shows.
        unsafe { libc::poll(&mut writable, 1, SEND_PATIENCE_MS) };
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The kernel's drop counter of a socket that another process may have read; 0 where the kernel does not say.
fn drops_before(socket: &UdpSocket) -> u32 {
    let mut values = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = mem::size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` octets to `values`, which lives through the call.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_MEMINFO, values.as_mut_ptr().cast(), &mut length)
    };
    if done == 0 { values[libc::SK_MEMINFO_DROPS as usize] } else { 0 }
}

/// A descriptor that the process was started with, as a service manager passes them; `None` where there is no such
/// descriptor. It is closed in programs that are started later.
pub(crate) fn inherited_descriptor(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl changes only a flag of the descriptor, if there is one.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: the descriptor is open. The caller takes each number once, before the process opens anything of its own.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets an option of type int.
pub(crate) fn set_option(socket: &impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let length = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the value is an int, of the length passed, and lives through the call.
    let done =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, ptr::from_ref(&value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The header with which a slot receives. The slot must not move: it is in a Vec that never grows.
fn header_of(slot: &mut Slot) -> mmsghdr {
    slot.query_iov = libc::iovec { iov_base: slot.query.as_mut_ptr().cast(), iov_len: QUERY_ROOM };
    // SAFETY: plain C data.
    let mut header: mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = ptr::from_mut(&mut slot.peer).cast();
    header.msg_hdr.msg_namelen = mem::size_of::<sockaddr_in6>() as u32;
    header.msg_hdr.msg_iov = &mut slot.query_iov;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = slot.query_control.0.as_mut_ptr().cast();
    header.msg_hdr.msg_controllen = CONTROL_ROOM as _;
    header
}

/// The header with which a slot's reply is sent: to its peer, from `local`.
fn reply_header(slot: &mut Slot, peer_length: u32, length: usize, local: Option<Local>) -> mmsghdr {
    slot.reply_iov = libc::iovec { iov_base: slot.reply.as_mut_ptr().cast(), iov_len: length.min(REPLY_ROOM) };
    // SAFETY: plain C data.
    let mut header: mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = ptr::from_mut(&mut slot.peer).cast();
    header.msg_hdr.msg_namelen = peer_length;
    header.msg_hdr.msg_iov = &mut slot.reply_iov;
    header.msg_hdr.msg_iovlen = 1;
    if let Some(local) = local {
        header.msg_hdr.msg_control = slot.reply_control.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = write_control(&mut slot.reply_control, local) as _;
    }
    header
}

/// The local address that a datagram was sent to.
#[derive(Clone, Copy)]
enum Local {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

/// Reads the control messages of a received header: its local address, and the kernel's drop counter.
fn read_control(header: &libc::msghdr) -> (Option<Local>, Option<u32>) {
    let (mut local, mut drops) = (None, None);
    // SAFETY: the kernel wrote msg_controllen octets of control messages; FIRSTHDR and NXTHDR stay inside them, and
    // each datum is of the type that its level and kind promise. Reads are unaligned-safe.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    local = Some(Local::V4(data.cast::<libc::in_pktinfo>().read_unaligned()))
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    local = Some(Local::V6(data.cast::<libc::in6_pktinfo>().read_unaligned()));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => drops = Some(data.cast::<u32>().read_unaligned()),
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (local, drops)
}

/// Writes "send from `local`" and returns its length. Routing chooses the interface, except for link-local addresses,
/// which need one.
fn write_control(control: &mut Control, local: Local) -> usize {
    match local {
        Local::V4(mut info) => {
            info.ipi_ifindex = 0;
            put(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        Local::V6(mut info) => {
            let is_link_local = Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local();
            info.ipi6_ifindex = if is_link_local { info.ipi6_ifindex } else { 0 };
            put(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

/// Writes one control message of plain data and returns its length with padding.
fn put<T: Copy>(control: &mut Control, level: c_int, kind: c_int, datum: T) -> usize {
    const { assert!(mem::size_of::<cmsghdr>() + 8 + mem::size_of::<T>() <= CONTROL_ROOM) };
    let message = control.0.as_mut_ptr().cast::<cmsghdr>();
    // SAFETY: the control buffer is aligned for a cmsghdr and has room for it and T, by the assertion above.
    unsafe {
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(mem::size_of::<T>() as c_uint) as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(datum);
        libc::CMSG_SPACE(mem::size_of::<T>() as c_uint) as usize
    }
}

/// The address that the kernel wrote; `None` when it wrote none, or one that is neither IPv4 nor IPv6.
fn source_of(peer: &sockaddr_in6, length: u32) -> Option<SocketAddr> {
    match c_int::from(peer.sin6_family) {
        libc::AF_INET if length as usize >= mem::size_of::<sockaddr_in>() => {
            // SAFETY: of family AF_INET is a sockaddr_in, which is shorter than a sockaddr_in6 and aligned no stricter.
            let peer = unsafe { &*ptr::from_ref(peer).cast::<sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(peer.sin_port)).into())
        }
        libc::AF_INET6 if length as usize >= mem::size_of::<sockaddr_in6>() => {
            let ip = Ipv6Addr::from(peer.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(peer.sin6_port), 0, peer.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pair() -> (Batch, UdpSocket) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (Batch::new(server), client)
    }

    /// Queues an echo of each query.
    fn echo(query: &[u8], _: SocketAddr, reply: &mut [u8]) -> Option<usize> {
        reply[..query.len()].copy_from_slice(query);
        Some(query.len())
    }

    #[test]
    fn a_reply_that_the_kernel_refuses_keeps_none_back() {
        let (mut batch, client) = pair();
        for octet in 0..5 {
            client.send(&[octet]).unwrap();
        }
        assert_eq!(batch.receive(Wait::ForOne).unwrap(), 5);
        assert_eq!(batch.answer_each(echo), 0);
        // Nobody can be sent to at port 0: the first, one in the middle and the last are refused.
        for at in [0, 2, 4] {
            batch.slots[at].peer.sin6_port = 0;
        }
        assert_eq!(batch.send(), Sent { sent: 2, failed: 3 });
        for octet in [1, 3] {
            let mut reply = [0; 8];
            assert_eq!(client.recv(&mut reply).unwrap(), 1);
            assert_eq!(reply[0], octet);
        }
        assert_eq!(batch.send(), Sent::default(), "nothing is sent twice");
    }

    #[test]
    fn a_batch_is_received_whole_and_waits_for_nothing_more() {
        let (mut batch, client) = pair();
        for _ in 0..BATCH + 3 {
            client.send(&[7; 20]).unwrap();
        }
        let mut sources = Vec::new();
        for expected in [BATCH, 3, 0] {
            assert_eq!(batch.receive(Wait::No).unwrap(), expected);
            batch.answer_each(|query, source, _| {
                assert_eq!(query, [7; 20]);
                sources.push(source);
                None
            });
            assert_eq!(batch.send(), Sent::default(), "silence sends nothing");
        }
        assert_eq!(sources, vec![client.local_addr().unwrap(); BATCH + 3]);
    }
}
