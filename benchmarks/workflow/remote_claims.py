"""Claims in an object store, which has no rename: numbered leases, each made only if its number is free.

The lease of the highest number counts. It ends by a mark in it, or when its holder is dead or silent; the next process
makes the next number, which succeeds for one process alone (S3: PUT with If-None-Match). No number that counts is ever
removed, so that numbers never begin anew.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from benchmarks.workflow.claims import Claim, Claims, Heart, Lease, heartbeat, record_of

EXCLUSIVE = frozenset({"s3", "s3a", "memory"})  # protocols whose file system in fsspec makes a file only if it is new
_ENDED = b"ended\n"  # in place of the heartbeat
_HEART = Heart()  # a thread of its own: a slow network must not keep local leases from beating


class RemoteClaim(Claim):
    """A numbered lease that this process holds."""

    def __init__(self, files: Any, path: str, record: bytes) -> None:  # noqa: ANN401 - fsspec has no types
        self._files, self._path, self.record, self._beats = files, path, record, 0

    @property
    def lost(self) -> bool:
        """Return whether it was taken away, because this process was silent for too long."""
        folder, _, name = self._path.rpartition("/")
        return name != _last(self._files, folder)

    def beat(self) -> None:
        """Let the heartbeat grow."""
        self._beats += 1
        with suppress(Exception):  # a network that fails for a moment: the next beat comes soon
            self._files.pipe_file(self._path, self.record + heartbeat(self._beats))

    def release(self) -> None:
        """Give the lease back."""
        _HEART.forget(self)
        with suppress(Exception):  # the network is gone: it ends with the silence of this process
            self._files.pipe_file(self._path, self.record + _ENDED)


class RemoteClaims(Claims):
    """The leases below a path of an object store.

    Args:
        files: a file system of fsspec whose protocol is one of EXCLUSIVE.
        path: of the claims.
        options: of `Claims`, for tests.
    """

    poll, silence = 2.0, 180.0  # a request costs money, and an upload may delay a heartbeat

    def __init__(self, files: Any, path: str, **options: Any) -> None:  # noqa: ANN401 - fsspec has no types
        super().__init__(cast("Any", path), **options)
        self._files, self._path = files, path

    def take(self, key: str, *, stale: Lease | None = None) -> Claim | None:
        """Take the lease of a key if nobody holds it or its holder is dead; None otherwise.

        Args:
            key: letters and digits.
            stale: a lease whose holder was silent for too long.
        """
        folder = f"{self._path}/{key}"
        last = _last(self._files, folder)
        lease = self._read(folder, last)
        if lease is not None and lease.alive is not False and lease != stale:
            return None
        # the number after the one that was looked at: if another process made it meanwhile, this one fails
        return self._make(folder, f"{int(last or 0) + 1:06d}")

    def lease(self, key: str) -> Lease | None:
        """Return the lease that is held of a key, whether its holder lives or not."""
        folder = f"{self._path}/{key}"
        return self._read(folder, _last(self._files, folder))

    def leases(self) -> dict[str, Lease]:
        """Return nothing: whoever asks for all of them looks after a local store."""
        return {}

    def tidy(self) -> None:
        """Do nothing: what ended stays, as its number counts."""

    def _read(self, folder: str, name: str | None) -> Lease | None:
        try:
            content = self._files.cat_file(f"{folder}/{name}") if name else _ENDED
        except FileNotFoundError:  # removed by the holder of a later number
            return None
        return None if content.endswith(_ENDED) else Lease(str(name), content)

    def _make(self, folder: str, name: str) -> Claim | None:
        """Make the lease of a number; None if another process was faster."""
        claim = RemoteClaim(self._files, f"{folder}/{name}", record_of(self._holder()))
        try:
            self._files.pipe_file(f"{folder}/{name}", claim.record + heartbeat(0), mode="create")
        except FileExistsError:
            return None
        except OSError as error:
            # s3fs has no class for a condition that fails (PreconditionFailed, ConditionalRequestConflict)
            if "condition" in str(error).lower():
                return None
            raise
        names = _names(self._files, folder)
        # A slow process may make a number that was used and removed since: a later one counts.
        superseded = names[-1:] != [name]
        for other in [name] if superseded else names[:-1]:
            with suppress(FileNotFoundError):
                self._files.rm_file(f"{folder}/{other}")
        if superseded:
            return None
        _HEART.keep(claim)
        return claim


def _names(files: Any, folder: str) -> list[str]:  # noqa: ANN401 - fsspec has no types
    try:
        names = [path.rpartition("/")[2] for path in files.ls(folder, detail=False)]
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.isdecimal())


def _last(files: Any, folder: str) -> str | None:  # noqa: ANN401 - fsspec has no types
    return next(reversed(_names(files, folder)), None)
