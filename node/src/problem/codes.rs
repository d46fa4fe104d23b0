//! The table of error codes. `E` + two digits of the exit code (11 stands for 130) + two digits of our own;
//! `00` is the general code of its kind. `docs/guide/errors.md` is this table for people; a test compares them.

use super::Kind;

/// One row of the table.
struct Row {
    number: &'static str,
    name: &'static str,
    kind: Kind,
    retryable: bool,
    hint: &'static str,
    doc: &'static str,
}

/// Declares the enum and its rows at once, so that no code can lack a property.
macro_rules! codes {
    ($($number:literal $name:ident $kind:ident $retryable:literal $doc:literal $hint:literal)*) => {
        /// What exactly went wrong; each has a fixed number, kind, default hint and one line of meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $doc] $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            fn row(self) -> &'static Row {
                match self {$(
                    Self::$name => &Row {
                        number: $number, name: stringify!($name), kind: Kind::$kind,
                        retryable: $retryable, hint: $hint, doc: $doc,
                    },
                )*}
            }
        }
    };
}

codes! {
    "E0100" Failed Failed false
        "something did not work and no better code fits" ""
    "E0101" Bug Failed false
        "a bug in syncra, not something you did" "please report it, with the output of the same command and `-vv`"
    "E0102" HomeDamaged Failed false
        "a file of the home that only this device has is damaged" "run `syncra doctor`: it tells which file, what is wrong with it, and what can be done"
    "E0103" HomeVersion Failed false
        "the home was written by a version of syncra that this one does not understand" "use the newer `syncra`, or another `--home`"
    "E0104" ConfigInvalid Failed false
        "config.toml is not valid" "correct the line that is named, or take it out: every key has a default"
    "E0110" ManifestInvalid Failed false
        "syncra.toml is not valid" "correct the line that is named, then run `syncra check`"
    "E0111" TreeInvalid Failed false
        "the directory holds something that cannot be published" "rename or remove it, or leave it out by a line in `.syncraignore`"
    "E0112" SourceChanged Failed true
        "a file changed while it was read" "wait until nothing writes to the directory any more, then try again"
    "E0113" DependencyUnknown Failed false
        "a dependency cannot be resolved" "import or follow the package, or name it by its id"
    "E0114" StoreFailed Failed false
        "the blob store or the store of entries does not work" "run `syncra doctor`"
    "E0115" InstalledDamaged Failed false
        "a file that tells what is installed is damaged" "`syncra doctor --repair` goes back to the newest generation that is whole, `syncra rollback GENERATION` to another"
    "E0116" CheckoutInvalid Failed false
        "the file that tells what a directory was checked out from cannot be understood" "check the release out again into a new directory, and copy your changes there"

    "E0200" Usage Usage false
        "the call is wrong" "see `syncra --help`"
    "E0201" UnknownVerb Usage false
        "there is no such verb" "`syncra --help` lists the verbs"
    "E0202" BadArgument Usage false
        "an argument has a value that is not allowed" "see `--help` of the verb"
    "E0203" UnknownConfigKey Usage false
        "there is no such configuration key" "`syncra config list` shows all keys"
    "E0204" NotConfirmed Usage false
        "the verb asks for a confirmation, and there is no terminal to ask on" "pass `--yes` to go ahead without being asked"
    "E0205" BadRequest Usage false
        "the API request could not be read" "see `/api/v1/openapi.json`"
    "E0206" RequestTooLarge Usage false
        "the API request is larger than 1 MiB" ""
    "E0207" NotJson Usage false
        "a POST needs the content type application/json" "send the header `content-type: application/json`"
    "E0208" MethodNotAllowed Usage false
        "this API path has another method" "see `/api/v1/openapi.json`"

    "E0300" NotFound NotFound false
        "the thing named does not exist" ""
    "E0301" RouteNotFound NotFound false
        "there is no such API path" "see `/api/v1/openapi.json`"
    "E0302" ManifestMissing NotFound false
        "the directory has no syncra.toml" "make one by `syncra new KIND NAME`"
    "E0303" TokenNotFound NotFound false
        "there is no API token with this id" "`syncra token list` shows the ids"
    "E0304" PackageNotFound NotFound false
        "nothing known here has this name" "`syncra list` shows what is known; `syncra import FILE` brings more"
    "E0305" ReleaseNotFound NotFound false
        "the package has no such release" "`syncra info PKG` shows its versions and channels"
    "E0306" NotInstalled NotFound false
        "the package is not installed" "`syncra add PKG` installs it"
    "E0307" GenerationNotFound NotFound false
        "there is no such generation, or not any more" "the newest ten generations are kept"

    "E0400" PermissionDenied Permission false
        "it is not allowed: to this key or device, or by the operating system" "the message says to whom; of a file, check who owns it and its mode"
    "E0401" TokenNeeded Permission false
        "the API needs a valid token over TCP" "make one by `syncra token create --scope read`, pass it in `SYNCRA_TOKEN` or as `authorization: Bearer …`"
    "E0402" ScopeTooSmall Permission false
        "the API token does not have the scope that this needs" "make another by `syncra token create --scope …`"
    "E0403" ForeignHost Permission false
        "the API was asked for under a foreign host name" "use `127.0.0.1` or `localhost` and the port that `syncra status` shows"
    "E0404" ForeignOrigin Permission false
        "a web page of a foreign origin called the API" ""
    "E0405" ReadOnlyHome Permission false
        "the home cannot be written" "check its owner and mode, or choose another by `--home DIR`"
    "E0406" HomeCopied Permission false
        "the home is a copy, restored or moved, so nothing is signed: two homes with one key would sign two histories" "if no other copy will ever be used again, say so by `syncra id adopt`, which takes in first what others have of it"
    "E0407" NotAWriter Permission false
        "what this device's identity may do in the package is not enough" "`syncra role PKG` shows who owns it; ask one of them for `syncra role PKG IDENTITY maintainer` with the identity that `syncra id` shows"
    "E0408" WrongPassphrase Permission false
        "the passphrase does not open the backup" "try again; nobody can open it without the passphrase"
    "E0409" DeviceSilenced Permission false
        "this device does not speak for its identity: it was suspended or revoked, or not added yet" "`syncra status` says which, and the way out. A suspension is ended by `syncra id recover --lift`, which asks for the recovery secret unless it is on this device or SYNCRA_RECOVERY_FILE names a file with it"
    "E0410" NotAnOwner Permission false
        "only owners change who may do what, and agree to it" "`syncra role PKG` shows who owns the package"
    "E0411" NewerRules Permission false
        "the owners have agreed to rules that this version does not know" "install a newer version of syncra"

    "E0500" VerificationFailed Verification false
        "something was offered that does not verify" ""
    "E0501" HistoryInvalid Verification false
        "a history does not verify" "do not use where it came from; `syncra verify` checks what is here"
    "E0502" ContentInvalid Verification false
        "content does not verify" "`syncra verify` tells what is damaged"
    "E0503" SyncpackInvalid Verification false
        "the file is not a whole, unchanged .syncpack" "ask for the file again; nothing of it was kept"
    "E0504" Forked Verification false
        "a key has signed two histories" "what is installed stays; its owner says which goes on: `syncra heal PKG` on a device whose key signed only one"
    "E0505" Revoked Verification false
        "what was asked for was published after its writer's right had been taken away" "ask the owner; what is installed stays"

    "E0600" Unreachable Unreachable true
        "nobody could be reached" "check the connection and try again"
    "E0601" Timeout Unreachable true
        "no answer came in time" "try again, or allow more time by `--timeout SECONDS`"
    "E0602" NodeGone Unreachable true
        "the node went away while it worked for this call" "look at the node's log, start it again by `syncra up` and repeat the call"
    "E0603" NotHeld Unreachable true
        "the content is not on this device, and nobody who has it was reached" "connect to somebody who has it, or `syncra import` it"
    "E0604" OnlyRelayed Unreachable true
        "the content is too large for the relay through which its provider is reached" "try again later, forward a port on one side (`syncra status` tells whether this node is reached), or carry it by `syncra export`"
    "E0605" Unheard Unreachable true
        "nobody was reached who knows a package of this device, so what it has signed since its home was copied or backed up is not known" "connect to somebody who has it and run `syncra id adopt` again; if what is here, perhaps by `syncra import`, is all that the device has signed, say so by `syncra id adopt --offline`"

    "E0700" Conflict Conflict false
        "two things contradict each other" ""
    "E0701" AlreadyExists Conflict false
        "the place is taken by something else" "choose another name or directory"
    "E0702" HomeInUse Conflict true
        "another process uses this home" "wait for it, or stop a node by `syncra down`; a second node needs its own `--home DIR`"
    "E0703" AddressInUse Conflict true
        "the address is used by another program" "choose another port, or 0 for a free one"
    "E0704" VersionTaken Conflict false
        "the version was published before, with other files" "raise `version` in syncra.toml"
    "E0705" Ambiguous Conflict false
        "the name could mean several packages, or one that nobody pinned" "name one exactly, as listed, or say whom you mean by `syncra trust ID`"
    "E0706" Contested Conflict false
        "several releases claim to be this one" "name one exactly by `@r:RELEASE`; `syncra info PKG` shows them"
    "E0707" KindChanged Conflict false
        "the kind of a package never changes" "publish it under another name"
    "E0708" NeedsConflict Conflict false
        "installed packages need versions of another that exclude each other" "take another version of one of those that are named"
    "E0709" StillNeeded Conflict false
        "another installed package needs this one" "remove those that need it first; `syncra why PKG` shows them"
    "E0720" MovedOn Conflict false
        "others have published since this was checked out" "`syncra merge` brings here what they did, then publish"
    "E0721" Unsolved Conflict false
        "a merge has left conflicts" "edit the files that are named, say `syncra merge --solved` where no marker tells, or take the merge back by `syncra merge --abort`"
    "E0722" DirectoryInUse Conflict true
        "another command changes the directory" "wait until it has ended, then try again"

    "E0800" PolicyRefused Policy false
        "a local rule refuses this" ""
    "E0801" SecretFound Policy false
        "a file holds what looks like a secret" "take it out, or pass `--allow-secret PATH` if it is none"
    "E0802" Yanked Policy false
        "the release was yanked by its owner" "name it exactly, `@r:RELEASE`, to take it all the same"
    "E0803" Unwitnessed Policy false
        "your settings ask for more witnesses, or for a longer time since they saw it" "try again later; `syncra witness list` shows whose word counts, `syncra witness add WITNESS` adds to them, `syncra config set policy.min_witnesses N` changes how many it takes"
    "E0804" Blocked Policy false
        "you block the owner of the package" "`syncra block` shows whom you block, `syncra block WHOM --off` ends it"
    "E0805" Redacted Policy false
        "the owners took the release's bytes away" "take another version: `syncra info PKG` shows which there are; what is installed stays until you remove it"

    "E0900" DiskFull Disk true
        "the disk or a quota is full" "free some space, then try again"
    "E0901" OutputFailed Disk false
        "the output could not be written" ""

    "E1000" NodeNotRunning NotRunning false
        "this needs a running node" "start one by `syncra up`"
    "E1001" NodeStopping NotRunning true
        "the node is shutting down" "start it again by `syncra up`"

    "E1100" Interrupted Interrupted true
        "stopped by the user" ""
}

