"""Reads and verifies records of proposals and drafts with nothing but docs/spec/proposals.md, docs/spec/wire.md (the draft's
part) and the standard library.

usage: check_records.py records.json
"""

import hashlib
import json
import sys

from check_entries import CLASSES, Reader

VERDICTS = ["comment", "approve", "request changes", "close"]

# Ed25519 as in RFC 8032, points as (x, y) on the curve over the field of 2^255 - 19.
P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, P - 2, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(n, point):
    result = (0, 1)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def point(data):
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    assert y < P
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if x * x % P != xx:
        x = x * ROOT % P
    assert x * x % P == xx, "no point"
    return (P - x if x & 1 != sign else x), y


BASE = point(bytes([0x58]) + bytes([0x66] * 31))


def verify(key, message, signature):
    s = int.from_bytes(signature[32:], "little")
    assert s < Q
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    assert times(s, BASE) == add(point(signature[:32]), times(k, point(key))), "the signature does not verify"


def said(r):
    tag = r.number()
    if tag == 0:
        return {
            "class": CLASSES[r.number()],
            "name": r.text(),
            "release": r.id(),
            "title": r.text(),
            "withdrawn": r.flag(),
        }
    assert tag == 1
    return {"release": r.id(), "verdict": VERDICTS[r.number()], "text": r.text()}


def proposal(data):
    body, signature = data[:-64], data[-64:]
    r = Reader(body)
    fields = {"target": r.id(), "proposal": r.id(), "by": r.id()}
    key = body[r.at : r.at + 32]
    fields |= {"device": r.id(), "number": r.byte(), "rev": r.number(), "said": said(r)}
    assert r.at == len(body)
    verify(key, b"syncra proposal record v1\n" + body, signature)
    return fields


def draft(data, key):
    r = Reader(data)
    body = r.take(r.number())
    signature = r.take(64)
    assert r.at == len(data)
    verify(key, b"syncra/draft/v1\n" + body, signature)
    r = Reader(body)
    fields = {"package": r.id(), "name": r.text(), "rev": r.number(), "tree_id": r.id(), "content_root": r.id()}
    fields |= {"total_bytes": r.number(), "n_files": r.number()}
    assert r.at == len(body)
    return fields


def refused(read, *args):
    try:
        read(*args)
    except (AssertionError, IndexError, UnicodeDecodeError):
        return True
    return False


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    n = 0
    for vector in vectors["proposals"]:
        data = bytes.fromhex(vector["bytes"])
        assert proposal(data) == vector["fields"], vector["name"]
        assert refused(proposal, data[:-1] + bytes([data[-1] ^ 1])), vector["name"]
        n += 1
    for vector in vectors["drafts"]:
        data, key = bytes.fromhex(vector["bytes"]), bytes.fromhex(vector["key"])
        assert draft(data, key) == vector["fields"], vector["name"]
        assert refused(draft, data, bytes(31) + b"\x01"), vector["name"]
        n += 1
    print(f"{n} records agree")


main()
