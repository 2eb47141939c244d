# %% [markdown]
# # Objectives: what should a student copy?
#
# **A student can copy the teacher's vector, its ranking's margins, or only
# the distribution of its scores; the less it has to copy, the more room it
# has to find its own way of reading a conversation.**
#
# After this chapter you can write down the four objectives that the paper
# compares, say which students each of them cannot tell apart, train one
# student with each at equal cost, and test which one retrieves better.

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
# ## The claims
#
# Before DiSCo {cite}`lupart2025disco`, students of conversational search
# copied the *representation* of the rewrite ({cite}`yu2021convdr`,
# {cite}`le2023cosplade`). DiSCo copies its *scores*:

# %%
from disco_lib.tables import Words, claim_words, find_claim

CLAIMS = [
    "disco-scores-over-representations",
    "disco-over-convsplade",
    "disco-margin-mse-similar",
    "disco-student-over-teacher",
    "disco-multi-over-single",
    "disco-sparser-than-teacher",
]
claims = [find_claim("disco", name) for name in CLAIMS]
Words("\n\n".join(claim_words(claim).text for claim in claims))

# %% [markdown]
# ## Four losses
#
# Let $q$ be the student's vector for a conversation, $t$ the teacher's for
# the rewrite, and $d_0, \dots, d_N$ passages with frozen vectors, $d_0$ the
# relevant one. The student scores $s_i = q \cdot d_i$, the teacher
# $\tau_i = t \cdot d_i$.
#
# $$\mathcal{L}_{\text{representation}} = \lVert q - t \rVert^2$$
#
# $$\mathcal{L}_{\text{margin}} = \frac{1}{N} \sum_{i \ge 1}
#   \bigl((s_0 - s_i) - (\tau_0 - \tau_i)\bigr)^2$$
#
# $$\mathcal{L}_{\text{KLD}} = \sum_i p_i \log \frac{p_i}{r_i}, \qquad
#   p = \mathrm{softmax}(\tau), \; r = \mathrm{softmax}(s)$$
#
# $$\mathcal{L}_{\text{InfoNCE}} = - \log r_0$$
#
# The first pins down every entry of the vector, the second every difference
# of scores to the positive, the third the shape of the teacher's
# distribution. The last has no teacher at all, only a label. In the library
# each is a function of tensors:

# %%
from disco_lib.experiments import Laboratory

lab = Laboratory()
print(lab.tier.name, "·", lab.tier.what)

# %% [markdown]
# Take one training turn with the passages that a student sees for it in one
# step: the positive, and a sample of the teacher's ranking.

# %%
import numpy as np

settings = lab.student_settings("student-kl")
teacher = lab.teacher(lab.tier.system("student-kl")["teachers"])
place = {pid: i for i, pid in enumerate(teacher.pids)}
known = set(teacher.turn_ids)
turn = next(t for t in lab.turns(lab.tier.train) if t.turn_id in known)
row = teacher.turn_ids.index(turn.turn_id)
sample = settings.sampler.sample(
    *teacher.ranking(row),
    place[turn.positives[0]],
    len(teacher.pids),
    np.random.default_rng(0),
)
print(len(sample.documents), "passages in the sample")

# %% [markdown]
# Now three students that are not the teacher. One has **other terms**: it
# adds weight on terms that no passage of the sample holds. One has the
# teacher's scores, but all of them **shifted** by a constant. One has them
# **stretched** by half.

# %%
import torch

from disco_lib.losses import info_nce, kl_divergence, margin_mse
from disco_lib.losses import representation_mse
from disco_lib.tables import Table

documents = lab.documents[sample.documents].toarray()
passages = torch.tensor(documents)
vector = torch.tensor(teacher.queries[row].toarray())
scores = vector @ passages.T
unused = np.flatnonzero(documents.sum(axis=0) == 0)
other = vector.clone()
other[0, unused[:100]] += 1.0
students = {
    "the teacher itself": (vector, scores),
    "other terms": (other, other @ passages.T),
    "scores shifted by 5": (None, scores + 5),
    "scores stretched by half": (None, scores * 1.5),
}
rows = []
for name, (query, given) in students.items():
    copy = vector if query is None else query
    distance = representation_mse(copy, vector)
    rows.append(
        {
            "student": name,
            "vector": "" if query is None else f"{distance:.2f}",
            "margin": f"{margin_mse(given, scores):.3f}",
            "KLD": f"{abs(kl_divergence(given, scores)):.3f}",
            "InfoNCE": f"{info_nce(given):.3f}",
        }
    )
Table.of(rows)

