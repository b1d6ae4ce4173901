#!/usr/bin/env python3
"""Writes tests/fixtures/torch: small checkpoints as torch.save makes them, and hostile ones.

Needs PyTorch (Debian: python3-torch). The values are those that torch_file_test.cc expects.
Usage: make_torch_fixtures.py OUTPUT_DIRECTORY
"""
import collections
import os
import pickle
import sys

import torch


def state_dict():
    matrix = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tied = torch.arange(4, dtype=torch.float32)
    state = collections.OrderedDict(
        matrix=matrix,
        transposed=matrix.t(),
        sliced=base[1:3, ::2],
        row=base[2],
        expanded=torch.tensor([7.0, 8.0]).expand(3, 2),
        tied_a=tied,
        tied_b=tied,
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 4),
        half=torch.tensor([0.5, -2.0], dtype=torch.float16),
        bfloat=torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
        double=torch.tensor([0.1, 1e300], dtype=torch.float64),
        ids=torch.arange(3).expand(1, -1),
        bytes=torch.tensor([-1, 0, 1], dtype=torch.int8),
        mask=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(torch.tensor([1.0, 2.0])),
    )
    # As Module.state_dict() has it.
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    state["steps"] = 12  # not a tensor
    return state


class Runs:
    """Asks whoever unpickles it to run a command."""

    def __reduce__(self):
        return os.system, ("echo a checkpoint ran this",)


def main(out):
    state = state_dict()
    torch.save(state, f"{out}/zip.bin")
    torch.save(state, f"{out}/legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(dict(state), f"{out}/protocol4.bin", pickle_protocol=4)
    torch.save({"weight": Runs()}, f"{out}/hostile_zip.bin")
    torch.save({"weight": Runs()}, f"{out}/hostile_legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 1), f"{out}/whole_model.bin")
    with open(f"{out}/plain_pickle.bin", "wb") as file:
        pickle.dump({"weight": [1.0]}, file, protocol=2)


if __name__ == "__main__":
    main(sys.argv[1])
