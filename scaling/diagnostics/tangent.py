"""The empirical neural tangent kernel: products of the gradients of single outputs.

For a scalar output f it is K_ij = <grad f(x_i), grad f(x_j)>: how a gradient step on x_i moves f(x_j), to
first order. Gradients come one by one from a graph, which always works, or of many samples at once, which
takes a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch.func import grad, vmap

from rlscale.scaling.diagnostics.representation import approximate_rank

#: The gradients of some of the samples: of each parameter, (samples, numbers of the parameter).
Gradients = Callable[[range], Sequence[torch.Tensor]]

#: How many numbers of gradients are held at once: 128 MB in float32.
MOST_GRADIENT_NUMBERS = 2**25


def tangent_kernel(gradients_of: Gradients, count: int, size: int) -> torch.Tensor:
    """K (count, count), float64 on the CPU, of ``count`` samples.

    Products are taken in the type of the gradients.

    Args:
        size: numbers of all parameters; with many of them the gradients are computed again for each pair of
            blocks, so that no more than ``MOST_GRADIENT_NUMBERS`` numbers are held at once, or two gradients.
    """
    block = max(1, MOST_GRADIENT_NUMBERS // (2 * size))
    if count <= 2 * block:
        block = count
    kernel = torch.zeros(count, count, dtype=torch.float64)
    starts = range(0, count, block)
    for start in starts:
        rows = range(start, min(start + block, count))
        mine = gradients_of(rows)
        for other_start in (each for each in starts if each <= start):
            columns = range(other_start, min(other_start + block, count))
            others = mine if other_start == start else gradients_of(columns)
            part = sum((a @ b.T for a, b in zip(mine, others, strict=True)), torch.zeros(()))
            kernel[rows.start : rows.stop, columns.start : columns.stop] = part
            kernel[columns.start : columns.stop, rows.start : rows.stop] = part.T
    return kernel


def kernel_of(outputs: torch.Tensor, parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
    """K (n, n), float64, of outputs (n,) with a graph.

    Parameters that the outputs do not depend on count as gradients of 0.
    """
    moved = [parameter for parameter in parameters if parameter.requires_grad]
    size = sum(parameter.numel() for parameter in moved)
    return tangent_kernel(gradients_one_by_one(outputs.__getitem__, moved), len(outputs), size)


def gradients_one_by_one(
    output_of: Callable[[int], torch.Tensor], parameters: Sequence[torch.Tensor]
) -> Gradients:
    """A backward pass for each sample.

    Args:
        output_of: the scalar output of a sample, with a graph; several may share one.
    """

    def gradients_of(samples: range) -> list[torch.Tensor]:
        found = [weight.new_empty(len(samples), weight.numel()) for weight in parameters]
        for row, at in enumerate(samples):
            gradients = torch.autograd.grad(
                output_of(at), parameters, retain_graph=True, materialize_grads=True
            )
            for place, gradient in zip(found, gradients, strict=True):
                place[row] = gradient.flatten()
        return found

    return gradients_of


def gradients_at_once(
    output: Callable[..., torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    samples: Sequence[torch.Tensor],
) -> Gradients:
    """One backward pass for all samples, vectorised.

    Args:
        output: the scalar output of the parameters and one sample, that is a row of each of ``samples``.
        parameters: by name.

    The gradients raise RuntimeError where ``output`` does what cannot be vectorised, such as a branch that
    depends on a number.
    """
    of_each = vmap(grad(output), in_dims=(None, *(0 for _ in samples)))

    def gradients_of(places: range) -> list[torch.Tensor]:
        rows = (sample[places.start : places.stop] for sample in samples)
        return [gradient.reshape(len(places), -1) for gradient in of_each(parameters, *rows).values()]

    return gradients_of


def kernel_rank(kernel: torch.Tensor) -> int:
    """The approximate rank of the gradients whose kernel (N, N) it is: 99% of the kernel's trace."""
    eigenvalues = torch.linalg.eigvalsh(kernel.to(torch.float64)).flip(0)
    return approximate_rank(eigenvalues.clamp(min=0).sqrt())
