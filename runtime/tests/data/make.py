"""Makes the NumPy files that the tests read: `python make.py` in this directory (NumPy 2)."""

import numpy as np

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
