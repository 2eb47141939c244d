# %% [markdown]
# # The hybrid student: two losses that want different things
#
# **The contrastive loss wants a pair's similarity as high as it can be, the
# regression wants it as high as the teacher's; who wins is decided by a
# temperature and a weight, and can be computed before any training.**
#
# After this chapter you can write the hybrid loss, predict how overconfident
# its student will be, train one, and read Pearson's $r$, errors and
# agreement without being misled by the pairs that they were measured on.

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
# ## The claim
#
# The report {cite}`jain2025selective` trains a small encoder on the pairs
# that {doc}`30_teacher_scores` selects, and finds this weakness:

# %%
from disco_lib.dense_experiments import DenseLaboratory
from disco_lib.papers import load_paper
from disco_lib.tables import Table, claim_words, find_claim

lab = DenseLaboratory(progress=False)
print(lab.tier.name, "·", lab.tier.what)
paper = load_paper("selective")
claim = find_claim("selective", "sel-overconfident")
claim_words(claim)

# %% [markdown]
# ## The loss
#
# A batch has $B$ pairs. $S = QD^\top$ holds the student's cosines of every
# query with every document, $t_i$ is the teacher's cosine of pair $i$:
#
# $$\mathcal{L} = \underbrace{-\frac1B \sum_i \log \frac{e^{S_{ii}/T}}
# {\sum_j e^{S_{ij}/T}}}_{\text{contrastive}} + \lambda\,
# \underbrace{\frac1B \sum_i (S_{ii} - t_i)^2}_{\text{regression}}.$$
#
# In code it is as short as that:

# %%
import torch
from torch.nn.functional import cross_entropy, mse_loss


def hybrid(S, t, T=0.1, weight=0.1):
    own = torch.arange(len(S))
    return cross_entropy(S / T, own) + weight * mse_loss(S.diagonal(), t)


# %% [markdown]
# The library's, with its parts by name, says the same of a real batch: the
# first pairs that are selected, encoded by the student before training.

# %%
from disco_lib.dense_losses import DenseBatch, DenseObjective

settings = lab.student_settings("dense-hybrid", 1)
chosen = lab.chosen("dense-hybrid", 1)
batch = chosen.places[: settings.batch_size]
start = lab.encoder_of("dense-start", 1)
pairs = lab.train_pairs
sides = (
    ([pairs.pairs[i].query for i in batch], settings.query_length),
    ([pairs.pairs[i].document for i in batch], settings.document_length),
)
Q, D = (torch.tensor(start.encode(*side)) for side in sides)
t = torch.tensor(pairs.annotation.scores[batch])
parts = DenseObjective(settings.objective)(DenseBatch(Q, D, t))
for name, value in parts.items():
    print(f"{name:14} {value:.3f}")
temperature = settings.objective["contrastive"]["temperature"]
weight = settings.objective["diagonal_mse"]
by_hand = hybrid(Q @ D.T, t, temperature, weight)
print("by hand       ", f"{by_hand:.3f}")

# %% [markdown]
# ## Who wins
#
# Look at one similarity $s = S_{ii}$ and let all others of its row be $u$.
# The regression pulls $s$ to $t$ with the force $2\lambda(t - s)$. The
# contrastive term pulls it *up*, wherever it is, with the force
# $\frac1T p$, where $p = \frac{(B-1)e^{u/T}}{e^{s/T} + (B-1)e^{u/T}}$ is
# what the softmax still gives to the others. They balance where
#
# $$\frac{1}{T}\, p(s) = 2\lambda\,(s - t),$$
#
# which is above $t$ for every $\lambda$, since the left side is above 0.
# **The hybrid student is overconfident by construction.** How much? Solve.

# %%
import numpy as np
from scipy.optimize import brentq


def balance(t, T, weight, B=settings.batch_size, u=0.0):
    """Where the two forces on a pair's similarity are equal, at most 1."""

    def force(s):
        others = (B - 1) * np.exp((u - s) / T)
        return others / (1 + others) / T - 2 * weight * (s - t)

    return 1.0 if force(1.0) > 0 else brentq(force, t, 1.0)


taught = float(pairs.annotation.scores[chosen.places].mean())
rows = []
for T in map(float, lab.tier.grid("temperature")):
    row = {"T": f"{T:g}"}
    for w in map(float, lab.tier.grid("regression-weight")):
        row[f"λ = {w:g}"] = f"{balance(taught, T, w):.2f}"
    rows.append(row)
print(f"the teacher's mean score of the selected pairs: {taught:.2f}")
Table.of(rows)

# %% mystnb={"figure": {"caption": "The similarity at which contrast and regression balance, over the teacher's score, for some weights at the tier's temperature, with all other similarities at 0. The closer a line is to the diagonal, the better calibrated the student; a flat line has lost what the teacher knows.", "name": "hybrid-balance"}, "image": {"alt": "Lines above the diagonal that rise from left to right; the smaller the weight, the higher and flatter the line."}}
from disco_lib import plots

