"""The files around the book agree with each other."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from typer.models import CommandInfo

import disco_lib
from disco_lib.cli import app

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def requirement_lines() -> list[str]:
    """Return the requirements without comments and blank lines."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def command_name(command: CommandInfo) -> str:
    """Return the name a command is called by."""
    return command.name or command.callback.__name__


def test_the_citation_names_the_librarys_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == disco_lib.__version__


def test_torch_is_required_first_and_every_requirement_has_a_lower_bound() -> None:
    lines = requirement_lines()
    assert lines[0] == "torch>=2.9,<2.14"
    assert all(re.fullmatch(r"[\w.-]+>=[\d.]+(post\d)?(,<[\d.]+)?", line) for line in lines)


def test_every_weights_package_is_pinned_by_version_and_hash() -> None:
    text = (ROOT / "requirements-weights.txt").read_text(encoding="utf-8")
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w-]+==[\d.]+\s+--hash=sha256:[0-9a-f]{64}", line), line


def test_workflows_run_the_make_targets_with_pinned_actions() -> None:
    assert [path.stem for path in WORKFLOWS] == ["book", "tests"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        for step in steps:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1")), step
        called = re.findall(r"\bmake (\w+)", "\n".join(step.get("run", "") for step in steps))
        assert called and set(called) <= targets


def test_the_integration_script_runs_and_stops_at_the_first_failure() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_readmes_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 1
    command = [sys.executable, "-c", blocks[0]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = ast.literal_eval(done.stdout)
    assert 0 < values["MRR@10"] < values["R@100"] <= 1


def test_the_readme_lists_every_command_of_the_program() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`disco ((?:data )?[a-z]+)`", text))
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    commands = {command_name(command) for command in app.registered_commands}
    for name, group in groups.items():
        commands |= {f"{name} {command_name(command)}" for command in group.registered_commands}
    assert listed == commands


def test_make_help_lists_the_two_commands() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE)
    assert {"venv", "book", "html", "test", "measure", "clean", "pairs"} <= set(listed)
