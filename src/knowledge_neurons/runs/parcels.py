"""What is sent to workers: functions with all that they refer to, the model apart and once.

A function is pickled by value (`ray.cloudpickle`); where it refers to the model, a mark stands for
it, for the worker has it.  Tensors go beside the pickle as plain bytes, which Ray's object store
keeps once on each node and hands out without a copy.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.cloudpickle import CloudPickler
from torch import Tensor, nn

ALIGNED = 64  # bytes, where torch puts what it allocates
MODEL = "model"


class _Told(NamedTuple):
    """A tensor but for its bytes, at a place among those; start: its address modulo ALIGNED."""

    place: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    kind: type
    device: str
    start: int


def pack(content: Any, model: Any = None) -> list[Any]:
    """Anything as a parcel: a pickle, and the bytes of each tensor in it.

    model: what the worker has already; a mark is put in its place.
    """
    file = io.BytesIO()
    pickler = _Pickler(file, model)
    pickler.dump(content)
    return [file.getvalue(), *pickler.arrays]


def size_of(parcel: Sequence[Any]) -> int:
    """Its bytes."""
    return len(parcel[0]) + sum(array.nbytes for array in parcel[1:])


def unpack(parcel: Sequence[Any], model: Any = None) -> Any:
    """What was packed, in memory of its own; a tensor of a GPU is put on this process's first."""
    return _Unpickler(parcel, model).load()


class _Pickler(CloudPickler):
    def __init__(self, file: io.BytesIO, model: Any):
        super().__init__(file, protocol=5)
        self.arrays: list[np.ndarray] = []
        self._model = model
        self._seen: dict[int, tuple[Tensor, _Told]] = {}  # the tensor too, so that its id stays its

    def persistent_id(self, one: Any) -> Any:
        if one is self._model and one is not None:
            return MODEL
        if not isinstance(one, Tensor):
            return None
        if id(one) not in self._seen:
            plain = one.detach().contiguous().cpu()
            told = _Told(
                len(self.arrays),
                one.dtype,
                tuple(one.shape),
                nn.Parameter if isinstance(one, nn.Parameter) else Tensor,
                one.device.type,
                plain.data_ptr() % ALIGNED,
            )
            self.arrays.append(plain.reshape(-1).view(torch.uint8).numpy())
            self._seen[id(one)] = one, told
        return self._seen[id(one)][1]


class _Unpickler(pickle.Unpickler):
    def __init__(self, parcel: Sequence[Any], model: Any):
        super().__init__(io.BytesIO(parcel[0]))
        self._arrays, self._model = parcel[1:], model
        self._made: dict[int, Tensor] = {}  # one that is tied stays one

    def persistent_load(self, told: Any) -> Any:
        if told == MODEL:
            return self._model
        if told.place not in self._made:
            self._made[told.place] = _tensor(told, self._arrays[told.place])
        return self._made[told.place]


def _tensor(told: _Told, array: np.ndarray) -> Tensor:
    """A tensor of its own memory.

    It begins where its original did, modulo ALIGNED: how products are split into vectors, and with
    it the last digits, may depend on that.
    """
    room = torch.empty(array.size + 2 * ALIGNED, dtype=torch.uint8)
    start = (told.start - room.data_ptr()) % ALIGNED
    flat = room[start : start + array.size]
    flat.numpy()[:] = array
    made = flat.view(told.dtype).reshape(told.shape).to(told.device)
    return nn.Parameter(made, requires_grad=False) if told.kind is nn.Parameter else made
