"""Keys and tokens of NATS: nkeys, the JWTs that an operator, an account and a user have, and the `.creds` file of a user."""
import base64
import binascii
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

# The first octet of a key in its text form.
SEED, OPERATOR, ACCOUNT, USER = 18 << 3, 14 << 3, 0, 20 << 3
NO_LIMITS = dict.fromkeys(["subs", "data", "payload", "imports", "exports", "conn", "leaf"], -1)
JETSTREAM = dict.fromkeys(["mem_storage", "disk_storage", "streams", "consumer"], -1)


class Nkey:
    """A new key pair of one kind: Nkey(USER).public, .seed"""

    def __init__(self, kind):
        self.key = Ed25519PrivateKey.generate()
        self.public = _text(bytes([kind]) + self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        secret = self.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        self.seed = _text(bytes([SEED | kind >> 5, (kind & 31) << 3]) + secret)

    def token(self, subject, kind, **claims):
        """The JWT of another key, or of this one, signed by this key."""
        body = {"iat": int(time.time()), "iss": self.public, "sub": subject.public, "name": kind, "jti": subject.public}
        body["nats"] = {"type": kind, "version": 2, **claims}
        signed = b".".join(_part(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return (signed + b"." + _part(self.key.sign(signed))).decode()


def _text(octets):
    crc = binascii.crc_hqx(octets, 0).to_bytes(2, "little")
    return base64.b32encode(octets + crc).decode().rstrip("=")


def _part(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def creds(token, key):
    """The content of a `.creds` file."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n"
    )


class Operator:
    """An operator with an account that has JetStream. `config` is the part of the NATS server's configuration."""

    def __init__(self):
        operator, self.account, system = Nkey(OPERATOR), Nkey(ACCOUNT), Nkey(ACCOUNT)
        limits = {self.account: NO_LIMITS | JETSTREAM, system: NO_LIMITS}
        accounts = {key.public: operator.token(key, "account", limits=of) for key, of in limits.items()}
        self.config = (
            f"operator: {operator.token(operator, 'operator', system_account=system.public)}\nresolver: MEMORY\n"
            f"system_account: {system.public}\nresolver_preload: {json.dumps(accounts)}\n"
        )

    def user(self, key):
        """The JWT of a user of the account."""
        return self.account.token(key, "user", pub={}, sub={}, subs=-1, data=-1, payload=-1)
