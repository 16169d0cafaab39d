"""Makes the pictures that the tests read: `python make.py` in this directory (Pillow, NumPy)."""

import numpy as np
from PIL import Image

y, x = np.mgrid[0:24, 0:40].astype(np.float64)
waves = [128 + 100 * np.sin(x / 9 + shift) * np.cos(y / 7 - shift) for shift in (0.0, 1.0, 2.0)]
scene = Image.fromarray(np.stack(waves, axis=-1).round().astype(np.uint8))
scene.save("scene.png")
scene.save("baseline.jpg", quality=95, subsampling=0)
scene.save("progressive.jpg", quality=95, progressive=True)
scene.convert("L").save("grey.jpg", quality=95)