grid = np.linspace(0, 0.99, 60)
series = {
    f"λ = {w:g}": (
        grid,
        np.array([balance(x, temperature, w) for x in grid]),
    )
    for w in (0.1, 0.5, 2.0)
}
plots.curves(
    series | {"as the teacher": (grid, grid)},
    "teacher's similarity (cosine)",
    "student's similarity at the balance",
)

# %% [markdown]
# A low temperature has its own say. Where $T$ is small, $p$ vanishes as
# soon as $s$ leads by a few $T$: the contrastive force ends early and
# leaves the field to the regression. A high one never stops pulling.
#
# ## Training
#
# A student is the first layers of the teacher with a projection, trained on
# the selected pairs. Its log has every part by name, and the mean
# similarities of each batch. The one that we look at trains as the report
# says (its section 3.7): at most 8 passes, stopped early.

# %%
print(
    f"{settings.layers} layers, {settings.pooling} pooling,",
    f"{settings.projection} dimensions;",
    f"{len(chosen.places)} pairs, λ = {weight}, T = {temperature}",
)
early = lab.tier.grid("stopping")["patience 3"]
log = lab.training_log(early, 1)
validated = lab.validation_log(early, 1)

# %% mystnb={"figure": {"caption": "What one training does to the similarities of its batches: those of the pairs, those of everything else, and the teacher's of the pairs. Look at when the first passes the third, and where it ends.", "name": "hybrid-training"}, "image": {"alt": "Three lines over training steps: other similarities fall towards zero, own similarities stay above the teacher's level."}}
step = np.array([entry["step"] for entry in log])
shown = {
    "pairs, student": "own_similarity",
    "pairs, teacher": "teacher_score",
    "everything else, student": "other_similarity",
}
plots.curves(
    {
        name: (step, np.array([entry[key] for entry in log]))
        for name, key in shown.items()
    },
    "training step",
    "mean similarity (cosine)",
)

# %% mystnb={"figure": {"caption": "The two parts of the loss over the steps of one training, unweighted and on logarithmic axes. The contrastive one falls throughout. The regression falls until the pairs are as similar as the teacher says, and rises again while the contrastive term pulls them further.", "name": "hybrid-parts"}, "image": {"alt": "Two lines over training steps: the contrastive loss falls, the regression falls and rises again."}}
plots.curves(
    {
        name: (step, np.array([entry[key] for entry in log]))
        for name, key in (
            ("contrastive", "contrastive"),
            ("regression", "diagonal_mse"),
        )
    },
    "training step",
    "loss (nats; squared cosine)",
    log=True,
)

# %% [markdown]
# ## When to stop
#
# A student that knows its pairs by heart need not know any other. So one
# tenth of the selected pairs is held out, their loss is measured after every
# pass, and with a *patience* of 3 the training ends when three passes in a
# row have not lowered it; the weights of its lowest are kept.

# %% mystnb={"figure": {"caption": "Hybrid loss of the training's batches, their mean over each pass, and of the held-out pairs after it. Where the first still falls and the second does not, the student learns its pairs by heart. The dashed line marks the weights that are kept.", "name": "hybrid-stopping"}, "image": {"alt": "Two lines over training steps: the training loss falls to near zero, the validation loss flattens above it; a dashed vertical line at its lowest point."}}
after = np.array([entry["step"] for entry in validated])
losses = np.array([entry["eval_loss"] for entry in validated])
trained = np.array([entry["loss"] for entry in log])
passes = [trained[(step > end - after[0]) & (step <= end)] for end in after]
plots.adjusted(
    plots.curves(
        {
            "training pairs": (after, np.array([p.mean() for p in passes])),
            "held-out pairs": (after, losses),
        },
        "training step",
        "hybrid loss (nats)",
    ),
    line=(after[losses.argmin()], "kept"),
)

# %% [markdown]
# What is it worth? Students of 8 passes without early stopping, with it,
# and the usual one of this tier, which trains for a fixed number of steps,
# on all of the selected pairs:

# %%
from disco_lib.dense_views import study_table

stopping = {
    text: lab.record(name)
    for text, name in lab.tier.grid("stopping").items()
}
study_table(
    {"usual": lab.record("dense-hybrid"), **stopping},
    "student",
    ["Pearson", "MAE", "R@10", "MRR@10"],
    ["pairs", "steps", "best_step"],
)

# %%
from disco_lib.gains import gain_rows, gains

every = [(text, "8 epochs") for text in stopping if text != "8 epochs"]
Table.of(gain_rows(gains(stopping, every, ["Pearson", "R@10", "MRR@10"])))

