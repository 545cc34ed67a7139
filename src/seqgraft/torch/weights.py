"""Weight files -> tensors, mapped where they lie; tensors -> weight files, streamed.

Only this room knows PyTorch; what the files are and where their bytes lie comes from `seqgraft.checkpoints`.
"""

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from seqgraft.checkpoints import STALE_WEIGHTS, Header, WeightFiles, shards, stale_weights
from seqgraft.checkpoints.headers import header_text, row_major
from seqgraft.checkpoints.layout import PICKLE, SAFETENSORS
from seqgraft.errors import CheckpointError
from seqgraft.families.naming import Piece, Written
from seqgraft.folders import write_json

__all__ = ["DTYPES", "STALE_WEIGHTS", "TorchReader", "assembled", "stale_weights", "write_weights"]

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "F16": torch.float16,
    "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


_BLOCK = 1 << 24
"""Bytes that are turned at a time."""


class _Scratch:
    """Memory to work in. It comes from the system and goes back whole: the allocator would keep and split it."""

    def __init__(self) -> None:
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """The same uint8 [size] every time, so what was taken before is lost."""
        if self._bytes.numel() < size:
            self._bytes = torch.empty(0, dtype=torch.uint8)  # given back before there is another
            self._bytes = torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)
        return self._bytes[:size]


