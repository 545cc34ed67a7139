"""ONNX Runtime around a graph of the encoder and a graph of one decoding step.

The exporter that people use (`optimum`) has no release for transformers 5, so this is what it makes, by hand: keys and
values of the past go in and come out, the encoder's are made once, inputs and outputs are bound without copies, and
the search between the steps is torch's. All of the runtime's optimisations are on, its threads are torch's. Its int8 is
its own dynamic quantization.
"""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seqgraft
from benchmarks.peers import AbsentError, Inputs, Precision, Program

NAME = "onnxruntime"


def _attention(block: Any, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """x [rows, time, width], keys and values [rows, heads, keys, head_width] -> [rows, time, width]."""
    query = _split(block.query(x), block)
    states = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return block.output(states.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _split(x: Tensor, block: Any) -> Tensor:
    return x.view(x.shape[0], x.shape[1], block.spec.heads, block.spec.head_width).transpose(1, 2)


def _forward(layer: Any, x: Tensor) -> Tensor:
    forward = layer.feed_forward
    return layer.feed_forward_norm(x + forward.down(F.gelu(forward.up(x))))  # type: ignore[no-any-return]


def _embedded(stack: Any, ids: Tensor, places: Tensor) -> Tensor:
    x = stack.embed(ids) * stack.spec.embed_scale
    if stack.token_types is not None:
        x = x + stack.token_types.weight[0]
    return stack.embed_norm(x + stack.positions(places + stack.spec.positions.offset))  # type: ignore[no-any-return]


class _Encoder(nn.Module):
    """ids [rows, time], bias [rows, 1, 1, time] -> keys and values of every layer that looks at the source."""

    def __init__(self, encoder: Any, decoder: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, ids: Tensor, bias: Tensor) -> list[Tensor]:
        x = _embedded(self.encoder, ids, torch.arange(ids.shape[1]))
        for layer in self.encoder.layers:
            own = layer.self_attention
            key, value = _split(own.key(x), own), _split(own.value(x), own)
            x = _forward(layer, layer.self_attention_norm(x + _attention(own, x, key, value, bias)))
        looks = [layer.cross_attention for layer in self.decoder.layers]
        return [_split(part(x), look) for look in looks for part in (look.key, look.value)]


class _Step(nn.Module):
    """ids [rows, 1], place [1], source bias, past and memory of every layer -> logits [rows, tokens], the new past."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, ids: Tensor, place: Tensor, bias: Tensor, past: list[Tensor], memory: list[Tensor]) -> Any:
        x = _embedded(self.decoder, ids, place)
        new: list[Tensor] = []
        for index, layer in enumerate(self.decoder.layers):
            own, at = layer.self_attention, slice(2 * index, 2 * index + 2)
            made = (_split(own.key(x), own), _split(own.value(x), own))
            key, value = (torch.cat(pair, 2) for pair in zip(past[at], made, strict=True))
            new += [key, value]
            x = layer.self_attention_norm(x + _attention(own, x, key, value, None))
            key, value = memory[at]
            x = layer.cross_attention_norm(x + _attention(layer.cross_attention, x, key, value, bias))
            x = _forward(layer, x)
        return self.decoder.head(x[:, -1]), new


def _check(stack: Any) -> None:
    """Raises AbsentError for a stack that the graphs above do not describe."""
    spec = stack.spec
    fits = all(layer.order == "post" and layer.feed_forward.activation == "gelu" for layer in spec.layers)
    if not fits or spec.narrow or spec.final_norm or not spec.positions or spec.positions.counted != "all":
        raise AbsentError("the graphs of this benchmark describe post-norm stacks with a table of positions alone")


def _export(model: Any, place: Path) -> None:
    """Write `encoder.onnx` and `step.onnx`."""
    from torch.export import Dim

    rows, time, past, layers = Dim("rows"), Dim("time"), Dim("past"), len(model.decoder.spec.layers)
    look = model.decoder.spec.layers[0].cross_attention

    def several(count: int) -> list[Tensor]:
        """A past or a memory; tensors of their own, since the exporter takes one given twice for one input."""
        return [torch.zeros(2, look.heads, count, look.head_width) for _ in range(2 * layers)]

    ids = torch.ones(2, 7, dtype=torch.long)
    bias = torch.zeros(2, 1, 1, 7)
    states = {0: rows, 2: time}
    graphs: dict[str, tuple[nn.Module, tuple[Any, ...], tuple[Any, ...]]] = {
        "encoder": (_Encoder(model.encoder, model.decoder), (ids, bias), ({0: rows, 1: time}, {0: rows, 3: time})),
        "step": (
            _Step(model.decoder),
            (ids[:, :1], torch.tensor([5]), bias, several(5), several(7)),
            ({0: rows}, None, {0: rows, 3: time}, [{0: rows, 2: past}] * 2 * layers, [states] * 2 * layers),
        ),
    }
    for name, (module, arguments, shapes) in graphs.items():
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                arguments,
                str(place / f"{name}.onnx"),
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=True,
                verbose=False,
            )


class _Session:
    """A graph with its inputs bound to torch's memory."""

    def __init__(self, path: Path, precision: Precision, threads: int) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        if precision == "int8":
            path = _quantized(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def __call__(self, given: list[Tensor], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
        """Outputs of these shapes."""
        bound = self.session.io_binding()
        made = [torch.empty(shape) for shape in shapes]
        kinds = {torch.int64: "int64", torch.float32: "float32"}
        for name, one in zip(self.inputs, given, strict=True):
            bound.bind_input(name, "cpu", 0, _kind(kinds[one.dtype]), tuple(one.shape), one.data_ptr())
        for name, one in zip(self.outputs, made, strict=True):
            bound.bind_output(name, "cpu", 0, _kind("float32"), tuple(one.shape), one.data_ptr())
        self.session.run_with_iobinding(bound)
        return made


def _quantized(path: Path) -> Path:
    """The graph with int8 weights, scaled by channel; optimised first, as the manual asks."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    ready, small = path.with_suffix(".ready.onnx"), path.with_suffix(".int8.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(ready)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(ready))
    del model.graph.value_info[:]  # the exporter's shapes of turned weights no longer hold
    tables = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:  # the quantizer turns a tied output table over, under the embeddings that read it too
        if node.op_type == "Gather" and node.input[0] in tables:
            own = model.graph.initializer.add()
            own.CopyFrom(tables[node.input[0]])
            own.name = node.input[0] = f"{node.name}.table"
    quantize_dynamic(model, small, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"])
    return small


def _kind(name: str) -> Any:
    import numpy as np

    return getattr(np, name)


def opened(folder: Path, precision: Precision, threads: int) -> Program:
    """Both graphs in memory, and a greedy and a beam search around them."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise AbsentError(f"not installed ({error.name})") from error
    model = seqgraft.EncoderDecoderModel.from_pretrained(folder).eval()
    for stack in (model.encoder, model.decoder):
        _check(stack)
    place = Path(tempfile.mkdtemp(prefix="seqgraft-benchmark-"))
    try:
        _export(model, place)
        encoder, step = (_Session(place / f"{name}.onnx", precision, threads) for name in ("encoder", "step"))
    finally:
        shutil.rmtree(place)
    spec = model.decoder.spec
    look, layers, start = spec.layers[0].cross_attention, len(spec.layers), model.config.decoder_start_token_id

    @torch.no_grad()
    def generate(inputs: Inputs, new: int, beams: int) -> Tensor:
        batch, time = inputs.ids.shape
        rows = batch * beams
        bias = (1.0 - inputs.mask.float())[:, None, None] * -1e9
        memory = encoder([inputs.ids, bias], [(batch, look.heads, time, look.head_width)] * 2 * layers)
        memory = [one.repeat_interleave(beams, 0) for one in memory]
        bias = bias.repeat_interleave(beams, 0)
        past = [torch.empty(rows, look.heads, 0, look.head_width)] * 2 * layers
        ids = torch.full((rows, 1), start)
        found = ids[:, :0]
        scores = torch.full((batch, beams), -1e9).index_fill(1, torch.tensor([0]), 0.0).view(-1)
        for place in range(new):
            shapes = [(rows, look.heads, place + 1, look.head_width)] * 2 * layers
            logits, *past = step([ids, torch.tensor([place]), bias, *past, *memory], [(rows, spec.vocabulary), *shapes])
            if beams == 1:
                ids = logits.argmax(-1, keepdim=True)
            else:
                ranked = (F.log_softmax(logits, -1) + scores[:, None]).view(batch, -1).topk(beams)
                scores = ranked.values.view(-1)
                from_row = (torch.arange(batch)[:, None] * beams + ranked.indices // spec.vocabulary).view(-1)
                ids = (ranked.indices % spec.vocabulary).view(-1, 1)
                if not torch.equal(from_row, torch.arange(rows)):
                    past, found = [one[from_row] for one in past], found[from_row]
            found = torch.cat((found, ids), 1)
        return found[::beams]  # ranked: the first of a source is its best

    return generate