# %% [markdown]
# Representation MSE is the only one that forbids the other terms, although
# no score depends on them. KLD and margin MSE forgive a shift; neither
# forgives a stretch, which makes the teacher's distribution sharper. This is
# the *relaxation* the paper speaks of: as many equations as passages, and
# as many unknowns as words.

# %%
rank = np.linalg.matrix_rank(documents)
print(f"{rank} equations for {documents.shape[1]} unknowns")
print(f"{len(unused)} terms stand in no passage of the sample")

# %% [markdown]
# Two dimensions make this visible. The paper draws it in its Figure 2; here
# it is computed. The vocabulary has two terms, the teacher stands at the
# star, two passages are scored, and four students start somewhere else and
# go downhill:

# %% mystnb={"figure": {"caption": "The loss over the plane (dark is high) and gradient descent from four starts. Copying the vector leads every student to the teacher; copying scores leads each to the nearest point of a line on which all scores differ as the teacher's do. Follow the students that start at the lower left: weights stop at 0.", "name": "objectives-relaxation"}, "image": {"alt": "Three panels. With representation MSE four paths end in the teacher's point. With margin MSE and with KLD they end at different points along one straight valley through it."}}
from disco_lib.relaxation import Plane, each, relaxation_figure

plane = Plane(
    teacher=np.array([2.5, 1.0]),
    passages=np.array([[1.0, 0.4], [0.4, 1.2]]),
)
relaxation_figure(
    plane,
    {
        "Representation MSE": each(representation_mse, scores=False),
        "Margin MSE": each(margin_mse, scores=True),
        "KLD": each(kl_divergence, scores=True),
    },
    starts=[[0.3, 3.6], [2.9, 3.2], [3.6, 0.1], [0.2, 0.4]],
)

# %% [markdown]
# Two passages make one equation (scores may shift together), so of the
# plane's two dimensions one is left free. A third passage that is not on
# their line would close it. In the sample above far fewer passages than
# words are scored, so nearly every direction is free.
#
# Freedom is not yet quality. A student that may drop terms may become
# sparser than its teacher; it may also drop what other passages need. That
# is a question for the experiment.
#
# ## The neighbours in Table 2
#
# Other systems of the paper's Table 2 copy the representation too, and add
# something. Their models are their authors'; their objectives can be run on
# our encoder, under the same conditions as the others:
#
# - **After LeCoRe** {cite}`mao2023lecore`, which filters what is copied:
#   the squared distance is counted only over the terms that the relevant
#   passage holds, and InfoNCE is added.
# - **After QRACDR** {cite}`mo2024qracdr`: the vector is drawn to the
#   rewrite's and to the relevant passage's vector at once, with InfoNCE.
# - **After LLM4CS** {cite}`mao2023llm4cs`: no training; the query is the
#   mean of the vectors of several rewrites, all of which have to be written
#   when the question comes.

# %%
from disco_lib.losses import document_mse, filtered_representation_mse

relevant = passages[:1]
held = int((relevant > 0).sum())
both = int(((relevant > 0) & (vector > 0)).sum())
print(f"{held} terms in the relevant passage, {both} of them the teacher's")
print(f"all terms:       {representation_mse(other, vector):8.2f}")
found = filtered_representation_mse(other, vector, relevant)
print(f"filtered:        {found:8.2f}")
print(f"to the passage:  {document_mse(other, relevant):8.2f}")

# %% [markdown]
# The filter forgives the student with *other terms* by construction; the
# distance to the passage is large for every query, since a passage holds
# many more terms than a question.
#
# ## The experiment
#
# Every student starts from the same encoder, reads the same input, and makes
# the same number of steps with the same batches; only the objective or the
# teachers differ. Their settings were chosen on the development split for
# KLD and then used for all; the weights of the two neighbours' parts were
# chosen there as well.

# %%
names = list(lab.tier.systems)
students = [n for n in names if lab.tier.system(n)["run"] == "student"]
for name in students:
    print(name)
    print("   ", dict(lab.student_settings(name).objective))

# %%
from disco_lib.tables import points, results

records = {name: lab.record(name) for name in names}
pupil = records["student-kl"]
print(len(pupil.turn_ids), "turns, seeds", ", ".join(pupil.seeds))
calls = {name: lab.tier.llm_calls(name) for name in names}
results(list(records.values()), calls=calls)

# %% [markdown]
# The last column is the paper's: how often a language model has to be asked
# before a query can be searched. The student never asks; a careful rewrite
# counts 0 because a person wrote it, which no search engine can wait for.

