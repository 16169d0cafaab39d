"""Writes the optical digits of UCI, as scikit-learn ships them, as two IDX files beside this script.

    pip install scikit-learn==1.9.1 && python digits.py

scikit-learn's order goes by writer: a model trained on the first 1,437 meets other hands in the last 360, and
LeNet-5 stays at 94 %. The files therefore hold the samples drawn anew: the last 360 are a random part with the
classes in proportion, as `train_test_split` makes it.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def write(name: str, values: np.ndarray):
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)  # 8: unsigned bytes
    data = gzip.compress(header + values.astype(np.uint8).tobytes(), compresslevel=9, mtime=0)
    (Path(__file__).parent / name).write_bytes(data)


digits = load_digits()
assert digits.images.shape == (1797, 8, 8) and digits.images.max() == 16
everything = np.arange(len(digits.target))
order = np.concatenate(train_test_split(everything, test_size=360, random_state=0, stratify=digits.target))
write("digits-images-idx3-ubyte.gz", digits.images[order])
write("digits-labels-idx1-ubyte.gz", digits.target[order])
