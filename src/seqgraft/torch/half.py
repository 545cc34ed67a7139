"""What both halves can do as models of their own: load, save, resize."""

import copy
import os
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from seqgraft import folders
from seqgraft.checkpoints.arguments import override
from seqgraft.checkpoints.check import refuse
from seqgraft.checkpoints.matching import match_half, tell_fresh
from seqgraft.checkpoints.opening import open_half
from seqgraft.checkpoints.written import written_half
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.families import Half as Declared
from seqgraft.families import family, graft_table
from seqgraft.families.configuration import CONFIG_NAME, PretrainedConfig
from seqgraft.families.naming import Names, plan_writing
from seqgraft.spec import Graft, parameters
from seqgraft.torch.initial import initialise, start_from_self_attention
from seqgraft.torch.languages import use
from seqgraft.torch.loading import Filling, dtype_of
from seqgraft.torch.prepare import dropped
from seqgraft.torch.pretrained import Pretrained, as_device, take_dtype
from seqgraft.torch.quantized import Quantized
from seqgraft.torch.resize import resize
from seqgraft.torch.stack import Stack
from seqgraft.torch.weights import TorchReader, assembled, stale_weights, write_weights

H = TypeVar("H", bound="Half")


class Half(Stack, Pretrained):
    """A stack with its family's configuration and names: it loads, saves and resizes."""

    side: ClassVar[Literal["encoder", "decoder"]]
    model_type: ClassVar[str | None] = None
    """The one family that a class of its own reads; None reads any."""

    config: PretrainedConfig

    def __init__(self, config: PretrainedConfig, *, fill: bool = True) -> None:
        if self.model_type is not None and config.model_type != self.model_type:
            raise ConfigurationError(
                f"{type(self).__name__} needs a configuration of model_type '{self.model_type}', "
                f"but this is '{config.model_type}'."
            )
        config._check()  # its fields may have been set since it was made
        device = torch.get_default_device()
        with torch.device("meta"):
            super().__init__(self._declared(config).spec(config))
        self.config = config
        self.carried: dict[str, Tensor] = {}
        """Tensors of the checkpoint that nothing here computes with, written back when it is saved."""
        self.missing: tuple[str, ...] = ()
        """Canonical names that the checkpoint lacked and that were made, the graft's aside."""
        self.pooler: nn.ModuleDict | None = None
        if fill:
            self.to_empty(device=device)
            self.tie()
            initialise(self, parameters(self.spec))
            self.eval()

    @classmethod
    def _declared(cls, config: PretrainedConfig) -> Declared:
        return family(config.model_type).half(cls.side)

    def names(self) -> Names:
        """How this half's checkpoint names its tensors."""
        return self._declared(self.config).names(self.config)

    def train(self: H, mode: bool = True) -> H:
        """Switch to training, which what was prepared for decoding takes no memory from."""
        if mode:
            dropped(self)
        return super().train(mode)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of token embeddings."""
        return self.embed

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of token embeddings."""
        self.embed = value
        self.tie()

    def get_output_embeddings(self) -> nn.Linear | None:
        """The last linear map of the head, if there is one."""
        return self.head.output if self.head is not None else None

    def tie(self) -> None:
        """Make the output table the input table, where the spec says so."""
        super().tie()
        scales = self.embed._parameters.get("scales")  # of a quantised table
        if scales is not None and self.head is not None and self.head.spec.tied:
            self.head.output._parameters["scales"] = scales

    def tie_weights(self) -> None:
        """Tie the output table to the input table again, where the configuration says so."""
        self.tie()

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Change the vocabulary's size; new rows are drawn with the mean and spread of the old ones (Hewitt 2021)."""
        return resize(self, new_num_tokens, pad_to_multiple_of, mean_resizing)

    def set_default_language(self, language: str) -> None:
        """Use the adapters of another language from here on (X-MOD); those of the one before are kept, and saved.

        Raises ConfigurationError for a family or a checkpoint that has none of it.
        """
        use(self, language)

    @classmethod
    def from_config(cls: type[H], config: PretrainedConfig, **kwargs: Any) -> H:
        """A model with fresh weights."""
        return cls._with(config, kwargs)

    @classmethod
    def _with(cls: type[H], config: PretrainedConfig, kwargs: dict[str, Any]) -> H:
        dtype = take_dtype(kwargs)
        attention = kwargs.pop("attn_implementation", None)
        config = copy.deepcopy(config)
        override(config, kwargs)
        model = cls(config)
        model.set_attn_implementation(attention)
        return model if dtype is None else model.to(dtype)

    @classmethod
    def from_pretrained(
        cls: type[H], source: str | os.PathLike[str], *, config: PretrainedConfig | None = None, **kwargs: Any
    ) -> H:
        """Load a half from a folder or hub repository, in eval mode.

        Args:
            source: a folder or the name of a hub repository.
            config: used instead of the folder's.
            kwargs: `dtype` (default: the checkpoint's), `device_map`, `attn_implementation`, `variant`,
                `use_safetensors`, `revision`, `cache_dir`, `token`, `local_files_only`, `subfolder`, and any field of
                the configuration.

        Raises:
            CheckpointError: one error that lists all that is missing, unexpected or of another shape.
            FolderError: there is no such folder or repository, or it holds no weights.
        """
        dtype, device = take_dtype(kwargs), as_device(kwargs.pop("device_map", None))
        attention, options = kwargs.pop("attn_implementation", None), cls._options(kwargs)
        opened = open_half(source, cls.side, config, kwargs)
        config, files = opened.config, opened.files
        model = cls(config, fill=False, **options)
        graft = graft_table(family(config.model_type), config) if cls.side == "decoder" else {}
        match = match_half(config, cls.side, files, graft=graft)
        refuse(source, match.problems(files))
        filling = Filling(model, match)
        with TorchReader(files) as reader:
            filling.fill(reader, dtype or dtype_of(files), device)
        model.carried = filling.carried
        model.missing = tuple(name for name in match.plan.missing if name not in graft)
        model._after_loading(device)
        tell_fresh(f"The {cls.side}", source, match)
        if graft and Graft.read(config.graft).init == "self_attention":
            start_from_self_attention(model, [name for name in graft if name in match.plan.missing])
        model.set_attn_implementation(attention)
        model._load_generation(source, opened.origin)
        return model.eval()

    @classmethod
    def _options(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the constructor that `from_pretrained` hands on."""
        return {}

    def _after_loading(self, device: torch.device) -> None:
        """For what a subclass takes from the carried tensors."""

    def _load_generation(self, source: str | os.PathLike[str], origin: folders.Origin) -> None:
        """For what generates."""

    def tensors(self, start: str = "", *, headed: bool = True) -> dict[str, Tensor]:
        """Published name -> tensor of everything that a checkpoint of this half holds, views where possible."""
        own = {name: self.get_parameter(name).detach() for name in parameters(self.spec)}
        shapes = {name: tuple(value.shape) for name, value in own.items()}
        held: dict[str, Tensor] = {}
        for written in plan_writing(self.names(), shapes, headed=headed):
            value = assembled(written, own)
            held[start + written.name] = value.clone() if written.repeated else value
        for name, value in self._carried().items():
            held[start + self.names().placed(name, headed)] = value
        return held

    def _carried(self) -> dict[str, Tensor]:
        return self.carried

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        max_shard_size: int | str = "50GB",
        variant: str | None = None,
        safe_serialization: bool = True,
    ) -> None:
        """Write `config.json` and the weights, all or nothing; the folder opens in `transformers`.

        Raises CheckpointError for half of a quantised pair, which is saved whole.
        """
        if any(isinstance(module, Quantized) for module in self.modules()):
            raise CheckpointError("A quantised half must be saved with its pair: call save_pretrained of the pair.")
        with folders.saving(folder, stale=stale_weights(variant)) as staged:
            written = written_half(self.config, self.side, str(self.dtype).removeprefix("torch."))
            folders.write_json(staged / CONFIG_NAME, written)
            write_weights(
                staged,
                self.tensors(headed=self.side == "decoder"),
                max_shard_size=max_shard_size,
                variant=variant,
                safe_serialization=safe_serialization,
            )
            self._save_generation(staged)

    def _save_generation(self, staged: os.PathLike[str]) -> None:
        """For what generates."""
