# %% [markdown]
# # How many samples? Theory says more, practice says when to stop
#
# **A KL divergence over a few passages stands for one over a thousand; more
# of them make it a better stand-in, but a student does not learn from one
# step, and the next step draws others.**
#
# After this chapter you can say what the KL on a sample estimates and what
# it leaves out, fit a curve of diminishing returns with its interval instead
# of reading it off a figure, compare numbers of samples at equal steps and
# at equal cost, and say when a further sample costs anything at all.

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
# The second paper {cite}`bertrand2026improving` says of the number of
# passages in the KL divergence:

# %%
from disco_lib.tables import Words, claim_words, find_claim

claim = find_claim("efficiency", "eff-samples")
claim_words(claim)

# %% [markdown]
# Only the abstract is to hand: no table, no figure, no setting. The
# experiment is designed here, and its rule was written before a student was
# trained:

# %%
from disco_lib.papers import load_paper

recipe = load_paper("efficiency").recipe
samples = ", ".join(map(str, recipe["negatives"]))
print("negatives in the authors' configurations:", samples)
Words(f"> {claim.note}")

# %% [markdown]
# ## A sum over a sample
#
# The teacher's distribution over its ranking is $p =
# \mathrm{softmax}(\tau)$, the student's over the same passages $r =
# \mathrm{softmax}(s)$. What we would like to make small is
#
# $$\mathrm{KL} = \sum_{j=1}^{N} p_j \log \frac{p_j}{r_j}$$
#
# over the whole ranking. What a step of training sees is a sample $S$ of
# it, one relevant passage and $n$ negatives, on which both distributions
# are made anew:
#
# $$\mathrm{KL}_S = \sum_{j \in S} p_{j|S} \log \frac{p_{j|S}}{r_{j|S}},
#   \qquad p_{j|S} = \frac{p_j}{\sum_{k \in S} p_k}.$$
#
# Some training turns, with the scores of all passages by the teacher and by
# a "student": the untrained encoder that reads the conversation.

# %%
import numpy as np

from disco_lib.conversations import context_ids
from disco_lib.experiments import Laboratory

