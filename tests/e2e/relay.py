"""A path to a server that a test can cut."""
import contextlib
import socket
import threading

from ports import free_ports


class Relay:
    """Passes connections on to `target`, (host, port), until it is cut."""

    def __init__(self, target):
        self.target, self.open = target, []
        # A port that the kernel chooses could be given to another connection after a cut.
        self.listen(*free_ports(1))

    def listen(self, port):
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listening,), daemon=True).start()

    def accept(self, listening):
        with contextlib.suppress(OSError):
            while True:
                near, far = listening.accept()[0], socket.create_connection(self.target)
                self.open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for end in [self.listening, *self.open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.open = []
