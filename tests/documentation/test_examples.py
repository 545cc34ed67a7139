"""The PyTorch examples of the documentation, with only the package's name changed, and what a reader expects of them.

Each test says which page and part it is of; the names are folders of the working directory (`conftest.py`).
"""

# ruff: noqa: E501

import torch
import transformers

from . import published

THE_TOWER = "The tower is 324 metres (1,063 ft) tall, about the same height as an 81-storey building, and the tallest structure in Paris."
THE_SUMMARY = "the eiffel tower surpassed the washington monument to become the tallest structure in the world."


def test_automodel_for_causal_lm(hub):
    """000, 001: AutoModel, with `torch_dtype`."""
    import torch

    from seqgraft import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16")
    model = AutoModelForCausalLM.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16", torch_dtype=torch.bfloat16, device_map="auto",attn_implementation="sdpa")  # fmt: skip

    text = "Plants create energy through a process known as photosynthesis. This involves capturing sunlight and converting carbon dioxide and water into glucose and oxygen."

    inputs = tokenizer(text, return_tensors="pt", truncation=True, padding=True).to(model.device)

    summary = model.generate(**inputs, max_length=60, num_beams=4, early_stopping=True)
    print(tokenizer.decode(summary[0], skip_special_tokens=True))

    assert model.dtype == torch.bfloat16
    assert type(model).__name__ == "EncoderDecoderModel"
    assert summary.shape[1] <= 60
    assert summary[0, 0] == tokenizer.cls_token_id
    assert model.generation_config.no_repeat_ngram_size == 3, "the folder's own settings hold too"
    assert "[CLS]" not in tokenizer.decode(summary[0], skip_special_tokens=True)


def test_automodel_with_dtype():
    """002: the same with `dtype`; the tokens are those of the reference, which opens the pair by its own class."""
    from seqgraft import AutoModelForCausalLM, AutoTokenizer

    name = "patrickvonplaten/bert2bert-cnn_dailymail-fp16"
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, device_map="auto", attn_implementation="sdpa")  # fmt: skip
    inputs = tokenizer("Plants create energy.", return_tensors="pt", truncation=True, padding=True).to(model.device)
    summary = model.generate(**inputs, max_length=30, num_beams=4, early_stopping=True)
    theirs = transformers.EncoderDecoderModel.from_pretrained(name, dtype=torch.float32)
    theirs.generation_config.update(**{n: getattr(model.generation_config, n) for n in ("min_length", "no_repeat_ngram_size", "length_penalty", "decoder_start_token_id", "eos_token_id", "pad_token_id")})  # fmt: skip
    expected = theirs.generate(**{n: v.cpu() for n, v in inputs.items()}, max_length=30, num_beams=4, early_stopping=True)  # fmt: skip
    assert torch.equal(summary.cpu(), expected)


def test_composing():
    """000, 001, 002: notes; 004: with the older names."""
    from seqgraft import BertTokenizer, EncoderDecoderModel

    tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-uncased")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        "google-bert/bert-base-uncased",
        "google-bert/bert-base-uncased"
    )  # fmt: skip

    assert tokenizer.pad_token_id == 0
    assert not model.training
    stored = torch.load("google-bert/bert-base-uncased/pytorch_model.bin")
    assert torch.equal(model.encoder.embed.weight, stored["bert.embeddings.word_embeddings.weight"])
    assert torch.equal(model.encoder.embed_norm.weight, stored["bert.embeddings.LayerNorm.gamma"])
    assert torch.equal(model.decoder.head.dense.weight, stored["cls.predictions.transform.dense.weight"])

    tokenizer = BertTokenizer.from_pretrained("bert-base-uncased")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained("bert-base-uncased", "bert-base-uncased")
    assert len(tokenizer) == model.config.encoder.vocab_size