class TorchReader:
    """Tensors of a checkpoint on the CPU, straight ones as private maps of the file: read when first touched.

    Writing to a mapped tensor changes a private copy of that page, never the file. Tensors outlive the reader.
    """

    def __init__(self, files: WeightFiles) -> None:
        self.files = files
        self._maps: dict[Path, Any] = {}
        self._scratch = _Scratch()
        self._kept: str | None = None
        """The source whose bytes are in the scratch, whole."""

    def __enter__(self) -> "TorchReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._maps.clear()
        self._scratch = _Scratch()
        self._kept = None

    def raw(self, name: str) -> Tensor:
        """One stored tensor, whole, in its stored shape and dtype."""
        return self._mapped(self._header(name))

    def tensor(self, piece: Piece) -> Tensor:
        """One canonical tensor, contiguous: rows of a source are mapped; a turned matrix is read and turned.

        `piece.rows` of a turned matrix are columns of the stored one; its columns, asked for one after another,
        come from one reading.
        """
        header = self._header(piece.source)
        if piece.heads:
            if header.strides is not None:
                whole = self._whole(piece.source, header).flatten(-2)
                return (whole.t() if piece.turned else whole).clone(memory_format=torch.contiguous_format)
            header = replace(header, shape=(*header.shape[:-2], header.shape[-2] * header.shape[-1]))
        if piece.blocks > 1 or piece.expert is not None:
            return self._cut(piece, header)
        start, stop = piece.rows or (0, header.shape[-1 if piece.turned else 0] if header.shape else 0)
        if piece.turned:
            # Read, not mapped: a map would stay resident beside the turned copy.
            if piece.rows is None and header.strides is None:
                return self._turned(header)
            return self._whole(piece.source, header)[:, start:stop].t().clone(memory_format=torch.contiguous_format)
        if piece.rows is None:
            return self._mapped(header)
        if header.strides is not None:
            return self._whole(piece.source, header)[start:stop].clone(memory_format=torch.contiguous_format)
        row = math.prod(header.shape[1:]) * _dtype(header).itemsize
        return self._mapped(replace(header, shape=(stop - start, *header.shape[1:]), start=header.start + start * row))

    def _cut(self, piece: Piece, header: Header) -> Tensor:
        """A tensor whose rows lie scattered over the blocks of its source, or an entry of the source's first axis."""
        name = piece.source
        if piece.expert is not None and header.strides is None:
            shape, size = header.shape[1:], header.size // header.shape[0]
            header = replace(header, shape=shape, start=header.start + piece.expert * size)
            name = f"{name}[{piece.expert}]"
        whole = self._whole(name, header)
        if piece.expert is not None and header.strides is not None:
            whole = whole[piece.expert]
        whole = whole.t() if piece.turned else whole
        if piece.rows is not None:
            start, stop = piece.rows
            whole = whole.reshape(piece.blocks, -1, *whole.shape[1:])[:, start:stop].flatten(0, 1)
        return whole.clone(memory_format=torch.contiguous_format)

    def equal(self, first: str, second: str) -> bool:
        """Whether two stored tensors are the same, bit for bit; nothing stays in memory."""
        self._header(first), self._header(second)
        return self.files.same(first, second)

    def _header(self, name: str) -> Header:
        try:
            return self.files.headers[name]
        except KeyError:
            raise CheckpointError(f"'{self.files.source}' must hold the tensor '{name}', but does not.") from None

    def _mapped(self, header: Header) -> Tensor:
        """A map of the stored bytes; ordinary memory where a map cannot serve (unaligned or not in row-major order)."""
        dtype = _dtype(header)
        if not header.size:
            return torch.empty(header.shape, dtype=dtype)
        if header.strides is not None:
            self._kept = None
            return self._read(header).clone(memory_format=torch.contiguous_format)
        if header.start % dtype.itemsize:
            flat = torch.empty(header.shape, dtype=dtype)
            header.read_into(flat.view(-1).view(torch.uint8).numpy())
            return flat
        if header.file not in self._maps:
            size = header.file.stat().st_size
            self._maps[header.file] = torch.UntypedStorage.from_file(str(header.file), False, size)
        # A storage of its own, so that saving or copying one tensor does not take the whole file along.
        storage = self._maps[header.file][header.start : header.start + header.size]
        return torch.empty(0, dtype=dtype).set_(storage, 0, header.shape, row_major(header.shape))

    def _turned(self, header: Header) -> Tensor:
        """A stored matrix [rows, columns] as [columns, rows], a block of rows at a time."""
        rows, columns = header.shape
        dtype = _dtype(header)
        out = torch.empty(columns, rows, dtype=dtype)
        row = columns * dtype.itemsize
        step = max(_BLOCK // max(row, 1), 1)
        self._kept = None
        for at in range(0, rows, step):
            count = min(step, rows - at)
            block = self._scratch.take(count * row)
            header.read_into(block.numpy(), at * row)
            out[:, at : at + count] = block.view(dtype).view(count, columns).t()
        return out

    def _whole(self, name: str, header: Header) -> Tensor:
        """A stored tensor in the scratch, where it stays until another is asked for: its parts come in a row."""
        if self._kept != name:
            self._kept = None
            self._read(header)
            self._kept = name
        return self._shaped(header)

    def _read(self, header: Header) -> Tensor:
        header.read_into(self._scratch.take(header.size).numpy())
        return self._shaped(header)

    def _shaped(self, header: Header) -> Tensor:
        """The scratch seen as the stored tensor that was read into it."""
        strides = header.strides or row_major(header.shape)
        flat = self._scratch.take(header.size).view(_dtype(header))
        return flat.as_strided(header.shape, strides)


def assembled(written: Written, held: Mapping[str, Tensor]) -> Tensor:
    """One tensor of a file from the canonical ones that it is made of: itself where it is one, else a new tensor."""
    parts = [held[part] for part in written.parts]
    if len(parts) == 1 and not written.experts:
        whole = parts[0].t() if written.turned else parts[0]
        return whole.view(len(whole), written.heads, -1) if written.heads else whole
    each = len(parts) // (written.experts or 1)
    groups = [
        torch.cat([part.reshape(written.blocks, -1, *part.shape[1:]) for part in parts[at : at + each]], 1).flatten(
            0, 1
        )
        for at in range(0, len(parts), each)
    ]
    groups = [group.t() if written.turned else group for group in groups]
    return torch.stack(groups) if written.experts else groups[0]


def write_weights(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    max_shard_size: int | str = "50GB",
    variant: str | None = None,
    metadata: Mapping[str, str] | None = None,
    safe_serialization: bool = True,
) -> list[Path]:
    """Write the tensors into `folder` as one file, or as shards and their index; return the paths written.

    What is not contiguous on the CPU is made so some megabytes at a time. Tensors that share memory are a
    CheckpointError: a tie is the model's to know, and its copy is left out. Without `metadata` it is
    `{"format": "pt"}`.
    """
    _refuse_shared(tensors)
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    count = sum(tensor.numel() for tensor in tensors.values())
    base = SAFETENSORS if safe_serialization else PICKLE
    layout = shards(sizes, max_shard_size, base=base, variant=variant, parameters=count)
    written: list[Path] = []
    for file, names in layout.files.items():
        written.append(folder / file)
        part = {name: tensors[name] for name in names}
        if safe_serialization:
            _write_safetensors(written[-1], part, dict(metadata if metadata is not None else {"format": "pt"}))
        else:
            torch.save({name: tensor.detach().cpu().clone() for name, tensor in part.items()}, written[-1])
    if layout.index_name and layout.index:
        written.append(folder / layout.index_name)
        write_json(written[-1], layout.index)
    return written


def _write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Header first, then each tensor's bytes."""
    described: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise CheckpointError(f"'{name}' must have a dtype that safetensors knows, but is {tensor.dtype}.")
        described[name] = _NAMES[tensor.dtype], tuple(tensor.shape)
    text, order = header_text(described, metadata)
    with path.open("wb") as stream:
        stream.write(text)
        scratch = _Scratch()
        for name in order:
            for block in _blocks(tensors[name].detach(), scratch):
                stream.write(block.view(torch.uint8).numpy().data)


def _blocks(tensor: Tensor, scratch: _Scratch) -> Iterator[Tensor]:
    """The elements in row-major order, in flat CPU tensors of some megabytes, each valid until the next."""
    if not tensor.numel():
        return
    if tensor.is_contiguous() and tensor.device.type == "cpu":
        yield tensor.view(-1)
        return
    if tensor.dim() == 0:
        tensor = tensor[None]
    row = tensor[0].numel() * tensor.element_size()
    step = max(_BLOCK // row, 1)
    for at in range(0, len(tensor), step):
        rows = tensor[at : at + step]
        block = scratch.take(row * len(rows)).view(tensor.dtype).view(rows.shape)
        block.copy_(rows)
        yield block.view(-1)


def _refuse_shared(tensors: Mapping[str, Tensor]) -> None:
    """Two names for overlapping memory would be stored twice and read back as two parameters."""
    spans: dict[torch.device, list[tuple[int, int, str]]] = {}
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise CheckpointError(f"'{name}' must hold values to be saved, but is on the meta device.")
        if tensor.numel():
            last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)) + 1
            begin = tensor.data_ptr()
            spans.setdefault(tensor.device, []).append((begin, begin + last * tensor.element_size(), name))
    for found in spans.values():
        found.sort()
        for (_, end, name), (begin, _, other) in pairwise(found):
            if begin < end:
                raise CheckpointError(
                    f"'{name}' and '{other}' must not share memory to be saved: leave out the tied copy."
                )


def _dtype(header: Header) -> torch.dtype:
    try:
        return DTYPES[header.dtype]
    except KeyError:
        raise CheckpointError(f"{header.file}: PyTorch has no dtype for {header.dtype}.") from None
