"""The processes that share one run's updates: which of them this one is, and what they add up.

Each works on its part of every update's sequences, and all then hold the same sums, so that all
take the same step. With one process nothing here touches a tensor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor

from harness.errors import RequestError

BUCKET_BYTES = 25 * 2**20
"""Tensors are added up together in about so many bytes, as torch's DDP does: few messages, and no
second copy of the whole gradient."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run."""

    rank: int = 0
    count: int = 1

    @classmethod
    def of_environment(cls) -> Ranks:
        """As torch's agent says in the environment; one of one where it says nothing."""
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))

    @property
    def leads(self) -> bool:
        """Whether this one writes what the run leaves: log, checkpoints, record."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Meet the others, and take the device that is this one's: gloo on CPU, NCCL on GPUs."""
        if self.count == 1:
            return
        if device.type == "cpu":
            backend = "gloo"
        else:
            torch.get_device_module(device).set_device(int(os.environ["LOCAL_RANK"]))
            fast = dist.get_default_backend_for_device(device)
            backend = f"cpu:gloo,{device.type}:{fast}"  # flags stay on the CPU
        dist.init_process_group(backend)

    def leave(self) -> None:
        """Part from the others, with nothing left to add up."""
        if self.count > 1:
            dist.destroy_process_group()

    def part(self, rows: int) -> range:
        """The rows, of `rows` in their order, that this process works on: consecutive ones."""
        return range(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, the same bits in each of them."""
        if self.count == 1:
            return
        begun = []
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            begun.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in begun:
            work.wait()
            for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def any_says(self, said: bool) -> bool:
        """Whether one of the processes says so: what one alone decided would leave it waiting."""
        if self.count == 1:
            return said
        flag = torch.tensor(int(said))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def check_equal(self, what: str, value: int) -> None:
        """Raises RequestError where the processes do not hold the same value."""
        if self.count == 1:
            return
        ends = torch.tensor([value, -value])
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        if int(ends[0]) != -int(ends[1]):
            raise RequestError(
                f"the processes of this run disagree on {what}: from {-int(ends[1])} to "
                f"{int(ends[0])}"
            )


ALONE = Ranks()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type and device, side by side, until a bucket is full."""
    for _, alike in groupby(tensors, key=lambda tensor: (tensor.dtype, tensor.device)):
        bucket, size = list[Tensor](), 0
        for tensor in alike:
            bucket.append(tensor)
            size += tensor.numel() * tensor.element_size()
            if size >= BUCKET_BYTES:
                yield bucket
                bucket, size = [], 0
        if bucket:
            yield bucket
