#!/usr/bin/env python3
"""Records what Pillow makes of photographs: the fixtures of PillowTests.

    python3 record.py FOLDER        (needs Pillow before 13, which brings columns to size before rows, matplotlib, scikit-image)

grace_hopper.jpg lies in matplotlib's sample data as it is: a photograph by the United States Navy, in the public domain.
chelsea.jpg is scikit-image's chelsea.png, a photograph by Stefan van der Walt that he gave into the public domain (CC0), as a
progressive JPEG with colours at half the resolution; chelsea-cmyk.jpg a part of it in Adobe's inverted CMYK; chelsea-16.png the
same part with 16 bits a colour, whose lower bytes differ from the upper ones.

NAME-eval-SIZE.npy is torchvision's Resize(SIZE * 256 / 224) and CenterCrop(SIZE), NAME-crop-LEFT-TOP-WIDTH-HEIGHT-SIZE.npy the
resized_crop that its RandomResizedCrop ends with, both with antialiased bilinear interpolation: bytes, [3, SIZE, SIZE].
NAME-pixels.npy is a whole decoded picture.
"""

import importlib.util
import os
import shutil
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image

BOXES = {
    "grace_hopper.jpg": [(0, 0, 512, 600, 64), (13, 7, 472, 570, 64), (201, 31, 150, 171, 96), (300, 400, 41, 50, 64), (129, 151, 256, 300, 64)],
    "chelsea.jpg": [(0, 0, 451, 300, 64), (101, 53, 250, 201, 96), (5, 9, 100, 80, 64), (440, 290, 11, 10, 32)],
}


def package(name):
    return os.path.dirname(importlib.util.find_spec(name).origin)


def planes(image):
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def evaluation(image, size):
    side = round(size * 256 / 224)
    width, height = image.size
    if width <= height:
        image = image.resize((side, int(side * height / width)), Image.BILINEAR)
    else:
        image = image.resize((int(side * width / height), side), Image.BILINEAR)
    left, top = int(round((image.size[0] - size) / 2)), int(round((image.size[1] - size) / 2))
    return image.crop((left, top, left + size, top + size))


def png16(array):
    """A 16-bit colour PNG: Pillow cannot write one."""
    height, width, _ = array.shape
    wide = np.stack([array, 255 - array], axis=-1)  # big-endian: the upper byte first
    rows = b"".join(b"\0" + wide[y].tobytes() for y in range(height))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def main(folder):
    assert int(PIL.__version__.split(".")[0]) < 13
    matplotlib_data = os.path.join(package("matplotlib"), "mpl-data", "sample_data")
    shutil.copy(os.path.join(matplotlib_data, "grace_hopper.jpg"), folder)
    chelsea = Image.open(os.path.join(package("skimage"), "data", "chelsea.png")).convert("RGB")
    chelsea.save(os.path.join(folder, "chelsea.jpg"), quality=85, subsampling="4:2:0", progressive=True)
    part = chelsea.crop((120, 60, 200, 124))
    part.convert("CMYK").point(lambda v: v * 3 // 4 + 20).save(os.path.join(folder, "chelsea-cmyk.jpg"), quality=90)
    with open(os.path.join(folder, "chelsea-16.png"), "wb") as file:
        file.write(png16(np.asarray(part)))
    np.save(os.path.join(folder, "chelsea-16-pixels.npy"), planes(part))
    cmyk = Image.open(os.path.join(folder, "chelsea-cmyk.jpg"))
    np.save(os.path.join(folder, "chelsea-cmyk-pixels.npy"), planes(cmyk.convert("RGB")))
    for name, boxes in BOXES.items():
        image = Image.open(os.path.join(folder, name)).convert("RGB")
        stem = os.path.join(folder, name.split(".")[0])
        for size in (224, 32) if name == "chelsea.jpg" else (96,):
            np.save(f"{stem}-eval-{size}.npy", planes(evaluation(image, size)))
        for left, top, width, height, size in boxes:
            crop = image.crop((left, top, left + width, top + height)).resize((size, size), Image.BILINEAR)
            np.save(f"{stem}-crop-{left}-{top}-{width}-{height}-{size}.npy", planes(crop))


main(sys.argv[1])
