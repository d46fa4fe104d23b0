#!/usr/bin/env python3
"""An independent judge of paths, written from docs/spec/names.md with Python's own Unicode tables.

  path_oracle.py assigned   prints the ranges of code points that this Python's Unicode assigns, one `first last` a line
  path_oracle.py rules      for each hex-encoded path on stdin: the rules it breaks, comma-separated (none: accepted)
  path_oracle.py keys       for each hex-encoded part: its collision key, hex-encoded
  path_oracle.py pairs      for each `hex hex` of two paths: `collide` or `apart`
"""

import functools
import re
import sys
import unicodedata

PATH_BYTES, PATH_PARTS, PART_BYTES = 1024, 32, 255
# Format characters (Cf) that are drawn: signs that enclose numbers, Egyptian quadrat controls.
DRAWN = set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
DRAWN |= {chr(c) for c in range(0x13430, 0x13440)}
UNDRAWN = re.compile("HANGUL (.* )?FILLER$|^COMBINING GRAPHEME JOINER$|^KHMER VOWEL INHERENT ")
SELECTOR = re.compile("^(MONGOLIAN FREE )?VARIATION SELECTOR")
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9]) *")


@functools.lru_cache(maxsize=None)
def character_rules(c):
    category, name = unicodedata.category(c), unicodedata.name(c, "")
    rules = set()
    if c == ":":
        rules.add("colon")
    if c in '<>"|?*':
        rules.add("wildcard")
    if category == "Cc":
        rules.add("control")
    elif category in ("Zl", "Zp") or (category == "Cf" and c not in DRAWN) or UNDRAWN.search(name):
        rules.add("invisible")
    if category in ("Cn", "Co"):
        rules.add("unassigned")
    if set(unicodedata.normalize("NFKC", c)) & set("/\\"):
        rules.add("separator")
    return frozenset(rules)


@functools.lru_cache(maxsize=None)
def ignored(c):
    return bool(SELECTOR.match(unicodedata.name(c, ""))) or "invisible" in character_rules(c)


@functools.lru_cache(maxsize=100_000)
def key(part):
    kept = "".join(c for c in part if not ignored(c))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", kept).casefold())
    # Folding may uncover what folds again (a letter with a subscript iota).
    return unicodedata.normalize("NFKC", folded.casefold())


def blank(c):
    return unicodedata.category(c) in ("Zs", "Zl", "Zp")


def part_rules(part, first):
    if not part:
        return {"empty_part"}
    rules = set()
    if len(part.encode()) > PART_BYTES:
        rules.add("part_long")
    if unicodedata.normalize("NFKC", part) in (".", ".."):
        rules.add("dots")
    for c in set(part):
        rules |= character_rules(c)
    if unicodedata.normalize("NFC", part) != part:
        rules.add("nfc")
    if blank(part[0]) or blank(part[-1]) or part[-1] == ".":
        rules.add("edge")
    if DEVICE.fullmatch(key(part.split(".")[0])):
        rules.add("device")
    folded = key(part)
    if re.fullmatch(r"\.git|git~[0-9]+", folded) or (first and re.fullmatch(r"\.syncra|syncra~[0-9]+", folded)):
        rules.add("reserved")
    return rules


def path_rules(data):
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {"utf8"}
    if not text:
        return {"empty"}
    rules = set()
    if len(data) > PATH_BYTES:
        rules.add("long")
    parts = text.split("/")
    if parts[0] == "":
        rules.add("absolute")
    if len(parts) > PATH_PARTS:
        rules.add("deep")
    for index, part in enumerate(parts):
        rules |= part_rules(part, index == 0)
    return rules


def prefixes(path):
    parts = path.split("/")
    for n in range(1, len(parts) + 1):
        yield tuple(key(part) for part in parts[:n]), "/".join(parts[:n]), n == len(parts)


def collide(a, b):
    for key_a, text_a, file_a in prefixes(a):
        for key_b, text_b, file_b in prefixes(b):
            if key_a == key_b and (file_a or file_b or text_a != text_b):
                return True
    return False


def assigned():
    first = None
    for code in range(0x110001):
        known = code <= 0x10FFFF and unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
        if known and first is None:
            first = code
        if not known and first is not None:
            yield f"{first} {code - 1}"
            first = None


def main(mode):
    answer = {
        "rules": lambda line: ",".join(sorted(path_rules(bytes.fromhex(line)))),
        "keys": lambda line: key(bytes.fromhex(line).decode()).encode().hex(),
        "pairs": lambda line: "collide" if collide(*(bytes.fromhex(h).decode() for h in line.split())) else "apart",
    }
    answers = assigned() if mode == "assigned" else (answer[mode](line.strip()) for line in sys.stdin)
    sys.stdout.write("".join(f"{line}\n" for line in answers))


if __name__ == "__main__":
    main(sys.argv[1])
