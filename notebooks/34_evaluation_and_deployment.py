# %% [markdown]
# # Evaluation and deployment: one student, looked at from all sides
#
# **A student that is to replace its teacher has to be near in scores, near
# in order, good at deciding, good at finding, cheap, and the same student
# after it was packed; each of these is another measurement.**
#
# After this chapter you can put four families of metrics on one page
# without mixing them up, give each an interval, export a student to ONNX
# and to 8-bit weights, say what that changed, and serve it beside BM25.

# %% tags=["hide-input"]
# Set-up, the same in every chapter: import the disco_lib of this
# checkout; on Colab, fetch the book and what it needs first.
import runpy
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    root = Path("/content/disco-book")
    url = "https://github.com/disco-book/disco-book"
    fetch = ["git", "clone", "--quiet", "--depth=1", "--branch=main", url]
    if not root.exists():
        subprocess.run([*fetch, str(root)], check=True)
    runpy.run_path(str(root / "book" / "colab.py"), run_name="__main__")
else:
    places = (Path.cwd(), *Path.cwd().parents)
    root = next(place for place in places if (place / "disco_lib").is_dir())
sys.path.insert(0, str(root))
import disco_lib

found = Path(disco_lib.__file__).parent
assert found == root / "disco_lib", f"restart: {found} is loaded"
print(f"disco_lib {disco_lib.__version__}")

# %% [markdown]
# ## The protocol
#
# The report's section 3.8 {cite}`jain2025selective` asks for four families:
# regression, ranking, classification, tests. All are of the same held-out
# pairs here, of test turns that no student has seen.

# %%
import numpy as np

from disco_lib.dense_experiments import DenseLaboratory
from disco_lib.dense_views import pair_scores, study_table
from disco_lib.papers import load_paper
from disco_lib.tables import Table

lab = DenseLaboratory(progress=False)
print(lab.tier.name, "·", lab.tier.what)
paper = load_paper("selective")
record = lab.record("dense-hybrid")
scores = pair_scores(record)
teacher = next(iter(scores.values()))[0]
print(f"{len(teacher)} held-out pairs, seeds", *record.seeds)

# %% [markdown]
# ### Near in scores
#
# Errors and correlations, with bootstrap intervals over pairs, beside the
# report's. *Selected* are the held-out pairs of a teacher's score like
# those that were learnt from.

# %%
from dataclasses import asdict

from disco_lib.alignment import align, paired_interval


def of(t, s, name):
    return asdict(align(t, s))[name]


first = next(iter(scores))
t, s = scores[first]
inside = t >= lab.selected_from
published = {"mae": "mae", "pearson": "pearson"}
rows = []
for name in ("mae", "mse", "rmse", "bias", "pearson", "spearman"):
    row = {"metric": name}
    fact = published.get(name)
    row["report"] = f"{paper.fact(fact)['value']:g}" if fact else ""
    groups = {"all": np.ones(len(t), bool), "selected": inside}
    for group, part in groups.items():
        value = of(t[part], s[part], name)
        low, high = paired_interval(
            lambda a, b, name=name: of(a, b, name), t[part], s[part]
        )
        row[group] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    rows.append(row)
Table.of(rows)

# %% [markdown]
# ### Near in order
#
# Three different questions with similar names. *agreement@K*: the overlap
# of the two K highest pairs of the whole list, what the report calls
# Recall@K. *recovery@K*: of each query's K best passages by the teacher,
# how many are among the student's K best. *R@K*: of each query's relevant
# passages, how many are found.

# %%
from disco_lib.agreement import DEPTHS, agreement_at, recovery_at

encoded = {
    "teacher": lab.encoded("dense-teacher"),
    "student": lab.encoded("dense-hybrid", first),
}
products = {
    name: held.queries @ held.passages.T for name, held in encoded.items()
}
pids = np.array(lab.collection().pids)
qrels = lab.collection().qrels(lab.tier.test).to_dict()
relevant = np.array(
    [
        np.isin(pids, [p for p, g in qrels[turn].items() if g > 0])
        for turn in record.turn_ids
    ]
)

# %%
from disco_lib.agreement import recall_at


def recall(name, K):
    return recall_at(relevant, products[name], K).mean()


def recovery(K):
    return recovery_at(*products.values(), K).mean()


rows = []
for K in DEPTHS:
    fact = [f for f in paper.facts if f["id"] == f"recall-at-{K}"]
    rows.append(
        {
            "K": K,
            "agreement, report": f"{fact[0]['value']:g}" if fact else "",
            "agreement": f"{agreement_at(t, s, [K])[K]:.2f}",
            "recovery": f"{recovery(K):.2f}",
            "R, student": f"{recall('student', K):.2f}",
            "R, teacher": f"{recall('teacher', K):.2f}",
        }
    )
Table.of(rows)

# %% mystnb={"figure": {"caption": "The three measures over K. Only recall has to rise with K. Agreement counts pairs of one list, recovery passages of each query; neither knows what is relevant.", "name": "protocol-order"}, "image": {"alt": "Lines over K for agreement, recovery, recall of the student and recall of the teacher; recall rises, the others need not."}}
from disco_lib import plots

