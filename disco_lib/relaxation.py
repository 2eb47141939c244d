"""Figure 2 of DiSCo, computed: where each objective lets a student of two terms go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from disco_lib import plots
from disco_lib.errors import DiscoError

#: (student (n, 2), teacher (n, 2), passages (m, 2)) -> losses (n,)
PlaneLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Plane:
    """Vectors over a vocabulary of two terms: the teacher's (2,), and the passages' (m, 2)."""

    teacher: np.ndarray
    passages: np.ndarray

    def __post_init__(self) -> None:
        if np.shape(self.teacher) != (2,) or np.ndim(self.passages) != 2:
            raise DiscoError("A plane has a teacher of shape (2,) and passages of shape (m, 2).")
        if np.shape(self.passages)[1] != 2 or not len(self.passages):
            raise DiscoError("A plane's passages have the shape (m, 2), with m of 1 or more.")

    def losses(self, loss: PlaneLoss, students: np.ndarray) -> np.ndarray:
        """The loss (n,) of students (n, 2), each as if it were alone."""
        given = torch.as_tensor(np.asarray(students), dtype=torch.float64)
        return loss(given, *self._fixed(len(given))).detach().numpy()

    def descend(
        self,
        loss: PlaneLoss,
        starts: np.ndarray,
        rate: float = 0.02,
        steps: int = 4000,
        still: float = 1e-8,
    ) -> np.ndarray:
        """The ways (steps taken + 1, n, 2) of gradient descent from starts (n, 2).

        Weights stay at 0 or above. It ends before `steps` when no weight moves by `still` a step.
        """
        students = torch.tensor(np.asarray(starts), dtype=torch.float64, requires_grad=True)
        fixed = self._fixed(len(students))
        ways = [students.detach().numpy().copy()]
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(loss(students, *fixed).sum(), students)
            with torch.no_grad():
                students -= rate * gradient
                students.clamp_(min=0.0)
            ways.append(students.detach().numpy().copy())
            if np.abs(ways[-1] - ways[-2]).max() < still:
                break
        return np.array(ways)

    def _fixed(self, n: int) -> tuple[Tensor, Tensor]:
        teacher = torch.as_tensor(np.asarray(self.teacher), dtype=torch.float64).expand(n, 2)
        return teacher, torch.as_tensor(np.asarray(self.passages), dtype=torch.float64)


def each(loss: Callable[[Tensor, Tensor], Tensor], scores: bool) -> PlaneLoss:
    """A loss of the library, taken student by student: of their scores, or of their vectors."""

    def of_plane(students: Tensor, teachers: Tensor, passages: Tensor) -> Tensor:
        pairs = zip(students.split(1), teachers.split(1), strict=True)
        if not scores:
            return torch.stack([loss(s, t) for s, t in pairs])
        return torch.stack([loss(s @ passages.T, t @ passages.T) for s, t in pairs])

    return of_plane


def relaxation_figure(
    plane: Plane,
    losses: Mapping[str, PlaneLoss],
    starts: Sequence[Sequence[float]],
    extent: float = 4.0,
    terms: tuple[str, str] = ("term 1", "term 2"),
) -> Figure:
    """One panel a loss: its valleys in grey, and where gradient descent leads from each start."""
    if not losses or not len(starts):
        raise DiscoError("Nothing to draw: give at least one loss and one start.")
    with plots.style():
        figure, axes = plt.subplots(
            1, len(losses), figsize=(plots.WIDTH, 3.1), squeeze=False, sharey=True
        )
        for axis, (name, loss) in zip(axes.flat, losses.items(), strict=True):
            _panel(axis, plane, loss, starts, extent)
            axis.set(title=name, xlabel=f"weight of {terms[0]}", aspect="equal")
        axes.flat[0].set_ylabel(f"weight of {terms[1]}")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
        plt.close(figure)
    return figure


def _panel(
    axis: Axes, plane: Plane, loss: PlaneLoss, starts: Sequence[Sequence[float]], extent: float
) -> None:
    side = np.linspace(0, extent, 41)
    x, y = np.meshgrid(side, side)
    height = plane.losses(loss, np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    height = np.maximum(height, 0.0)  # rounding leaves a KLD of 0 a little below it
    # Squeezed, so that the bottom of a valley is told from its sides.
    levels = np.linspace(0, 1, 9)
    axis.contourf(x, y, (height / height.max()) ** 0.25, levels=levels, cmap="Greys", alpha=0.8)
    ways = plane.descend(loss, np.asarray(starts), still=1e-5).transpose(1, 0, 2)
    for number, way in enumerate(ways):
        label = {"label": "descent"} if number == 0 else {}
        axis.plot(*way.T, color=plots.COLOURS[0], linewidth=1.2, **label)
        label = {"label": "student at the end"} if number == 0 else {}
        axis.plot(*way[-1], "o", color=plots.COLOURS[0], markersize=5, **label)
    axis.plot(*plane.teacher, "*", color=plots.COLOURS[1], markersize=12, label="teacher")
    axis.set(xlim=(0, extent), ylim=(0, extent))