# %% mystnb={"figure": {"caption": "How high the first relevant passage stands, mean over seeds. Compare the students of one teacher with each other first, then with the rewrites that taught them.", "name": "objectives-mrr"}, "image": {"alt": "Horizontal bars of MRR at 10 with 95 % intervals for every system of the tier, students last."}}
from disco_lib import plots

plots.interval_bars(
    points(list(records.values()), "MRR@10"),
    xlabel="MRR@10 (0 to 1, higher is better), with 95 % interval",
)

# %% [markdown]
# Every objective against KLD, on the same turns and seeds: the difference,
# its 95 % interval, and the paired t-test and permutation test, both with
# Bonferroni's correction for the number of rows.

# %%
from disco_lib.tables import paired_rows

others = [
    records[name]
    for name in students
    if name != "student-kl" and records[name].label != pupil.label
]
paired_rows(pupil, others, "MRR@10")

# %% [markdown]
# Under the same regulariser the objectives leave differently many terms
# active. Sparser is cheaper; {doc}`02_splade_and_flops` says by how much.

# %% mystnb={"figure": {"caption": "Effectiveness against the cost of a query. Up and to the left is better.", "name": "objectives-cost"}, "image": {"alt": "One dot a system in three groups: FLOPS on the horizontal axis, MRR at 10 on the vertical axis; four systems are named."}}
def group(name):
    system = lab.tier.system(name)
    if system["run"] != "student":
        return "no training"
    alone = list(system["teachers"]) == list(
        lab.tier.system("student-kl")["teachers"]
    )
    return "students of one teacher" if alone else "other teachers"


costs, named = {}, {}
for name, record in records.items():
    if not np.isnan(record.cost("flops")):
        place = (record.cost("flops"), record.mean("MRR@10"))
        costs.setdefault(group(name), []).append(place)
        named[name] = place
NAMED = {
    "splade-rewrite": "the teacher",
    "splade-conversation": "untrained",
    "student-kl": "KLD",
    "student-infonce": "InfoNCE",
}
plots.scatter(
    {label: tuple(np.array(p).T) for label, p in costs.items()},
    xlabel="FLOPS (expected multiply-adds a query and passage)",
    ylabel="MRR@10",
    names={text: named[n] for n, text in NAMED.items() if n in named},
)

# %% [markdown]
# ## What training looks like
#
# Every part of an objective is logged under its name, with the active terms
# and the FLOPS of the student's vectors.

# %% mystnb={"figure": {"caption": "The KLD falls as the student learns to score as the teacher does. Batches are of turns of similar length, which makes the curve rough.", "name": "objectives-training"}, "image": {"alt": "A line falling over training steps: the Kullback-Leibler divergence of the student's scores from the teacher's."}}
log = lab.training_log("student-kl", lab.tier.seeds[0])
steps = np.array([entry["step"] for entry in log])
loss = np.array([entry["kl_divergence"] for entry in log])
plots.curves(
    {"KLD": (steps, loss)},
    xlabel="training step",
    ylabel="KLD of student from teacher (nats)",
)

# %% [markdown]
# ## On real conversations
#
# The collection of this tier was written for the book. What the objectives
# do to real ones is measured by `make measure TIER=qrecc`; its records are
# in `data/measured`, and every tier that was run is shown here.

# %%
from disco_lib.claims import tiers_measured
from disco_lib.records import published_records
from disco_lib.tiers import load_tier

stored = {tier: published_records(tier) for tier in tiers_measured()}
for tier, found in stored.items():
    print(f"{tier}, {len(found)} systems measured:")
    print("   ", load_tier(tier).what)

# %%
from disco_lib.tables import tier_results

tier_results(stored)

# %% [markdown]
# The qrecc tier searches a collection of answers, among them those that the
# conversation has already given. A query made of the whole conversation
# finds these word for word, which no reader wants, so its headline numbers
# take them out of the ranking. The column *kept* leaves them in. Rewrites
# exist for some turns only, so the teacher's row is over fewer turns; the
# tests below pair it with the students on the turns that both have.
#
# ## Any scores, any encoder
#
# Nothing in KLD asks where the scores come from, or what a vector looks
# like:

# %%
WIDER = [
    "disco-any-scorer",
    "disco-dense",
    "disco-sparse-freedom",
    "disco-score-range",
]
wider = [find_claim("disco", name) for name in WIDER]
Words("\n\n".join(claim_words(claim).text for claim in wider))