depths = np.array(DEPTHS, dtype=float)
measures = {
    "agreement@K": lambda K: agreement_at(t, s, [K])[K],
    "recovery@K": recovery,
    "R@K, student": lambda K: recall("student", K),
    "R@K, teacher": lambda K: recall("teacher", K),
}
plots.curves(
    {
        name: (depths, np.array([measure(K) for K in DEPTHS]))
        for name, measure in measures.items()
    },
    "K",
    "share",
)

# %% [markdown]
# ### Good at deciding
#
# A pair counts as relevant from the teacher's median on. Where is the
# student's cut? The report takes the same number, which an overconfident
# student passes with nearly every pair: recall 1, precision one half. A cut
# of the student's own, found on *other* pairs (the training ones), is fair:

# %%
from disco_lib.score_classes import best_cut, classify

student = lab.encoder_of("dense-hybrid", int(first))
settings = lab.student_settings("dense-hybrid", int(first))
train = lab.train_pairs
lengths = {"query": settings.query_length, "document": settings.document_length}
sides = [
    student.encode([getattr(pair, side) for pair in train.pairs], length)
    for side, length in lengths.items()
]
learnt = np.einsum("pd,pd->p", *sides)
median = float(np.median(t))
cut = best_cut(train.annotation.scores, learnt, median)
decided = {
    "at the teacher's median": classify(t, s, median),
    "at its own cut": classify(t, s, median, cut),
    "selected, at their median": classify(t[inside], s[inside]),
}
NAMES = ("accuracy", "precision", "recall", "f1", "roc_auc")
rows = [
    {"student": "the report", **{
        n: f"{paper.fact(n)['value']:.3f}" if n != "roc_auc" else ""
        for n in NAMES
    }}
]
for name, found in decided.items():
    rows.append(
        {"student": name}
        | {n: f"{getattr(found, n):.3f}" for n in NAMES}
    )
Table.of(rows)

# %% mystnb={"figure": {"caption": "The report's radar chart, with this book's student at two cuts. Accuracy, precision, recall and F1 of a student that says yes to everything form the report's shape; look for it.", "name": "protocol-radar"}, "image": {"alt": "Radar chart of accuracy, precision, recall and F1 for the report, the student at the teacher's median and the student at its own cut."}}
from disco_lib.score_plots import radar

shown = {"the report": {n: paper.fact(n)["value"] for n in NAMES[:4]}}
for name in ("at the teacher's median", "at its own cut"):
    shown[name] = {n: getattr(decided[name], n) for n in NAMES[:4]}
radar(shown)

# %% [markdown]
# ### Good at finding
#
# The family that the report lacks: a search over the collection. Teacher,
# student, the student before training, and BM25 read the same rewrites.

# %%
from disco_lib.experiments import Laboratory

systems = {
    "teacher": lab.record("dense-teacher"),
    "student": record,
    "before training": lab.record("dense-start"),
    "BM25": Laboratory(lab.tier, progress=False).record("bm25-rewrite"),
}
study_table(
    systems, "system", ["MRR@10", "R@10", "R@100", "nDCG@3"], ["query_flops"]
)

# %%
from disco_lib.gains import gain_rows, gains

Table.of(
    gain_rows(
        gains(
            systems,
            [("student", other) for other in systems if other != "student"],
            ["MRR@10", "R@10"],
        )
    )
)

# %% [markdown]
# ### Tests of the difference in scores

# %%
from disco_lib.alignment import difference_tests
from disco_lib.tables import p_value

rows = []
for seed, (a, b) in scores.items():
    found = difference_tests(a, b)
    rows.append(
        {
            "seed": seed,
            "mean of teacher − student": f"{found.paired.difference:+.3f}",
            "p, t-test": p_value(found.paired.p_t),
            "p, Wilcoxon": p_value(found.p_wilcoxon),
            "Cohen's d": f"{found.paired.cohens_d:+.2f}",
        }
    )
d = paper.fact("cohens-d")["value"]
print(f"the report: d {d}")
Table.of(rows)

# %% [markdown]
# ## Packing
#
# A student is written as a folder that sentence-transformers loads:
# weights and head in safetensors, tokenizer, settings with the seed, and a
# manifest of checksums. No pickle, no code.

# %%
import tempfile
from pathlib import Path

room = tempfile.TemporaryDirectory()  # gone with the kernel
folder = Path(room.name)
student.save_pretrained(folder / "student")
Table.of(
    [
        {
            "file": str(file.relative_to(folder / "student")),
            "MB": f"{file.stat().st_size / 1e6:.2f}",
        }
        for file in sorted((folder / "student").rglob("*"))
        if file.is_file()
    ]
)

# %% [markdown]
# Load and infer: by this library, and by sentence-transformers, which knows
# nothing of it.

# %%
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.drift import vector_drift

