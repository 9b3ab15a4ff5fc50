#!/usr/bin/env python3
"""Makes a data set of JPEGs of 500 x 375 pixels for measuring the loader and for trying training on folders.

    python3 pictures.py FOLDER [IMAGES] [CLASSES]        (needs NumPy and Pillow)

Writes FOLDER/train/CLASS/*.jpg and a tenth as many FOLDER/val/CLASS/*.jpg: smooth shapes in a class's colours under noise, which
compress about as photographs do.
"""

import os
import sys

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 500, 375


def picture(label, random):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    planes = []
    for channel in range(3):
        waves = sum(
            np.sin((x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) / random.uniform(3, 60)) for _ in range(6)
        )
        planes.append(110 + 40 * np.cos(label * 1.7 + channel * 2.1) + 14 * waves + random.normal(0, 9, (HEIGHT, WIDTH)))
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))


def main(folder, images=400, classes=4):
    random = np.random.RandomState(1)
    for part, count in (("train", images), ("val", max(classes, images // 10))):
        for index in range(count):
            label = index % classes
            place = os.path.join(folder, part, f"class{label:03d}")
            os.makedirs(place, exist_ok=True)
            picture(label, random).save(os.path.join(place, f"{index:06d}.jpg"), quality=85)


main(sys.argv[1], *map(int, sys.argv[2:]))
