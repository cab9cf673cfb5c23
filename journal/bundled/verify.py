#!/usr/bin/env python3
"""Check an evidence bundle of session-journal, with Python's standard library alone.

    python verify.py [--key journal.key]     in the directory where the bundle was unpacked

What it shows. Without the key: that each line is the one its commitment was made for, or was
erased on record, that each entry links to the one before it, and that what a signed anchor
names is there. With the key: that a holder of the key sealed each entry, here, after that
one. What it does not show: who held the key, that the times are true, that nothing came
after the last entry.
The encodings are those of docs/format.md. Exit 0: all that was checked holds; 3: something
does not, is gone or cannot be read, nothing was there to check, or a key was given and there
are seals that none of its eras made.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

Point = tuple[int, int, int, int]
NULL = b"\xff\xff\xff\xff"


def field(value: int | str | bytes | None) -> bytes:
    """One length-prefixed field: an integer, text, bytes or nothing."""
    if value is None:
        return NULL
    if isinstance(value, int):
        return struct.pack(">Iq", 8, value)
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    return struct.pack(">I", len(data)) + data


def mac(key: bytes, *values: int | str | bytes | None) -> bytes:
    """HMAC-SHA-256 over fields."""
    return hmac.digest(key, b"".join(map(field, values)), "sha256")


def commitment(row: dict) -> bytes:
    """What stands for a line in the chain."""
    parts = (b"session-journal/commitment/1", row["salt"], row["body"], row["terminator"])
    return hashlib.sha256(b"".join(map(field, parts))).digest()


def seal(key: bytes, row: dict) -> bytes:
    """The seal that a row's columns should have."""
    numbers = "session_id seq epoch writer_id instance_id recorder_id trusted created_us cum_bytes key_id"
    fixed = struct.pack(">10q", *(row[name] for name in numbers.split()))
    rest = [row[name] for name in ["claim", "kind", "origin", "run_id", "on_behalf_of", "request_id"]]
    return mac(key, b"session-journal/seal/1", row["prev"], fixed, row["commitment"], *rest)


def row_of(line: bytes) -> dict:
    """Read one row; what is bytes in the database is base64 in the file."""
    row: dict = json.loads(line)
    for name in ("terminator", "salt", "commitment", "prev", "seal", "body"):
        row[name] = None if row[name] is None else base64.b64decode(row[name])
    return row


def keys_of(path: str, journal: str) -> list[tuple[int, bytes]]:
    """Read the key file: what is derived from each secret for this journal, by era."""
    data, keys = Path(path).read_bytes(), []
    for line in [data.hex().encode()] if len(data) == 32 else data.split(b"\n"):
        if found := re.fullmatch(rb"([0-9a-fA-F]{64})(?: (\w+) (\d{1,9})(?: pending)?)?", line.strip()):
            secret, owner, era = found.groups()
            extracted = hmac.digest(journal.encode(), bytes.fromhex(secret.decode()), "sha256")
            key = hmac.digest(extracted, b"session-journal/key/1\x01", "sha256")
            keys.append((int(era) if owner == journal.encode() else 1, key))
    if not keys:
        raise ValueError("there is no key in it")
    return keys


def file_in(top: Path, name: str) -> Path:
    """A file of the bundle; what a manifest names may be elsewhere, or a pipe that nobody writes to."""
    path = (top / name).resolve(strict=True)
    if Path(name).is_absolute() or path != top / name or not path.is_file():
        raise ValueError("it is no file of the bundle")
    return path


@contextmanager
def noted(where: str, wrong: list[str]) -> Iterator[None]:
    """Note as wrong whatever is gone or cannot be read, and let the other checks go on."""
    try:
        yield
    except FileNotFoundError:
        wrong.append(f"{where}: it is not there")
    except Exception as error:
        wrong.append(f"{where}: it cannot be read: {error!r}")


def say(text: str) -> None:
    """Print one line; what a terminal would obey in it is spelled out."""
    plain, encoding = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), sys.stdout.encoding or "utf-8"
    print(plain.encode(encoding, "backslashreplace").decode(encoding))


