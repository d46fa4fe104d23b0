"""Reads the content of a release with nothing but docs/spec/content.md and the standard library.

usage: check_content.py content.json
"""

import base64
import json
import struct
import sys

MASK = 0xFFFFFFFF
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
SHUFFLE = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
QUARTERS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
DIAGONALS = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
CHUNK_START, CHUNK_END, PARENT, ROOT, CONTEXT, MATERIAL = 1, 2, 4, 8, 32, 64


def compress(cv, block, counter, size, flags):
    s = cv + IV[:4] + [counter & MASK, counter >> 32, size, flags]
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    for _ in range(7):
        for n, (a, b, c, d) in enumerate(QUARTERS + DIAGONALS):
            for word, turn, back in ((m[2 * n], 16, 12), (m[2 * n + 1], 8, 7)):
                s[a] = (s[a] + s[b] + word) & MASK
                x = s[d] ^ s[a]
                s[d] = (x >> turn | x << 32 - turn) & MASK
                s[c] = (s[c] + s[d]) & MASK
                x = s[b] ^ s[c]
                s[b] = (x >> back | x << 32 - back) & MASK
        m = [m[i] for i in SHUFFLE]
    return [s[i] ^ s[i + 8] for i in range(8)]


def subtree(key, data, first, flags, root):
    """The chaining value over data, whose first KiB is number `first`."""
    if len(data) > 1024:
        left = 1 << (len(data) - 1).bit_length() - 1
        values = subtree(key, data[:left], first, flags, 0) + subtree(key, data[left:], first + left // 1024, flags, 0)
        return compress(key, struct.pack("<16I", *values), 0, 64, flags | PARENT | root)
    cv, start = key, CHUNK_START
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    for block in blocks[:-1]:
        cv, start = compress(cv, block, first, 64, flags | start), 0
    return compress(cv, blocks[-1], first, len(blocks[-1]), flags | start | CHUNK_END | root)


def blake3(data, context=None):
    key, flags = IV, 0
    if context is not None:
        key, flags = subtree(IV, context, 0, CONTEXT, ROOT), MATERIAL
    return struct.pack("<8I", *subtree(key, data, 0, flags, ROOT))


assert blake3(b"").hex().startswith("af1349b9f5f9a1a6a0404dea36dcc949")


def noise(seed, size):
    """SplitMix64, eight bytes a draw."""
    words = []
    for _ in range((size + 7) // 8):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        words.append((z ^ z >> 31).to_bytes(8, "little"))
    return b"".join(words)[:size]


def base32(data):
    return base64.b32encode(data).decode().lower().rstrip("=")


class Reader:
    def __init__(self, data, magic):
        assert data[:5] == magic + b"\x01"
        self.data, self.at = data, 5

    def take(self, n):
        assert self.at + n <= len(self.data), "too short"
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                assert byte or shift == 7, "a longer spelling than needed"
                return value

    def tag(self, n):
        tag = self.number()
        assert tag < n
        return tag

    def list(self, read):
        return [read() for _ in range(self.number())]

    def part(self):
        return self.number(), self.number(), self.number()

    def segment(self):
        return self.take(32), self.number(), self.take(32) if self.tag(2) else None

    def entry(self):
        is_dir = self.tag(2)
        name = self.take(self.number())
        if is_dir:
            return name, True, self.take(32)
        return name, False, (self.tag(2), self.number(), self.take(32), self.list(self.part))

    def end(self):
        assert self.at == len(self.data), "bytes left over"


def read_node(data):
    reader = Reader(data, b"SYNN")
    node = reader.list(reader.segment), reader.list(reader.entry)
    reader.end()
    names = [name for name, _, _ in node[1]]
    assert names and names == sorted(set(names))
    return node


def read_chunks(data):
    reader = Reader(data, b"SYNK")
    chunks = reader.list(lambda: (reader.number(), reader.take(16)))
    reader.end()
    return chunks


class Walk:
    def __init__(self, nodes):
        self.nodes, self.visited, self.segments, self.files = nodes, [], [], []

    def directory(self, id, prefix):
        if id not in self.visited:
            self.visited.append(id)
        segments, entries = read_node(self.nodes[id])
        used = []
        for name, is_dir, rest in entries:
            if is_dir:
                self.directory(rest, prefix + name + b"/")
                continue
            executable, size, hash, parts = rest
            assert sum(length for _, _, length in parts) == size
            runs = []
            for index, offset, length in parts:
                assert index <= len(used)
                used += [index] if index == len(used) else []
                segment = segments[index]
                assert length and offset + length <= segment[1]
                if segment not in self.segments:
                    self.segments.append(segment)
                runs.append((segment[0], offset, length))
            self.files.append((prefix + name, executable, size, hash, runs))
        assert len(used) == len(segments)


def main(vectors):
    nodes = {blake3(bytes.fromhex(node)): bytes.fromhex(node) for node in vectors["nodes"]}
    sequence = bytes.fromhex(vectors["hash_seq"])
    assert base32(blake3(sequence)) == vectors["content_root"]
    walk = Walk(nodes)
    walk.directory(sequence[:32], b"")
    lists = [segment[2] for segment in walk.segments if segment[2]]
    assert b"".join(walk.visited + [segment[0] for segment in walk.segments] + list(dict.fromkeys(lists))) == sequence

    contents = {hash: bytearray(size) for hash, size, _ in walk.segments}
    projection = b""
    for given, (path, executable, size, hash, runs) in zip(vectors["files"], walk.files, strict=True):
        assert (path.decode(), executable, size) == (given["path"], given["executable"], given["size"])
        data, at = noise(given["seed"], size), 0
        assert base32(hash) == given["hash"] and blake3(data) == hash
        for segment, offset, length in runs:
            contents[segment][offset : offset + length] = data[at : at + length]
            at += length
        projection += struct.pack("<I", len(path)) + path + struct.pack("<BQ", executable, size) + hash
    assert base32(blake3(projection, b"syncra tree id v1")) == vectors["tree_id"]

    for given, (hash, size, chunks) in zip(vectors["segments"], walk.segments, strict=True):
        data = bytes(contents[hash])
        assert blake3(data) == hash and base32(hash) == given["hash"] and size == given["size"]
        assert (chunks is None) == (given["chunks"] is None)
        if chunks:
            encoded, at = bytes.fromhex(given["chunks"]), 0
            assert blake3(encoded) == chunks
            for length, short in read_chunks(encoded):
                assert blake3(data[at : at + length])[:16] == short
                at += length
            assert at == size
    print(f"{len(walk.files)} files agree")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        main(json.load(file))
