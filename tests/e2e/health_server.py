"""A gRPC server with the standard health service, in its own process: python health_server.py CERT KEY [HOST].

It listens without TLS on PORT, and with TLS on TLS_PORT. On BARE_PORT is a gRPC server without a health service. The
server as a whole and the service `steady` are always SERVING, `sick` never. SIGUSR1 makes `db` NOT_SERVING, SIGUSR2 makes
it SERVING again.
"""
import signal
import sys
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

PORT, TLS_PORT, BARE_PORT = 50051, 50052, 50053
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def server(host, port, servicer=None, credentials=None):
    serving = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, serving)
    where = f"{host}:{port}"
    if credentials is not None:
        serving.add_secure_port(where, credentials)
    else:
        serving.add_insecure_port(where)
    serving.start()
    return serving


def main():
    servicer = health.HealthServicer()
    for service, state in [("steady", SERVING), ("sick", NOT_SERVING), ("db", SERVING)]:
        servicer.set(service, state)
    for number, state in [(signal.SIGUSR1, NOT_SERVING), (signal.SIGUSR2, SERVING)]:
        signal.signal(number, lambda *_, state=state: servicer.set("db", state))
    cert, key = (Path(path).read_bytes() for path in sys.argv[1:3])
    host = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    credentials = grpc.ssl_server_credentials([(key, cert)])
    servers = [server(host, PORT, servicer), server(host, TLS_PORT, servicer, credentials), server(host, BARE_PORT)]
    print("ready", flush=True)
    while servers:
        signal.pause()


if __name__ == "__main__":
    main()
