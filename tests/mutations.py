"""Damage to files, drawn from a seed, and what has to be true of a folder afterwards."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SEED = 20250


def _truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flipped_bit(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _changed_byte(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([(content[at] + rng.randrange(1, 256)) % 256]) + content[at + 1 :]


def _swapped_blocks(content: bytes, rng: random.Random) -> bytes:
    first, second, third = sorted(rng.randrange(len(content) + 1) for _ in range(3))
    return content[:first] + content[second:third] + content[first:second] + content[third:]


def _garbled(content: bytes, rng: random.Random) -> bytes:
    whole = [b"[]", b"null", b'"x"', b"7", b"{}", b"[" * 100_000, b"NaN", b'{"checksums": 3}', b"\xff\xfe\x00"]
    return rng.choice([*whole, content + content, content[1:], b"\0" * len(content)])


def _another_number(content: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"(?<=[:\[ ,])-?\d+(\.\d+)?(e-?\d+)?(?=[,\]}\s])", content))
    if not found:
        return _flipped_bit(content, rng)
    number = rng.choice(found)
    other = rng.choice([b"0", b"-1", b"7", b"1e999", b"9" * 40, b"0.5", b"null", b'"3"', b"[]", b"1e-9"])
    return content[: number.start()] + other + content[number.end() :]


_CONTENT: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncate": _truncated,
    "flip": _flipped_bit,
    "change": _changed_byte,
    "swap-blocks": _swapped_blocks,
    "garble": _garbled,
    "number": _another_number,
    "empty": lambda content, rng: b"",
}
_PLACE: dict[str, Callable[[Path], object]] = {
    "delete": lambda path: None,
    "folder": lambda path: (path.mkdir(), (path / "inside").write_text("x")),
    "loop": lambda path: path.symlink_to(path.name),
}
KINDS = (*_CONTENT, *_PLACE, "swap-files")


@dataclass(frozen=True)
class Mutation:
    """One change of one file; the same ``number`` gives the same one."""

    number: int

    @property
    def rng(self) -> random.Random:
        return random.Random(f"{SEED} {self.number}")

    @property
    def kind(self) -> str:
        """Every kind comes up equally often."""
        return KINDS[self.number % len(KINDS)]

    def target(self, root: Path, files: Sequence[Path]) -> Path:
        """Every kind of file comes up equally often, however many of it there are."""
        rng = self.rng
        names = sorted({path.name for path in files})
        name = names[(self.number + self.number // len(KINDS)) % len(names)]
        return root / rng.choice(sorted(path for path in files if path.name == name)).relative_to(root)

    def apply(self, root: Path, files: Sequence[Path]) -> tuple[Path, str]:
        """Change one of ``files`` below ``root``; returns which, and a line by which it can be repeated."""
        path, rng = self.target(root, files), self.rng
        label = f"mutation {self.number} of seed {SEED}: {self.kind} {path.relative_to(root)}"
        if self.kind in _PLACE:
            path.unlink()
            _PLACE[self.kind](path)
        elif self.kind == "swap-files":
            peers = sorted(peer for peer in files if peer.name == path.name and peer != path) or sorted(
                peer for peer in files if peer.suffix == path.suffix and peer != path
            )
            peer = rng.choice(peers) if peers else path
            one, other = path.read_bytes(), peer.read_bytes()
            path.write_bytes(other)
            peer.write_bytes(one)
            label += f" and {peer.relative_to(root)}"
        else:
            content = path.read_bytes()
            path.unlink()  # it may be one of several links
            path.write_bytes(_CONTENT[self.kind](content, rng) if content else b"x")
        return path, label


def files_below(*folders: Path, but: str = r"\.lock$|\.log$") -> list[Path]:
    """All files in these folders; locks and logs aside."""
    found = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in found if not re.search(but, path.name)]


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files_below(root)}


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder, in the place of whatever was there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    return target