texts = [pair.query for pair in lab.held_pairs().pairs[:64]]
vectors = student.encode(texts, settings.query_length)
again = DenseEncoder.from_pretrained(folder / "student")
logging.set_verbosity_error()  # no vector depends on the pooler it lacks
foreign = SentenceTransformer(str(folder / "student"), device="cpu")
foreign.max_seq_length = settings.query_length
for name, other in (
    ("this library", again.encode(texts, settings.query_length)),
    ("sentence-transformers", foreign.encode(texts)),
):
    largest = vector_drift(vectors, other).largest
    print(f"{name:22} equal vectors: {largest < 1e-5}")

# %% [markdown]
# As an ONNX graph, and with 8-bit weights:

# %%
from disco_lib.deployment import weight_bytes
from disco_lib.onnx_export import export_onnx, quantize_int8

graph = export_onnx(student, folder / "onnx")
small = quantize_int8(folder / "onnx", folder / "int8")
documents = lab.collection().passage_texts()[:200]
reference = (vectors, student.encode(documents, settings.document_length))

# %%
from disco_lib.drift import search_drift

rows = []
forms = {"torch": student, "ONNX": graph, "ONNX int8": small}
for name, encoder in forms.items():
    own = (
        encoder.encode(texts, settings.query_length),
        encoder.encode(documents, settings.document_length),
    )
    moved = vector_drift(vectors, own[0])
    found = search_drift(reference, own)
    rows.append(
        {
            "student in": name,
            "MB": f"{weight_bytes(encoder) / 1e6:.1f}",
            "lowest cosine": f"{moved.lowest_cosine:.3f}",
            "MAE of scores": f"{found.scores.mae:.3f}",
            "recovery@10": f"{found.recovery.mean():.2f}",
        }
    )
Table.of(rows)

# %% [markdown]
# ## Serving
#
# Time, throughput and size of all of them, on the same queries, one after
# the other in one run on one thread. Times differ from machine to machine,
# so they are a stored record (`python -m benchmarks --only deployment`) and
# not an output of this chapter.

# %%
from disco_lib.bench import bench_table, load_bench, measured_on
from disco_lib.errors import DiscoError

try:
    served = load_bench("deployment")
except DiscoError:
    served = None
bench_table(served)

# %%
measured_on({"deployment": served})

# %% [markdown]
# A query is short, and a short query leaves a transformer little to do: the
# fixed costs of a call weigh more than its layers. That is why the time
# falls by less than the operations do.
#
# ## The verdict
#
# Every claim of the report and what this tier says of it. The rules are in
# `data/papers/selective.yaml`; {doc}`../book/how_numbers` explains the
# words.

# %%
from disco_lib.claim_table import claims_table
from disco_lib.claims import judge

verdicts = [
    judge(c, lab.tier.name, lab.record_if_there) for c in paper.claims
]
claims_table(verdicts)

# %% [markdown]
# And on every tier with stored records:

# %%
from disco_lib.claim_table import claims_by_tier
from disco_lib.claims import judge_elsewhere

elsewhere = judge_elsewhere(paper.claims, lab.tier.name)
claims_by_tier([v for v in [*verdicts, *elsewhere] if v.claim.comparisons])

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# Export and quantisation are for a processor; on a GPU, bfloat16 does the
# same for less. The tier `paper` has the report's student of 12 layers.
# ```
#
# ## Exercises
#
# **1. Yes to everything.** A student calls every pair relevant. What are
# its accuracy, precision, recall and F1 at the median? Compare with the
# report's.

# %% tags=["hide-cell"]
# Answer: one half, one half, one, and two thirds.
everyone = classify(t, np.ones(len(t)), median)
for n in NAMES[:4]:
    report = paper.fact(n)["value"]
    print(f"{n}: {getattr(everyone, n):.3f}, report {report}")

# %% [markdown]
# **2. A cut that flatters.** Find the best cut on the held-out pairs
# themselves. How much higher is F1?

# %% tags=["hide-cell"]
# Answer: at least as high as with the cut from the training pairs.
flattered = classify(t, s, median, best_cut(t, s, median))
fair = decided["at its own cut"]
print(f"F1 {fair.f1:.3f} with a fair cut, {flattered.f1:.3f} without")

# %% [markdown]
# **3. nDCG of a list.** The report's nDCG@10 is of one list of pairs with
# the teacher's scores as gains. What would a student reach that orders the
# list at random?

# %% tags=["hide-cell"]
# Answer: far more than 0, since every pair has a gain.
from disco_lib.agreement import list_ndcg_at

gains_of = np.clip(t, 0, None)
blind = list_ndcg_at(gains_of, np.zeros(len(t)), [10])[10]
own = list_ndcg_at(gains_of, s, [10])[10]
top = list_ndcg_at(gains_of[inside], np.zeros(inside.sum()), [10])[10]
print(f"at random {blind:.2f}, the student {own:.2f};")
print(f"at random among selected pairs alone {top:.2f}")
print(f"the report: {paper.fact('ndcg-at-10')['value']}")
