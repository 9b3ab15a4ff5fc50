"""Espalier's C kernels through ctypes, for comparisons in one process."""

import ctypes

import numpy as np

LANES = 32


class Tiles(ctypes.Structure):
    _fields_ = [("columns", ctypes.c_size_t), ("rows", ctypes.c_size_t), ("segments", ctypes.c_void_p)]


class Csr(ctypes.Structure):
    _fields_ = [("rows", ctypes.c_size_t), ("columns", ctypes.c_size_t), ("row_starts", ctypes.c_void_p),
                ("column_indices", ctypes.c_void_p), ("tiles", Tiles)]


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


class Kernels:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.isa = self.library.esp_isa_best()
        self.library.esp_isa_name.restype = ctypes.c_char_p
        self.isa_name = self.library.esp_isa_name(self.isa).decode()
        self.library.esp_csr_choose_tiles.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint64]
        self.library.esp_csr_choose_tiles.restype = Tiles
        self.library.esp_csr_segment_count.argtypes = [ctypes.c_void_p, Tiles]
        self.library.esp_csr_segment_count.restype = ctypes.c_size_t
        self.library.esp_csr_fill_segments.argtypes = [ctypes.c_void_p, Tiles, ctypes.c_void_p, ctypes.c_int]


class Structure:
    """A scipy CSR's structure as the kernels take it, with the tiles that it is worth."""

    def __init__(self, library, matrix):
        self.starts, self.columns = matrix.indptr.astype(np.uint64), matrix.indices.astype(np.uint32)
        self.csr = Csr(*matrix.shape, pointer(self.starts), pointer(self.columns))
        tiles = library.esp_csr_choose_tiles(*matrix.shape, matrix.nnz)
        if tiles.columns == 0:
            return
        self.segments = np.empty(library.esp_csr_segment_count(ctypes.byref(self.csr), tiles), np.uint64)
        library.esp_csr_fill_segments(ctypes.byref(self.csr), tiles, pointer(self.segments), 1)
        self.csr.tiles = Tiles(tiles.columns, tiles.rows, self.segments.ctypes.data)


def aligned(array):
    """A copy that begins at a cache line, as memory does that PyTorch or Espalier allocate; numpy's does not."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def blocked(matrix):
    """[features, batch] as [blocks, features, lanes]."""
    features, batch = matrix.shape
    assert batch % LANES == 0
    return aligned(matrix.reshape(features, batch // LANES, LANES).transpose(1, 0, 2))


def plain(blocks):
    return blocks.transpose(1, 0, 2).reshape(blocks.shape[1], -1)


def linear(kernels, case):
    """forward(), both() and results() of one layer, as linear.py's contestants have them."""
    library, isa = kernels.library, kernels.isa
    numbered = case.csr.copy()
    numbered.data = np.arange(case.csr.nnz, dtype=np.float64)
    transposed = numbered.T.tocsr()
    permutation = transposed.data.astype(np.uint32)
    weights, back = Structure(library, case.csr), Structure(library, transposed)
    values, back_values = aligned(case.csr.data), aligned(case.csr.data)
    x, dy = blocked(case.x), blocked(case.dy)
    y, dx, dw, back_dw = aligned(dy), aligned(x), aligned(values), aligned(values)
    size, blocks, nnz = ctypes.c_size_t, ctypes.c_size_t(case.batch // LANES), ctypes.c_size_t(case.csr.nnz)

    def forward():
        library.esp_spmm_f32(isa, ctypes.byref(weights.csr), pointer(values), None, blocks, size(LANES), pointer(x), pointer(y), 1)

    def both():
        forward()
        library.esp_permute_f32(pointer(values), pointer(permutation), nnz, pointer(back_values), 1)
        library.esp_linear_backward_f32(isa, ctypes.byref(back.csr), pointer(back_values), blocks, size(LANES), pointer(x), pointer(dy), None,
                                        pointer(dx), 0, pointer(back_dw), 1)
        library.esp_unpermute_f32(pointer(back_dw), pointer(permutation), nnz, pointer(dw), 1)

    def results():
        both()
        return plain(y), plain(dx), dw

    return forward, both, results
