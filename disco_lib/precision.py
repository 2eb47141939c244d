"""Where bfloat16 pays: on a processor that multiplies it many times faster than float32."""

from __future__ import annotations

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a GPU supports bfloat16, or a CPU has tiles for it (AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()
