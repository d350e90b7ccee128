"""Bounds of a PyTorch checkpoint, checked before it is unpickled: bytes, steps, and how large its tuples are.

`torch.load(weights_only=True)` runs no code of the file, but a file of a kilobyte can still keep it busy for ever:
tuples that hold each other twice, sixty deep, take 2^60 steps to hash. A state_dict has some ten steps per tensor.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

from forge.core.errors import CorruptError, InputError

MAX_BYTES = 512 << 20  # of the whole file, unpacked
MAX_PICKLE_BYTES = 64 << 20  # of the pickle in a zip, without the tensors
MAX_STEPS = 1_000_000  # about a second
MAX_TUPLE = 100_000  # members of a tuple and of the tuples in it, counted as often as they occur
_LEGACY_PICKLES = 4  # magic number, protocol, system, object; storages follow

_MARK = -1
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


def check_checkpoint(path: Path) -> None:
    """Refuse a checkpoint that is too large or too entangled to be read in seconds.

    Args:
        path: a zip of PyTorch 1.6 and later, or the older sequence of pickles.

    Raises:
        InputError: larger than `MAX_BYTES`, or a pickle with too many steps or too large tuples.
        CorruptError: not a sequence of pickles.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"weights file {path} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
    if zipfile.is_zipfile(path):
        _check_zip(path)
        return
    # four pickles follow each other at the start of the older format, before the raw storages
    with path.open("rb") as stream:
        for number in range(_LEGACY_PICKLES):
            if number and not stream.peek(1):
                break  # fewer pickles than PyTorch writes: it says so itself
            _check_pickle(stream, path)


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            # of the directory, before anything is unpacked: a small zip can hold gigabytes
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_BYTES:
                raise InputError(f"weights file {path} unpacks to {unpacked:,} bytes; at most {MAX_BYTES:,} are read")
            for entry in entries:
                if entry.filename.endswith(".pkl"):
                    if entry.file_size > MAX_PICKLE_BYTES:
                        raise InputError(f"weights file {path}: {entry.filename} has {entry.file_size:,} bytes")
                    _check_pickle(io.BytesIO(archive.read(entry)), path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise CorruptError(f"weights file {path} cannot be read: {error}; copy or download it again") from error


def _check_pickle(stream: BinaryIO, path: Path) -> None:
    """Follow one pickle without making any object: only the size of tuples is kept."""
    # stack and memo hold sizes in place of objects: 1 for anything but a tuple, `_MARK` for a mark
    stack: list[int] = []
    memo: dict[int, int] = {}
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if step >= MAX_STEPS:
                raise InputError(f"weights file {path} holds more than {MAX_STEPS:,} values; it is no state_dict")
            name = opcode.name
            if name in _PUTS:
                memo[int(argument or 0)] = stack[-1]
            elif name == "MEMOIZE":  # protocol 4 numbers the memo by its length
                memo[len(memo)] = stack[-1]
            elif name in _GETS:
                # an entry that was never stored has size 1; unpickling itself refuses it later
                stack.append(memo.get(int(argument or 0), 1))
            else:
                _apply(opcode, stack)
            # checked at each step: size doubles with every tuple of two tuples, so that it is caught long before 2^60
            if stack and stack[-1] > MAX_TUPLE:
                raise InputError(f"weights file {path} holds tuples within tuples without end; it is no state_dict")
    except (ValueError, IndexError) as error:
        raise CorruptError(
            f"weights file {path} cannot be read: {str(error)[:160]}; is it a .pth of PyTorch?"
        ) from error


def _apply(opcode: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """Take from the stack what an opcode takes and put what it puts; a tuple has the size of its members."""
    before, size = opcode.stack_before, 1
    if pickletools.markobject in before:
        # everything above the mark belongs to the new object; `size` of a tuple counts its members' members
        while (item := stack.pop()) != _MARK:
            size += item
        before = before[: before.index(pickletools.markobject)]  # below the mark
    for _ in before:
        size += stack.pop()
    for result in opcode.stack_after:
        tuple_size = size if result is pickletools.pytuple else 1
        stack.append(_MARK if result is pickletools.markobject else tuple_size)
