"""Blends: means of the weights of students, and of the encoder that they started from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from disco_lib.encoders import REBUILD, STUDENT_SETTINGS, SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.storage import atomic_folder, open_sealed, read_json, sole_writer, write_json

FORMAT = "disco-blend-1"


def blend(students: Sequence[SpladeEncoder], start: SpladeEncoder, share: float) -> SpladeEncoder:
    """An encoder whose weights are w = share * w_start + (1 - share) * mean_i w_i.

    students: trained from `start`, with other seeds, teachers or losses. Models that come from one
    start often lie in one basin, so that the mean of their weights is as good as the ensemble of
    them, at the price of one (Wortsman et al., ICML 2022); a share of the start keeps what it knew
    and the training did not ask for (Wortsman et al., CVPR 2022). share: from 0, none of it, to 1.
    Raises DiscoError for a share outside, for no student, and for weights of another layout.
    """
    if not students:
        raise DiscoError("A blend needs at least one student.")
    if not 0 <= share <= 1:
        raise DiscoError(f"share is {share}; give a number from 0 to 1.")
    blended = copy.deepcopy(start)
    parts = [student.model.state_dict() for student in students]
    before = start.model.state_dict()
    for number, part in enumerate(parts):
        _check_layout(before, part, number)
    with torch.no_grad():
        # Tied weights stand twice under two names, so what is read is never what is written.
        for name, weight in blended.model.state_dict().items():
            if weight.is_floating_point():
                mean = torch.stack([part[name].to(weight.device) for part in parts]).mean(0)
                weight.copy_(share * before[name] + (1 - share) * mean)
    return blended.eval()


def blend_folders(
    students: Sequence[str | Path], start: SpladeEncoder, share: float, out: str | Path
) -> SpladeEncoder:
    """`blend` of students' folders, written to the folder `out`, which is read as a student's is.

    The students must read the same input, cut at the same lengths. Raises DiscoError where they do
    not, and IntegrityError for a student with a file that is missing or has changed.
    """
    out, paths = Path(out), [Path(student) for student in students]
    manifests = [open_sealed(path, REBUILD) for path in paths]
    settings = [read_json(path / STUDENT_SETTINGS) for path in paths]
    for path, own in zip(paths, settings, strict=True):
        for name in ("input", "limits"):
            if own.get(name) != settings[0].get(name):
                raise DiscoError(
                    f"{path}: its {name} is {own.get(name)}, that of {paths[0]} is "
                    f"{settings[0].get(name)}. Blend students of the same {name}."
                )
    encoders = [SpladeEncoder.from_pretrained(path) for path in paths]
    identity: dict[str, Any] = {
        "students": [manifest.get("identity", manifest["files"]) for manifest in manifests],
        "start": start.fingerprint(),
        "share": share,
    }
    blended = blend(encoders, start, share)
    with sole_writer(out), atomic_folder(out, format=FORMAT, identity=identity) as folder:
        blended.save_pretrained(folder)
        write_json(folder / STUDENT_SETTINGS, settings[0])
    return SpladeEncoder.from_pretrained(out, blended.device)


def _check_layout(
    state: dict[str, torch.Tensor], part: dict[str, torch.Tensor], number: int
) -> None:
    names = sorted(set(state) ^ set(part))
    if not names:
        names = [name for name in state if state[name].shape != part[name].shape]
    if names:
        raise DiscoError(
            f"Student {number + 1} has other weights than the start ({names[0]}). Blend students "
            "of one model, and give the model that they were trained from."
        )
