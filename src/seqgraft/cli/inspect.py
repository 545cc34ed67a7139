"""`seqgraft inspect`: what a folder holds, and what composing would add."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from seqgraft.cli import flags
from seqgraft.cli.console import fail

EPILOG = """[bold]Examples[/bold]

seqgraft inspect my-pair

seqgraft inspect bert-base-cased gpt2 --json"""


def inspect(
    model: Annotated[str, typer.Argument(help="A folder or hub name: a pair, or one model.", metavar="MODEL")],
    decoder: Annotated[
        str | None, typer.Argument(help="A decoder that MODEL would be composed with.", metavar="[DECODER]")
    ] = None,
    json_: flags.Json = False,
) -> None:
    """Show what a model is, from its configuration and file headers alone; or what composing two would add.

    Of a pair: families, sizes, parameters by part, ties, special ids, tokenizer, files. Of one model: what it is as
    an encoder and as a decoder, and what cross-attention adds. Ends with 1 if the folder would not load.
    """
    from seqgraft.checkpoints.quantized import quantization
    from seqgraft.config import AutoConfig, EncoderDecoderConfig

    config = AutoConfig.from_pretrained(model)
    if decoder is not None:
        report, screen = _two(model, decoder)
    elif isinstance(config, EncoderDecoderConfig) or quantization(config) is not None:
        report, screen = _pair(model, config)
    else:
        report, screen = _one(model, config)
    if json_:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        out = Console(highlight=False)
        for part in screen:
            out.print(part)
            out.print()
    if report["problems"]:
        whose = f"'{model}' and '{decoder}'" if decoder else f"'{model}'"
        fail(f"The weights of {whose} do not fit the model:\n" + "\n".join(report["problems"]))


def _files(source: str, config: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What the files of one folder say."""
    from seqgraft.cli import parts, tables

    kinds = parts.dtypes(parts.weights_of(source, config))
    sizes, tokenizer = parts.sizes(source), parts.tokenizers(source)
    report = {"dtypes": kinds, "files": sizes, "tokenizers": tokenizer if isinstance(tokenizer, list) else []}
    facts = [("weights", ", ".join(f"{count:,} in {kind}" for kind, count in kinds.items()))]
    if isinstance(tokenizer, list):
        for one in tokenizer:
            side = "tokenizer" if one["side"] == "both" else f"{one['side']} tokenizer"
            longest = f", texts up to {one['longest']:,}" if one["longest"] else ""
            facts.append((side, f"{one['class']}, {one['tokens']:,} tokens{longest}"))
            facts.append(("its special ids", ", ".join(f"{name} {index}" for name, index in one["special"].items())))
    else:
        facts.append(("tokenizer", "none that can be opened"))
    if sizes:
        largest = sorted(sizes.items(), key=lambda item: -item[1])
        named = ", ".join(f"{name} {tables.size(count)}" for name, count in largest[:4])
        more = f", and {len(sizes) - 4} more" if len(sizes) > 4 else ""
        facts.append(("files", f"{tables.size(sum(sizes.values()))}: {named}{more}"))
    return report, facts


def _pair(source: str, config: Any) -> tuple[dict[str, Any], list[Any]]:
    from seqgraft import machine
    from seqgraft.checkpoints.quantized import quantization
    from seqgraft.cli import parts, tables

    small = quantization(config)
    pair = parts.stored_pair(source, config) if small is None else parts.quantized_pair(source, config)
    held, facts = _files(source, config)
    ties = {"decoder head and embeddings": bool(pair.decoder.tied_head), "encoder and decoder": bool(pair.shared)}
    report = {"source": source, "kind": "pair", **pair.to_dict(), "ties": ties, **held, "problems": pair.problems}
    report["products"] = machine.rule() if small is None else _products(small["dtype"])
    report["quantization"] = small
    said = [("ties", ", ".join(name for name, is_so in ties.items() if is_so) or "none")]
    if small is not None:
        kept = ", ".join(small.get("modules_to_not_convert") or ())
        said.append(("quantised", f"{small['dtype']}{f', but floats in {kept}' if kept else ''}; opens here alone"))
    if pair.graft:
        said.append(("graft", ", ".join(f"{name} {value}" for name, value in pair.graft.items())))
    said += [("special ids", tables.ids(pair.special_ids)), tables.memory(pair)]
    said.append(("products on this CPU", machine.description() if small is None else report["products"]))
    title = tables.title(source, f": an encoder-decoder of {pair.total:,} parameters")
    return report, [title, tables.halves(pair), tables.numbers(pair, new=False), tables.facts(said + facts)]


def _products(dtype: str) -> str:
    """What computes with a quantised pair's weights on this CPU; the answer is found by trying, and needs torch."""
    from seqgraft.torch.product_int8 import described

    return described() if dtype == "int8" else "float"


def _one(source: str, config: Any) -> tuple[dict[str, Any], list[Any]]:
    from seqgraft.cli import parts, tables

    pair = parts.composed(source, source)
    held, facts = _files(source, config)
    roles, model_type = pair.to_dict(), config.model_type
    report = {
        "source": source,
        "kind": "model",
        "family": model_type,
        "as_encoder": roles["encoder"],
        "as_decoder": roles["decoder"],
        "graft": pair.graft,
        "special_ids": pair.special_ids,
        "cache": {"source_token": pair.cost.cache_per_source_token, "target_token": pair.cost.cache_per_target_token},
        **held,
        "problems": pair.problems,
    }
    titles = ("as encoder", "as decoder")
    said = [("special ids", tables.ids(pair.special_ids)), ("cache as decoder", tables.cache(pair))]
    if pair.decoder.new:
        said.append(("new as decoder", tables.modules(pair.decoder.new_tensors)))
    title = tables.title(source, f": a model of the family {model_type}")
    screen = [title, tables.halves(pair, titles), tables.numbers(pair, titles, new=True, totals=False)]
    return report, [*screen, tables.facts(said + facts)]


def _two(encoder: str, decoder: str) -> tuple[dict[str, Any], list[Any]]:
    from seqgraft.cli import parts, tables

    pair = parts.composed(encoder, decoder)
    new = {"new": pair.new, "new_total": sum(pair.new.values())}
    report = {
        "source": [encoder, decoder],
        "kind": "composition",
        **pair.to_dict(),
        **new,
        "problems": pair.problems,
    }
    return report, [tables.title(encoder, f" in front of {decoder}"), *tables.composition(pair)]
