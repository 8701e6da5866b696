"""One hostile client: its sockets, and the kinds of clients by name."""
import asyncio
import contextlib
import socket
import ssl

# What stays unread in the kernel of a client that reads nothing.
SMALL = 4096
# The replies to these have 40 MB: more than any buffer. The queries themselves fit into the buffers of the client.
DEAF_QUERIES = 700

KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


class Client:
    """One client: its connections come from its own address."""

    def __init__(self, siege, kind, number):
        self.siege, self.kind, self.number = siege, kind, number
        self.server = tuple(siege.spec["server"])

    @property
    def source(self):
        sources = self.siege.spec["sources"]
        return f"127.{2 + sorted(KINDS).index(self.kind)}.{self.number % sources // 250}.{self.number % sources % 250 + 1}"

    def socket(self, kind=socket.SOCK_STREAM, deaf=False):
        made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        if deaf:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        made.bind((self.source, 0))
        return made

    @contextlib.asynccontextmanager
    async def tcp(self, deaf=False):
        """A connection."""
        loop = asyncio.get_running_loop()
        with self.socket(deaf=deaf) as made:
            self.siege.counts["opened"] += 1
            await loop.sock_connect(made, self.server)
            yield Stream(loop, made)

    @contextlib.asynccontextmanager
    async def tls(self, alpn, deaf=False):
        """A connection with TLS."""
        async with self.tcp(deaf) as tcp:
            secure = Secure(tcp, alpn)
            await secure.shake_hands()
            yield secure


def trusting(alpn):
    """A TLS context that trusts every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    return context


class Stream:
    """Octets over TCP."""

    def __init__(self, loop, made):
        self.loop, self.made = loop, made

    async def send(self, data):
        await self.loop.sock_sendall(self.made, data)

    async def read(self):
        """Some octets; an error at the end of the stream."""
        got = await self.loop.sock_recv(self.made, 65536)
        if not got:
            raise ConnectionError
        return got

    async def closed(self):
        """Waits until the server closes, and reads nothing."""
        while True:
            with contextlib.suppress(BlockingIOError):
                if not self.made.recv(1, socket.MSG_PEEK):
                    return
            await asyncio.sleep(0.25)
            if self.made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return


class Secure(Stream):
    """Octets over TLS."""

    def __init__(self, tcp, alpn):
        super().__init__(tcp.loop, tcp.made)
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting(alpn).wrap_bio(self.inward, self.outward, server_hostname="ns1.example")

    async def shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                return await super().send(self.outward.read())
            except ssl.SSLWantReadError:
                await super().send(self.outward.read())
                self.inward.write(await super().read())

    async def send(self, data):
        self.tls.write(data)
        await super().send(self.outward.read())

    async def read(self):
        while True:
            try:
                if got := self.tls.read(65536):
                    return got
                raise ConnectionError
            except ssl.SSLWantReadError:
                self.inward.write(await super().read())


@contextlib.asynccontextmanager
async def read_in_background(stream):
    async def read():
        with contextlib.suppress(OSError):
            while True:
                await stream.read()

    reading = asyncio.create_task(read())
    try:
        yield
    finally:
        reading.cancel()