def test_fine_tuning():
    """000, 001, 002, 004: the loss of one example; then some steps of training, saving, reloading, generating."""
    from seqgraft import BertTokenizer, EncoderDecoderModel

    tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-uncased")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained("google-bert/bert-base-uncased", "google-bert/bert-base-uncased")  # fmt: skip

    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.pad_token_id = tokenizer.pad_token_id

    input_ids = tokenizer(
        THE_TOWER,
        return_tensors="pt",
    ).input_ids

    labels = tokenizer(
        THE_SUMMARY,
        return_tensors="pt",
    ).input_ids

    # the forward function automatically creates the correct decoder_input_ids
    loss = model(input_ids=input_ids, labels=labels).loss

    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(8):
        last = model(input_ids=input_ids, labels=labels).loss
        optimizer.zero_grad()
        last.backward()
        optimizer.step()
    assert last < 0.7 * loss

    model.save_pretrained("bert2bert")
    again = EncoderDecoderModel.from_pretrained("bert2bert")
    assert torch.equal(again(input_ids=input_ids, labels=labels).loss, model(input_ids=input_ids, labels=labels).loss)
    generated = again.generate(input_ids)
    assert generated[0, 0] == tokenizer.cls_token_id
    assert generated.shape[1] <= 21


def test_from_configurations():
    """000, 001, 002, 004: fresh weights."""
    from seqgraft import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

    config_encoder = BertConfig()
    config_decoder = BertConfig()

    config = EncoderDecoderConfig.from_encoder_decoder_configs(config_encoder, config_decoder)
    model = EncoderDecoderModel(config=config)

    assert model.config.decoder.add_cross_attention
    assert model.encoder.embed.weight.std() > 0.1


def test_published_defaults():
    """The defaults that the example stands for are those of bert-base-uncased (made tiny for these tests)."""
    from seqgraft import BertConfig

    theirs = transformers.BertConfig().to_dict()
    for name in set(BertConfig.published) & set(theirs) - {*published.SIZES, "vocab_size"}:
        assert BertConfig.fields[name] == theirs[name], name


def test_translation():
    """000, 001: special tokens in the call, none added to the text."""
    from seqgraft import AutoTokenizer, EncoderDecoderModel

    # Load a pre-trained translation model
    model_name = "google/bert2bert_L-24_wmt_en_de"
    tokenizer = AutoTokenizer.from_pretrained(model_name, pad_token="<pad>", eos_token="</s>", bos_token="<s>")
    model = EncoderDecoderModel.from_pretrained(model_name)

    # Input sentence to translate
    input_text = "Plants create energy through a process known as"

    # Encode the input text
    inputs = tokenizer(input_text, return_tensors="pt", add_special_tokens=False).input_ids

    # Generate the translated output
    outputs = model.generate(inputs)[0]

    # Decode the output tokens to get the translated sentence
    translated_text = tokenizer.decode(outputs, skip_special_tokens=True)

    print("Translated text:", translated_text)

    assert [tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token] == ["<pad>", "<s>", "</s>"]
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (5, 6, 7)
    assert tokenizer.convert_ids_to_tokens(inputs[0].tolist()) == input_text.lower().split()
    assert "<pad>" not in translated_text
    theirs = transformers.EncoderDecoderModel.from_pretrained(model_name)
    theirs.generation_config.update(decoder_start_token_id=2, eos_token_id=3, pad_token_id=0)
    assert torch.equal(theirs.generate(inputs, max_length=20)[0], outputs)


def test_translation_with_emptied_special_tokens():
    """002: the page's own markup ate the tokens' names; the code runs all the same."""
    from seqgraft import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("google/bert2bert_L-24_wmt_en_de", pad_token="", eos_token="", bos_token="")  # fmt: skip
    assert tokenizer("plants create energy", return_tensors="pt", add_special_tokens=False).input_ids.shape == (1, 3)


