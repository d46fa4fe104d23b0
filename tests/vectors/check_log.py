#!/usr/bin/env python3
"""Reads log.json with the standard library alone: RFC 6962 trees, C2SP notes, fork proofs.

Signatures are not checked (the standard library has no Ed25519); key ids are. Prints one line and exits 0, or raises.
"""

import base64
import hashlib
import json
import pathlib


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_hash(entry):
    return sha256(b"\x00", entry)


def node_hash(left, right):
    return sha256(b"\x01", left, right)


def split(n):
    """The largest power of two smaller than n."""
    return 1 << (n - 1).bit_length() - 1


def root(leaves):
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(root(leaves[:k]), root(leaves[k:]))


def inclusion_path(m, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return inclusion_path(m, leaves[:k]) + [root(leaves[k:])]
    return inclusion_path(m - k, leaves[k:]) + [root(leaves[:k])]


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return subproof(m, leaves[:k], whole) + [root(leaves[k:])]
    return subproof(m - k, leaves[k:], False) + [root(leaves[:k])]


def prefix_roots(m, n, hashes):
    """Both roots to which a prefix proof leads, by the recursion of the tree; uses up all hashes."""
    hashes = list(hashes)

    def walk(m, n):
        if m == n:
            first = hashes.pop(0)
            return first, first
        k = split(n)
        if m <= k:
            old, new = walk(m, k)
            return old, node_hash(new, hashes.pop(0))
        old, new = walk(m - k, n - k)
        left = hashes.pop(0)
        return node_hash(left, old), node_hash(left, new)

    roots = walk(m, n)
    assert not hashes, "superfluous hashes"
    return roots


class Reader:
    """Postcard: LEB128 numbers, byte strings with their length before them, fixed arrays bare."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        assert n <= len(self.data), "too short"
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def number(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def hashes(self):
        return [self.take(32) for _ in range(self.number())]

    def end(self):
        assert not self.data, "trailing bytes"


def proof(text):
    reader = Reader(bytes.fromhex(text))
    low, size, hashes = reader.number(), reader.number(), reader.hashes()
    reader.end()
    return low, size, hashes


def checkpoint(note, key):
    """Parses a note by one key; returns (origin, size, root)."""
    text, _, lines = note.decode("utf-8").rpartition("\n\n")
    origin, size, root64 = text.split("\n")
    line, end = lines.split("\n")
    dash, name, signature = line.split(" ")
    assert (dash, end, name) == ("\u2014", "", origin)
    signature = base64.b64decode(signature, validate=True)
    assert len(signature) == 4 + 64
    assert signature[:4] == sha256(name.encode(), b"\n\x01", key)[:4], "key id"
    assert str(int(size)) == size
    return origin, int(size), base64.b64decode(root64, validate=True)


def further_line(note, longer):
    """The one signature line that `longer` has beyond `note`: its name and bytes."""
    assert longer.startswith(note)
    dash, name, data = longer[len(note):].decode("utf-8").rstrip("\n").split(" ")
    assert dash == "\u2014"
    return name, base64.b64decode(data, validate=True)


def base32(data):
    return base64.b32encode(data).decode().lower().rstrip("=")


def climb(index, size, leaf, path):
    """The root of a tree of that size to which a path leads from a leaf, and the root over all leaves before that."""
    node, before, last = leaf, None, size - 1
    for sibling in path:
        while last > 0 and index % 2 == 0 and index == last:
            index, last = index // 2, last // 2
        if index % 2 == 1:
            node = sha256(b"\x01", sibling, node)
            before = sibling if before is None else sha256(b"\x01", sibling, before)
        else:
            node = sha256(b"\x01", node, sibling)
        index, last = index // 2, last // 2
    return node, sha256() if before is None else before


def main():
    vectors = json.loads(pathlib.Path(__file__).with_name("log.json").read_text())
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in vectors["leaves"]]
    roots = [bytes.fromhex(text) for text in vectors["roots"]]
    assert roots == [root(leaves[:n]) for n in range(len(leaves) + 1)]

    low, size, hashes = proof(vectors["inclusion_of_6_in_11"])
    assert (low, size, hashes) == (6, 11, inclusion_path(6, leaves))
    assert [h.hex() for h in hashes] == vectors["inclusion_hashes"]
    low, size, hashes = proof(vectors["consistency_of_6_and_11"])
    assert (low, size, hashes) == (6, 11, subproof(6, leaves, True))
    assert [h.hex() for h in hashes] == vectors["consistency_hashes"]
    low, size, hashes = proof(vectors["prefix_of_8_and_11"])
    assert (low, size, hashes) == (8, 11, [roots[8]] + subproof(8, leaves, True))
    assert prefix_roots(8, 11, hashes) == (roots[8], roots[11])

    key = bytes.fromhex(vectors["public_key"])
    assert vectors["origin"].endswith("/" + base32(key))
    note = base64.b64decode(vectors["note_base64"])
    assert checkpoint(note, key) == (vectors["origin"], 11, roots[11])
    name, key_id, typed_key = vectors["vkey"].split("+", 2)
    assert name == vectors["origin"]
    assert base64.b64decode(typed_key, validate=True) == b"\x01" + key
    assert bytes.fromhex(key_id) == sha256(name.encode(), b"\n\x01", key)[:4]

    witness = bytes.fromhex(vectors["witness_public_key"])
    name, key_id, typed_key = vectors["witness_vkey"].split("+", 2)
    assert name == "syncra/witness/" + base32(witness)
    assert base64.b64decode(typed_key, validate=True) == b"\x04" + witness
    cosigned = base64.b64decode(vectors["cosigned_note_base64"])
    line_name, line = further_line(note, cosigned)
    assert line_name == name and line[:4].hex() == key_id
    assert line[:4] == sha256(name.encode(), b"\n\x04", witness)[:4]
    assert int.from_bytes(line[4:12], "big") == vectors["cosigned_at"] and len(line) == 4 + 8 + 64

    line_name, line = further_line(note, base64.b64decode(vectors["warning_note_base64"]))
    assert line_name == "syncra/fork"
    assert line[:4] == sha256(b"syncra/fork\n\xffsyncra fork proof v1")[:4]
    assert line[4:].hex() == vectors["fork_proof"]

    reader = Reader(bytes.fromhex(vectors["fork_proof"]))
    assert reader.number() == 1, "format"
    older, newer = reader.take(reader.number()), reader.take(reader.number())
    hashes = reader.hashes()
    reader.end()
    assert newer == note
    origin, old_size, old_root = checkpoint(older, key)
    assert (origin, old_size) == (vectors["origin"], 8)
    shown_root, new_root = prefix_roots(old_size, 11, hashes)
    assert new_root == roots[11] and shown_root == roots[8] != old_root, "no fork"

    parted = base64.b64decode(vectors["parted_note_base64"])
    warned = base64.b64decode(vectors["warning_note_base64"])
    line_name, line = further_line(warned, parted)
    assert line_name == "syncra/fork-point"
    assert line[:4] == sha256(b"syncra/fork-point\n\xffsyncra fork point v1")[:4]
    assert line[4:].hex() == vectors["fork_point"]
    reader = Reader(bytes.fromhex(vectors["fork_point"]))
    assert reader.number() == 1, "format"
    index = reader.number()
    older_leaf, older_path = reader.take(32), reader.hashes()
    newer_leaf, newer_path = reader.take(32), reader.hashes()
    reader.end()
    assert newer_leaf == leaves[index] != older_leaf
    assert newer_path == inclusion_path(index, leaves)
    assert climb(index, old_size, older_leaf, older_path) == (old_root, roots[index])
    assert climb(index, 11, newer_leaf, newer_path) == (roots[11], roots[index])
    print(f"log.json: {len(leaves)} leaves, {len(roots)} roots, 3 proofs, 4 notes, 1 fork proof, 1 fork point")


main()
