#!/usr/bin/env python3
"""Writes tests/fixtures/fuzz: small inputs from which the fuzzers of the readers start.

Usage: make_fuzz_seeds.py   (in the root of the repository, after make_torch_fixtures.py)
"""
import gzip
import json
import pathlib
import struct
import zipfile

FIXTURES = pathlib.Path("tests/fixtures")


def write(target, name, data):
    folder = FIXTURES / "fuzz" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def safetensors(header, data_bytes):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(data_bytes))


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def token(content, **more):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True, **more}


def config(model_type, architecture, **more):
    return {"model_type": model_type, "architectures": [architecture], "vocab_size": 20,
            "max_position_embeddings": 8, "type_vocab_size": 2, "hidden_act": "gelu", **more}


BERT_SIZES = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8,
                  layer_norm_eps=1e-12)
SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}


def item(kind, name, type_id):
    return {kind: {"id": name, "type_id": type_id}}


def template():
    single = [item("SpecialToken", "[CLS]", 0), item("Sequence", "A", 0),
              item("SpecialToken", "[SEP]", 0)]
    pair = single + [item("Sequence", "B", 1), item("SpecialToken", "[SEP]", 1)]
    tokens = {name: {"id": name, "ids": [SPECIAL[name]], "tokens": [name]}
              for name in ("[CLS]", "[SEP]")}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def tokenizer(post_processor):
    return {"added_tokens": [token(name, id=index) for name, index in SPECIAL.items()],
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "strip_accents": None,
                           "handle_chinese_chars": True, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": post_processor,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {**SPECIAL, "a": 5, "##b": 6}}}


def main():
    write("safetensors", "empty", safetensors({}, 0))
    write("safetensors", "metadata", safetensors({"__metadata__": {"format": "pt"}}, 0))
    write("safetensors", "types", safetensors(
        {"a": tensor("F32", [2, 3], 0, 24), "b": tensor("F16", [4], 24, 32),
         "c": tensor("I64", [], 32, 40), "d": tensor("F64", [1], 40, 48),
         "e": tensor("BOOL", [0], 48, 48)}, 48))

    for fixture in ("zip", "protocol4", "hostile_zip"):
        with zipfile.ZipFile(FIXTURES / "torch" / f"{fixture}.bin") as archive:
            write("pickle", fixture, archive.read(f"{fixture}/data.pkl"))

    write("config", "bert", config("bert", "BertForSequenceClassification", **BERT_SIZES,
                                   id2label={"0": "a", "1": "b"}, problem_type="regression"))
    write("config", "roberta", config("roberta", "RobertaForTokenClassification", **BERT_SIZES))
    write("config", "albert", config("albert", "AlbertForMaskedLM", **BERT_SIZES, embedding_size=4,
                                     num_hidden_groups=1, inner_group_num=1))
    write("config", "distilbert", config("distilbert", "DistilBertForQuestionAnswering", dim=8,
                                         n_heads=2, n_layers=1, hidden_dim=8, activation="gelu",
                                         sinusoidal_pos_embds=False))
    write("config", "mobilebert", config(
        "mobilebert", "MobileBertForPreTraining", **BERT_SIZES, embedding_size=4,
        intra_bottleneck_size=4, normalization_type="no_norm", num_feedforward_networks=2,
        trigram_input=True, use_bottleneck=True, use_bottleneck_attention=False,
        key_query_shared_bottleneck=True, classifier_activation=True))

    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None,
                "tokenize_chinese_chars": True, "do_basic_tokenize": True, "never_split": ["c++"],
                "model_max_length": 512, "unk_token": "[UNK]"}
    processing = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    decoder = {str(index): token(name) for name, index in SPECIAL.items()}
    vocabulary = "\n".join([*SPECIAL, "a", "##b", ""])
    write("tokenizer_files", "json", {"tokenizer": tokenizer(template()),
                                      "config": {**settings, "added_tokens_decoder": decoder}})
    write("tokenizer_files", "legacy", {
        "tokenizer": tokenizer(processing), "config": settings, "added_tokens": {"<new>": 7},
        "special_tokens_map": {"pad_token": token("[PAD]"), "additional_special_tokens": ["<x>"]},
        "vocabulary": vocabulary})
    write("vocabulary", "lines", vocabulary.encode())
    write("vocabulary", "windows", b"a\r\nb\r\n\r\na\r\n")

    # The first byte names the format to the fuzzer.
    tsv = b"id\ttext_a\ttext_b\tlabel\tlabel_scores\n1\ta\tb\tx|y\tx:0.5|z:1\n2\tc\td\tx\t{\"x\": 0.1}\n"
    write("data_tables", "tsv", b"t" + tsv)
    write("data_tables", "tsv_gz", b"t" + gzip.compress(tsv, mtime=0))
    write("data_tables", "score", b"ttext\tscore\r\na\t1.5\r\nb\tnan\r\n")
    write("data_tables", "csv", b'ctext,label\n"a, ""b""\n",x\nc,y\n')
    write("data_tables", "conll", b"o-DOCSTART- O\n\nAda NNP B-PER\nsat\tO\n\n# id = 1\nx y\n")
    answer = {"text": "b", "answer_start": 1}
    rows = [{"text": "a", "label": "x"}, {"text": "a", "text_pair": "b", "labels": ["x", "y"]},
            {"text": "a", "label_scores": {"x": 0.5}}, {"text": "a", "label_scores": [0, 1]}]
    lines = "\n".join(map(json.dumps, rows))
    questions = [{"question": "q", "context": "abc", "answers": [answer]},
                 {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [2]}},
                 {"question": "q", "context": "abc", "answers": [], "is_impossible": True}]
    write("data_json", "texts", b"l" + lines.encode())
    write("data_json", "questions", b"l" + "\n".join(map(json.dumps, questions)).encode())
    write("data_json", "words", b'l{"words": ["a", "b"], "tags": ["B-x", 0]}')
    write("data_json", "array", b"s" + json.dumps(rows).encode())
    write("data_json", "squad", b"s" + json.dumps(
        {"data": [{"paragraphs": [{"context": "abc", "qas": [
            {"id": "1", "question": "q", "answers": [answer, answer]},
            {"id": "2", "question": "q", "answers": [], "is_impossible": True}]}]}]}).encode())


if __name__ == "__main__":
    main()
