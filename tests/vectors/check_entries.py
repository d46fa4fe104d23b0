"""Reads the entries of a vector file with nothing but docs/spec/entries.md and the standard library.

usage: check_entries.py entries.json
"""

import base64
import json
import sys

CLASSES = ["branch", "tag", "channel"]
REASONS = ["mistake", "secret", "personal", "rights", "harmful"]
ROLES = ["contributor", "maintainer", "owner"]
KINDS = ["script", "driver", "world", "avatar", "asset", "pack"]
CRITICAL = {1, 2, 3, 4, 5, 6, 7, 8, 10, 32, 33, 34, 35, 37}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert self.at + n <= len(self.data), "too short"
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self):
        return self.take(1)[0]

    def number(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                assert byte or shift == 7, "a longer spelling than needed"
                return value

    def id(self):
        return base32(self.take(32))

    def text(self):
        return self.take(self.number()).decode("utf-8")

    def option(self, read):
        tag = self.byte()
        assert tag < 2
        return read() if tag else None

    def list(self, read):
        return [read() for _ in range(self.number())]

    def flag(self):
        tag = self.byte()
        assert tag < 2
        return bool(tag)

    def origin(self):
        subject = ["pkg", "id"][self.number()]
        return f"syncra/{subject}/{self.id()}/{self.id()}"


def base32(data):
    return base64.b32encode(data).decode().rstrip("=").lower()


def body(kind, r):
    if kind == 1:
        return {
            "kind": KINDS[r.number()],
            "owners": r.list(r.id),
            "owner_threshold": r.byte(),
            "creator": r.id(),
            "log_key": r.id(),
            "nonce": base32(r.take(16)),
        }
    if kind == 2:
        return {"package": r.id(), "identity": r.id()}
    if kind == 3:
        return {
            "previous": r.option(r.id),
            "changes": r.list(lambda: [r.id(), r.option(lambda: ROLES[r.number()])]),
            "owner_threshold": r.byte(),
            "protect": r.list(lambda: [CLASSES[r.number()], r.text(), r.flag()]),
            "cuts": r.list(lambda: [r.id(), r.option(lambda: cut(r))]),
            "rules": r.option(r.number),
        }
    if kind == 4:
        return {"entry": r.id()}
    if kind == 5:
        return {
            "version": r.text(),
            "tree_id": r.id(),
            "content_root": r.id(),
            "manifest": r.id(),
            "total_bytes": r.number(),
            "n_files": r.number(),
            "dependencies": r.list(lambda: [r.id(), r.text()]),
            "engine": r.option(r.text),
            "parents": r.list(r.id),
            "note": r.option(r.id),
        }
    if kind == 6:
        return {
            "class": CLASSES[r.number()],
            "name": r.text(),
            "old": r.option(r.id),
            "new": r.option(r.id),
        }
    if kind == 7:
        return {"release": r.id(), "undo": r.flag(), "reason": r.option(r.id)}
    if kind == 8:
        return {"blobs": r.list(r.id), "reason": REASONS[r.number()]}
    if kind == 10:
        return {"log": r.id(), "cut": cut(r)}
    if kind == 12:
        return {}
    if kind == 32:
        return {"log_key": r.id(), "recovery": r.id(), "nonce": base32(r.take(16))}
    if kind == 33:
        return {"identity": r.id()}
    if kind == 34:
        return added(r)
    if kind == 35:
        return cuts(r)
    if kind == 37:
        return {
            "identity": r.id(),
            "previous": r.option(r.id),
            "admit": r.option(lambda: added(r)),
            "revoke": r.list(lambda: cuts(r)),
            "lift": r.list(r.id),
            "next": r.id(),
            "key": r.id(),
            "signature": [r.id(), r.id()],
        }
    if kind == 38:
        return {"name": r.text(), "package": r.option(r.id)}
    if kind == 39:
        return {"handle": r.text()}
    raise AssertionError(f"unknown kind {kind}")


def added(r):
    return {"device": r.id(), "role": ["manager", "publisher"][r.number()], "label": r.text()}


def cut(r):
    return {"size": r.number(), "root": r.id()}


def cuts(r):
    return {
        "device": r.id(),
        "identity": r.option(lambda: cut(r)),
        "packages": r.list(lambda: [r.id(), r.option(lambda: cut(r))]),
    }


def entry(data):
    r = Reader(data)
    assert r.take(4) == b"SYNE"
    version, kind, flags = r.byte(), r.byte(), r.byte()
    assert version == 1
    assert flags == (1 if kind in CRITICAL else 0)
    assert int.from_bytes(r.take(2), "little") == len(data) - 9
    seen = r.list(lambda: {"origin": r.origin(), "size": r.number(), "root": r.id()})
    fields = {"seen": seen, "body": body(kind, r)}
    assert r.at == len(data), "bytes left over"
    return kind, fields


def main():
    vectors = json.load(open(sys.argv[1], encoding="utf-8"))
    for vector in vectors:
        kind, fields = entry(bytes.fromhex(vector["bytes"]))
        assert kind == vector["kind"], vector["name"]
        assert fields == vector["fields"], f"{vector['name']}:\n{fields}\n{vector['fields']}"
    print(f"{len(vectors)} entries agree")


if __name__ == "__main__":
    main()