# %% [markdown]
# The system `student-kl-bm25` learns BM25's scores of the careful rewrites.
# The grid `freedom` trains SPLADE-tiny and MiniLM, each once on scores and
# once on the representation (which for dense vectors is ConvDR's way
# {cite}`yu2021convdr`), for as many steps on the same, short inputs. MiniLM
# has six layers three times as wide as SPLADE-tiny's two, and is slow to
# train here, so this is what stored records say:

# %%
from disco_lib.gains import point, with_interval

rows = []
for tier, found in stored.items():
    asked = ["student-kl-bm25"]
    for grid in ("dense", "freedom"):
        if grid in load_tier(tier).grids:
            asked += load_tier(tier).grid(grid).values()
    for record in (found[name] for name in asked if name in found):
        row = {"tier": tier, "system": record.label}
        row["MRR@10"] = with_interval(point(record, "MRR@10"))
        row["R@100"] = with_interval(point(record, "R@100"))
        rows.append(row | {"seeds": len(record.seeds)})
Table.of(rows or [{"record": "none"}])

# %%
from disco_lib.claims import judge
from disco_lib.tables import verdicts_by_tier

judged = [judge(c, tier) for c in wider for tier in stored]
verdicts_by_tier(judged) if any(v.findings for v in judged) else Words(
    "No tier has stored records of these students."
)

# %% [markdown]
# Compare rows of one encoder only: MiniLM was trained to compare sentences
# before it came here, and its teacher is the better one too. What
# the two encoders say together is in the difference of differences: how much
# more scores bring than representations, once in thirty thousand dimensions
# and once in a few hundred. (BM25's scores are larger than SPLADE's, and one
# temperature of 1 does not fit both; nobody tuned it.)
#
# ## Beside the paper
#
# Every row of the paper's Table 2 on QReCC, with the system of this tier
# that is its counterpart. The paper searches 54 million passages with an
# encoder of BERT's size: compare the order of the systems, not the numbers.
# A row without a counterpart says why.

# %%
from disco_lib.papers import load_paper
from disco_lib.tables import beside_published

paper = load_paper("disco")
beside_published(paper, "2", "QReCC", lab.record_if_there)

# %% [markdown]
# And Table 4, where only the loss on the scores differs:

# %%
beside_published(paper, "4", "QReCC", lab.record_if_there)

# %% [markdown]
# ## The verdicts
#
# The rules stand with the claims in `data/papers`; {doc}`../book/how_numbers`
# explains them. First this tier:

# %%
from disco_lib.tables import verdict_words

verdicts = [
    judge(claim, lab.tier.name, lab.record_if_there) for claim in claims
]
Words(
    "\n\n".join(
        f"*{v.claim.statement}* {verdict_words(v).text}"
        for v in verdicts
    )
)

# %% [markdown]
# And every tier with stored records:

# %%
from disco_lib.claims import judge_elsewhere

elsewhere = judge_elsewhere(claims, lab.tier.name)
verdicts_by_tier([*verdicts, *elsewhere])

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# `DISCO_TIER` and a tier's file decide the models. With
# `encoder: naver/splade-cocondenser-ensembledistil` and the published
# recipe (chapter {doc}`00_start_here` prints it) the same cells train the
# paper's students; the encoder takes bfloat16 there by itself. We have not
# run this setting, so no times stand here.
# ```
#
# ## Exercises
#
# **1. Why does InfoNCE need a label and KLD none?** What could a student
# learn from the turns that have a rewrite but no relevant passage?
#
# ```{admonition} Answer
# :class: dropdown
# InfoNCE knows nothing but which passage is relevant. The teacher's
# distribution says how good every passage of the sample is, whether or not
# one of them was judged, so score distillation also learns from turns
# without a judgement.
# ```
#
# **2. A temperature.** Dividing both scores by $T = 2$ before the softmax
# flattens the teacher's distribution. Which passages gain influence? Compute
# the teacher's entropy over the sample above for $T$ = 0.5, 1 and 2.

# %% tags=["hide-cell"]
# Answer: the flatter, the more the lower ranks count.
for temperature in (0.5, 1.0, 2.0):
    share = torch.softmax(scores / temperature, dim=-1)
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    most = np.log(share.shape[1])
    print(f"T = {temperature}: {entropy:.2f} of {most:.2f} nats")

# %% [markdown]
# **3. Is the shift harmless in use?** KLD forgives a constant added to all
# of a query's scores. Does the ranking change? Would a threshold on scores,
# or a fusion with another system's scores, notice?
#
# ```{admonition} Answer
# :class: dropdown
# A ranking of one query's passages is the same after a shift. A threshold
# and a sum with another system's scores are not; that is one reason why
# fusion normalises scores first.
# ```