impl Code {
    /// The number, for example `E0512`: never reused, never changed.
    #[must_use]
    pub fn number(self) -> &'static str {
        self.row().number
    }

    /// The name in this source, for people who read both.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kind, and with it the exit code.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// Whether the same call may work later, unchanged.
    #[must_use]
    pub fn retryable(self) -> bool {
        self.row().retryable
    }

    /// What to do when nothing more is known; empty if there is nothing to say.
    #[must_use]
    pub fn hint(self) -> &'static str {
        self.row().hint
    }

    /// One line of meaning.
    #[must_use]
    pub fn doc(self) -> &'static str {
        self.row().doc
    }

    /// The code with this number, written `E0512`, `e0512`, `0512` or `512`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['E', 'e']).unwrap_or(text);
        let digits = Some(digits).filter(|d| (3..=4).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))?;
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number()[1..].trim_start_matches('0') == digits.trim_start_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use super::*;

    /// The table as `docs/guide/errors.md` has it.
    fn table() -> String {
        let mut text = String::from(
            "# Error codes\n\n\
             Every failure has a code, and every code has a fixed exit code. `syncra explain CODE` prints a row of this table;\n\
             *retry* says whether the same call may work later, unchanged. This file is generated: after a change of\n\
             `node/src/problem/codes.rs` run `SYNCRA_BLESS=1 cargo test -p syncra-node problem`.\n\n\
             | code | name | exit | retry | meaning | what to do |\n|---|---|---|---|---|---|\n",
        );
        for &code in Code::ALL {
            let retry = if code.retryable() { "yes" } else { "no" };
            let (exit, doc, hint) = (code.kind().exit_code(), code.doc(), code.hint());
            writeln!(text, "| {} | {} | {exit} | {retry} | {doc} | {hint} |", code.number(), code.name()).unwrap();
        }
        text
    }

    #[test]
    fn numbers_are_unique_ordered_and_tell_the_exit_code() {
        let numbers: Vec<_> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, numbers.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        for &code in Code::ALL {
            let (number, exit) = (code.number(), code.kind().exit_code());
            assert_eq!(number.len(), 5, "{number}");
            assert_eq!(number[1..3].parse::<u8>().unwrap(), if exit == 130 { 11 } else { exit }, "{number}");
            assert_eq!(number.ends_with("00"), code.kind().general() == code, "{number}");
            assert_eq!(Code::parse(number), Some(code));
            for text in [code.doc(), code.hint()] {
                assert!(!text.ends_with('.') && !text.contains('|'), "{number}: {text}");
            }
        }
        assert_eq!(Code::parse("e405"), Some(Code::ReadOnlyHome));
        for wrong in ["", "E", "E04050", "E9999", "0x12", "E0 12"] {
            assert_eq!(Code::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_code_is_documented_in_the_guide() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/errors.md");
        if std::env::var_os("SYNCRA_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, table()).unwrap();
        }
        let guide = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(guide.replace("\r\n", "\n"), table(), "docs/guide/errors.md is stale, see its head");
    }
}
