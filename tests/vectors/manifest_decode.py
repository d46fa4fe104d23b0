#!/usr/bin/env python3
"""Reads canonical manifests (docs/spec/manifest.md), one in hex a line; writes their fields as JSON."""

import base64
import json
import sys

KINDS = ["script", "driver", "world", "avatar", "asset", "pack"]
FILES = ["none", "read", "write"]


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert self.at + n <= len(self.data), "cut short"
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self):
        return self.take(self.number()).decode("utf-8")

    def option(self, read):
        return read() if self.number() else None

    def list(self, read):
        return [read() for _ in range(self.number())]

    def dependency(self):
        package = base64.b32encode(self.take(32)).decode().lower().rstrip("=")
        return {"package": package, "req": self.text(), "name": self.text()}


def decode(data):
    r = Reader(data)
    assert r.take(1) == b"\x01", "format"
    # Python evaluates the values of a dict in order: the order is that of the bytes.
    fields = {
        "name": r.text(),
        "version": r.text(),
        "kind": KINDS[r.number()],
        "description": r.option(r.text),
        "license": r.option(r.text),
        "keywords": r.list(r.text),
        "engine": r.option(r.text),
        "dependencies": r.list(r.dependency),
        "read": r.list(r.text),
        "write": r.list(r.text),
        "net": bool(r.number()),
        "files": FILES[r.number()],
        "start": r.list(r.text),
        "headless": r.option(r.text),
    }
    assert r.at == len(data), "trailing bytes"
    return fields


for line in sys.stdin:
    print(json.dumps(decode(bytes.fromhex(line.strip()))))
