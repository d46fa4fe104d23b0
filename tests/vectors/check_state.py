"""Reads a node's truth on disk with nothing but docs/spec/state.md and the standard library.

usage: check_state.py state.json
"""

import json
import struct
import sys

from check_content import blake3


def check(*parts):
    return blake3(b"".join(parts))[:16]


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, length=32):
        part = self.data[self.at : self.at + length]
        assert len(part) == length
        self.at += length
        return part

    def number(self):
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                assert byte or shift == 7, "not the shortest form"
                return value

    def flag(self):
        return {0: False, 1: True}[self.bytes(1)[0]]

    def blob(self):
        return self.bytes(self.number())

    def text(self):
        return self.blob().decode()

    def option(self, read):
        return read() if self.flag() else None

    def blobs(self):
        return [self.blob() for _ in range(self.number())]

    def origin(self):
        return ["package", "identity"][self.number()], self.bytes()[0], self.bytes()[0]

    def id(self):
        value = self.bytes()
        assert value == value[:1] * 32, "ids of the vectors are one byte repeated"
        return value[0]


def witnessed(r):
    said = (r.text(), r.id(), r.number(), r.id(), r.number(), r.blob())
    return said, [(r.number(), r.number()) for _ in range(r.number())]


RECORDS = {
    1: lambda r: (r.origin(), r.number(), r.number(), r.id(), r.blobs()),
    2: lambda r: (r.origin(), r.number(), r.id(), r.blob()),
    3: lambda r: (r.origin(), r.number(), r.id(), r.blob()),
    4: lambda r: (r.id(), r.number()),
    5: lambda r: (r.id(), r.option(r.text)),
    6: lambda r: (r.id(),),
    7: lambda r: (r.id(), ["neutral", "trusted", "blocked"][r.number()]),
    8: lambda r: (r.id(), r.option(r.text)),
    9: lambda r: (r.text(),),
    10: lambda r: (r.id(), r.id()),
    11: lambda r: (r.origin(), r.blob()),
    12: lambda r: (r.id(), r.id(), r.flag()),
    13: lambda r: (r.origin(), r.number()),
    14: lambda r: (r.id(), r.id(), r.flag()),
    15: lambda r: (r.origin(), r.number(), r.id(), r.blob(), r.number()),
    16: lambda r: (r.origin(), [witnessed(r) for _ in range(r.number())]),
    17: lambda r: (r.origin(), r.blob(), r.blob()),
}
OWN, FOREIGN = ("package", 6, 1), ("identity", 5, 2)
EXPECTED = [
    (10, (9, 1)),
    (1, (OWN, 0, 2, 3, [b"one", b"\xff" * 200])),
    (2, (OWN, 2, 3, b"note")),
    (3, (FOREIGN, 300, 3, b"head")),
    (4, (7, 1700000000123)),
    (5, (6, "stable")),
    (5, (8, None)),
    (6, (8,)),
    (7, (5, "blocked")),
    (8, (5, "Änne")),
    (9, ("bob",)),
    (11, (FOREIGN, b"\1\2\3")),
    (12, (12, 6, True)),
    (13, (FOREIGN, 200)),
    (14, (14, 6, True)),
    (15, (FOREIGN, 300, 3, b"head", 1700000000)),
    (
        16,
        (
            FOREIGN,
            [
                (
                    ("witness.example/one", 4, 300, 3, 1700000000, b"\5" * 64),
                    [(1, 1600000000), (300, 1700000000)],
                )
            ],
        ),
    ),
    (17, (FOREIGN, b"\1\2\3", b"\4\5")),
]


def frames(data, magic, chained):
    assert data[:16] == magic + b"\1\0\0\0" + struct.pack("<Q", 1)
    assert data[16:32] == check(data[:16])
    salt, at = data[16:32], 32
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        body, stored = data[at : at + 5 + length], data[at + 5 + length : at + 21 + length]
        assert stored == check(salt, body)
        yield body[4], Reader(body[5:])
        at, salt = at + 21 + length, stored if chained else salt
    assert at == len(data)


def whole(value, reader):
    assert reader.at == len(reader.data)
    return value


def main(vectors):
    files = {name: bytes.fromhex(data) for name, data in vectors.items()}
    assert files["device_key"] == b"SYNK\1" + files["seed"] + check(b"SYNK\1" + files["seed"])

    records = [(kind, whole(RECORDS[kind](reader), reader)) for kind, reader in frames(files["journal"], b"SYNJ", True)]
    assert records == EXPECTED

    slots = [files["mark"][at : at + 48] for at in (0, 512)]
    valid = [struct.unpack("<QQQ", slot[8:32]) for slot in slots if slot[:8] == b"SYNMARK1" and slot[32:] == check(slot[:32])]
    assert max(valid)[1:] == (1, len(files["journal"]))

    runs = [whole((r.origin(), r.number(), r.blobs()), r) for kind, r in frames(files["logs"], b"SYNL", False) if kind == 1]
    assert runs == [(OWN, 0, [b"one", b"two"]), (("identity", 5, 1), 200, [b"\7" * 130])]
    print(f"{len(records)} records agree")


with open(sys.argv[1], encoding="utf-8") as file:
    main(json.load(file))