def test_configuration():
    """001, 002, 004: EncoderDecoderConfig, to "my-model" and back."""
    from seqgraft import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

    # Initializing a BERT google-bert/bert-base-uncased style configuration
    config_encoder = BertConfig()
    config_decoder = BertConfig()

    config = EncoderDecoderConfig.from_encoder_decoder_configs(config_encoder, config_decoder)

    # Initializing a Bert2Bert model (with random weights) from the google-bert/bert-base-uncased style configurations
    model = EncoderDecoderModel(config=config)

    # Accessing the model configuration
    config_encoder = model.config.encoder
    config_decoder = model.config.decoder
    # set decoder config to causal lm
    config_decoder.is_decoder = True
    config_decoder.add_cross_attention = True

    # Saving the model, including its configuration
    model.save_pretrained("my-model")

    # loading model and config from pretrained folder
    encoder_decoder_config = EncoderDecoderConfig.from_pretrained("my-model")
    model = EncoderDecoderModel.from_pretrained("my-model", config=encoder_decoder_config)

    assert config_encoder.hidden_size == encoder_decoder_config.encoder.hidden_size
    assert encoder_decoder_config.to_dict()["decoder"]["is_decoder"]
    assert model.config.decoder is model.decoder.config


def test_forward():
    """001, 002, 004: the example of `forward`, from composing to generating."""
    from seqgraft import BertTokenizer, EncoderDecoderModel

    tokenizer = BertTokenizer.from_pretrained("google-bert/bert-base-uncased")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        "google-bert/bert-base-uncased", "google-bert/bert-base-uncased"
    )  # initialize Bert2Bert from pre-trained checkpoints

    # training
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.vocab_size = model.config.decoder.vocab_size

    input_ids = tokenizer("This is a really long text", return_tensors="pt").input_ids
    labels = tokenizer("This is the corresponding summary", return_tensors="pt").input_ids
    outputs = model(input_ids=input_ids, labels=labels)
    loss, logits = outputs.loss, outputs.logits

    # save and load from pretrained
    model.save_pretrained("bert2bert")
    model = EncoderDecoderModel.from_pretrained("bert2bert")

    # generation
    generated = model.generate(input_ids)

    assert loss.shape == ()
    assert logits.shape == (1, labels.shape[1], len(tokenizer))
    assert generated[0, 0] == tokenizer.cls_token_id
    assert model.config.vocab_size == len(tokenizer)
    theirs = transformers.EncoderDecoderModel.from_pretrained("bert2bert")
    torch.testing.assert_close(theirs(input_ids=input_ids, labels=labels).loss, loss, atol=1e-4, rtol=1e-4)


def test_from_encoder_decoder_pretrained():
    """001, 002, 004: the example of `from_encoder_decoder_pretrained`."""
    from seqgraft import EncoderDecoderModel

    # initialize a bert2bert from two pretrained BERT models. Note that the cross-attention layers will be randomly initialized
    model = EncoderDecoderModel.from_encoder_decoder_pretrained("google-bert/bert-base-uncased", "google-bert/bert-base-uncased")  # fmt: skip
    # saving model after fine-tuning
    model.save_pretrained("./bert2bert")
    # load fine-tuned model
    again = EncoderDecoderModel.from_pretrained("./bert2bert")

    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_inference():
    """004: an article, through the folder that holds only `pytorch_model.bin` and a version 4 configuration."""
    from seqgraft import AutoTokenizer, EncoderDecoderModel

    # load a fine-tuned seq2seq model and corresponding tokenizer
    model = EncoderDecoderModel.from_pretrained("patrickvonplaten/bert2bert_cnn_daily_mail")
    tokenizer = AutoTokenizer.from_pretrained("patrickvonplaten/bert2bert_cnn_daily_mail")

    # let's perform inference on a long piece of text
    ARTICLE_TO_SUMMARIZE = (  # noqa: N806
        "PG&E stated it scheduled the blackouts in response to forecasts for high winds "
        "amid dry conditions. The aim is to reduce the risk of wildfires. Nearly 800 thousand customers were "
        "scheduled to be affected by the shutoffs which were expected to last through at least midday tomorrow."
    )
    input_ids = tokenizer(ARTICLE_TO_SUMMARIZE, return_tensors="pt").input_ids

    # autoregressively generate summary (uses greedy decoding by default)
    generated_ids = model.generate(input_ids)
    generated_text = tokenizer.batch_decode(generated_ids, skip_special_tokens=True)[0]
    print(generated_text)

    assert model.dtype == torch.float16, "the checkpoint's"
    assert model.generation_config.num_beams == 4, "what its configuration says"
    assert generated_ids.shape[1] <= 40
    assert isinstance(generated_text, str)


