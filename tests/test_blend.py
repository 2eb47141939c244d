import copy

import pytest
import torch
from typer.testing import CliRunner

from disco_lib.blend import FORMAT, blend, blend_folders
from disco_lib.cli import app
from disco_lib.encoders import STUDENT_SETTINGS, SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.storage import MANIFEST, atomic_folder, read_json, write_json

SETTINGS = {"input": "conversation", "limits": {"total": 48}}


def moved(encoder, seed):
    """Return a copy with other weights."""
    other = copy.deepcopy(encoder)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=draw)
    return other


def student_folder(encoder, path, settings=SETTINGS):
    with atomic_folder(path, format="disco-student-1", identity={"seed": path.name}) as folder:
        encoder.save_pretrained(folder)
        write_json(folder / STUDENT_SETTINGS, settings)
    return path


def test_weights_are_the_weighted_mean(encoder):
    one, two = moved(encoder, 1), moved(encoder, 2)
    made = blend([one, two], encoder, 0.25)
    parts = [dict(e.model.named_parameters()) for e in (encoder, one, two)]
    for name, weight in made.model.named_parameters():
        start, a, b = (part[name] for part in parts)
        torch.testing.assert_close(weight, 0.25 * start + 0.375 * a + 0.375 * b)


def test_the_ends_are_the_start_and_the_student(encoder):
    one = moved(encoder, 1)
    before = encoder.fingerprint()
    assert blend([one], encoder, 0).fingerprint() == one.fingerprint()
    assert blend([one], encoder, 1).fingerprint() == before
    assert encoder.fingerprint() == before and one.fingerprint() != before


@pytest.mark.parametrize(
    "share, students, problem",
    [(1.5, 1, "share is 1.5"), (-0.1, 1, "share is -0.1"), (0.5, 0, "at least one student")],
)
def test_what_is_no_blend_is_told(encoder, share, students, problem):
    with pytest.raises(DiscoError, match=problem):
        blend([encoder] * students, encoder, share)


def test_another_models_weights_are_told(encoder):
    other = copy.deepcopy(encoder)
    layer = other.model.bert.encoder.layer[0].output.dense
    layer.weight = torch.nn.Parameter(layer.weight[:, :-1].clone())
    with pytest.raises(DiscoError, match="Student 2 has other weights.*layer.0.output.dense"):
        blend([encoder, other], encoder, 0.5)


def test_folders_become_a_folder_that_is_read_like_a_students(encoder, tmp_path):
    students = [moved(encoder, seed) for seed in (1, 2)]
    folders = [student_folder(e, tmp_path / str(i)) for i, e in enumerate(students)]
    made = blend_folders(folders, encoder, 0.5, tmp_path / "blend")
    assert made.fingerprint() == blend(students, encoder, 0.5).fingerprint()
    again = SpladeEncoder.from_pretrained(tmp_path / "blend")
    assert again.fingerprint() == made.fingerprint()
    assert read_json(tmp_path / "blend" / STUDENT_SETTINGS) == SETTINGS
    assert read_json(tmp_path / "blend" / MANIFEST)["format"] == FORMAT
    with open(tmp_path / "blend" / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(IntegrityError, match="changed|damaged|model.safetensors"):
        SpladeEncoder.from_pretrained(tmp_path / "blend")


def test_students_that_read_differently_are_told(encoder, tmp_path):
    one = student_folder(encoder, tmp_path / "one")
    two = student_folder(encoder, tmp_path / "two", SETTINGS | {"input": "questions"})
    with pytest.raises(DiscoError, match="two: its input is questions.*same input"):
        blend_folders([one, two], encoder, 0.5, tmp_path / "blend")
    assert not (tmp_path / "blend").exists()


def test_the_command_writes_what_other_commands_read(encoder, encoder_folder, tmp_path):
    folders = [str(student_folder(moved(encoder, i), tmp_path / str(i))) for i in (1, 2)]
    rest = ["--model", str(encoder_folder), "--share", "0.25", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["blend", *folders, *rest])
    assert done.exit_code == 0 and "blend of 2 students, 0.25 of the start" in done.output
    expected = blend([moved(encoder, i) for i in (1, 2)], encoder, 0.25)
    assert SpladeEncoder.from_pretrained(tmp_path / "out").fingerprint() == expected.fingerprint()
    held = CliRunner().invoke(app, ["blend", *folders, *rest[:-1], folders[0]])
    assert held.exit_code == 2 and "holds something else" in held.output
