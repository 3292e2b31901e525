"""Checkpoints: state only, checked by checksums, replaced by renaming, loaded without running code.

``checkpoints/last`` is the newest, ``previous`` the one before it, ``best`` the weights of the best epoch, ``first``
and ``healthy`` what a rescue goes back to. Each is a folder with ``model.safetensors``, ``state.pt`` (not in ``best``)
and ``manifest.json``; a finished run leaves its ``decision.json`` in ``best``. At every moment of a save at least one
of ``last`` and ``previous`` is whole. A save that fails raises ``OSError`` and leaves no temporary file; what to do
about it is :mod:`~counterpoise.engine.keeper`'s to know.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from stat import S_IMODE
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from counterpoise.allocation import is_out_of_memory
from counterpoise.data.cache import MANIFEST, damage, read_manifest, write_manifest
from counterpoise.errors import Problem, UserError, fail, first_line
from counterpoise.files import own_folder
from counterpoise.jsonio import SEAL, read_json, remove
from counterpoise.run_files import CheckpointManifest, read_checkpoint_manifest

log = logging.getLogger(__name__)

FORMAT = 4
"""Raised whenever a checkpoint's layout changes."""
MODEL, STATE = "model.safetensors", "state.pt"
PACKAGES = "counterpoise", "torch"
"""Whose versions a manifest tells; for people, nothing is decided by them."""
_CONVERTED = {torch.float32, torch.float64}
"""Number formats that stand for each other: a run in fp64 is opened in fp32."""
LAST, PREVIOUS, BEST, FIRST, HEALTHY = "last", "previous", "best", "first", "healthy"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    folder: Path
    manifest: CheckpointManifest

    @property
    def weights(self) -> str:
        """Checksum of its weights."""
        return self.manifest["checksums"][MODEL]

    def load_model(self, model: nn.Module) -> None:
        """Put the weights into ``model``, every one of them.

        Raises:
            UserError: if they are not this model's, or not finite; the model stays as it was then.
        """
        path = self.folder / MODEL
        try:
            _check_weights(path, model)
            load_model(model, path, strict=True)
        except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            message = f"holds no weights of this model: {first_line(error).rstrip(':')}."
            raise fail(str(path), message, "Start a new run folder.") from error

    def load_state(self) -> dict[str, Any]:
        """Everything else; ``weights_only``, so that nothing in the file can run.

        Raises:
            UserError: if there is more in it than numbers, text, containers and tensors, or something else.
        """
        return _load_state(self.folder / STATE)


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: ``checkpoints`` in the run folder; made when first needed.
        identity: what its checkpoints belong to, by name: data, model. It stands in every manifest, and a checkpoint
            with another is not opened.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.identity = dict(identity or {})
        self._last_is_damaged = False

    def save_last(
        self, model: nn.Module, state: Mapping[str, Any], position: Mapping[str, int], *, healthy: bool = False
    ) -> None:
        """Make this the newest checkpoint; what was the newest becomes ``previous``.

        A healthy one also becomes ``healthy``, and the first of a run ``first``.
        """
        with self._written("last", model, state, position, healthy=healthy) as temporary:
            last, previous = self.folder / LAST, self.folder / PREVIOUS
            if self._last_is_damaged or not last.exists():
                remove(last)  # ``previous`` is the only whole one: it stays
            else:
                remove(previous)
                last.rename(previous)
            temporary.rename(last)
            self._last_is_damaged = False
            _sync_folder(self.folder)
        if healthy:
            self._keep_healthy(last)

    def _keep_healthy(self, checkpoint: Path) -> None:
        """Give a checkpoint a second name, ``healthy``; no byte is written again."""
        for name in (HEALTHY, FIRST):
            kept, linked = self.folder / name, self.folder / f".{name}.linking"
            if name == FIRST and kept.exists():
                continue
            remove(linked)
            shutil.copytree(checkpoint, linked, copy_function=_link)
            _sync_folder(linked)
            remove(kept)
            linked.rename(kept)
        _sync_folder(self.folder)

    def save_best(self, model: nn.Module, position: Mapping[str, int]) -> None:
        """Keep these weights as the best so far."""
        with self._written("best", model, None, position) as temporary:
            best = self.folder / BEST
            retired = self.folder / ".best.retired"
            if best.exists():  # else a save failed between its two renames, and the retired one is all there is
                remove(retired)
                best.rename(retired)
            remove(best)  # a link that leads nowhere
            temporary.rename(best)
            _sync_folder(self.folder)
            remove(retired)

    @contextmanager
    def _written(
        self,
        name: str,
        model: nn.Module,
        state: Mapping[str, Any] | None,
        position: Mapping[str, int],
        *,
        healthy: bool = True,
    ) -> Iterator[Path]:
        """A whole checkpoint under a temporary name; removed if that, or what is done with it, fails."""
        temporary = self.folder / f".{name}.writing"
        remove(temporary)
        try:
            own_folder(self.folder.parent, self.folder.name, temporary.name)
            self._fill(temporary, model, state, position, healthy)
            yield temporary
        except Exception:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _fill(
        self,
        temporary: Path,
        model: nn.Module,
        state: Mapping[str, Any] | None,
        position: Mapping[str, int],
        healthy: bool,
    ) -> None:
        _save_model(model, temporary / MODEL)
        if state is not None:
            _save_state(state, temporary / STATE)
            _load_state(temporary / STATE, mmap=True)  # what could not be loaded must be known now, not at the resume
        manifest = {
            "format": FORMAT,
            "position": dict(position),
            "healthy": healthy,
            "identity": self.identity,
            "versions": _versions(),
        }
        write_manifest(temporary, manifest)
        with suppress(PermissionError):  # safetensors gives its file to the owner alone, against the umask
            (temporary / MODEL).chmod(S_IMODE((temporary / MANIFEST).stat().st_mode))
        for path in temporary.iterdir():
            _sync_file(path)
        _sync_folder(temporary)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; ``None`` where none was ever written.

        A damaged ``last`` falls back to ``previous`` with a warning.

        Raises:
            UserError: if checkpoints are there, but all are damaged, another format, or another data set's or model's.
        """
        problems: list[Problem] = []
        for name in (LAST, PREVIOUS):
            folder = self.folder / name
            if not folder.exists():
                continue
            problem = flaw(folder)
            if problem is None:
                if problems:
                    log.warning("%s Falling back to the checkpoint before it, %s.", problems[0], folder)
                    self._last_is_damaged = True
                checkpoint = self._opened(folder)
                self._link_again(checkpoint)
                return checkpoint
            problems.append(Problem(str(folder), f"this checkpoint is damaged: {problem}."))
        if problems:
            remedy = Problem(str(self.folder), "no checkpoint is whole.", "Remove the run folder to start over.")
            raise UserError([*problems, remedy])
        return None

    def _link_again(self, checkpoint: Checkpoint) -> None:
        """Do what a kill behind the last renaming left undone, or a rescue would go back further than without it."""
        kept = self.folder / HEALTHY
        if not checkpoint.manifest.get("healthy"):
            return
        if flaw(kept) is not None or read_manifest(kept)["position"] != checkpoint.manifest["position"]:
            self._keep_healthy(checkpoint.folder)

    def healthy(self, *, first: bool = False) -> Checkpoint | None:
        """What a rescue may go back to, the newest or the very first; ``None`` where there is none that is whole."""
        folder = self.folder / (FIRST if first else HEALTHY)
        if not folder.exists():
            return None
        problem = flaw(folder)
        if problem is None:
            return self._opened(folder)
        log.warning("%s: this checkpoint is damaged: %s. No rescue can go back to it.", folder, problem)
        return None

    def best(self) -> Checkpoint | None:
        """The best epoch's weights, if they are there.

        Raises:
            UserError: if they are damaged, or another data set's or model's.
        """
        # A save that was killed between its two renames left the older weights aside: they are whole.
        for folder in (self.folder / BEST, self.folder / ".best.retired"):
            if folder.exists():
                problem = flaw(folder, files=(MODEL,))
                if problem is not None:
                    message = f"this checkpoint is damaged: {problem}."
                    raise fail(str(folder), message, "Bring it back, or remove the run folder to start over.")
                return self._opened(folder)
        return None

    def _opened(self, folder: Path) -> Checkpoint:
        manifest = read_checkpoint_manifest(folder / MANIFEST)
        if manifest.get("format") != FORMAT:
            raise _another_format(folder, manifest.get("format"))
        written = manifest.get("identity", {})
        for name, ours in self.identity.items():
            if written.get(name) != ours:
                message = f"this checkpoint's {name} is {written.get(name)!r}, but this run's is {ours!r}."
                raise fail(str(folder), message, "Resume with what it was trained on, or start a new run folder.")
        return Checkpoint(folder, manifest)


def flaw(folder: Path, files: Sequence[str] = (MODEL, STATE)) -> str | None:
    """What is wrong with a checkpoint; ``None`` if it is whole.

    Args:
        folder: of the checkpoint.
        files: what belongs to it; best weights in the place of a whole state, or the reverse, are damage.

    Raises:
        UserError: if a version wrote it whose manifests had no checksum of their own.
    """
    problem = damage(folder, files=files)
    if problem is not None:
        with suppress(OSError, ValueError):
            manifest = read_json(folder / MANIFEST)
            if isinstance(manifest, Mapping) and SEAL not in manifest and manifest.get("format") in range(FORMAT):
                raise _another_format(folder, manifest["format"])
        return problem
    try:
        read_checkpoint_manifest(folder / MANIFEST)
    except (OSError, ValueError) as error:
        return f"{MANIFEST}: {error}"
    return None


def _check_weights(path: Path, model: nn.Module) -> None:
    """Raises ``ValueError`` for tensors of other sizes or kinds, which PyTorch would convert, and for NaN."""
    own = model.state_dict(keep_vars=True)
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            if name not in own:
                continue  # refused, with all others, when they are loaded
            found, expected = file.get_tensor(name), own[name]
            if found.shape != expected.shape:
                raise ValueError(f"{name} is {list(found.shape)}, but must be {list(expected.shape)}")
            kinds = {found.dtype, expected.dtype}
            if len(kinds) > 1 and kinds != _CONVERTED:
                raise ValueError(f"{name} holds {found.dtype}, but must hold {expected.dtype}")
            if isinstance(expected, nn.Parameter) and not found.isfinite().all():
                raise ValueError(f"{name} holds numbers that are not finite")


def _another_format(folder: Path, found: object) -> UserError:
    message = f"this checkpoint has format {found}, but this version reads {FORMAT}."
    return fail(str(folder), message, "Resume with the version that wrote it, or start a new run folder.")


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


class _Sink:
    """A file that remembers why it could not be written: PyTorch forgets that."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save_state(state: Mapping[str, Any], path: Path) -> None:
    with path.open("xb") as file:
        sink = _Sink(file)
        try:
            torch.save(dict(state), sink)  # type: ignore[arg-type]
        except Exception as error:
            if sink.error is not None:
                raise sink.error from error
            raise


def _save_model(model: nn.Module, path: Path) -> None:
    try:
        save_model(model, str(path))
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))  # of Rust's I/O errors
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


def _load_state(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)  # type: ignore[no-any-return]
    except pickle.UnpicklingError as error:
        message = "holds more than numbers, text, containers and tensors; it is not loaded, because it could run code."
        raise fail(str(path), message) from error
    except OSError:
        raise
    except Exception as error:  # PyTorch's reader has no error of its own
        if is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise fail(str(path), f"cannot be loaded: {reason}", "Start a new run folder.") from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
