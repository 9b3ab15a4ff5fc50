"""One sparse linear layer, forward and backward, beside every rival in one process and one run.

usage: linear.py LIBRARY [--units 2048] [--batch 128] [--sparsity .9,.95,.98,.99] [--rounds 7]

LIBRARY is the shared library of the kernels that run.sh builds. Every contestant gets the same structure, values, input and output
gradient, computes y = W x, dx = W' dy and dW at the active connections on one thread, and is checked against a dense product before
it is timed. A round times each contestant in turn; a number is the median of the rounds, each the fastest of a few repetitions.
Espalier's activations stay in its blocked layout, as they do from layer to layer in training; PyTorch's modules keep theirs.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import scipy.sparse
import torch

import espalier_kernels

warnings.filterwarnings("ignore", message="Sparse")  # PyTorch calls its CSR tensors beta


class Case:
    """A random layer: `csr` [units, units], x and dy [units, batch], and the dense results."""

    def __init__(self, units, batch, sparsity, seed=0):
        random = np.random.default_rng(seed)
        per_row = random.multinomial(round((1 - sparsity) * units * units), np.full(units, 1 / units)).clip(max=units)
        columns = np.concatenate([np.sort(random.choice(units, n, replace=False)) for n in per_row])
        self.units, self.batch, self.sparsity = units, batch, sparsity
        starts = np.concatenate([[0], np.cumsum(per_row)])
        values = random.standard_normal(len(columns), dtype=np.float32)
        self.csr = scipy.sparse.csr_matrix((values, columns.astype(np.int32), starts.astype(np.int32)), (units, units))
        self.rows = np.repeat(np.arange(units), per_row)
        self.x = random.standard_normal((units, batch), dtype=np.float32)
        self.dy = random.standard_normal((units, batch), dtype=np.float32)
        dense = self.csr.toarray().astype(np.float64)
        self.y, self.dx = dense @ self.x, dense.T @ self.dy
        self.dw = (self.dy.astype(np.float64) @ self.x.T.astype(np.float64))[self.rows, self.csr.indices]


def dense_torch(case):
    weight = torch.from_numpy(case.csr.toarray()).requires_grad_()
    x = torch.from_numpy(np.ascontiguousarray(case.x.T)).requires_grad_()
    dy = torch.from_numpy(np.ascontiguousarray(case.dy.T))

    def forward():
        return torch.nn.functional.linear(x, weight)

    def both():
        y = forward()
        return y, *torch.autograd.grad(y, (x, weight), dy)

    def results():
        y, dx, dw = (t.detach().numpy() for t in both())
        return y.T, dx.T, dw[case.rows, case.csr.indices]

    return forward, both, results


def torch_csr(case):
    def tensor(matrix):
        return torch.sparse_csr_tensor(torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices), torch.from_numpy(matrix.data),
                                       size=matrix.shape)

    weight, transposed = tensor(case.csr), tensor(case.csr.T.tocsr())
    pattern = tensor(scipy.sparse.csr_matrix((np.zeros_like(case.csr.data), case.csr.indices, case.csr.indptr), case.csr.shape))
    x, dy = torch.from_numpy(case.x), torch.from_numpy(case.dy)
    xt = x.t().contiguous()

    def forward():
        return torch.sparse.mm(weight, x)

    def both():
        return forward(), torch.sparse.mm(transposed, dy), torch.sparse.sampled_addmm(pattern, dy, xt, beta=0)

    def results():
        y, dx, dw = both()
        return y.numpy(), dx.numpy(), dw.values().numpy()

    return forward, both, results


def scipy_csr(case):
    transposed = case.csr.T.tocsr()
    chunk = 1 << 14  # connections whose two vectors lie side by side in memory at a time

    def forward():
        return case.csr @ case.x

    def gradient():
        parts = (slice(k, k + chunk) for k in range(0, case.csr.nnz, chunk))
        return np.concatenate([np.einsum("kb,kb->k", case.dy[case.rows[p]], case.x[case.csr.indices[p]]) for p in parts])

    def both():
        return forward(), transposed @ case.dy, gradient()

    return forward, both, both


def module(case, layer, weight):
    """A PyTorch module with sparse values `weight` in CSR order."""
    x = torch.from_numpy(np.ascontiguousarray(case.x.T)).requires_grad_()
    dy = torch.from_numpy(np.ascontiguousarray(case.dy.T))

    def forward():
        return layer(x)

    def both():
        y = layer(x)
        return y, *torch.autograd.grad(y, (x, weight), dy)

    return forward, both


def sparse_prop(case):
    from sparseprop.modules import SparseLinear

    layer = SparseLinear(torch.from_numpy(case.csr.toarray()))
    forward, both = module(case, layer, layer.W_val)

    def results():
        y, dx, dw = (t.detach().numpy() for t in both())
        return y.T, dx.T, dw

    return forward, both, results


def sparse_lab(case):
    """The layer's own random structure: the library makes no layer from given connections, so its results are not comparable."""
    from sparselab import SparseLinear

    layer = SparseLinear(case.units, case.units, bias=False, sparsity=case.sparsity)
    forward, both = module(case, layer, layer._values)
    return forward, both, None


def check(name, case, results):
    for what, found, expected in zip(("y", "dx", "dw"), results(), (case.y, case.dx, case.dw)):
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert error < 1e-5, f"{name}: {what} is off by {error:.1e}"


def fastest(function, repetitions=3):
    best = float("inf")
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--sparsity", default=".9,.95,.98,.99")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    kernels = espalier_kernels.Kernels(options.library)
    contestants = {
        "Espalier": lambda case: espalier_kernels.linear(kernels, case), "PyTorch dense": dense_torch, "PyTorch CSR (MKL)": torch_csr,
        "SciPy CSR": scipy_csr, "SparseProp": sparse_prop, "SparseLab": sparse_lab,
    }
    print(f"{options.units} units, batch {options.batch}, one thread, {options.rounds} rounds; Espalier's variant: {kernels.isa_name}\n")
    print("| sparsity | contestant | forward, ms | forward + backward, ms | useful GFLOP/s, both | Espalier is faster by: forward | both |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for sparsity in map(float, options.sparsity.split(",")):
        case = Case(options.units, options.batch, sparsity)
        runs = {name: make(case) for name, make in contestants.items()}
        for name, (_, both, results) in runs.items():
            if results:
                check(name, case, results)
            both()
        times = {name: ([], []) for name in runs}
        for _ in range(options.rounds):
            for name, (forward, both, _) in runs.items():
                times[name][0].append(fastest(forward))
                times[name][1].append(fastest(both))
        ours = [statistics.median(t) for t in times["Espalier"]]
        for name in runs:
            forward, both = (statistics.median(t) for t in times[name])
            gflops = 6e-6 * case.csr.nnz * case.batch / both
            print(f"| {sparsity} | {name} | {forward:.2f} | {both:.2f} | {gflops:.1f} | {forward / ours[0]:.1f} | {both / ours[1]:.1f} |",
                  flush=True)


if __name__ == "__main__":
    main()
