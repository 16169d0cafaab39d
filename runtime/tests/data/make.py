"""Makes the files that the tests read: `python make.py` in this directory (NumPy 2, PyTorch, safetensors)."""

import zipfile

import numpy as np
import torch
from safetensors.torch import save_file

arrays = {
    "image": np.arange(12, dtype=np.float32).reshape(1, 3, 4) / 8,
    "label": np.array([3, 1, 4], dtype=np.int32),
    "index": np.array([[1 << 40], [-2]], dtype=np.int64),
    "pixel": np.array([0, 128, 255], dtype=np.uint8),
    "mask": np.array([True, False]),
    "double": np.array(0.1, dtype=np.float64),
    "empty": np.zeros((0, 5), dtype=np.float32),
}
np.savez("stored.npz", **arrays)
np.savez_compressed("deflated.npz", **arrays)
np.save("plain.npy", arrays["image"])
np.save("fortran.npy", np.asfortranarray(np.ones((2, 3), dtype=np.float32)))
np.save("half.npy", np.ones(3, dtype=np.float16))
np.save("complex.npy", np.ones(3, dtype=np.complex64))

# What an archive may have beside arrays of numbers.
np.savez("others.npz", pixel=arrays["pixel"], name=np.array(["a", "bc"]), wave=np.ones(3, dtype=np.complex64))
with zipfile.ZipFile("others.npz", "a") as archive:
    archive.writestr(zipfile.ZipInfo("about.json"), "{}")

# The same numbers in every element type, byte order, and order of elements: [[0, 1, 2], [3, 4, 100]], as f64 also halves.
numbers = np.array([[0, 1, 2], [3, 4, 100]])
kinds = {}
for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"):
    for order in "<>":
        for name, lay in (("c", np.ascontiguousarray), ("f", np.asfortranarray)):
            kinds[f"{'le' if order == '<' else 'be'}.{name}.{code}"] = lay(numbers.astype(order + code))
kinds["fortran.3d"] = np.asfortranarray(np.arange(24, dtype=np.int32).reshape(2, 3, 4))
kinds["fortran.bool"] = np.asfortranarray(numbers % 2 == 1)
np.savez("kinds.npz", **kinds)
types = "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64"
save_file({name: torch.tensor(numbers.tolist()).to(getattr(torch, name)) for name in types.split()}, "kinds.safetensors")
np.save("huge.npy", np.array([1, 2**64 - 1], dtype=np.uint64))
