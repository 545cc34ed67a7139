"""CRC-32C (Castagnoli), of which TensorFlow's checkpoints have one for each block and tensor."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_LANE = 2048
"""Bytes of a lane: lanes are run through side by side, then put together."""

Words = NDArray[np.uint32]


def crc32c(parts: Iterable[bytes | memoryview | NDArray[np.uint8]]) -> int:
    """The checksum of bytes that come in parts."""
    register = 0xFFFFFFFF
    for part in parts:
        data = np.frombuffer(part, np.uint8)
        lanes = len(data) // _LANE
        if lanes:
            register = _joined(register, data[: lanes * _LANE].reshape(lanes, _LANE))
        table = _bytes_table()
        for byte in data[lanes * _LANE :].tolist():
            register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return int(register) ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """As a checksum is stored, so that the sum of what holds one is not always the same."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _joined(register: int, lanes: NDArray[np.uint8]) -> int:
    """The register after all lanes [lanes, bytes]: each alone from zero, then one after the other shifted by one."""
    words = np.ascontiguousarray(lanes.view("<u2").T)
    table = _words_table()
    alone = np.zeros(lanes.shape[0], np.uint32)
    for word in words:
        alone = table[(alone ^ word) & np.uint32(0xFFFF)] ^ (alone >> np.uint32(16))
    first, second, third, fourth = _shift_tables()
    for one in alone.tolist():
        shifted = first[register & 0xFF] ^ second[register >> 8 & 0xFF]
        register = shifted ^ third[register >> 16 & 0xFF] ^ fourth[register >> 24] ^ one
    return register


@cache
def _bytes_table() -> list[int]:
    """Register of one byte."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
        found.append(byte)
    return found


@cache
def _words_table() -> Words:
    """Register of two bytes."""
    table: Any = np.array(_bytes_table(), np.uint32)
    words = np.arange(1 << 16, dtype=np.uint32)
    once = table[words & 0xFF] ^ (words >> 8)
    made: Words = table[once & 0xFF] ^ (once >> 8)
    return made


@cache
def _shift_tables() -> tuple[list[int], ...]:
    """For each byte of a register, what it becomes after a lane of zeros."""
    table = _words_table()
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(_LANE // 2):
        bits = table[bits & np.uint32(0xFFFF)] ^ (bits >> np.uint32(16))
    of = bits.tolist()
    found: list[list[int]] = []
    for at in range(0, 32, 8):
        tables = [0] * 256
        for byte in range(256):
            for bit in range(8):
                if byte >> bit & 1:
                    tables[byte] ^= of[at + bit]
        found.append(tables)
    return tuple(found)
