"""Looking into one call of somebody's module: hooks and a cache that last for that call alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Found(Exception):
    """What was looked for inside a call that need not go on."""

    def __init__(self, *values: Tensor):
        super().__init__()
        self.values = values


def until_found(call: Callable[[], Any]) -> tuple[Tensor, ...]:
    """What a `Found` brings out of a call."""
    try:
        call()
    except Found as stopped:
        return stopped.values
    raise AssertionError("the call went on to its end")


class Cache:
    """Stands in a layer's cache for one call: gives keys and values (r, H, T, D / H), keeps none.

    past: those of the other tokens; joined: in front of the layer's own, else in their place.
    stop: end the call with the layer's own.  seen: what attention was given.
    """

    def __init__(self, past: tuple[Tensor, ...], joined: bool = False, stop: bool = False):
        self.past, self.joined, self.stop = past, joined, stop
        self.seen: tuple[Tensor, ...] = ()

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        if self.stop:
            raise Found(keys, values)
        self.seen = keys, values
        if self.past and self.joined:
            self.seen = tuple(
                torch.cat(both, dim=2) for both in zip(self.past, self.seen, strict=True)
            )
        elif self.past:
            self.seen = self.past
        return self.seen


@contextmanager
def hooked(*hooks: tuple[nn.Module, str, Callable]) -> Iterator[None]:
    """Hooks that are gone afterwards, whatever happens: module, "before" or "after", function.

    A function of three arguments before a module is given its named ones as the third.
    """
    with ExitStack() as stack:
        for module, when, function in hooks:
            if when == "after":
                handle = module.register_forward_hook(function)
            else:
                named = len(inspect.signature(function).parameters) == 3
                handle = module.register_forward_pre_hook(function, with_kwargs=named)
            stack.callback(handle.remove)
        yield