lab = Laboratory()
print(lab.tier.name, "·", lab.tier.what)
teacher = lab.teacher_of("student-kl")
row_of = {turn: i for i, turn in enumerate(teacher.turn_ids)}
place = {pid: i for i, pid in enumerate(teacher.pids)}
known = [
    turn
    for turn in lab.turns(lab.tier.train)
    if turn.turn_id in row_of and turn.positives
]
FEW = 60
turns = known[:: max(1, len(known) // FEW)][:FEW]
rows = [row_of[turn.turn_id] for turn in turns]
positives = [place[turn.positives[0]] for turn in turns]
print(f"{len(turns)} of {len(known)} training turns")

# %%
# The teachers' rankings, and passages at random beside them.
MOST = 20_000
listed = [teacher.ranking(row)[0] for row in rows]
random = np.random.default_rng(0).permutation(len(teacher.pids))
pool = np.unique(np.concatenate([*listed, positives, random[:MOST]]))
passages = lab.documents[pool].T
limits, tokenizer = lab.base_settings.limits, lab.encoder.tokenizer
ids = [
    context_ids(t, "conversation", tokenizer, limits) for t in turns
]
queries = lab.encoder.encode(ids, limits.total)
student = (queries @ passages).toarray()
taught = (teacher.queries[rows] @ passages).toarray()
print(f"{student.shape[0]} turns, {student.shape[1]:,} passages")

# %% [markdown]
# One of these turns: the KL over the best of the teacher's ranking, and over
# four samples of each size, drawn as in training.

# %%
from disco_lib.kl_estimate import kl
from disco_lib.tables import Table

DEPTH = lab.tier.teacher_depth
sampler = lab.student_settings("student-kl").sampler
best = np.argsort(-taught[0], kind="stable")[:DEPTH]
whole = kl(student[0][best], taught[0][best])
print(f"over the best {len(best):,}: {whole:.3f} nats")
rng = np.random.default_rng(1)
own = int(np.searchsorted(pool, positives[0]))
shown = []
for n in (1, 8, 32):
    values = []
    for _ in range(4):
        drawn = sampler.with_negatives(n).sample(
            best, taught[0][best], own, len(pool), rng
        )
        values.append(kl(student[0][drawn.documents], drawn.scores))
    shown.append(
        {"n": n}
        | {f"draw {i}": f"{x:.3f}" for i, x in enumerate(values, 1)}
    )
Table.of(shown)

# %% [markdown]
# Two things can be wrong with such a number. Its mean over many draws may
# lie beside the KL of the whole ranking: **bias**. And one draw may lie far
# from the next: **deviation**. The renormalisation makes a bias unavoidable,
# since $\mathrm{KL}_S$ knows neither what lies outside of $S$ nor how much
# (exercise 1 says exactly what it leaves out).
#
# Both, for the numbers of negatives that students will be trained with. Two
# samplers: the tier's own, which draws from a window of the teacher's
# ranking, and negatives drawn uniformly from the collection
# ({doc}`21_sampling` compares more of them). And two students: the untrained
# encoder, and one half way to the teacher, with the mean of both vectors,
# as a stand-in for a student in the middle of its training.

# %%
from disco_lib.kl_estimate import kl_estimates
from disco_lib.sampling_arms import UniformSampler

grid = lab.tier.grid("samples")
counts = [int(n) for n in grid]
own_places = np.searchsorted(pool, positives).tolist()
half_way = (student + taught) / 2  # scores are linear in the query
cases = {
    "untrained, tier's sampler": (student, sampler),
    "half way, tier's sampler": (half_way, sampler),
    "untrained, uniform": (student, UniformSampler()),
}
estimates = {
    name: kl_estimates(
        scores, taught, arm, [n + 1 for n in counts], DEPTH,
        positives=own_places, draws=40, resamples=400,
    )
    for name, (scores, arm) in cases.items()
}  # fmt: skip
print(sampler.to_dict())
for name, found in estimates.items():
    print(f"{name}: {found[0].full:.2f} nats over the best {DEPTH:,}")

# %%
from disco_lib.gains import span, with_interval
from disco_lib.plots import Point


def error_table(found):
    rows = []
    for n, e in zip(counts, found, strict=True):
        spread = Point(e.deviation, *e.deviation_interval)
        rows.append(
            {
                "n": n,
                "mean of KL_S (nats)": f"{e.mean:.2f}",
                "bias": span(e.bias, *e.bias_interval, 2),
                "deviation": with_interval(spread, 2),
                "deviation / mean": f"{e.deviation / e.mean:.1f}",
            }
        )
    return Table.of(rows)


error_table(estimates["untrained, tier's sampler"])

# %%
error_table(estimates["half way, tier's sampler"])

# %% [markdown]
# The intervals are over draws. Which of the two errors is the larger one,
# and does either go to 0? A sampler that never leaves its window can at best
# learn the KL over the window. And the last column says how well one draw
# knows its own mean: a softmax over scores that differ by several points
# puts nearly all of its mass on a few passages, and a sample that has none
# of them sees little to correct.
#
# That is theory's half, and it speaks of **one estimate**. A step of
# training does not need a good estimate of the loss; it needs a gradient
# that is right *on average*, and the average is taken over a batch and over
# all steps, each with samples of its own.

# %%
settings = lab.student_settings("student-kl")
size = settings.batch_size
steps = settings.steps or round(
    len(known) // size * settings.epochs
)
epochs = steps * size / len(known)
print(f"{size} turns a step, {steps} steps, {epochs:.1f} epochs")
for name, found in estimates.items():
    print(name)
    for n, e in list(zip(counts, found, strict=True))[:: len(found) - 1]:
        one = e.deviation / e.mean
        print(
            f"   n = {n}: deviation / mean {one:.1f} of a turn,",
            f"{one / size**0.5:.1f} of a batch",
        )

# %% [markdown]
# ## Students of each number
#
# One student for each $n$, all else equal, the number of steps too.

# %%
from disco_lib.tradeoff import trade_off_table

students = {n: lab.record(name) for n, name in grid.items()}
first = next(iter(students.values()))
print(len(first.turn_ids), "turns, seeds", *first.seeds)
trade_off_table(
    students, "n", ["MRR@10", "nDCG@3", "R@100"],
    ["active_terms", "flops"],
)  # fmt: skip

# %% [markdown]
# Where do returns diminish? Not where the eye says so. We fit a curve whose
# exponent decides it,
#
# $$m(n) = a + g \cdot u_c(n), \qquad
#   u_c(n) = \frac{1 - n^{-c}}{1 - N^{-c}},$$
#
# where $N$ is the largest number trained, so that $a$ is the value at
# $n = 1$ and $g$ the whole gain. The exponent says how the gain is spread:
#
# | $c$ | the curve | a further sample | a further doubling |
# |---|---|---|---|
# | $-1$ | a straight line | brings the same | brings more |
# | $-1$ to 0 | between the two | brings less | brings more |
# | 0 | a logarithm | brings less | brings the same |
# | above 0 | has a ceiling | brings less | brings less |
#
# and where 95 % of the gain is reached follows from it. Exponents from $-1$
# to 4 are tried, so an interval that ends there is open. Turns are resampled
# for all $n$ together, seeds for each $n$ apart; of three seeds that shows
# rather too little spread than too much.

# %%
from disco_lib.saturation import saturation, saturation_rows
from disco_lib.saturation import seed_values

METRICS = ["MRR@10", "nDCG@3", "R@100"]
fits = {
    metric: saturation(
        {int(n): seed_values(r, metric) for n, r in students.items()}
    )
    for metric in METRICS
}
Table.of(saturation_rows(fits, "metric"))

# %% [markdown]
# A gain whose interval reaches 0 is none that this experiment can see; then
# there is no number that is enough either, and the last column says so.
#
# Theory and practice over one axis:

# %% mystnb={"figure": {"caption": "Above: the KL on a sample as a share of the KL over the teacher's ranking; the dot is the mean over turns and draws, so its distance from the dashed line is the bias, and the vertical line is one standard deviation over the draws of a turn. Below: what students of as many negatives gain over the one of the fewest, on the same turns, with 95 % intervals over turns and the fitted curves. Where does the estimate still get better while the student does not, or the other way round?", "name": "samples-theory-practice"}, "image": {"alt": "Three panels above each other over the number of negatives on a doubling axis: the sampled KL as a share of the whole KL for three cases, the gain in MRR at 10 with a fitted curve, and the gain in recall at 100 with a fitted curve."}}
from dataclasses import replace

from disco_lib.choice_panels import differences
from disco_lib.sample_plots import Panel, stacked


def at(n, value, low, high):
    return Point(value, low, high, x=n)


def estimated(n, e):
    mean, spread = e.mean / e.full, e.deviation / e.full
    return at(n, mean, max(0.0, mean - spread), mean + spread)


theory = {
    name: [estimated(*pair) for pair in zip(counts, found, strict=True)]
    for name, found in estimates.items()
}


FIRST = next(iter(students))
smooth = np.geomspace(counts[0], counts[-1], 60)
level = {"the whole KL": 1.0}
panels = [Panel("KL on the sample / KL", theory, levels=level)]
for metric in ("MRR@10", "R@100"):
    name, fit = f"students, {metric}", fits[metric]
    gained = differences(students, FIRST, metric)
    series = {name: [replace(p, x=int(n)) for n, p in gained.items()]}
    curve = {name: (smooth, fit.at(smooth) - fit.start)}
    panels.append(Panel(f"{metric}, gain", series, curve))
stacked(panels, "n, negatives a turn")

# %% [markdown]
# The curves are fitted to the means of turns and seeds, the dots are paired
# with the student of the fewest negatives; so a curve need not begin at 0.
# And what does one doubling bring? The same turns, twice as many negatives:

# %%
from disco_lib.gains import gain_rows, gains

pairs = list(zip(list(grid)[1:], grid, strict=False))
names = {n: f"n = {n}" for n in grid}
Table.of(gain_rows(gains(students, pairs, "MRR@10"), names))

# %%
Table.of(gain_rows(gains(students, pairs, "R@100"), names))

# %% [markdown]
# Read the differences from top to bottom: do they shrink? And count how
# many of them are more than chance: p is corrected for the number of rows.
#
# ## Closer to the teacher?
#
# A student may rank no better and still have come closer to its teacher. The
# KL over the teacher's best passages on the *test* turns says how close. It
# is the same sum for every student, whatever it was trained on.

# %%
from disco_lib.held_out_kl import kl_point, kl_rows

TIERS_OWN = str(settings.sampler.negatives)
Table.of(kl_rows(students, TIERS_OWN, "n"))

# %% [markdown]
# Does a smaller KL go along with a better ranking? Over these students:

# %%
from disco_lib.tradeoff import correlation_table

measured = [r for r in students.values() if kl_point(r) is not None]
distance = np.array([r.cost("kl") for r in measured])
correlation_table(
    {
        metric: (distance, np.array([r.mean(metric) for r in measured]))
        for metric in METRICS
    },
    "held-out KL with",
) if measured else Words("No record holds a KL on the test turns.")

# %% [markdown]
# ## At equal cost
#
# With equal steps the student of many negatives has seen more passages. If
# each passage had to be encoded when it is drawn, it would also have cost
# more. The grid `samples-cost` gives every student the same number of
# passages in all, so that many negatives mean few steps.

# %%
from disco_lib.gains import point

by_cost = lab.tier.grid("samples-cost")


def steps_of(name):
    own = lab.student_settings(name)
    return own.steps or round(len(known) // own.batch_size * own.epochs)


def passages_of(name):
    own = lab.student_settings(name)
    return steps_of(name) * own.batch_size * (own.sampler.negatives + 1)


equal = {n: lab.record(name) for n, name in by_cost.items()}
shown = []
for n, record in equal.items():
    row = {"n": n, "steps": steps_of(by_cost[n])}
    row["passages drawn"] = f"{passages_of(by_cost[n]):,}"
    row["MRR@10"] = with_interval(point(record, "MRR@10"))
    row["R@100"] = f"{record.mean('R@100'):.3f}"
    shown.append(row)
Table.of(shown)

# %% mystnb={"figure": {"caption": "Students of as many steps, and students of as many passages in all, with 95 % intervals over turns. The two meet where the tier's own number of negatives stands. Does the second line bend down on the right, where steps become few?", "name": "samples-equal-cost"}, "image": {"alt": "Two panels over the number of negatives: MRR at 10 and the KL to the teacher on test turns, each with a line for equal steps and a line for equal cost."}}
def by_count(records, metric):
    return [
        at(int(n), r.mean(metric), *r.intervals[metric])
        for n, r in records.items()
    ]


families = {"equal steps": students, "equal passages": equal}
panels = [
    Panel(
        "MRR@10",
        {name: by_count(r, "MRR@10") for name, r in families.items()},
    )
]
distances = {
    name: [
        kl_point(r, x=int(n))
        for n, r in found.items()
        if kl_point(r) is not None
    ]
    for name, found in families.items()
}
if any(distances.values()):
    there = {name: p for name, p in distances.items() if p}
    panels.append(Panel("held-out KL (nats)", there))
stacked(panels, "n, negatives a turn")

# %%
BASE = TIERS_OWN if TIERS_OWN in equal else next(iter(equal))
pairs = [(n, BASE) for n in equal if n != BASE]
Table.of(gain_rows(gains(equal, pairs, "MRR@10"), names))

# %% [markdown]
# ## What a sample costs
#
# DiSCo's documents are frozen. Their vectors are made once, and a step that
# draws a passage reads a row of a matrix. Let us count multiply-adds of one
# step: for a transformer, about one for each weight and token, three times
# as many where a gradient is needed; for a score, one for each active term
# of the passage.

# %%
weights = sum(
    p.numel() for p in lab.encoder.model.parameters() if p.dim() == 2
)
length = lab.base_settings.document_length
texts = [lab.texts[pid] for pid in lab.collection.pids[:500]]
tokens = np.mean([len(i) for i in lab.encoder.token_ids(texts, length)])
asked = np.mean([len(i) for i in ids])
held = lab.documents.nnz / lab.documents.shape[0]
print(f"{weights:,} weights; {asked:.0f} tokens a conversation,")
print(f"{tokens:.0f} a passage, {held:.0f} active terms a passage")


def a_step(n, anew):
    drawn = size * (n + 1)
    queries = 3 * size * asked * weights
    scores = drawn * held * size
    return queries + scores + anew * drawn * tokens * weights


shown = []
for n, record in students.items():
    cached, anew = (a_step(int(n), way) for way in (False, True))
    seconds = record.cost("seconds")
    shown.append(
        {
            "n": n,
            "passages a step": size * (int(n) + 1),
            "vectors cached": f"{cached / 1e9:.2f}",
            "encoded anew": f"{anew / 1e9:.2f}",
            "times as much": f"{anew / cached:.1f}",
            "seconds, measured": (
                "not measured" if np.isnan(seconds) else f"{seconds:.0f}"
            ),
        }
    )
Table.of(shown)

# %% [markdown]
# The third and fourth columns are billions of multiply-adds. The last one is
# the whole training with cached vectors, by the clock, which also counts
# what else the machine had to do. Does it grow with $n$ as the third column
# does, or as the fourth?

# %% mystnb={"figure": {"caption": "MRR@10 of the students of equal steps against the multiply-adds of their whole training, with the passages' vectors cached and with passages encoded anew at every step; numbers are negatives. The students are the same, only their price differs. Up and to the left is better.", "name": "samples-price"}, "image": {"alt": "MRR at 10 over trillions of multiply-adds on a logarithmic axis: a steep line of students with cached vectors on the left and dots of the same students, encoded anew, spread to the right."}}
from disco_lib.sparsity_plots import trade_off


def priced(anew):
    return {
        n: at(
            steps * a_step(int(n), anew) / 1e12,
            r.mean("MRR@10"),
            *r.intervals["MRR@10"],
        )
        for n, r in students.items()
    }


trade_off(
    priced(False),
    {"encoded anew": priced(True)},
    xlabel="trillions of multiply-adds of the training",
    ylabel="MRR@10",
    title="vectors cached",
)

# %% [markdown]
# So there are two questions behind "how many". With frozen documents a
# sample costs a row of a matrix, and one asks what more of them bring at
# equal steps. With documents that are encoded at every step, because they
# learn too ({doc}`14_effectiveness_efficiency`) or because their vectors fit
# nowhere, a sample costs what a passage costs, and the line of equal
# passages is the one to read.
#
# ## The verdict
#
# By the rule quoted at the top; {doc}`../book/how_numbers` explains the
# words.

# %%
from disco_lib.claims import judge, tiers_measured
from disco_lib.tables import verdict_table, verdict_words

verdict = judge(claim, lab.tier.name, lab.record_if_there)
verdict_words(verdict)

# %%
from disco_lib.tables import verdicts_by_tier

verdict_table(verdict) if verdict.findings else None

# %% [markdown]
# And every tier with stored records:

# %%
stored = [judge(claim, tier) for tier in tiers_measured()]
verdicts_by_tier(stored) if any(v.findings for v in stored) else Words(
    "No tier has stored records of these students."
)

# %% [markdown]
# On `qrecc` more samples buy recall too, and less with each: the collection
# is far larger, and one sample says the less about a ranking.
#
# What limits the verdict: the small tier's collection is hardly larger than
# the ranking that the full KL runs over, and its students are trained for
# minutes. Whether a student of many epochs on millions of passages saturates
# earlier or later, this experiment cannot say.
#
# ```{admonition} On an A100
# :class: note
# The authors' public configurations have 1, 8, 16, 32 and 70 negatives a
# turn, and temperatures of the KL of 0.5, 1 and 2; DiSCo's public recipe
# draws 16 from ranks 11 to 960. Put `shared: [efficiency]` into the tier's
# file, or a grid `samples` with these numbers, and run this chapter with
# `DISCO_TIER=paper`. We have not run it. Cached vectors of 25 million
# passages have to fit into memory, or be mapped from disk.
# ```
#
# ## Exercises
#
# **1. What the sample leaves out.** Let $P = \sum_{j \in S} p_j$ and $R =
# \sum_{j \in S} r_j$. Show that the whole KL is
#
# $$\mathrm{KL} = P\,\mathrm{KL}_S + (1 - P)\,\mathrm{KL}_{\bar S}
#   + P \log \frac{P}{R} + (1 - P) \log \frac{1 - P}{1 - R},$$
#
# with $\bar S$ the passages outside, and check it on the teacher's best 33.
# Which part does a student learn from, and which parts never reach it?

# %% tags=["hide-cell"]
# Answer: the chain rule. A step sees the first part alone, without P.
from scipy.special import softmax

p, r = softmax(taught[0][best]), softmax(student[0][best])
inside = np.arange(len(best)) < 33  # the teacher's best
s, t = student[0][best], taught[0][best]
parts = {}
for name, part in (("inside", inside), ("outside", ~inside)):
    P, R = p[part].sum(), r[part].sum()
    parts[f"KL {name}, times its mass"] = P * kl(s[part], t[part])
    parts[f"mass {name}"] = P * np.log(P / R)
for name, value in parts.items():
    print(f"{name:28}{value:8.4f}")
print(f"{'sum':28}{sum(parts.values()):8.4f}")
print(f"{'KL':28}{kl(s, t):8.4f}")

# %% [markdown]
# **2. A single negative.** With $n = 1$ there are two passages. Write
# $\mathrm{KL}_S$ with the differences of scores $s_0 - s_1$ and $\tau_0 -
# \tau_1$ alone. Which losses that you know does it resemble?
#
# ```{admonition} Answer
# :class: dropdown
# With two passages $r_0 = \sigma(s_0 - s_1)$, and likewise $p_0$. So
# $\mathrm{KL}_S$ is, but for the teacher's own entropy, the binary
# cross-entropy of the student's margin with the teacher's as a soft label:
# RankNet with a teacher. Margin MSE ({doc}`11_objectives`) looks at the
# same two differences and squares their distance; the KL stops caring where
# both margins are large.
# ```
#
# **3. What has been seen.** The window holds so many passages, and every
# epoch draws $n$ of them anew. Which share of its window has a turn seen at
# the end of the training, in the mean? What would change if the samples
# were drawn once and kept?

# %% tags=["hide-cell"]
# Answer: all but (1 - n / W) ** epochs. Kept samples would stay at n / W.
window = sampler.end - sampler.start
for n in counts:
    share = 1 - (1 - min(1, n / window)) ** epochs
    print(f"n = {n:3}: a step {n / window:.1%}, all steps {share:.1%}")

# %% [markdown]
# **4. Leave out the beginning.** The curve's gain counts from $n = 1$, which
# nobody would train with. Fit again from $n = 8$ on. Is a gain left?

# %% tags=["hide-cell"]
# Answer: the same fit, without the smallest numbers.
later = {n: r for n, r in students.items() if int(n) >= 8}
again = {
    metric: saturation(
        {int(n): seed_values(r, metric) for n, r in later.items()}
    )
    for metric in METRICS
}
Table.of(saturation_rows(again, "metric"))
