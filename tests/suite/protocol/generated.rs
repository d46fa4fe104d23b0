//! Generates paths: valid ones, such that break a chosen rule, and soup of dangerous pieces.

use syncra_protocol::path::PathRule;

/// SplitMix64: the same paths on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("below a usize")
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// Pieces that mean something to some file system, or to Unicode.
const SOUP: &[&str] = &[
    ".",
    "..",
    "/",
    "//",
    "\\",
    " ",
    "  ",
    ":",
    "a",
    "A",
    "b",
    "ab",
    "con",
    "CoN",
    "nul",
    "aux",
    "PRN",
    "com1",
    "LPT9",
    "com¹",
    "lpt²",
    "com10",
    "conin$",
    "CONOUT$",
    ".txt",
    "~1",
    "git",
    ".git",
    ".GIT",
    "syncra",
    ".syncra",
    ".Syncra",
    "~",
    "\t",
    "\n",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{3000}",
    "\u{200b}",
    "\u{200d}",
    "\u{202e}",
    "\u{feff}",
    "\u{ad}",
    "\u{fe0f}",
    "\u{301}",
    "e\u{301}",
    "é",
    "ß",
    "ẞ",
    "ﬁ",
    "ｃ",
    "ｏ",
    "ｎ",
    "．",
    "․",
    "‥",
    "…",
    "／",
    "＼",
    "℀",
    "：",
    "？",
    "<",
    ">",
    "\"",
    "|",
    "?",
    "*",
    "Å",
    "K",
    "Ω",
    "가",
    "각",
    "\u{1100}\u{1161}",
    "ラ",
    "か\u{3099}",
    "😀",
    "❤\u{fe0f}",
    "\u{e000}",
    "\u{fdd0}",
    "\u{ffff}",
    "\u{50000}",
    "\u{115f}",
    "\u{3164}",
    "\u{180e}",
    "\u{180b}",
    "\u{2028}",
    "\u{fff9}",
    "\u{600}",
    "ı",
    "İ",
    "i̇",
    "ſ",
    "1",
    "$",
];

pub(crate) struct Generator {
    pub(crate) random: Random,
    assigned: Vec<(u32, u32)>,
}

impl Generator {
    pub(crate) fn new(seed: u64, assigned: Vec<(u32, u32)>) -> Self {
        Self { random: Random(seed), assigned }
    }

    /// Whether the judge's Unicode assigns it.
    pub(crate) fn is_known(&self, c: char) -> bool {
        let after = self.assigned.partition_point(|&(first, _)| first <= u32::from(c));
        after > 0 && self.assigned[after - 1].1 >= u32::from(c)
    }

    /// A character that both sides know: half the time ASCII, else any script alike.
    pub(crate) fn char(&mut self) -> char {
        if self.random.below(2) == 0 {
            let ascii = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=,;~ .";
            return char::from(ascii[self.random.below(ascii.len())]);
        }
        let (first, last) = self.assigned[self.random.below(self.assigned.len())];
        let span = usize::try_from(last - first + 1).expect("a range of code points");
        let code = first + u32::try_from(self.random.below(span)).expect("within the range");
        char::from_u32(code).expect("assigned ranges have no surrogates")
    }

    pub(crate) fn part(&mut self) -> String {
        (0..=self.random.below(8)).map(|_| self.char()).collect()
    }

    pub(crate) fn path(&mut self) -> String {
        (0..=self.random.below(4)).map(|_| self.part()).collect::<Vec<_>>().join("/")
    }

    /// Letters and digits only: breaks no rule.
    pub(crate) fn plain_part(&mut self) -> String {
        let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
        format!(
            "x{}",
            (0..self.random.below(6)).map(|_| char::from(letters[self.random.below(36)])).collect::<String>()
        )
    }

    pub(crate) fn soup(&mut self) -> String {
        (0..=self.random.below(6)).map(|_| self.random.pick(SOUP)).collect()
    }

