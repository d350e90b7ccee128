from __future__ import annotations

import numpy as np
import torch

from detect.data.batches import BalancedBatches
from detect.data.views import select
from forge.core.distributed import ProcessGroup
from forge.faces.feed import PixelFeed


def batches(data, **options):
    return BalancedBatches(data.train_real, data.train_forged, size=8, seed=5, device=torch.device("cpu"), **options)


def test_half_real_half_forged_and_every_image_once_a_pass(data):
    shuffled = batches(data)
    parts = [shuffled.batch(number) for number in range(shuffled.steps_per_pass)]
    assert shuffled.steps_per_pass == 12
    for role, half in (("train_real", slice(0, 4)), ("train_forged", slice(4, 8))):
        seen = np.concatenate([pixels[half].numpy() for pixels, _ in parts])
        assert sorted(map(bytes, seen)) == sorted(map(bytes, data.views[role].read()))
    assert parts[0][1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_the_smaller_class_comes_round_again(data):
    few = type(data)(data.train_real, select(data.train_forged, np.arange(5)), data.val_real, data.val_forged)
    shuffled = batches(few)
    assert shuffled.steps_per_pass == 12
    seen = np.concatenate([shuffled.batch(number)[0][4:].numpy() for number in range(5)])  # 20 = 4 passes over 5 images
    _, times = np.unique(seen.reshape(20, -1), axis=0, return_counts=True)
    assert times.tolist() == [4] * 5


def test_memory_map_and_memory_give_the_same_batches_in_any_order(data):
    kept, mapped = batches(data), batches(data)
    assert not mapped.real.feed.resident  # a CPU keeps no copy of a set
    for stream, view in ((kept.real, data.train_real), (kept.forged, data.train_forged)):
        stream.feed = PixelFeed(view, torch.device("cpu"), resident=True)
    for number in (30, 2, 17, 2):
        assert torch.equal(kept.batch(number)[0], mapped.batch(number)[0])


def test_shares_of_several_processes_make_the_batch(data):
    whole, shares = batches(data), [batches(data, share=ProcessGroup(rank, 2).share(4)) for rank in range(2)]
    order = torch.cat([share.positions for share in shares]).argsort()
    for number in (0, 11, 3):
        pixels, labels = (torch.cat(parts)[order] for parts in zip(*(s.batch(number) for s in shares), strict=True))
        assert torch.equal(pixels, whole.batch(number)[0]) and torch.equal(labels, whole.batch(number)[1])
