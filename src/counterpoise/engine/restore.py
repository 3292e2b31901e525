"""Back from the mirror: a run whose folder is gone, or behind, continues from the store."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from counterpoise.config.values import show
from counterpoise.data.cache import damage, read_manifest
from counterpoise.engine.checkpoints import BEST, LAST, MODEL, PREVIOUS, flaw
from counterpoise.engine.mirror import Mirror, MirrorConfig, NoMirror
from counterpoise.engine.pointer import Pointer
from counterpoise.engine.remote import DamagedError, Remote
from counterpoise.engine.snapshot import CHECKPOINT_FILES
from counterpoise.engine.store import Deadline, bounded
from counterpoise.errors import Problem, UserError, fail, near
from counterpoise.jsonio import remove
from counterpoise.tracking.folder import LOCK, RunFolder

log = logging.getLogger(__name__)

T = TypeVar("T")
_DOWNLOADS = ".restoring"
CHANGES = 2
"""How often a pointer that changes while it is used is read again."""


def open_mirror(config: MirrorConfig, folder: Path) -> NoMirror:
    """The mirror of the run in ``folder``.

    Raises:
        UserError: if the URL is none of a store, or the package for it is not installed.
    """
    if config.url is None:
        return NoMirror()
    name = folder_name(folder)
    url = f"{config.url.rstrip('/')}/{name.lstrip('/')}"
    return Mirror(config, Remote(url, config.timeout), folder, name)


def folder_name(folder: Path) -> str:
    """A run folder as it is given on a command line: relative where it lies below the current folder."""
    return Path(near(Path(os.path.abspath(folder)))).as_posix()  # noqa: PTH100 - links are not followed


def restore(mirror: NoMirror, run: RunFolder, ours: Mapping[str, Any], *, only_look: bool = False) -> int | None:
    """Bring ``run`` up to what its mirror holds, where that is newer than what is there.

    A store that does not answer is warned about, no more: the run goes on with what it has.

    Args:
        mirror: of the run.
        run: its folder, held by this process.
        ours: the run's metadata, see :meth:`~counterpoise.engine.remote.Remote.foreign`.
        only_look: refuse what would be refused, and bring nothing; a store is asked once.

    Returns:
        the update that was restored; ``None`` if nothing was.

    Raises:
        UserError: if the store holds another run there, or what it holds is needed and damaged.
    """
    if not isinstance(mirror, Mirror) or run.result.exists():
        return None
    here = newest_update(run)
    try:
        restored = _bring_up(mirror, run, here, ours, only_look=only_look)
    except DamagedError as error:
        if here is None:
            raise
        log.warning("%s The run goes on from its own folder, and replaces it.", error)
        restored = None
    except UserError:
        raise
    except Exception as error:
        mirror.remote.disconnect()
        log.warning(
            "The mirror %s does not answer: %s. Training goes on without it; each checkpoint tries again.",
            *(mirror.remote.url, mirror.remote.said(error)),
        )
        return None
    mirror.owned = True
    return restored


def _bring_up(
    mirror: Mirror, run: RunFolder, here: int | None, ours: Mapping[str, Any], *, only_look: bool
) -> int | None:
    remote, config = mirror.remote, mirror.config
    pointer = _persistently(remote.pointer, config.attempts if here is None and not only_look else 1, mirror)
    if pointer is None:
        bounded(remote.try_out, config.timeout)
        return None

    def bring(pointer: Pointer) -> int | None:
        different = bounded(lambda: remote.foreign(pointer, ours), config.timeout)
        if different:
            remedy = "Give those values back, or choose another folder (hydra.run.dir=...) or another mirror.url."
            raise UserError([*different, Problem(remote.where, f"{remote.url} holds another run.", remedy)])
        if only_look or (here is not None and here >= pointer.update):
            return None
        take_over(remote, pointer, run, config.timeout)
        return pointer.update

    return _while_it_changes(remote, pointer, config.timeout, bring)


def _while_it_changes(remote: Remote, pointer: Pointer, seconds: float, use: Callable[[Pointer], T]) -> T:
    """What ``use`` returns. Where a run that goes on replaced what the pointer names, its newer pointer is used."""
    for _ in range(CHANGES):
        try:
            return use(pointer)
        except DamagedError:
            newer = bounded(remote.pointer, seconds)
            if newer is None or newer == pointer:
                raise
            pointer = newer
    return use(pointer)


def restore_from(url: str, into: Path | None = None, timeout: float = MirrorConfig.timeout) -> Path:
    """``resume=URL``: fetch a run from its mirror into the folder where it was.

    Args:
        url: of the run: the mirror's, and the run folder. Credentials in it are used, and shown nowhere.
        into: another folder to put it.
        timeout: seconds that each look at the store, and the download, may take.

    Returns:
        the run folder.

    Raises:
        UserError: if there is none, it is damaged, the store does not answer, or that folder holds something else.
    """
    remote = Remote(url, timeout, where="resume")
    try:
        pointer = bounded(remote.pointer, timeout)
        if pointer is None:
            raise fail("resume", f"there is no run at {remote.url}.", "Expected the mirror's URL, then the run folder.")
        return _while_it_changes(remote, pointer, timeout, lambda found: _place(remote, found, into, timeout))
    except UserError:
        raise
    except Exception as error:
        raise fail("resume", f"{remote.url} cannot be read: {remote.said(error)}.") from error


def _place(remote: Remote, pointer: Pointer, into: Path | None, timeout: float) -> Path:
    """Put a run that is in a store into its folder, where it is newer than what is there."""
    folder = into or _recorded(remote, pointer)
    run, new = RunFolder(folder), _not_there(folder)
    if folder.exists() and not run.metadata.exists() and any(path.name != LOCK for path in folder.iterdir()):
        raise fail("resume", f"{folder} holds something else already.", "Move it away, or add hydra.run.dir=FOLDER.")
    try:
        with run.held():
            if run.metadata.exists():
                metadata = bounded(lambda: remote.read_json(pointer, run.metadata.name), timeout)
                run.check(metadata.get("config", {}), metadata)
            here = newest_update(run)
            if not run.result.exists() and (here is None or pointer.update > here):
                take_over(remote, pointer, run, timeout)
    finally:
        _remove_empty(new)
    return folder


def _not_there(folder: Path) -> list[Path]:
    """Which of a folder and those above it do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: Iterable[Path]) -> None:
    """Take back folders in which nothing was left."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _recorded(remote: Remote, pointer: Pointer) -> Path:
    """The folder that the pointer names: only below the current one, and if the URL names it too, so that the user has
    seen it.
    """
    folder, elsewhere = pointer.folder, "To put it elsewhere, add hydra.run.dir=FOLDER."
    said = f"{remote.url} holds a run whose folder was {show(folder)}"
    if not remote.url.endswith("/" + folder.strip("/")):
        raise fail("resume", f"{said}, which is not how the URL ends.", elsewhere)
    parts = folder.split("/")
    if any(part in ("", ".", "..") or part.startswith("~") or not part.isprintable() for part in parts):
        raise fail("resume", f"{said}, which is not below the current folder.", elsewhere)
    return Path(pointer.folder)


def newest_update(run: RunFolder) -> int | None:
    """The update of the newest checkpoint of a folder that a run can end from; ``None`` if there is none.

    Where the best epoch's weights are damaged there is none: the end of the run needs them.
    """
    best = run.checkpoints / BEST
    if best.exists() and flaw(best, files=(MODEL,)) is not None:
        return None
    for name in (LAST, PREVIOUS):
        folder = run.checkpoints / name
        if folder.exists() and flaw(folder) is None:
            return int(read_manifest(folder)["position"].get("update", 0))
    return None


def take_over(remote: Remote, pointer: Pointer, run: RunFolder, seconds: float) -> None:
    """Download, verify, and only then put into place; the checkpoint comes last, so that it can be done again.

    Args:
        remote: the store.
        pointer: what it holds.
        run: the run folder, held by this process.
        seconds: that the download may take.

    Raises:
        DamagedError: if something is not what the pointer says.
        UserError: if the folder cannot be written.
    """
    home, new = run.path / _DOWNLOADS, _not_there(run.path)
    try:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        # Given up here, the thread ends at its next block: only this one puts anything into place.
        bounded(lambda: remote.fetch(pointer, home, Deadline(seconds)), seconds)
        problem = damage(RunFolder(home).checkpoints / LAST, exact=True)
        if problem is not None:
            raise DamagedError(Problem(remote.where, f"the checkpoint in {remote.url} is damaged: {problem}."))
        _put_into_place(pointer, home, run)
    except OSError as error:
        if error.filename is None or not Path(os.fsdecode(error.filename)).absolute().is_relative_to(
            run.path.absolute()
        ):
            raise  # the store's
        raise fail(str(run.path), f"the run folder cannot be written: {error}.", "Free some space.") from error
    finally:
        shutil.rmtree(home, ignore_errors=True)
        _remove_empty(new)


def _put_into_place(pointer: Pointer, home: Path, run: RunFolder) -> None:
    for name in sorted(pointer.files):
        if not name.startswith("checkpoints/"):
            (run.path / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).replace(run.path / name)
    run.checkpoints.mkdir(exist_ok=True)
    for name in CHECKPOINT_FILES:
        if (home / "checkpoints" / name).exists():
            remove(run.checkpoints / name)
            (home / "checkpoints" / name).rename(run.checkpoints / name)


def _persistently(call: Callable[[], T], attempts: int, mirror: Mirror) -> T:
    remote, config = mirror.remote, mirror.config
    for attempt in range(1, attempts):
        try:
            return bounded(call, config.timeout)
        except UserError:
            raise
        except Exception as error:
            remote.disconnect()
            log.info("Mirror, attempt %d: %s", attempt, remote.said(error))
            time.sleep(config.backoff * 2 ** (attempt - 1))
    return bounded(call, config.timeout)
