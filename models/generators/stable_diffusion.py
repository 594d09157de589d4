"""A frozen Stable Diffusion pipeline (Rombach et al. 2022), loaded once per process and shared by its LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from royalty.models.base.checkpoints import hub_extra
from royalty.models.base.errors import InputError
from royalty.models.data.items import item_id
from royalty.models.generators.acceleration import laid_out
from royalty.models.generators.generator import RowCache, cached_rows, quantized, scaled
from royalty.models.generators.outline import check_targets
from royalty.models.generators.pipelines import check_pipeline, digest_of_pipeline, loading

with hub_extra():
    from peft import LoraConfig
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it would be printed in front of error messages

ENCODING_BATCH = 64


class FrozenPipeline:
    """The frozen parts of a pipeline, and the LoRA adapters that were added to its U-Net.

    Attributes:
        digest: SHA-256 of its files.
        scheduler: the noise schedule that the pipeline was trained with.
    """

    def __init__(self, folder: Path, device: str) -> None:
        check_pipeline(folder)
        self.digest, self.device = digest_of_pipeline(folder), torch.device(device)
        local_only: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
        with loading(folder):
            self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", **local_only)
            self.vae = AutoencoderKL.from_pretrained(folder / "vae", **local_only)
            self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", **local_only)
            self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            self.scheduler = DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
        for part in (self.unet, self.vae, self.text_encoder):
            laid_out(part.requires_grad_(False).eval().to(self.device), self.device)
        self._adapters: dict[str, dict[str, nn.Parameter]] = {}

    def adapter(self, targets: Sequence[str], rank: int) -> dict[str, nn.Parameter]:
        """Add and activate the LoRA adapter of these targets and this rank; its weights by peft's names.

        There is one adapter for all models of the same targets and rank. Write the model's weights into it before use.

        Raises:
            InputError: a target that matches no layer.
        """
        name = f"rank-{rank}-" + "-".join(target.replace(".", "_") for target in targets)
        if name not in self._adapters:
            check_targets(targets, self.unet)
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets))
            # Outside of inference mode, in which models are sampled: its weights could not be trained later.
            with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
                self.unet.add_adapter(config, adapter_name=name)
            self.unet.to(self.device)
            self._adapters[name] = {
                "unet." + key.replace(f".{name}.", "."): parameter
                for key, parameter in self.unet.named_parameters()
                if f".{name}." in key
            }
        self.unet.set_adapter(name)
        return self._adapters[name]

    def moments(self, images: np.ndarray, cache: RowCache) -> Tensor:
        """Mean and standard deviation of the latents of images, in the U-Net's scale: `(n, 2, channels, h, w)`.

        Args:
            images: uint8, `(n, 1 or 3, height, width)`.
            cache: of moments, so that no image is encoded twice.

        Raises:
            InputError: sides that are no multiples of the autoencoder's downsampling factor.
        """
        multiple = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if images.shape[2] % multiple or images.shape[3] % multiple:
            raise InputError(
                f"the autoencoder of this base takes images whose sides are multiples of {multiple}; got "
                f"{images.shape[2]} by {images.shape[3]}. Set `data: {{size: ...}}`"
            )
        ids = [item_id(image) for image in images]

        def encode(missing: np.ndarray) -> np.ndarray:
            colour = scaled(images[missing], self.device)
            colour = colour.expand(-1, self.vae.config.in_channels, -1, -1)
            posterior = self.vae.encode(colour).latent_dist
            moments = torch.stack([posterior.mean, posterior.std], 1) * self.vae.config.scaling_factor
            rows: np.ndarray = moments.flatten(1).cpu().numpy()
            return rows

        rows = cached_rows(cache, f"latents of {images.shape[2:]} of {self.digest}", ids, encode, ENCODING_BATCH)
        shape = (images.shape[2] // multiple, images.shape[3] // multiple)
        return torch.from_numpy(rows).to(self.device).view(len(ids), 2, self.vae.config.latent_channels, *shape)

    def embeddings(self, texts: Sequence[str], cache: RowCache) -> Tensor:
        """Text embeddings that the U-Net is conditioned on: `(n, tokens, features)`.

        Raises:
            InputError: a text of more tokens than the tokenizer takes.
        """
        for text in set(texts):
            tokens, most = len(self.tokenizer(text, verbose=False)["input_ids"]), self.tokenizer.model_max_length
            if tokens > most:
                raise InputError(
                    f"a prompt has at most {most} tokens, start and end included; {text[:80]!r} has {tokens}. Shorten "
                    "it"
                )

        def embed(missing: np.ndarray) -> np.ndarray:
            chosen = [texts[row] for row in missing]
            tokens = self.tokenizer(
                chosen, padding="max_length", max_length=self.tokenizer.model_max_length, return_tensors="pt"
            )
            embedded = self.text_encoder(tokens["input_ids"].to(self.device))[0]
            rows: np.ndarray = embedded.flatten(1).cpu().numpy()
            return rows

        ids = [item_id(np.frombuffer(text.encode(), np.uint8)) for text in texts]
        rows = cached_rows(cache, f"texts of {self.digest}", ids, embed, ENCODING_BATCH)
        return torch.from_numpy(rows).to(self.device).view(len(ids), self.tokenizer.model_max_length, -1)

    @torch.inference_mode()
    def decoded(self, latents: Tensor, channels: int) -> np.ndarray:
        """Decode latents to uint8 images; images of one channel are the mean over the decoder's channels."""
        images = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return quantized(images.mean(1, keepdim=True) if channels == 1 else images)


@lru_cache(maxsize=2)
def load_pipeline(folder: Path, digest: str, device: str) -> FrozenPipeline:
    """The pipeline of a folder, loaded once per process and shared by all models trained on it.

    Args:
        digest: of its files; a folder whose files changed is loaded again.
    """
    return FrozenPipeline(folder, device)
