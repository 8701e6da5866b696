"""Compressed responses: they are the same texts, and a browser that has the page gets it once."""
import gzip
import http.client
import json

from portolan import Node, files, policy

# As many names as need several pieces of `/v1/names`.
NAMES = 300
MANY = policy(
    endpoint={f"e{n}": {"addresses": [f"192.0.2.{n}"]} for n in range(1, 100)},
    pool={"web": {"members": [f"e{n}" for n in range(1, 100)]}},
    name={f"n{n}": {"pool": "web"} for n in range(NAMES)},
)


def get(node, path, headers={}, method="GET", body=None):
    connection = http.client.HTTPConnection(*node.http, timeout=30)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def test_large_responses_are_compressed_for_those_who_accept_it(dir, figure):
    with Node(dir, files(MANY)) as node:
        for path in ("/", "/metrics", "/v1/status", "/v1/names", "/v1/openapi.json", "/v1/explain?name=n1.svc.example"):
            status, headers, packed = get(node, path, {"Accept-Encoding": "br, gzip;q=0.8"})
            assert (status, headers["content-encoding"]) == (200, "gzip"), (path, status)
            assert headers["vary"] == "accept-encoding", path
            _, plain_headers, plain = get(node, path)
            assert plain_headers["content-encoding"] is None and plain_headers["vary"] == "accept-encoding", path
            unpacked = gzip.decompress(packed)
            figure(f"{path.split('?')[0]} as gzip", 100 * len(packed) / len(plain), "% of its octets")
            assert len(packed) < len(plain) / 2, path
            assert headers["content-type"] == plain_headers["content-type"], path
            if "json" in headers["content-type"]:
                assert type(json.loads(unpacked)) is type(json.loads(plain)), path
        names = json.loads(gzip.decompress(get(node, "/v1/names", {"Accept-Encoding": "gzip"})[2]))
        assert names == json.loads(get(node, "/v1/names")[2]) and len(names) == NAMES
        status, headers, packed = get(node, "/v1/simulate", {"Accept-Encoding": "gzip"}, "POST", '{"lose": ["e1"]}')
        assert (status, headers["content-encoding"]) == (200, "gzip")
        assert len(json.loads(gzip.decompress(packed))["endpoints"]) == 99
        for refused in ("gzip;q=0", "br", ""):
            assert get(node, "/v1/status", {"Accept-Encoding": refused})[1]["content-encoding"] is None, refused
        status, headers, body = get(node, "/healthz", {"Accept-Encoding": "gzip"})
        assert headers["content-encoding"] is None and body.startswith(b"ok"), "it is short"


def test_a_browser_gets_the_page_once(dir):
    with Node(dir, files(MANY)) as node:
        status, headers, page = get(node, "/")
        tag = headers["etag"]
        assert status == 200 and tag.startswith('"') and headers["cache-control"] == "private, no-cache"
        for known in (tag, f'W/{tag}', f'"other", {tag}', "*"):
            status, headers, body = get(node, "/", {"If-None-Match": known})
            assert (status, headers["etag"], body) == (304, tag, b""), known
        assert get(node, "/", {"If-None-Match": '"other"'})[2] == page
        # Each coding has a tag of its own.
        packed = get(node, "/", {"Accept-Encoding": "gzip"})[1]["etag"]
        assert packed != tag and get(node, "/", {"If-None-Match": tag, "Accept-Encoding": "gzip"})[0] == 200
        # What it shows has changed.
        node.write("svc.example.policy.toml", MANY.replace('"n7"', '"other"').replace("name.n7", "name.other"))
        assert node.command("reload").returncode == 0
        status, headers, _ = get(node, "/", {"If-None-Match": tag})
        assert (status, headers["etag"] == tag) == (200, False)
