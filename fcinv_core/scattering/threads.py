"""Independent blocks of work on several processor threads.

Small eigenproblems and the many short operations around them do not gain from threads inside
one operation; whole blocks side by side do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

BLOCK_BYTES = 2**23
"""Aim for the temporary arrays of one block: small enough for the processor's cache, which makes
blocks several times faster than large arrays."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_blocks(
    task: Callable[[Item], Result], blocks: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """Results of ``task`` on every block, in order, from as many threads as torch may use.

    On a GPU, or with one thread or block, they run one after the other. The first exception is
    raised again, and ends the rest. Whether gradients are recorded is the caller's choice.
    """
    allowed = torch.get_num_threads()
    threads = min(allowed, len(blocks))
    if threads <= 1 or device.type != "cpu":
        yield from map(task, blocks)
        return
    recorded, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def work(block: Item) -> Result:
        # Threads begin with modes of their own.
        with torch.inference_mode(inference), torch.set_grad_enabled(recorded):
            return task(block)

    # Each worker limits its own operations to one thread; what others may use is set again.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield from pool.map(work, blocks)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(allowed)


def run_blocks(task: Callable[[Item], None], blocks: Sequence[Item], device: torch.device) -> None:
    """`map_blocks` for tasks that write their results to places of their own."""
    for _ in map_blocks(task, blocks, device):
        pass


def block_bytes(device: torch.device) -> int:
    """`BLOCK_BYTES`, or more of them on a GPU, which is fast with large arrays only."""
    return BLOCK_BYTES if device.type == "cpu" else 64 * BLOCK_BYTES


def block_slices(n_items: int, item_size: int, block_size: int) -> list[slice]:
    """Slices of about ``block_size`` at most that cover ``n_items``, of nearly equal length."""
    n_blocks = max(1, -(-n_items * max(item_size, 1) // block_size))
    step = max(1, -(-n_items // n_blocks))
    return [slice(start, min(start + step, n_items)) for start in range(0, n_items, step)]
