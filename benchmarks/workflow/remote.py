"""The copy of a store on another machine, through fsspec: read where the local folder lacks a result, written after it.

ADDRESS/results/STAGE-KEY.json          says that a result is there: its archive, with size and digest; appears last
ADDRESS/results/STAGE-KEY.TOKEN.tar     an archive; none is ever written twice
ADDRESS/claims/KEY/NUMBER               claims, see remote_claims.py; on a disk as of a local store
"""

from __future__ import annotations

import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.workflow.archive import Digesting, pack_folder, packing, unpack
from benchmarks.workflow.claims import Claims
from benchmarks.workflow.remote_claims import EXCLUSIVE, RemoteClaims
from forge.core.errors import BenchError, BenchWarning, CorruptError, InputError, UnreachableError, quoted, short
from forge.core.files import parse_json

LISTED_SECONDS = 5.0  # how long a list of results is believed; a claim asks again
DOWN_SECONDS = 60.0  # how long an address that could not be listed is not asked again: each attempt takes minutes
_BLOCK = 32 << 20  # bytes of one part of an upload, which lies in memory
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "memory"})  # protocols whose files appear whole


class _Copy(BaseModel):
    """What says that a result is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: str
    bytes: int
    sha256: str
    manifest: dict[str, Any] = {}  # without its files; the one that counts is in the archive


@lru_cache(maxsize=4)
def remote_at(address: str) -> Remote:
    """Return the copy at an address, with one connection per process."""
    return Remote(address)


class Remote:
    """Results at an address that fsspec understands, e.g. s3://bucket/prefix.

    Args:
        address: protocol, "://" and path; credentials come from the environment, as the protocol's library reads them.

    Raises:
        InputError: the protocol is not known, or its library is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self.files, base = url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"--store {quoted(address)} cannot be opened: {short(error, limit=200)}; s3:// needs pip install "
                "'deepfake-bench[remote]', other protocols the package that fsspec names"
            ) from error
        self.base = base.rstrip("/")
        self._names: set[str] = set()
        self._listed = -LISTED_SECONDS
        self._down, self._problem = -DOWN_SECONDS, ""

    def reach(self) -> None:
        """Make sure that the address can be read, before any work.

        Raises:
            InputError: it cannot; names the reason.
        """
        mark = f"{self.base}/store.json"
        try:
            with self._reaching():
                if not self.files.exists(mark):  # of a new store; also tells that it can be written to
                    self._make(self.base)
                    self._write(mark, '{"format": 1}\n')
        except UnreachableError as error:
            raise InputError(f"--store {error}; check the address, the network and the credentials") from error

    def refresh(self) -> None:
        """Believe no list of results that was read before."""
        self._listed = -LISTED_SECONDS

    def has(self, name: str) -> bool:
        """Return whether a result is there.

        Raises:
            UnreachableError: the address cannot be reached.
        """
        return name in self.names()

    def names(self) -> set[str]:
        """Return the results that are there, by a list that is read again after some seconds.

        Raises:
            UnreachableError: the address cannot be reached.
        """
        self._be_up()
        if time.monotonic() - self._listed > LISTED_SECONDS:
            try:
                with self._reaching():
                    self._names = self._list()
            except UnreachableError as error:
                self._down, self._problem = time.monotonic(), str(error)
                raise
            self._listed = time.monotonic()
        return self._names

    def _list(self) -> set[str]:
        try:
            paths = cast("list[str]", self.files.ls(f"{self.base}/results", detail=False))
        except FileNotFoundError:  # nothing was published yet
            return set()
        return {path.rpartition("/")[2].removesuffix(".json") for path in paths if path.endswith(".json")}

    def _be_up(self) -> None:
        if time.monotonic() - self._down < DOWN_SECONDS:
            raise UnreachableError(self._problem)

    def fetch(self, name: str, folder: Path) -> None:
        """Fill an empty folder with a result that is there.

        Raises:
            UnreachableError: the address cannot be reached.
            CorruptError: the archive is not what was written.
            BenchError: the disk has no room for it.
        """
        origin = f"{name} at {self.address}"
        copy = self._copy(name, origin)
        free = shutil.disk_usage(folder).free
        if copy.bytes > free:
            raise BenchError(
                f"{origin} needs {copy.bytes / 2**30:,.1f} GiB and {folder.parent} has room for {free / 2**30:,.1f}; "
                "make room (`bench store gc`) or choose another --store"
            )
        with self._reaching(), self.files.open(f"{self.base}/results/{copy.archive}", "rb", block_size=_BLOCK) as file:
            stream = Digesting(file)
            unpack(stream, folder, origin=origin, most_bytes=copy.bytes)
        if (stream.bytes, stream.hexdigest()) != (copy.bytes, copy.sha256):
            raise CorruptError(f"{origin} is damaged: its archive was changed")

    def described(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return the manifests, without files, of the results of some actions, by name.

        Raises:
            UnreachableError: the address cannot be reached.
        """
        wanted = [name for name in sorted(self.names()) if name.rpartition("-")[0] in actions]
        if not wanted:
            return {}
        with self._reaching():  # many at a time
            texts: dict[str, bytes] = self.files.cat(
                [f"{self.base}/results/{name}.json" for name in wanted], on_error="omit"
            )
        manifests = {}
        for path, text in texts.items():
            with suppress(ValidationError, InputError):  # a damaged one is named when it is fetched
                name = path.rpartition("/")[2].removesuffix(".json")
                manifests[name] = _Copy.model_validate(parse_json(text.decode("utf-8", "replace"), path)).manifest
        return manifests

    def push(self, name: str, folder: Path, manifest: dict[str, Any]) -> bool:
        """Copy a result to the address, if it is not there yet; returns whether it was copied.

        Args:
            name: of the result.
            folder: where it lies.
            manifest: of it, without its files.

        Raises:
            UnreachableError: the address cannot be reached or does not allow it.
        """
        self.refresh()
        if self.has(name):
            return False
        archive = f"{name}.{uuid.uuid4().hex[:12]}.tar"
        with self._reaching():
            self._make(f"{self.base}/results")
            with self.files.open(f"{self.base}/results/{archive}", "wb", block_size=_BLOCK) as file:
                stream = Digesting(file)
                with packing(stream) as tar:
                    pack_folder(tar, folder)
            copy = _Copy(archive=archive, bytes=stream.bytes, sha256=stream.hexdigest(), manifest=manifest)
            # last: an upload that was cut off before is never looked at
            self._write(f"{self.base}/results/{name}.json", copy.model_dump_json())
        self._names.add(name)
        return True

    def set_aside(self, name: str) -> None:
        """Let a damaged result no longer count; its archive stays for whoever wants to look.

        Raises:
            UnreachableError: the address cannot be reached or does not allow it.
        """
        with self._reaching():
            self.files.mv(f"{self.base}/results/{name}.json", f"{self.base}/results/{name}.json.damaged")
        self._names.discard(name)

    @contextmanager
    def claimed(self, key: str, *, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the right to work on a key among all who use this address.

        Where the protocol cannot keep them apart, or the address cannot be reached, the work may be done twice; its
        result is right all the same, and the first one that is published stays.

        Args:
            key: letters and digits.
            waiting: called once if another process holds it.
        """
        claims, claim = self.claims(), None
        try:
            self._be_up()
            if claims is not None:
                with self._reaching():
                    claim = claims.take(key)
                if claim is None:
                    waiting()
                    with self._reaching():
                        claim = claims.wait_for(key)
        except UnreachableError as error:
            warnings.warn(f"{error}; going on without a claim there", BenchWarning, stacklevel=4)
        try:
            yield
        finally:
            if claim is not None:
                claim.release()

    def claims(self) -> Claims | None:
        """Return the claims of all who use this address; None where its protocol cannot keep them apart."""
        if isinstance(self.files, LocalFileSystem):
            return Claims(Path(self.base) / "claims")
        return RemoteClaims(self.files, f"{self.base}/claims") if self._protocols & EXCLUSIVE else None

    @property
    def _protocols(self) -> set[str]:
        return {self.files.protocol} if isinstance(self.files.protocol, str) else {*self.files.protocol}

    def _make(self, folder: str) -> None:
        """Make a folder where there are such; an object store would make a bucket of it."""
        if not self._protocols & _WHOLE:
            self.files.makedirs(folder, exist_ok=True)

    def _write(self, path: str, text: str) -> None:
        """Write a small file that appears whole."""
        if self._protocols & _WHOLE:
            self.files.pipe_file(path, text.encode())
        else:
            partial = f"{path}.{uuid.uuid4().hex[:12]}"
            self.files.pipe_file(partial, text.encode())
            self.files.mv(partial, path)

    def _copy(self, name: str, origin: str) -> _Copy:
        with self._reaching():
            text = cast("bytes", self.files.cat_file(f"{self.base}/results/{name}.json")).decode("utf-8", "replace")
        try:
            copy = _Copy.model_validate(parse_json(text, origin))
        except (ValidationError, InputError) as error:
            raise CorruptError(f"{origin} is damaged: its description is not readable") from error
        if not copy.archive.startswith(f"{name}.") or "/" in copy.archive:
            raise CorruptError(f"{origin} is damaged: its description names another result")
        return copy

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn whatever a file system raises into one sentence.

        Raises:
            UnreachableError: the address cannot be reached or refuses.
        """
        try:
            yield
        except BenchError:
            raise
        except Exception as error:  # each library has errors of its own
            cause: Any = short(error, limit=200) or type(error).__name__
            raise UnreachableError(f"{self.address} cannot be used: {cause}") from error