# %% [markdown]
# On `mini` the loss of the held-out pairs flattens and does not rise: in
# eight passes there is nothing to be saved from, which agrees with the
# report's remark that its curves show no overfitting. Early stopping has its
# price there: the pairs that are held out, and the last passes, in which the
# rate of learning goes to zero. A longer plan with fewer pairs is another
# matter.

# %% [markdown]
# ## Held-out pairs
#
# From here on: pairs of test turns, which no student has seen. The record
# keeps the teacher's and the student's similarity of each.

# %%
from disco_lib.dense_views import alignment_table, pair_scores

record = lab.record("dense-hybrid")
scores = pair_scores(record)
print(record.label, "· seeds", *record.seeds)
print(f"{len(record.turn_ids)} held-out pairs")
teacher, student = next(iter(scores.values()))

# %% mystnb={"figure": {"caption": "Teacher's and student's similarity of each held-out pair, one seed. Dots above the line are overrated. Selected are the pairs that would have been learnt from.", "name": "hybrid-scatter"}, "image": {"alt": "Scatter of two similarities; selected pairs on the right, both groups rising, with the diagonal as a line."}}
inside = teacher >= lab.selected_from
plots.scatter(
    {
        "selected": (teacher[inside], student[inside]),
        "the rest": (teacher[~inside], student[~inside]),
    },
    "teacher's similarity (cosine)",
    "student's similarity (cosine)",
    line=(1.0, "as the teacher"),
)

# %%
alignment_table(record, lab.selected_from)

# %% [markdown]
# The balance of forces is that of pairs which are learnt from. Of pairs that
# it has not seen, the student of `mini` rates the high ones about as its
# teacher does, and the others, of whose kind it has learnt none, too high.
# The report measured on the pairs that it had trained on, and saw the
# balance itself.
#
# It measured on selected pairs alone. There $r$ is lower, and not
# because the student knows them less. A correlation compares the spread
# that is explained with the spread that is there, and a selection by the
# teacher's score leaves little spread. Thorndike's formula says which $r$
# to expect on the selected pairs if *nothing but the range* had changed:

# %%
from disco_lib.alignment import pearson, restricted_pearson

rows = []
for seed, (t, s) in scores.items():
    part = t >= lab.selected_from
    whole, left = pearson(t, s), t[part].std() / t.std()
    rows.append(
        {
            "seed": seed,
            "r, all pairs": f"{whole:.3f}",
            "spread that is left": f"{left:.2f}",
            "r to expect": f"{restricted_pearson(whole, left):.3f}",
            "r, selected": f"{pearson(t[part], s[part]):.3f}",
        }
    )
print(f"the report: {paper.fact('pearson')['value']} on selected pairs")
Table.of(rows)

# %% [markdown]
# ## Errors
#
# By ranges of the teacher's score, as in the report's section 5.6. *bias*
# is student minus teacher.

# %%
from disco_lib.alignment import align_by_range

Table.of(
    [
        {
            "teacher's score": f"{one.low:g} to {one.high:g}",
            "share": f"{one.share:.0%}",
            "MAE": f"{one.alignment.mae:.3f}",
            "bias": f"{one.alignment.bias:+.3f}",
        }
        for one in align_by_range(teacher, student)
        if one.alignment.n
    ]
)

# %% mystnb={"figure": {"caption": "Errors of the held-out pairs, student minus teacher. A calibrated student's would lie around the dashed line.", "name": "hybrid-errors"}, "image": {"alt": "Histogram of differences of cosines with a dashed line at zero."}}
plots.adjusted(
    plots.histogram(
        student - teacher,
        xlabel="student minus teacher (cosine)",
        ylabel="share of pairs",
        bins=30,
    ),
    line=(0, "as the teacher"),
)

# %%
from disco_lib.alignment import difference_tests

found = difference_tests(teacher, student)
shown = {
    "t": ("t", found.t),
    "W": ("wilcoxon", found.w),
    "Cohen's d": ("cohens-d", found.paired.cohens_d),
}
Table.of(
    [
        {
            "teacher minus student": name,
            "report": f"{paper.fact(fact)['value']:g}",
            "here": f"{value:.4g}",
        }
        for name, (fact, value) in shown.items()
    ]
)

# %% [markdown]
# Of thousands of pairs every difference is significant. $t$ grows with
# $\sqrt n$ and says little; $d$ does not, and says whether it is large.
#
# Overconfidence can be mended afterwards, if it is a matter of scale. A
# straight line, fitted on every second pair, is tried on the others:

# %%
from disco_lib.calibration import calibration_error, fit_line

line = fit_line(teacher[::2], student[::2])
mended = line.apply(student[1::2])
both = {"as it is": student[1::2], "through the line": mended}
for name, values in both.items():
    error = np.abs(values - teacher[1::2]).mean()
    gap = calibration_error(teacher[1::2], values)
    print(f"{name:17} MAE {error:.3f}  calibration error {gap:.3f}")
