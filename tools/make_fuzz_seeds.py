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


# --- ONNX: the wire format of Protocol Buffers; field numbers are those of onnx.proto.

def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_tensor(name, dims, values, kind="f"):
    types = {"f": 1, "B": 2, "b": 3, "q": 7}
    return (b"".join(field(1, d) for d in dims) + field(2, types[kind]) + field(8, name) +
            field(9, struct.pack(f"<{len(values)}{kind}", *values)))


def onnx_attribute(name, value):
    body = field(1, name)
    if isinstance(value, list):
        return body + b"".join(field(8, i) for i in value) + field(20, 7)
    return body + (field(2, value) + field(20, 1) if isinstance(value, float) else field(3, value) + field(20, 2))


def onnx_node(text, **attributes):
    """"y z = Op a b" """
    outputs, rest = text.split(" = ")
    op, *inputs = rest.split()
    domain, _, op = op.rpartition(".")
    return (b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs.split()) + field(3, op) +
            field(4, op) + b"".join(field(5, onnx_attribute(*item)) for item in attributes.items()) +
            (field(7, domain) if domain else b""))


def onnx_file(nodes, constants, output="logits", opset=13):
    def info(name, kind):
        shape = b"".join(field(1, field(2, size)) for size in ("batch", "sequence"))
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))
    inputs = [field(11, info(name, 7)) for name in ("input_ids", "attention_mask")]
    graph = (b"".join(field(1, node) for node in nodes) + field(2, "g") + b"".join(field(5, c) for c in constants) +
             b"".join(inputs) + field(12, field(1, output)))
    return (field(1, 8) + field(7, graph) + field(8, field(2, opset)) +
            field(8, field(1, "com.microsoft") + field(2, 1)) + field(14, field(1, "thimble.task") + field(2, "features")))


def onnx_seeds():
    def matrix(name, rows, columns):
        return onnx_tensor(name, [rows, columns], [i % 7 / 8 for i in range(rows * columns)])
    number = [onnx_tensor(name, [], [value]) for name, value in
              (("one", 1.0), ("half", 0.5), ("root", 1.4142135), ("low", -3e38), ("two", 2.0), ("eps", 1e-5))]
    ints = [onnx_tensor(name, [len(v)], v, "q") for name, v in
            (("i12", [1, 2]), ("heads", [0, 0, 2, 2]), ("merged", [0, 0, 4]))]
    vectors = [onnx_tensor(name, [4], [0.5, 1, -1, 2]) for name in ("gain", "bias")]
    encoder = [
        onnx_node("x = Gather words input_ids"),
        onnx_node("m = ReduceMean x", axes=[-1]), onnx_node("d = Sub x m"), onnx_node("s = Pow d two"),
        onnx_node("v = ReduceMean s", axes=[-1]), onnx_node("e = Add v eps"), onnx_node("r = Sqrt e"),
        onnx_node("u = Div d r"), onnx_node("g = Mul u gain"), onnx_node("n = Add g bias"),
        onnx_node("q0 = MatMul n wq"), onnx_node("q1 = Reshape q0 heads"), onnx_node("q = Transpose q1", perm=[0, 2, 1, 3]),
        onnx_node("k = Transpose q1", perm=[0, 2, 3, 1]), onnx_node("t = MatMul q k"), onnx_node("t2 = Mul t half"),
        onnx_node("a0 = Unsqueeze attention_mask i12"), onnx_node("a1 = Cast a0", to=1), onnx_node("a2 = Sub one a1"),
        onnx_node("a3 = Mul a2 low"), onnx_node("t3 = Add t2 a3"), onnx_node("p = Softmax t3", axis=-1),
        onnx_node("c = MatMul p q"), onnx_node("c1 = Transpose c", perm=[0, 2, 1, 3]), onnx_node("c2 = Reshape c1 merged"),
        onnx_node("h = Div c2 root"), onnx_node("h1 = Erf h"), onnx_node("h2 = Add h1 one"), onnx_node("h3 = Mul c2 h2"),
        onnx_node("h4 = Mul h3 half"), onnx_node("logits = MatMul h4 wo")]
    constants = number + ints + vectors + [matrix("words", 5, 4), matrix("wq", 4, 4), matrix("wo", 4, 3)]
    write("onnx", "encoder", onnx_file(encoder, constants))
    codes = [onnx_tensor("codes", [4, 4], [i * 15 for i in range(16)], "B"), onnx_tensor("zero", [], [128], "B"),
             onnx_tensor("scales", [4], [0.1, 0.2, 0.3, 0.4])]
    write("onnx", "int8", onnx_file([
        onnx_node("x = Gather words input_ids"), onnx_node("c s z = DynamicQuantizeLinear x"),
        onnx_node("p = MatMulInteger c codes z zero"), onnx_node("f = Cast p", to=1), onnx_node("k = Mul s scales"),
        onnx_node("m = Mul f k"), onnx_node("y = Add m bias"),
        onnx_node("logits = com.microsoft.SkipLayerNormalization y x gain bias", epsilon=1e-5)],
        codes + vectors + [matrix("words", 5, 4)]))
    places = onnx_tensor("places", [1, 6], list(range(6)), "q")
    one = [onnx_tensor(name, [1], [value], "q") for name, value in (("i0", 0), ("i1", 1))]
    scalar = [onnx_tensor(name, [], [value], "q") for name, value in (("s0", 0), ("s1", 1))]
    write("onnx", "places", onnx_file([
        onnx_node("x = Gather words input_ids"), onnx_node("sh = Shape input_ids"), onnx_node("n = Gather sh s1"),
        onnx_node("e = Unsqueeze n i0"), onnx_node("ids = Slice places i0 e i1 i1"), onnx_node("t = Gather table ids"),
        onnx_node("y = Add x t"), onnx_node("f = Gather y s0", axis=1), onnx_node("g = Gemm f wo", transB=0),
        onnx_node("logits = Softmax g", axis=-1)],
        [matrix("words", 5, 4), matrix("table", 6, 4), matrix("wo", 4, 3), places] + one + scalar))
    outside = field(1, 4) + field(2, 1) + field(8, "bias") + field(14, 1) + field(13, field(1, "location") + field(2, "w.bin"))
    write("onnx", "external", onnx_file([onnx_node("x = Gather words input_ids"), onnx_node("logits = Add x bias")],
                                        [matrix("words", 5, 4), outside]))


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

    onnx_seeds()

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