    /// A path that breaks `rule`, and by chance others.
    pub(crate) fn breaking(&mut self, rule: PathRule) -> Vec<u8> {
        let broken = match rule {
            PathRule::Utf8 => return self.not_utf8(),
            PathRule::Empty => return Vec::new(),
            PathRule::Long => return self.long(),
            PathRule::Deep => vec!["d"; 33 + self.random.below(20)].join("/"),
            PathRule::Absolute => return format!("/{}", self.path()).into_bytes(),
            PathRule::EmptyPart => String::new(),
            PathRule::PartLong => self.random.pick(&["x", "é", "語", "😀"]).repeat(256),
            PathRule::Dots => self.random.pick(&[".", "..", "․", "．", "‥", "․․", "．．", ".．", "․."]).to_owned(),
            PathRule::Separator => self.inside(&["\\", "／", "＼", "﹨", "℀", "℁", "℅", "℆"]),
            PathRule::Colon => self.inside(&[":", "::$DATA", "C:"]),
            PathRule::Control => {
                let code = [self.random.below(32), 127 + self.random.below(33)][self.random.below(2)];
                let control = char::from(u8::try_from(code).expect("below 160")).to_string();
                self.inside(&[&control])
            }
            PathRule::Wildcard => self.inside(&["<", ">", "\"", "|", "?", "*"]),
            PathRule::Invisible => self.inside(&[
                "\u{200b}",
                "\u{200c}",
                "\u{200d}",
                "\u{200e}",
                "\u{202a}",
                "\u{202e}",
                "\u{2060}",
                "\u{2066}",
                "\u{2069}",
                "\u{feff}",
                "\u{ad}",
                "\u{34f}",
                "\u{61c}",
                "\u{115f}",
                "\u{1160}",
                "\u{17b4}",
                "\u{180e}",
                "\u{2028}",
                "\u{2029}",
                "\u{206a}",
                "\u{3164}",
                "\u{ffa0}",
                "\u{fff9}",
                "\u{1bca0}",
                "\u{1d173}",
                "\u{e0001}",
                "\u{e0020}",
            ]),
            PathRule::Unassigned => self.inside(&[
                "\u{e000}",
                "\u{f8ff}",
                "\u{f03a}",
                "\u{fdd0}",
                "\u{fffe}",
                "\u{50000}",
                "\u{10fffd}",
                "\u{378}",
            ]),
            PathRule::Nfc => self.inside(&[
                "e\u{301}",
                "A\u{30a}",
                "\u{212b}",
                "\u{212a}",
                "\u{1100}\u{1161}",
                "か\u{3099}",
                "\u{344}",
                "\u{958}",
                "q\u{323}\u{307}\u{323}",
            ]),
            PathRule::Edge => self.edge(),
            PathRule::Device => self.device(),
            PathRule::Reserved => return self.reserved(),
        };
        self.surrounded(&broken)
    }

    /// `broken` as one part somewhere in a path whose other parts mostly break nothing.
    fn surrounded(&mut self, broken: &str) -> Vec<u8> {
        let mut parts: Vec<String> = (0..=self.random.below(3)).map(|_| self.plain_part()).collect();
        if self.random.below(4) == 0 {
            parts.push(self.part());
        }
        // Not in front: an empty first part is another rule.
        let at = 1 + self.random.below(parts.len());
        parts.insert(at, broken.to_owned());
        parts.join("/").into_bytes()
    }

    fn inside(&mut self, pieces: &[&str]) -> String {
        format!("{}{}{}", self.plain_part(), self.random.pick(pieces), self.plain_part())
    }

    fn long(&mut self) -> Vec<u8> {
        let mut path = "x".repeat(255);
        while path.len() <= 1_024 {
            path.push('/');
            path.push_str(&self.plain_part().repeat(20));
        }
        path.into_bytes()
    }

    fn not_utf8(&mut self) -> Vec<u8> {
        let bad: &[&[u8]] = &[
            b"\xff",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\x80",
            b"\xc3",
            b"\xe2\x82",
            b"\xc0\x80",
        ];
        let mut path = self.path().into_bytes();
        path.extend_from_slice(self.random.pick(bad));
        if self.random.below(2) == 0 {
            path.extend_from_slice(b"/end");
        }
        path
    }

    fn edge(&mut self) -> String {
        let part = self.plain_part();
        let blank = self.random.pick(&[" ", "\u{a0}", "\u{3000}", "\u{2003}", "\u{1680}", "\u{205f}"]);
        match self.random.below(4) {
            0 => format!("{blank}{part}"),
            1 => format!("{part}{blank}"),
            2 => format!("{part}."),
            _ => format!("{part}. ."),
        }
    }

    fn device(&mut self) -> String {
        let names = [
            "con", "prn", "aux", "nul", "com0", "com1", "com9", "lpt1", "lpt5", "com¹", "com²", "lpt³", "conin$",
            "conout$", "ｎul",
        ];
        let name = self.random.pick(&names);
        let cased: String =
            name.chars().map(|c| if self.random.below(2) == 0 { c.to_ascii_uppercase() } else { c }).collect();
        let spaces = self.random.pick(&["", "", " ", "  "]);
        let end = self.random.pick(&["", ".txt", ".tar.gz", ".a b"]);
        if end.is_empty() { cased } else { format!("{cased}{spaces}{end}") }
    }

    fn reserved(&mut self) -> Vec<u8> {
        let first =
            [".syncra", ".Syncra", ".SYNCRA", ".ſyncra", "SYNCRA~1", "syncra~12", ".ｓyncra", ".syncr\u{fe0f}a"];
        let anywhere = [".git", ".GIT", ".Git", "git~1", "GIT~2", ".ｇit", ".g\u{fe00}it"];
        if self.random.below(2) == 0 {
            let part = self.random.pick(&anywhere);
            return self.surrounded(part);
        }
        let part = self.random.pick(&first);
        format!("{part}/{}", self.plain_part()).into_bytes()
    }
}