print(f"slope {line.slope:.2f}, intercept {line.intercept:.2f}")

# %% [markdown]
# The line does not change the order of any two pairs, so no ranking gets
# better or worse by it. That is the report's own diagnosis, "calibration
# rather than ranking", made into a number.
#
# ## Agreement is not recall
#
# The report's Recall@K falls from 1.0 at K = 1 to 0.4 at K = 10. No recall
# of relevant documents can fall as K grows. What can: the overlap of the
# teacher's and the student's K highest pairs of one list. We call it
# agreement@K. By chance it is K over the number of pairs.

# %%
from disco_lib.agreement import DEPTHS, agreement_at

rows = []
for K in DEPTHS:
    fact = f"recall-at-{K}"
    there = [f for f in paper.facts if f["id"] == fact]
    values = [agreement_at(t, s, [K])[K] for t, s in scores.values()]
    rows.append(
        {
            "K": K,
            "report": f"{there[0]['value']:g}" if there else "",
            "agreement here": f"{np.mean(values):.2f}",
            "by chance": f"{K / len(teacher):.3f}",
        }
    )
Table.of(rows)

# %% [markdown]
# And recall proper: each test query searches the whole collection for its
# passages. Beside the student: the teacher, and the student before training.
# ({doc}`34_evaluation_and_deployment` adds BM25.)

# %%
around = {
    "teacher": lab.record("dense-teacher"),
    "hybrid student": record,
    "before training": lab.record("dense-start"),
}
study_table(
    around,
    "encoder",
    ["MRR@10", "R@10", "nDCG@10", "R@100"],
    ["query_flops"],
)

# %% [markdown]
# ## The verdict

# %%
from disco_lib.claims import judge
from disco_lib.tables import verdict_table, verdict_words

verdict = judge(claim, lab.tier.name, lab.record_if_there)
verdict_words(verdict)

# %%
verdict_table(verdict)

# %%
claim = find_claim("selective", "sel-compression")
claim_words(claim)

# %%
verdict = judge(claim, lab.tier.name, lab.record_if_there)
verdict_words(verdict)

# %%
verdict_table(verdict)

# %% [markdown]
# What stands in section 5.9 besides has no rule; the reasons:

# %%
Table.of(
    [
        {"statement": c.statement, "why there is no verdict": c.why}
        for c in paper.claims
        if "5." in c.where and not c.comparisons
    ]
)

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# The tier `paper` has the report's student of 12 layers, batches of 16 and
# 8 epochs over some twelve thousand pairs: six thousand steps. Add
# `DISCO_TIER=paper` and a data set in native form. We have not run it.
# ```
#
# ## Exercises
#
# **1. A weight for a calibrated student.** With $u = 0$, which $\lambda$
# brings the balance within 0.02 of the teacher's mean score?

# %% tags=["hide-cell"]
# Answer: solve the balance for the weight.
s = taught + 0.02
others = (settings.batch_size - 1) * np.exp(-s / temperature)
needed = others / (1 + others) / temperature / (2 * 0.02)
reached = balance(taught, temperature, needed)
print(f"λ = {needed:.2f}; balance {reached:.3f}")

# %% [markdown]
# **2. More negatives.** A batch of 16 becomes one of 256. Does the balance
# rise or fall, and why?

# %% tags=["hide-cell"]
# Answer: it rises: the softmax gives more to so many others.
for B in (4, 16, 64, 256):
    print(B, f"{balance(taught, temperature, weight, B):.2f}")

# %% [markdown]
# **3. The range alone.** Draw two correlated lists of 10,000 numbers, $r =
# 0.7$, keep the top fifth of the first, and measure $r$ again. Does
# Thorndike's formula say it?

# %% tags=["hide-cell"]
# Answer: yes, for a linear relation with even errors.
rng = np.random.default_rng(0)
x = rng.normal(size=10_000)
y = 0.7 * x + np.sqrt(1 - 0.49) * rng.normal(size=10_000)
top = x >= np.quantile(x, 0.8)
u = x[top].std() / x.std()
print(f"measured {pearson(x[top], y[top]):.3f},")
print(f"expected {restricted_pearson(pearson(x, y), u):.3f}")

# %% [markdown]
# **4. Two of ten.** A student and a teacher agree on 4 of the 10 highest of
# a list of 12,269 pairs. How often would two random orders do as well?

# %% tags=["hide-cell"]
# Answer: practically never; the report's 0.4 is far above chance.
from scipy.stats import hypergeom

n = paper.fact("selected-pairs")["value"]
print(f"{hypergeom.sf(3, n, 10, 10):.1e}")