# -- Ed25519 (RFC 8032, section 6): to verify, and to know the journal's own key ------

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, d - c, d + c, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def decompressed(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decompressed((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)


def public_of(seed: bytes) -> bytes:
    """Return the public key that belongs to a secret seed."""
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & (2**254 - 8) | 2**254
    x, y, z, _ = times(number, BASE)
    x, y = (each * pow(z, P - 2, P) % P for each in (x, y))
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_signed(public: bytes, text: bytes, signature: bytes) -> bool:
    """Whether this is a true signature of a text."""
    a, r, s = decompressed(public), decompressed(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q or len(signature) != 64:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + text).digest(), "little") % Q
    left, right = times(s, BASE), add(r, times(h, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# -- the checks -----------------------------------------------------------------------


def owns_of(session: dict, keys: list[tuple]) -> list[tuple[int, bytes, bytes]]:
    """A session's keys by era, each with the link that its first entry has under it."""
    owns = [(era, mac(key, b"session-journal/session/1", session["number"], session["key"])) for era, key in keys]
    return [(era, own, mac(own, b"session-journal/genesis/1")[:16]) for era, own in owns]


def is_first_here(top: Path, sessions: list[dict], keys: list[tuple]) -> bool:
    """Whether a key given made anything of the first era here; one that names no journal may be another's."""
    for session in sessions:
        with suppress(Exception), file_in(top, session["file"]).open("rb") as lines:  # told when it is checked
            firsts = [(own, link) for era, own, link in owns_of(session, keys) if era == 1]
            if any(row["prev"] == link or row["seal"] == seal(own, row) for row in map(row_of, lines) for own, link in firsts):
                return True
    return False


def check_session(session: dict, lines: Iterable[bytes], keys: list[tuple], given: set, wanted: dict, wrong: list) -> dict:
    """Check one chain; return its counts, and the seals at the anchored places."""
    before, first, owns = None, 1, owns_of(session, keys)
    counts = {"entries": 0, "unproved": 0, "until": 0}
    erased, named, aside = set[int](), set[int](), list[list[int]]()
    for number, line in enumerate(lines, 1):
        with noted(f"{session['key']!r}, line {number} of {session['file']}", wrong):
            row = row_of(line)
            where = f"{session['key']!r}, seq {row['seq']}"
            # What the manifest says is lost is its word alone: no seal goes unchecked by it whose key is here.
            is_lost = bool(keys) and row["key_id"] in set(session["lost"]) - given and row["seq"] <= session["lost_until"]
            counts["entries"], counts["unproved"] = counts["entries"] + 1, counts["unproved"] + is_lost
            counts["until"] = row["seq"] if is_lost else counts["until"]
            if row["body"] is None and row["salt"] is None:
                erased.add(row["seq"])
            elif commitment(row) != row["commitment"]:
                wrong.append(f"{where}: the line is not the one that was committed to")
            if owns and not is_lost and row["seal"] not in [seal(own, row) for era, own, _ in owns if era == row["key_id"]]:
                wrong.append(f"{where}: the seal does not hold")
            links = [link for _, _, link in owns] if before is None else [before["seal"][:16]]
            if links and row["prev"] not in links and not (before is None and is_lost):
                wrong.append(f"{where}: it does not link to the entry before it")
            steps = [row[name] - before[name] for name in ("seq", "key_id", "epoch")] if before else [1, 0, 0]
            if steps[0] < 1 or steps[1] < 0 or steps[2] not in (0, 1):
                wrong.append(f"{where}: it is out of order")
            wanted.update({row["seq"]: row["seal"].hex()} if row["seq"] in wanted else {})
            first, before = row["seq"] if before is None else first, row
            facts = json.loads(row["body"] or b"{}") if row["kind"] == "control" else {}
            named.update(map(int, facts["rows"]) if facts.get("control") == "redaction" else ())
            odd = facts["rows"] if facts.get("control") == "stray" else ()
            aside += [span for each in odd for span in each["ranges"]]
            wrong += [f"{where}: it says that entries were gone, seq {each['ranges']}" for each in odd if each["sort"] == "missing"]
    if first > 1 and not any(a < first <= b + 1 for a, b in aside):  # where rows were foreign it is said
        wrong.append(f"{session['key']!r}: what stood before seq {first} is not there")
    wrong += [f"{session['key']!r}, seq {seq}: it was erased, and no redaction says so" for seq in sorted(erased - named)]
    wrong += [f"{session['key']!r}, seq {seq}: a redaction erased it, and it is not" for seq in sorted(named - erased)]
    head = [0, ""] if before is None else [before["seq"], before["seal"].hex()]
    if head != [session["head"]["seq"], session["head"]["seal"]]:
        wrong.append(f"{session['key']!r}: it does not end where the manifest says")
    return {**counts, "erased": len(erased)}


def check_anchor(name: str, data: bytes, manifest: dict, keys: list[tuple], wrong: list[str]) -> tuple[dict, bool]:
    """Return the heads an anchor names, if a key signed it, and whether that is the journal's own."""
    text, _, lines = data.decode().rpartition("\n\n")
    owns = {public_of(mac(key, b"session-journal/anchor/1")): f" of era {era}" * (len(dict(keys)) > 1) for era, key in keys}
    known = [(f"session-journal/{manifest['journal']}", own, f"the journal's own key{era}") for own, era in owns.items()]
    for verifier in manifest["verifiers"]:
        signer, _, public = verifier.split("+", 2)
        known.append((signer, base64.b64decode(public)[1:], f"{verifier}, by the manifest's word a key of the journal"))
    for signer, public, told in known:
        for line in lines.splitlines():
            _, who, blob = line.split(" ")
            if who == signer and is_signed(public, f"{text}\n".encode(), base64.b64decode(blob)[4:]):
                _, journal, taken, _, *heads = text.splitlines()
                if journal != manifest["journal"]:
                    wrong.append(f"{name}: it is another journal's")
                at = datetime.fromtimestamp(int(taken) // 10**6, timezone.utc)
                say(f"  {name}: taken at {at:%Y-%m-%d %H:%M:%S} UTC, signed by {told}")
                return {json.loads(h[4]): (int(h[0]), h[3]) for h in (head.split(" ", 4) for head in heads)}, public in owns
    wrong.append(f"{name}: no key that the manifest names has signed it")
    return {}, True


def check(top: Path, manifest: dict, keys: list[tuple], wrong: list[str]) -> tuple[int, int, str]:
    """Check all of a bundle; return how many entries were, and seals were not, and what is to be said of the rest."""
    for name, digest in manifest["sha256"].items():
        with noted(name, wrong), file_in(top, name).open("rb") as data:
            hashed = hashlib.sha256()
            while piece := data.read(1 << 20):  # it may be larger than memory
                hashed.update(piece)
            if hashed.hexdigest() != digest:
                wrong.append(f"{name}: it is not the file that was put into the bundle")
    say(f"journal {manifest['journal']}, bundled {manifest['made']}; audit then: {manifest['verdict']}")
    anchors, claimed, unproved, entries = list[dict](), 0, 0, 0
    is_first = is_first_here(top, manifest["sessions"], keys)
    given = {era for era, _ in keys if era > 1 or is_first}
    for name in manifest["anchors"]:
        with noted(name, wrong):
            heads, is_own = check_anchor(name, file_in(top, name).read_bytes(), manifest, keys, wrong)
            claimed += not is_own
            anchors.append(heads)
    absent = {key for anchor in anchors for key in anchor} - {each["key"] for each in manifest["sessions"]}
    for session in manifest["sessions"]:
        named = [anchor[session["key"]] for anchor in anchors if session["key"] in anchor]
        wanted = dict.fromkeys((seq for seq, _ in named if seq), None)
        with noted(f"{session['file']}, of {session['key']!r}", wrong), file_in(top, session["file"]).open("rb") as lines:
            counts = check_session(session, lines, keys, given, wanted, wrong)
            lost = f", seals NOT CHECKED {counts['unproved']}, up to seq {counts['until']}: their key is not here"
            entries, unproved = entries + counts["entries"], unproved + counts["unproved"]
            told = f"anchors {len(named)}" + lost * (counts["unproved"] > 0)
            say(f"  {session['key']!r}: entries {counts['entries']}, erased {counts['erased']}, {told}")
        for seq, sealed in named:
            if seq and wanted[seq] != sealed:
                wrong.append(f"{session['key']!r}: the entry that an anchor names at seq {seq} is not there")
    for key in sorted(absent):
        say(f"  {key!r}: NOT IN THE BUNDLE, and an anchor names it")
    say(f"rows outside the chains, in strays.jsonl: {manifest['strays']}; of such a row nothing is known")
    say(f"checked: sessions {len(manifest['sessions'])}, entries {entries}")
    checked = f"checked but {unproved}, of which the manifest says that their key is lost" if unproved else "checked"
    say("seals: " + (checked if keys else "NOT CHECKED: no key was given (--key FILE)"))
    told = f"; sessions that an anchor names and the bundle lacks: {len(absent)}" * bool(absent)
    return entries, unproved, told + f"; anchors by keys that are the journal's by the manifest's word: {claimed}" * bool(claimed and keys)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", help="the journal's key file")
    options = parser.parse_args()
    top, entries, unproved, told = Path(__file__).resolve().parent, 0, 0, ""
    keys, unfit, wrong = list[tuple[int, bytes]](), list[str](), list[str]()
    with noted("this is no bundle: manifest.json", unfit):
        manifest = json.loads(file_in(top, "manifest.json").read_text("utf-8"))
        if manifest["format"] != "session-journal/bundle/1":
            raise ValueError(manifest["format"])
    if options.key is not None and not unfit:
        with noted(f"the key file {options.key}", unfit):
            keys = keys_of(options.key, manifest["journal"])
    if unfit:
        say(unfit[0])
        say("verdict: not verified, nothing was checked")
        return 3
    with noted("manifest.json", wrong):
        entries, unproved, told = check(top, manifest, keys, wrong)
    for each in wrong[:50]:
        say(f"WRONG: {each}")
    held = "all that was checked holds" if entries else "not verified, nothing was checked"
    held = f"not verified, seals not checked: {unproved}" if unproved else held
    say("verdict: " + (f"broken, {len(wrong)} wrong" if wrong else held + told))
    return 3 if wrong or unproved or not entries else 0


if __name__ == "__main__":
    sys.exit(main())
