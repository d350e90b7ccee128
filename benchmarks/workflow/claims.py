"""Claims on keys: leases in folders, which need no lock of the file system and end with their process.

CLAIMS/KEY/          a lease; it is held as long as a file lies in it
CLAIMS/KEY/TOKEN     the holder, and a number that grows while the holder lives: its heartbeat

A lease appears by one rename of a prepared folder, which succeeds where no lease or an empty one is (POSIX rename):
disks that grant a lock twice, as some network disks do, cannot give it twice. It ends when its file is removed. Tokens
never repeat: removing the file of a dead holder cannot hit the lease of the next one, however late the removal comes.

A holder on the same machine is dead when its process is. Of a holder elsewhere only the heartbeat counts, by the
observer's own monotonic clock; clocks of two machines are never compared.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from forge.core.errors import InputError
from forge.core.files import parse_json

POLL_SECONDS = 0.2  # between two looks at a lease that another process holds
BEAT_SECONDS = 5.0  # between two heartbeats
STALE_SECONDS = 60.0  # a lease whose heartbeat did not change for so long is given to the next process
_EXITING = 0x4  # PF_EXITING of linux/sched.h, in the flags of a process (field 9): it runs no code of its own any more
_DIGITS = 20  # of the heartbeat, which is written in place


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease.

    Attributes:
        host: name of its machine, for people.
        boot: of the machine since it was started; "" where it is not known.
        namespace: of process numbers; containers of one machine have different ones.
        pid: process number.
        started: start time of the process in the kernel's ticks, which tells it from a later one of the same number;
            "" where it is not known.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Holder:
        """Return this process."""
        return _process(os.getpid())

    @property
    def alive(self) -> bool | None:
        """Return whether the process exists; None where this machine cannot know."""
        here = Holder.current()
        if not self.boot or (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # it exists and belongs to another user
            pass
        state, started = _state(self.pid)
        # a killed process stays in the table as a zombie until its parent asks for it
        if state in ("Z", "X") or (started and self.started and started != self.started):
            return False
        return True if started and self.started else None


@lru_cache(maxsize=1)
def _process(pid: int) -> Holder:
    # by number, so that a forked process does not take itself for its parent
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:  # no Linux; the address of its network card tells the machine
        boot, namespace = f"{uuid.getnode():x}", ""
    return Holder(socket.gethostname(), boot, namespace, pid, _state(pid)[1])


def _state(pid: int) -> tuple[str, str]:
    """Return state and start time of a process (`_parsed`), two empty texts if not known."""
    try:
        return _parsed(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "", ""


def _parsed(stat: str) -> tuple[str, str]:
    """Return state and start time (proc(5), fields 3 and 22 of stat); "X" also of a process that is just ending.

    Whoever learns of a death by a closed socket may look before the process has become a zombie.
    """
    fields = stat.rpartition(")")[2].split()  # the name before may hold blanks and brackets
    if len(fields) < 20:
        return "", ""
    ending = int(fields[6]) & _EXITING and fields[0] != "Z"
    return "X" if ending else fields[0], fields[19]


@dataclass(frozen=True)
class Lease:
    """What lies in the folder of a held lease.

    Attributes:
        name: of its file, which no other lease ever has.
        content: holder and heartbeat.
    """

    name: str
    content: bytes

    @property
    def holder(self) -> Holder | None:
        """Return the holder; None where the file is not readable, as one of a later version."""
        try:
            return Holder(**parse_json(self.content.partition(b"\n")[0].decode(), self.name))
        except (InputError, TypeError, ValueError):
            return None

    @property
    def alive(self) -> bool | None:
        """Return whether the holder lives; None where only its heartbeat can say."""
        return self.holder.alive if self.holder else None


class Claim:
    """A lease that this process holds.

    Args:
        file: of the lease.
        record: its content before the heartbeat.
    """

    def __init__(self, file: Path, record: bytes) -> None:
        self.file, self._offset, self._beats = file, len(record), 0

    @property
    def lost(self) -> bool:
        """Return whether it was taken away, because this process was silent for too long."""
        return not self.file.exists()

    def beat(self) -> None:
        """Let the heartbeat grow; does nothing once the lease was taken away."""
        self._beats += 1
        with suppress(OSError):  # a disk that fails for a moment: the next beat comes soon
            # without O_CREAT: a lease that was taken away does not come back
            descriptor = os.open(self.file, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, heartbeat(self._beats), self._offset)
            finally:
                os.close(descriptor)  # which makes it visible to other clients of a network disk

    def release(self) -> None:
        """Give the lease back."""
        HEART.forget(self)
        with suppress(OSError):  # taken away, or the disk is gone: it ends with this process
            self.file.unlink()
            self.file.parent.rmdir()


class Heart:
    """A thread that lets the heartbeats of this process's claims grow; it ends with the last of them."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Forget every claim, as a forked process must: they are its parent's."""
        self._claims: set[Claim] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def keep(self, claim: Claim) -> None:
        """Begin to beat for a claim."""
        with self._changed:
            self._claims.add(claim)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)
                self._thread.start()

    def forget(self, claim: Claim) -> None:
        """Beat no longer for a claim."""
        with self._changed:
            self._claims.discard(claim)
            if not self._claims:
                self._changed.notify()

    def _beat(self) -> None:
        while True:
            changed = self._changed  # the same one to the end, also where `reset` gives another meanwhile
            with changed:
                changed.wait_for(lambda: not self._claims, timeout=BEAT_SECONDS)
                if not self._claims:
                    self._thread = None
                    return
                claims = tuple(self._claims)
            for claim in claims:  # outside of the lock: a slow disk must not keep others from releasing
                claim.beat()


HEART = Heart()


class Claims:
    """The leases of a folder.

    Attributes:
        poll: seconds between two looks at a lease that another process holds.
        silence: seconds without a heartbeat after which a lease is given to the next process.

    Args:
        folder: made when the first lease is taken; shared by all processes that work on the same keys.
        holder: this process.
        clock: seconds that only grow.
        sleep: waits some seconds.
    """

    poll, silence = POLL_SECONDS, STALE_SECONDS

    def __init__(
        self,
        folder: Path,
        *,
        holder: Callable[[], Holder] = Holder.current,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self.folder, self._holder, self._clock, self._sleep = folder, holder, clock, sleep

    @contextmanager
    def hold(self, key: str, *, waiting: Callable[[], None]) -> Iterator[Claim]:
        """Hold the lease of a key; waits while another process holds it.

        Args:
            key: letters and digits.
            waiting: called once if another process holds it.
        """
        claim = self.take(key)
        if claim is None:
            waiting()
            claim = self.wait_for(key)
        try:
            yield claim
        finally:
            claim.release()

    def take(self, key: str, *, stale: Lease | None = None) -> Claim | None:
        """Take the lease of a key if nobody holds it or its holder is dead; None otherwise.

        Args:
            key: letters and digits.
            stale: a lease whose holder was silent for too long.
        """
        lease = self.lease(key)
        if lease is not None and lease.alive is not False and lease != stale:
            return None
        return self._enter(key, lease)

    def wait_for(self, key: str) -> Claim:
        """Take the lease of a key as soon as it is free, or its holder dead or silent for too long."""
        seen, stale, silent, last = None, None, 0.0, self._clock()
        while (claim := self.take(key, stale=stale)) is None:
            self._sleep(self.poll)
            lease, now = self.lease(key), self._clock()
            # Only time in which this process looked counts: a pause of its own is no silence of the holder.
            silent = silent + min(now - last, 5 * self.poll) if lease and lease == seen else 0.0
            seen, last = lease, now
            stale = lease if lease and silent >= self.silence and lease.alive is None else None
        return claim

    def lease(self, key: str) -> Lease | None:
        """Return the lease that is held of a key, whether its holder lives or not."""
        try:
            for file in (self.folder / key).iterdir():  # one at most
                if not file.name.startswith("."):  # NFS renames what is removed while it is open
                    return Lease(file.name, file.read_bytes())
        except FileNotFoundError:  # no lease, or it was given back this moment
            pass
        return None

    def leases(self) -> dict[str, Lease]:
        """Return the leases that are held and not known to be of dead processes, by key."""
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        held = ((name, self.lease(name)) for name in names if not name.startswith("."))
        return {name: lease for name, lease in held if lease is not None and lease.alive is not False}

    def tidy(self) -> None:
        """Remove the prepared leases of processes that are known to be dead."""
        for file in self.folder.glob(".*/*"):
            with suppress(OSError):  # another process is faster
                if Lease(file.name, file.read_bytes()).alive is False:
                    file.unlink()
                    file.parent.rmdir()

    def _enter(self, key: str, dead: Lease | None) -> Claim | None:
        """Rename a prepared lease into its place, where a dead one may lie; None if another process was faster."""
        folder = self.folder / key
        if dead is not None:
            (folder / dead.name).unlink(missing_ok=True)
        with suppress(OSError):  # an empty lease, for file systems whose rename does not replace it
            folder.rmdir()
        token = uuid.uuid4().hex
        record = record_of(self._holder())
        claim, prepared = Claim(folder / token, record), self.folder / f".{token}"
        prepared.mkdir(parents=True)
        try:
            (prepared / token).write_bytes(record + heartbeat(0))
            prepared.rename(folder)
        except OSError as error:
            # A network disk may carry a rename out and lose the answer: then the lease is there all the same.
            if claim.lost:
                (prepared / token).unlink(missing_ok=True)
                prepared.rmdir()
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    return None
                raise
        HEART.keep(claim)
        return claim


def record_of(holder: Holder) -> bytes:
    """Return the first line of a lease."""
    return json.dumps(asdict(holder)).encode() + b"\n"


def heartbeat(number: int) -> bytes:
    """Return the second line of a lease, which has the same length for every number."""
    return f"{number:0{_DIGITS}d}\n".encode()
