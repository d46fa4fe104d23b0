#!/usr/bin/env python3
"""Makes the assets of the lighthouse world: an island's mesh, textures, sounds. Standard library only, same bytes every run."""
import math, random, struct, wave, zlib
from pathlib import Path

HERE = Path(__file__).parent / "lighthouse" / "assets"
rng = random.Random(1822)  # the year of the first Fresnel lens


def noise_grid(n, octaves, seed):
    """Value noise on an n x n grid, 0..1."""
    r = random.Random(seed)
    out = [[0.0] * n for _ in range(n)]
    amplitude, total = 1.0, 0.0
    for octave in range(octaves):
        cells = 4 << octave
        lattice = [[r.random() for _ in range(cells + 1)] for _ in range(cells + 1)]
        for y in range(n):
            fy = y / n * cells
            y0 = int(fy); ty = fy - y0; ty = ty * ty * (3 - 2 * ty)
            for x in range(n):
                fx = x / n * cells
                x0 = int(fx); tx = fx - x0; tx = tx * tx * (3 - 2 * tx)
                a = lattice[y0][x0] * (1 - tx) + lattice[y0][x0 + 1] * tx
                b = lattice[y0 + 1][x0] * (1 - tx) + lattice[y0 + 1][x0 + 1] * tx
                out[y][x] += amplitude * (a * (1 - ty) + b * ty)
        total += amplitude
        amplitude *= 0.5
    return [[v / total for v in row] for row in out]


def png(path, n, colour):
    raw = bytearray()
    for y in range(n):
        raw.append(0)
        for x in range(n):
            raw += bytes(colour(x, y))
    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    header = struct.pack(">IIBBBBB", n, n, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(raw), 9)) + chunk(b"IEND", b""))


def island(path, n=170):
    height = noise_grid(n, 6, 1)
    lines = ["# The island: y is up, metres", "o island"]
    for y in range(n):
        for x in range(n):
            d = math.hypot(x / n - 0.5, y / n - 0.5)
            h = (height[y][x] - 0.35) * 60 * max(0.0, 1 - 2.1 * d)
            lines.append(f"v {x * 1.5:.2f} {h:.3f} {y * 1.5:.2f}")
    for y in range(n - 1):
        for x in range(n - 1):
            a = y * n + x + 1
            lines.append(f"f {a} {a + n} {a + n + 1} {a + 1}")
    path.write_text("\n".join(lines) + "\n")


def sound(path, seconds, sample, rate=16000):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1); w.setsampwidth(2); w.setframerate(rate)
        w.writeframes(b"".join(struct.pack("<h", int(max(-1, min(1, sample(i / rate))) * 32000)) for i in range(int(seconds * rate))))


def main():
    island(HERE / "meshes" / "island.obj")
    rock, sea = noise_grid(400, 6, 2), noise_grid(320, 5, 3)
    png(HERE / "textures" / "rock.png", 400, lambda x, y: [min(255, int(90 + 110 * rock[y][x]) + rng.randrange(12)), min(255, int(84 + 100 * rock[y][x]) + rng.randrange(12)), min(255, int(78 + 90 * rock[y][x]))])
    png(HERE / "textures" / "sea.png", 320, lambda x, y: [int(10 + 30 * sea[y][x]), int(60 + 70 * sea[y][x]) + rng.randrange(6), int(110 + 90 * sea[y][x])])
    state = [0.0]
    def waves(t):
        state[0] = 0.985 * state[0] + 0.015 * rng.uniform(-1, 1) * 4
        return state[0] * (0.6 + 0.4 * math.sin(2 * math.pi * t / 6.5))
    sound(HERE / "sounds" / "waves.wav", 26, waves)
    def foghorn(t):
        envelope = min(1, t * 2) * max(0.0, min(1, (4 - t) * 2))
        return envelope * sum(math.sin(2 * math.pi * 98 * k * t + 0.3 * math.sin(9 * t)) / k for k in (1, 2, 3, 5)) * 0.45
    sound(HERE / "sounds" / "foghorn.wav", 4, foghorn)


main()
