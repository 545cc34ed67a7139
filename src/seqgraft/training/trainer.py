"""`train`: a model and pairs -> a trained model and its folder, on Lightning."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqgraft.errors import ConfigurationError, FolderError, MissingExtraError
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.foreign import check_writable
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.pretrained import as_dtype
from seqgraft.training import cache, schedule
from seqgraft.training.adapters import Adapted, Lora
from seqgraft.training.before import (
    check_averaging,
    check_bounds,
    check_output,
    disk,
    freeze_waiting,
    preflight,
    widened,
)
from seqgraft.training.broken import NotFiniteError, explained
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.groups import Line, Rate, assigned, table
from seqgraft.training.groups import freeze as freeze_named
from seqgraft.training.initial import set_output_prior
from seqgraft.training.metrics import mean_loss
from seqgraft.training.pairs import Pair, Skipped
from seqgraft.training.plan import BatchPlan
from seqgraft.training.processes import Processes, rank
from seqgraft.training.result import TrainingResult
from seqgraft.training.saving import save_folder
from seqgraft.training.schedule import Budget, Decay
from seqgraft.training.special import settle_special_ids
from seqgraft.training.stream import steps_of

if TYPE_CHECKING:
    from seqgraft.training.validation import Validation, Validator

Pairs = Iterable[Pair | tuple[str, str]]


def train(
    model: EncoderDecoderModel,
    tokenizer: Tokenizer | PairTokenizer,
    train_pairs: Pairs,
    *,
    output: str | os.PathLike[str] | None,
    valid_pairs: Pairs | None = None,
    epochs: int = 1,
    max_steps: int | None = None,
    max_minutes: float | None = None,
    tokens_per_batch: int | None = 4096,
    rows_per_batch: int | None = None,
    accumulate: int = 1,
    max_source_length: int | None = None,
    max_target_length: int | None = 128,
    skip_bad: bool | Skipped = False,
    cache_dir: str | os.PathLike[str] | None = None,
    learning_rate: float = 5e-5,
    new_learning_rate: float | None = None,
    weight_decay: float = 0.01,
    warmup: float = 0.1,
    decay: Decay = "linear",
    average_checkpoints: int | None = None,
    average_every: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    gradient_clip: float | None = 1.0,
    freeze: Sequence[str] = (),
    rates: Sequence[str | Rate] = (),
    adam_beta2: float = 0.98,
    lora: Lora | Mapping[str, Any] | None = None,
    dropout: bool = True,
    output_prior: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    gradient_checkpointing: bool = False,
    compile: bool = False,
    device: str = "auto",
    devices: int | None = None,
    nodes: int = 1,
    strategy: Literal["ddp", "fsdp"] | None = None,
    seed: int = 0,
    checkpoint_every: int | None = 500,
    resume: bool = False,
    check: bool = True,
    validation: Validation | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
    loggers: Sequence[Any] = (),
    save_dtype: str | None = None,
    about: Mapping[str, Any] | None = None,
    tell: Callable[[list[Line]], None] | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Fine-tune a pair in place and write its folder: weights, tokenizers, special ids, `training.json`.

    Args:
        model: trained in place; left in eval mode, on the CPU or where it was. Weights in half precision become
            float32.
        tokenizer: one for both sides, or a PairTokenizer.
        train_pairs: read once and tokenised; `Pair`s (of `read_pairs`) or (source, target) texts.
        output: the folder to write, all or nothing; None writes none.
        valid_pairs: for `valid_loss`.
        epochs, max_steps, max_minutes: the bounds; the first that is reached ends the training, and the learning rate
            falls towards it. `max_minutes` counts training alone, not tokenising or saving.
        tokens_per_batch: the most tokens of a batch, padding included, both sides together.
        rows_per_batch: the most pairs of a batch; alone when `tokens_per_batch` is None.
        accumulate: batches of one optimizer step. Its loss is the mean over the target tokens of all of them, and of
            all processes.
        max_source_length, max_target_length: in tokens; longer texts are cut. None: as long as the model has
            positions for, where a longer source is an error; a bound above those is lowered to them.
        skip_bad: leave pairs out, and count them (in the `Skipped` that is given), that have no tokens on a side or a
            source that is too long; and steps whose loss is no finite number.
        cache_dir: where the tokens of files (`pairs.PairFiles`) are kept for the next training and for other
            processes; None: in the user's caches (`cache.place`); "none": nowhere.
        learning_rate: of pretrained weights; `new_learning_rate` of the graft, the bridge and a fresh head (default:
            ten times as much).
        warmup: the share of the training in which the rate rises.
        average_checkpoints: keep the mean of the weights after the last so many epochs, or after every
            `average_every`-th step, the last weights among them (Vaswani et al. 2017); not with `validation.best`.
        freeze: patterns of canonical parameter names, `encoder.*` for one; `new` and `pretrained` mean all of those.
        rates: learning rates by such patterns, `decoder.*.cross_attention.*=1e-3` (see `groups.Rate`); the last one
            that matches a parameter counts.
        adam_beta2: how slowly AdamW's second moment forgets (beta 1 is 0.9).
        lora: low-rank adapters (`adapters.Lora` or its fields); `{}` for the usual ones. What is new is trained in
            full, the rest stays. In the model they are merged at the end.
        z_loss: the weight of the squared logarithm of the softmax's sum (Chowdhery et al. 2022: 1e-4).
        dropout: False switches it off, which serves short trainings.
        output_prior: start the output's bias at the logarithm of the labels' frequencies (`set_output_prior`); for a
            fresh head.
        precision: "bfloat16" computes products in it and keeps the weights in float32.
        gradient_checkpointing: keep no activations within layers and compute them again, for memory.
        compile: `torch.compile` every layer, which takes a minute and then saves time.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        devices, nodes: processes on a machine, and machines, that train together; `devices=None` is one, or what
            torchrun says. Called from a program of your own, the program is started again for every process.
        strategy: of several processes: "ddp" (the default) gives each the whole model, "fsdp" a part of weights,
            gradients and optimizer, for models that are too large otherwise (`sharding`).
        seed: of the order of the pairs and of dropout; it sets the global random states.
        checkpoint_every: optimizer steps between two checkpoints in `output`, of which the newest is kept until the
            training is complete; None writes none.
        resume: go on from the checkpoint in `output`, if there is one: what follows equals, bit for bit, what would
            have followed without the interruption (unless `max_minutes` bounds it). Without it a checkpoint there is
            an error.
        check: run `model.check` before the first step, and raise what it finds wrong.
        validation: what to measure on `valid_pairs` along the way, which weights to keep and when to stop.
        tensorboard: a folder for TensorBoard's files.
        loggers: Lightning's loggers, which are told settings, losses, rates, speed and validation figures.
        save_dtype: of the weights in the folder (`float16` halves it); training is not touched.
        about: what the model card says beside (`card.text`).
        tell: is given the table of rates before the first step.
        progress: a bar in a terminal, lines elsewhere, on standard output; False shows nothing.

    Ctrl-C ends after the step under way and saves what was learned; a second one raises KeyboardInterrupt and leaves
    an old folder as it was.

    Raises:
        ConfigurationError: settings that are impossible. DataError: pairs that are. FolderError: `output` is a file.
        MissingExtraError: lightning is not installed. SeqgraftError: the loss is no longer finite.
    """
    try:
        import lightning
    except ImportError as error:
        raise MissingExtraError("Training needs lightning: pip install 'seqgraft[train]'.") from error
    from seqgraft.training import checkpoints
    from seqgraft.training.averaging import Averager
    from seqgraft.training.board import Board, TensorBoard
    from seqgraft.training.fitting import fit, identity, placed
    from seqgraft.training.module import Seq2SeqModule
    from seqgraft.training.progress import Bar, Meter
    from seqgraft.training.quiet import quiet
    from seqgraft.training.stopping import Stopper
    from seqgraft.training.validation import Validator

    rates = [str(Rate.parse(rate)) for rate in rates]
    settings: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name in _SETTINGS and isinstance(value, str | int | float | bool | list | tuple | None)
    }
    settings |= {"lora": None if lora is None else asdict(Lora.of(lora) or Lora())}
    settings["skip_bad"] = skip_bad is not False
    if validation is not None:
        settings["validation"] = asdict(validation)
    adapters = Lora.of(lora)
    if validation is not None and validation.asked and valid_pairs is None:
        raise ConfigurationError("`validation` needs `valid_pairs`, but there are none.")
    as_dtype(save_dtype)
    schedule.check(warmup, decay)
    check_bounds(epochs=epochs, max_steps=max_steps, max_minutes=max_minutes, accumulate=accumulate)
    check_averaging(average_checkpoints, average_every, validation.best if validation is not None else None)
    if precision not in ("float32", "bfloat16"):
        raise ConfigurationError(f"`precision` must be 'float32' or 'bfloat16', but is {precision!r}.")
    processes = Processes.asked(devices, nodes)
    make: type[Seq2SeqModule] = Seq2SeqModule
    if strategy not in (None, "ddp", "fsdp"):
        raise ConfigurationError(f"`strategy` must be 'ddp' or 'fsdp', but is {strategy!r}.")
    if strategy == "fsdp" and processes.world > 1:
        from seqgraft.training.sharding import ShardedModule, check_shardable

        make = ShardedModule
        if dropout:
            check_shardable(model)
    check_bounds(checkpoint_every=checkpoint_every)
    saved = None if output is None else checkpoints.latest(output)
    if saved is not None and not resume:
        raise FolderError(
            f"'{output}' holds the checkpoint of a training that is not complete ({saved.name}): go on with it "
            "(`resume=True`, --resume), or begin anew (`checkpoints.remove`, --force)."
        )
    if output is not None:
        check_writable(model)
        check_output(Path(output).expanduser(), tokenizer)
    notes = [note for note in (settle_special_ids(model, tokenizer), widened(model)) if note]
    skipped = skip_bad if isinstance(skip_bad, Skipped) else Skipped() if skip_bad else None
    cut: dict[str, Any] = {"max_source_length": max_source_length, "max_target_length": max_target_length}
    cut |= {"skipped": skipped, "folder": disk(output)}
    cut |= {"cache_folder": None if str(cache_dir) == "none" else cache.place(cache_dir)}
    data = TokenizedPairs.make(train_pairs, model, tokenizer, **cut)
    held_out = [] if valid_pairs is None else [p if isinstance(p, Pair) else Pair(*p) for p in valid_pairs]
    valid = None if valid_pairs is None else TokenizedPairs.make(held_out, model, tokenizer, **cut)
    if output_prior:
        set_output_prior(model, data)
    plan = BatchPlan(
        data.sources.lengths(), data.targets.lengths(), tokens=tokens_per_batch, rows=rows_per_batch, seed=seed
    )
    steps = steps_of(plan, accumulate, processes.world) * epochs
    budget = Budget(steps if max_steps is None else min(steps, max_steps), max_minutes)
    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    where = model.device
    try:
        freeze_named(model, freeze)
        notes += [note] if (note := freeze_waiting(model)) is not None else []
        assigned(model, rate=0.0, new_rate=0.0, rates=rates)  # patterns that match nothing
        if check and processes.first():
            preflight(model, tokenizer, placed(device if make is Seq2SeqModule else "cpu"))
    except BaseException:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trainable[name]
        model.to(where)
        raise
    known = identity(model, data, settings, processes) if output is not None else {}
    start = checkpoints.begun(saved, known) if saved is not None else 0
    lightning.seed_everything(seed, verbose=False)
    try:
        adapted = None if adapters is None else Adapted(model, adapters)
    except BaseException:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trainable[name]
        raise
    new_rate = 10 * learning_rate if new_learning_rate is None else new_learning_rate
    lines = table(model, rate=learning_rate, new_rate=new_rate, rates=rates)
    if tell is not None:
        tell(lines)
    module = make(
        model,
        budget,
        learning_rate=learning_rate,
        new_learning_rate=new_rate,
        weight_decay=weight_decay,
        warmup=warmup,
        decay=decay,
        label_smoothing=label_smoothing,
        gradient_clip=gradient_clip,
        rates=rates,
        adam_beta2=adam_beta2,
        z_loss=z_loss,
        seed=seed,
        skip_broken=skip_bad is not False,
    )
    meter, stopper = Meter(plan.waste()), Stopper()
    saver = [] if output is None or checkpoint_every is None else [checkpoints.Saver(output, checkpoint_every, known)]
    averager = None if average_checkpoints is None else Averager(average_checkpoints, average_every)
    watch: list[Any] = [] if averager is None else [averager]
    validator = None
    if validation is not None and validation.asked and valid is not None:
        validator = Validator(validation, tokenizer, valid, held_out, averager)
        watch.append(validator)
    told_to = [*loggers, *([] if tensorboard is None else [TensorBoard(tensorboard)])] if processes.first() else []
    if told_to:
        watch.append(Board(told_to, settings, meter, validator))
    try:
        with quiet():
            trainer = fit(
                module,
                data,
                plan,
                processes=processes,
                device=device,
                epochs=epochs,
                accumulate=accumulate,
                precision=precision,
                dropout=dropout,
                callbacks=[stopper, meter, *watch, *([Bar(meter)] if progress and processes.first() else []), *saver],
                checkpoint=saved,
                start=start,
                gradient_checkpointing=gradient_checkpointing,
                compile=compile,
            )
    except NotFiniteError as error:
        raise explained(error, model, data, plan, accumulate * processes.world) from None
    except SystemExit as error:  # Lightning's answer to a KeyboardInterrupt
        raise KeyboardInterrupt from error
    finally:
        stopper.release()
        model.eval().to(where)
        if adapted is not None and adapted.lora.save == "merged":
            adapted.merge()
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trainable.get(name, parameter.requires_grad)
            parameter.grad = None
    seconds = budget.seconds()
    result = TrainingResult(
        output=None if output is None else os.fspath(output),
        steps=meter.steps,
        pairs=meter.pairs,
        target_tokens=meter.tokens,
        seconds=round(seconds, 2),
        target_tokens_per_second=round(meter.tokens / seconds, 1) if seconds else 0.0,
        train_loss=meter.loss,
        valid_loss=_valid_loss(model, valid if rank() == 0 else None, validator),
        waste=round(plan.waste(), 4),
        cut_sources=data.cut_sources,
        cut_targets=data.cut_targets,
        interrupted=stopper.interrupted,
        broken_steps=module.broken,
        notes=notes + ([f"Resumed from step {start:,}."] if start else []),
        skipped=0 if skipped is None else skipped.count,
        curve=meter.curve,
        training_pairs=len(data),
        validation_pairs=0 if valid is None else len(valid),
        validation=[] if validator is None else validator.history,
        best=validator.best if validator is not None and validator.plan.best is not None else None,
        stopped_early=validator is not None and validator.stopped,
        averaged=[] if averager is None else averager.averaged,
    )
    if len(result.averaged) > 1:
        steps_said = ", ".join(f"{step:,}" for step in result.averaged)
        result.notes.append(f"The weights are the mean of those after steps {steps_said}.")
    if data.cut_sources or data.cut_targets:
        result.notes.append(f"Cut to the maximum: {data.cut_sources} sources and {data.cut_targets} targets.")
    if module.broken:
        result.notes.append(f"{module.broken:,} steps without a finite loss were left out.")
    if skipped is not None and skipped.count:
        result.notes.append(str(skipped))
    if output is not None and rank() == 0:
        apart = adapted if adapted is not None and adapted.lora.save == "separate" else None
        training = {"settings": settings, "result": asdict(result)}
        beside: dict[str, Any] = {"lines": lines, "about": about, "adapted": apart, "dtype": save_dtype}
        try:
            save_folder(model, tokenizer, output, training, **beside)
        except OSError as error:
            if isinstance(error, FolderError):
                raise
            raise FolderError(
                f"'{output}' must be written, but could not: {error}. {checkpoints.whole(output)}"
            ) from error
        if not stopper.interrupted:
            checkpoints.remove(output)
    elif adapted is not None and adapted.lora.save == "separate":
        adapted.merge()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trainable[name]
    return result


def _valid_loss(model: EncoderDecoderModel, valid: TokenizedPairs | None, validator: Validator | None) -> float | None:
    """The loss that the weights have which are kept."""
    if valid is None:
        return None
    if validator is None or not validator.history:
        return mean_loss(model, valid)
    kept = validator.best if validator.plan.best is not None else None
    return (kept or validator.history[-1])["loss"]


_UNWRITTEN = {"output", "cache_dir", "loggers", "valid_pairs", "progress", "tensorboard", "about", "tell"}
_SETTINGS = frozenset(train.__kwdefaults__ or {}) - _UNWRITTEN
