#!/usr/bin/env python3
"""A git repository of many commits on standard output, for `git fast-import`: 300 files in 100 directories, two of which
every commit changes.

    git init big && git.py 5000 | git -C big fast-import --quiet
"""
import sys

for n in range(1, int(sys.argv[1]) + 1):
    who = f"A <a@example.org> {1_600_000_000 + n} +0000"
    message = f"c {n:05}\n"
    print(f"commit refs/heads/main\nmark :{n}\nauthor {who}\ncommitter {who}\ndata {len(message)}\n{message}", end="")
    if n > 1:
        print(f"from :{n - 1}")
    for k in range(2):
        at = (n * 7 + k * 13) % 300
        text = f"line {n} {k}\n" * (20 + n % 200)
        print(f"M 100644 inline d{at % 20}/s{at % 5}/f{at}.txt\ndata {len(text)}\n{text}")
