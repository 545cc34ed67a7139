"""The training loss, with logits at the positions that count and nowhere else, a chunk of them at a time."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from seqgraft.torch.fused_loss import linear_cross_entropy, z_term
from seqgraft.torch.head import Head
from seqgraft.torch.loss import IGNORED
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.product import plain
from seqgraft.torch.record import Memory, Record
from seqgraft.torch.stack import Stack


def token_loss(
    model: EncoderDecoderModel,
    batch: Mapping[str, Tensor],
    *,
    smoothing: float = 0.0,
    z_loss: float = 0.0,
    fused: bool = True,
) -> tuple[Tensor, int]:
    """A batch (`input_ids`, `attention_mask`, `labels`) -> the summed cross-entropy of its labels, and their number.

    Labels are padded on the right, with -100. Further inputs of the encoder are read too. The quotient is
    `model(**batch).loss`; sums of several batches may be added before they are divided. `smoothing` moves that share of
    the target's probability to all tokens alike (Szegedy et al. 2016); `z_loss` keeps the softmax's sum near 1
    (`linear_cross_entropy`). `fused=False` makes all logits at once.
    """
    labels, mask = batch["labels"], batch["attention_mask"]
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    own = getattr(getattr(model.encoder, "spec", None), "inputs", ())
    further: dict[str, Any] = {name: batch.get(name) for name in ("global_attention_mask", *own)}
    source = model.encode(batch["input_ids"], mask, **further)
    memory = Memory(model.bridge(source.last_hidden_state), mask)
    # No mask of the targets: they are padded on the right, where no position that counts can look.
    streams = model.decoder.spec.streams
    record = Record(ahead=None if streams is None else [])
    states = model.decoder.states(inputs, memory=memory, record=record)
    kept = labels != IGNORED
    targets = labels[kept]
    count = len(targets)
    if streams is None or not record.ahead:
        states = states[kept]
    else:  # each stream's states of what counts, at the same labels
        states = record.ahead[0].transpose(1, 2)[kept][:, : streams.learned].flatten(0, 1)
        targets = targets.repeat_interleave(streams.learned)
        smoothing = max(smoothing, streams.smoothing)
    loss = head_loss(model.decoder, states, targets, smoothing, z_loss, fused)
    return loss if streams is None else loss / streams.learned, count


def head_loss(
    decoder: Stack, states: Tensor, targets: Tensor, smoothing: float, z_loss: float, fused: bool = True
) -> Tensor:
    """states [rows, width], targets [rows] -> the summed cross-entropy of the decoder's head.

    A head whose output map is wrapped or hooked, by an adapter for one, makes its logits itself.
    """
    head = decoder.head
    if fused and type(head) is Head and plain(head.output) and head.fast is None and not head._forward_hooks:
        return linear_cross_entropy(
            head.before_output(states),
            head.output.weight,
            head.output.bias,
            targets,
            smoothing=smoothing,
            z_loss=z_loss,
            softcap=head.spec.softcap,
        )
    logits = decoder.logits(states).float()
    loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    return loss + z_term(logits, z_loss) if z_loss else loss