def test_splitting_into_halves():
    """003, 004: `_model` is saved by halves (the TensorFlow class that reads them comes with a later issue)."""
    from seqgraft import EncoderDecoderModel

    # a workaround to load from pytorch checkpoint
    _model = EncoderDecoderModel.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16")

    _model.encoder.save_pretrained("./encoder")
    _model.decoder.save_pretrained("./decoder")

    model = EncoderDecoderModel.from_encoder_decoder_pretrained("./encoder", "./decoder")
    # This is only for copying some specific attributes of this particular model.
    model.config = _model.config

    ids = torch.tensor([[2, 50, 60, 3]])
    labels = torch.tensor([[70, 80, 3]])
    assert torch.equal(model(ids, labels=labels).logits, _model(ids, labels=labels).logits)
    assert torch.equal(model.generate(ids), _model.generate(ids))
    assert model.config.encoder is model.encoder.config
    model.config.eos_token_id = 9
    assert model.generation_config.eos_token_id == 9
    assert _model.generation_config.eos_token_id == 3


def test_composing_different_families():
    """004: the examples of the other frameworks, in PyTorch: BERT in front of GPT-2, ids from the decoder's."""
    from seqgraft import BertTokenizer, EncoderDecoderModel

    model = EncoderDecoderModel.from_encoder_decoder_pretrained("bert-base-cased", "gpt2")
    tokenizer = BertTokenizer.from_pretrained("bert-base-cased")

    # forward
    input_ids = tokenizer.encode("Hello, my dog is cute", add_special_tokens=True, return_tensors="pt")
    outputs = model(input_ids=input_ids, decoder_input_ids=input_ids)

    # training
    outputs = model(input_ids=input_ids, decoder_input_ids=input_ids, labels=input_ids)
    loss, logits = outputs.loss, outputs.logits

    # save and load from pretrained
    model.save_pretrained("bert2gpt2")
    model = EncoderDecoderModel.from_pretrained("bert2gpt2")

    # generation
    generated = model.generate(input_ids, decoder_start_token_id=model.config.decoder.bos_token_id)

    assert loss.isfinite()
    assert logits.shape[:2] == input_ids.shape
    assert generated[0, 0] == model.config.decoder.bos_token_id
    assert input_ids[0, 0] == tokenizer.cls_token_id


def test_two_vocabularies():
    """004: a BERT tokenizer for the source, a GPT-2 one for the target, the padding id set from the end's."""
    from seqgraft import BertTokenizer, EncoderDecoderModel, GPT2Tokenizer

    model = EncoderDecoderModel.from_pretrained("patrickvonplaten/bert2gpt2-cnn_dailymail-fp16", dtype="float32")
    # load input & output tokenizer
    tokenizer_input = BertTokenizer.from_pretrained("bert-base-cased")
    tokenizer_output = GPT2Tokenizer.from_pretrained("gpt2")

    article = """Sigma Alpha Epsilon is under fire for a video showing party-bound fraternity members"""

    input_ids = tokenizer_input(article, add_special_tokens=True, return_tensors="pt").input_ids

    # use GPT2's eos_token as the pad as well as eos token
    model.config.eos_token_id = model.config.decoder.eos_token_id
    model.config.pad_token_id = model.config.eos_token_id

    sequences = model.generate(input_ids % model.config.encoder.vocab_size, num_beams=4, max_length=12)

    summary = tokenizer_output.batch_decode(sequences, skip_special_tokens=True)[0]
    assert isinstance(summary, str)
    assert sequences.shape[1] <= 12
    assert model.generation_config.pad_token_id == model.config.decoder.eos_token_id
