# %% [markdown]
# # Sampling: which passages does a student get to see?
#
# **The KL divergence is a sum over a whole collection, of which training
# shows a handful; which handful it is decides what a student is asked to
# copy, and what it is never told.**
#
# After this chapter you can say what a sample of a teacher's ranking keeps
# and what it leaves out, draw it for several ways of sampling, measure how much
# of the teacher's probability and how much of its doubt each of them shows,
# and test whether the choice matters to the student.

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
# DiSCo draws 16 passages a turn from a window of the teacher's ranking, and
# says little about why ({doc}`11_objectives`). The second paper
# {cite}`bertrand2026improving` looks at the choice:

# %%
from disco_lib.tables import Words, claim_words, find_claim

claim = find_claim("efficiency", "eff-sampling")
claim_words(claim)

# %% [markdown]
# Only the abstract is to hand: it names no strategy, no metric and no
# number. The experiment is designed here. Its rule, in
# `data/papers/efficiency.yaml`, was written before a student was trained,
# and had to choose:

# %%
Words(f"> {claim.note}")

# %% [markdown]
# ## What a sample does not ask
#
# Over a collection $C$, with $p$ the softmax of the teacher's scores and $r$
# that of the student's, the divergence is $\sum_{i \in C} p_i \log
# \frac{p_i}{r_i}$. Training takes a sample $S$ of it, and both softmaxes run
# over $S$ alone:
#
# $$\mathcal{L}_S = \sum_{i \in S} p_{i|S} \log \frac{p_{i|S}}{r_{i|S}},
#   \qquad p_{i|S} = \frac{p_i}{\sum_{j \in S} p_j}.$$
#
# What lies outside $S$ does not enter, neither for the teacher nor for the
# student. Six passages, a teacher, and three students, each with one fault:

# %%
import numpy as np

from disco_lib.kl_estimate import kl
from disco_lib.tables import Table

toy = np.array([9.0, 8.0, 7.0, 3.0, 2.0, 1.0])
students = {
    "confuses the best": np.array([7.0, 8.0, 9.0, 3.0, 2.0, 1.0]),
    "confuses the worst": np.array([9.0, 8.0, 7.0, 1.0, 2.0, 3.0]),
    "loves the worst": np.array([9.0, 8.0, 7.0, 3.0, 2.0, 8.5]),
}
samples = {
    "all six": [0, 1, 2, 3, 4, 5],
    "three best": [0, 1, 2],
    "three worst": [3, 4, 5],
    "best and three worst": [0, 3, 4, 5],
}
rows = []
for fault, scores in students.items():
    row = {"student": fault}
    for name, chosen in samples.items():
        row[name] = f"{kl(scores[chosen], toy[chosen]):.3f}"
    rows.append(row)
Table.of(rows)

# %% [markdown]
# Each sample is blind to some fault and makes much of another. The three
# best never hear of the last student's fault, which would ruin its ranking.
# The three worst punish a confusion that no reader would ever see. And no
# sample tells the size of the whole. This is what has to be chosen with
# care.
#
# ## The arms
#
# The ways of sampling in the tier's grid `sampling` are called arms here.
# All their students start from the same encoder and make as many steps.
#
# - **window a-b**: the relevant passage, and others drawn uniformly from
#   ranks a+1 to b of the teacher's ranking, anew in every epoch. This is
#   DiSCo's way.
# - **top**: the relevant passage and the teacher's best others, always the
#   same: the hardest negatives.
# - **uniform**: from the whole collection; nearly all are easy.
# - **stratified**: equally many from each stretch of the teacher's scores.
# - **mixture**: half top, half uniform.
# - **batch**: the window, but the sum runs over the samples of all turns of
#   the batch, with the teacher's scores for all of them.

# %%
from disco_lib.experiments import Laboratory
from disco_lib.losses import Objective

lab = Laboratory()
print(lab.tier.name, "·", lab.tier.what)
arms = lab.tier.grid("sampling")
BASE = next(arm for arm, name in arms.items() if name == "student-kl")
print("the tier's own:", BASE)
rows = []
for arm, name in arms.items():
    settings = lab.student_settings(name)
    part = Objective(settings.objective).options("kl_divergence")
    rows.append(
        {
            "arm": arm,
            "kind": settings.sampler.kind,
            "negatives": settings.sampler.negatives,
            "relevant passage": settings.sampler.positive,
            "sum over": part.get("documents", "own"),
        }
    )
Table.of(rows)

# %% [markdown]
# One training turn, as every arm's trainer draws it in its first step:

# %%
import textwrap

from disco_lib.arms import draws

STEPS = 20
seen = draws(lab, list(arms.values()), STEPS)
teacher = lab.teacher_of("student-kl")
train = lab.collection.iter_turns(lab.tier.train)
turns = {turn.turn_id: turn for turn in train}
size = lab.student_settings("student-kl").batch_size
drawn = seen["student-kl"][:size]
first = [turns[teacher.turn_ids[draw.row]] for draw in drawn]
number = max(
    (i for i, t in enumerate(first) if t.positives),
    key=lambda i: first[i].depth,
)
turn = first[number]
rewriter = lab.tier.system("student-kl")["teachers"][0]
print(textwrap.fill(f"asked: {turn.utterance}", 72))
print(textwrap.fill(f"rewrite: {turn.rewrites[rewriter]}", 72))

# %% mystnb={"figure": {"caption": "What each arm draws for one turn. Above: the share of the teacher's probability that lies on the ranks up to x. Below: a mark for each drawn passage at the teacher's rank of it, passages that share no term with the rewrite at the right, counted. The dashed line is the relevant passage's rank. The axis of ranks is logarithmic. Compare where the mass lies with where the marks lie.", "name": "sampling-strips"}, "image": {"alt": "Rows of marks over the teacher's ranks on a logarithmic axis, one row an arm, below a curve of the teacher's cumulative probability."}}
from scipy.special import softmax

from disco_lib.arm_plots import rank_strips
from disco_lib.arms import teacher_ranks

row = seen["student-kl"][number].row
place = teacher.pids.index(turn.positives[0])
rank = int(teacher_ranks(teacher, row, np.array([place]))[0])
rank_strips(
    {arm: seen[name][number].ranks for arm, name in arms.items()},
    softmax(teacher.ranking(row)[1].astype(float)),
    positive=rank or None,
)

# %% [markdown]
# ## Mass and doubt
#
# Two numbers say what a draw holds. Its *mass*: the share of the teacher's
# probability, over its whole ranking, that lies on the passages drawn. Its
# *entropy*: how undecided the teacher is between the passages of the sample.
# Entropy 0 means that one passage has it all. Then the teacher's
# distribution over the sample is a label, and KLD is InfoNCE
# ({doc}`20_contrastive_term`): the teacher is asked a question to which a
# judgement would have been the answer.

# %%
from disco_lib.arms import masses
from disco_lib.significance import bootstrap_interval

held = {arm: masses(teacher, seen[name]) for arm, name in arms.items()}
silence = {
    arm: [
        np.log(len(draw.ranks)) - m.entropy
        for draw, m in zip(seen[arms[arm]], found, strict=True)
    ]
    for arm, found in held.items()
}


def spread(values, digits):
    low, high = bootstrap_interval(np.array(values))
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} [{low:.{digits}f},\u00a0{high:.{digits}f}]"


rows = []
for arm, found in held.items():
    drawn = seen[arms[arm]]
    listed = np.concatenate([d.ranks[d.ranks > 0] for d in drawn])
    outside = np.mean([(d.ranks == 0).mean() for d in drawn])
    count = np.mean([len(d.ranks) for d in drawn])
    rows.append(
        {
            "arm": arm,
            "passages": f"{count:.0f}",
            "median rank": f"{np.median(listed):.0f}",
            "not listed": f"{outside:.0%}",
            "mass": spread([m.mass for m in found], 2),
            "entropy (nats)": spread([m.entropy for m in found], 2),
            "KL of an empty query": spread(silence[arm], 2),
        }
    )
whole = np.mean([m.full_entropy for m in held[BASE]])
print(len(held[BASE]), "turns; entropy of the whole ranking", f"{whole:.2f}")
Table.of(rows)

# %% [markdown]
# Mind what makes mass: the relevant passage is in nearly every sample, and
# where the teacher is right it holds much of the probability by itself.
# Entropy says more: of two samples with the relevant passage, the one with
# its near rivals leaves the teacher in doubt, and doubt is what a teacher
# can pass on and a label cannot. But compare each entropy with that of the
# whole ranking. Where a sample's is far larger, the doubt is not the
# teacher's: a window that leaves the best ranks out puts a relevant passage
# from above it level with its own first one. More of this below.
#
# The last column is the price of silence. A query without a single term
# gives every passage the score 0, and its distribution over $n$ passages is
# uniform: its KL from the teacher is $\log n$ less the sample's entropy.
# Where the teacher's scores in the sample hardly differ, to say nothing is
# nearly as good as to say everything right.
#
# ## The students

# %%
from disco_lib.tradeoff import trade_off_table

records = {arm: lab.record(name) for arm, name in arms.items()}
one = records[BASE]
print(len(one.turn_ids), "turns, seeds", ", ".join(one.seeds))
METRICS = ["MRR@10", "nDCG@3", "R@10", "R@100"]
trade_off_table(records, "arm", METRICS, ["active_terms"])

# %% [markdown]
# Look at the column of active terms first. A student that has none any more
# finds nothing, and no other number of it means anything:

# %%
DEAD = 1.0  # active terms in the mean
died = [a for a, r in records.items() if r.cost("active_terms") < DEAD]
alive = {arm: r for arm, r in records.items() if arm not in died}
for arm in died:
    print(f"{arm}: dead; an empty query's KL {np.mean(silence[arm]):.2f},")
    print(f"    in {BASE} it is {np.mean(silence[BASE]):.2f}")
print(len(alive), "arms are left")

# %% [markdown]
# If an arm is named here, its samples are those that silence costs least.
# The regulariser presses on every term, the KL has little to hold against
# it, and once a query has no term left there is no gradient that could
# bring one back. (A loss against that is in the library, `anti_zero`; the
# students here are trained without it.) In the figures below such arms are
# left out, since next to them all others would be one; in the tables and in
# the verdict they stay.

# %% mystnb={"figure": {"caption": "Each arm's student less the student of the tier's own window, paired by turn, with 95 % intervals. Left of the dashed line an arm is worse. The tables below correct for the number of arms.", "name": "sampling-differences"}, "image": {"alt": "One row an arm: a dot with an interval for the difference in MRR at 10 from the tier's own window, around a dashed line at zero."}}
from disco_lib.choice_panels import differences
from disco_lib.sparsity_plots import difference_bars

bars = differences(alive, BASE, "MRR@10")
difference_bars(
    {arm: at for arm, at in bars.items() if arm != BASE},
    xlabel=f"difference in MRR@10 from {BASE}",
)

# %%
from disco_lib.gains import gain_rows, gains


def against(found, base, metrics):
    pairs = [(name, base) for name in found if name != base]
    rows = gain_rows(gains(found, pairs, metrics))
    return [
        {"arm": row.pop("system")} | row
        for row in rows
        if row.pop("over") == base
    ]


Table.of(against(records, BASE, "MRR@10"))

# %%
Table.of(against(records, BASE, "R@100"))

# %% [markdown]
# ## How near does each come to its teacher?
#
# The loss of a training cannot be compared between arms: each has its own
# passages, and an easy sample has a small loss. So ask all students the same
# question: the KL divergence of their scores from the teacher's on *test*
# turns, over the whole ranking of the teacher, whatever they were shown in
# training.

# %%
from disco_lib.held_out_kl import kl_rows

Table.of(kl_rows(records, BASE, "arm"))

# %% [markdown]
# ## Why
#
# Now put the two together: on one side what an arm shows, which is known
# before any training; on the other what became of its student.

# %% mystnb={"figure": {"caption": "What an arm shows (horizontal) against what becomes of its student (vertical), one marker an arm: differences from the tier's own window, paired by turn, with 95 % intervals. Above: MRR@10, higher is better. Below: KL divergence to the teacher on test turns, lower is nearer. Does either quantity order the arms?", "name": "sampling-why"}, "image": {"alt": "Four panels with one marker an arm: differences in MRR at 10 and in held-out KL divergence, each against the teacher's mass and against the entropy of the sample."}}
from dataclasses import replace

from disco_lib.arm_plots import marked_panels
from disco_lib.held_out_kl import kl_differences

shows = {
    "mass of the teacher in the sample": {
        arm: np.mean([m.mass for m in found])
        for arm, found in held.items()
    },
    "entropy of the sample (nats)": {
        arm: np.mean([m.entropy for m in found])
        for arm, found in held.items()
    },
}
becomes = {
    "MRR@10": differences(alive, BASE, "MRR@10"),
    "KL to the teacher (nats)": kl_differences(alive, BASE),
}
marked_panels(
    [
        (
            xlabel,
            f"difference in {ylabel}",
            {arm: replace(at, x=x[arm]) for arm, at in found.items()},
        )
        for ylabel, found in becomes.items()
        for xlabel, x in shows.items()
    ]
)

# %% [markdown]
# Few arms are few points. A correlation over them has a wide interval,
# and one arm can make it by itself:

# %%
from disco_lib.tradeoff import correlation_table

pairs = {}
for ylabel, found in becomes.items():
    for xlabel, x in shows.items():
        if len(found) > 1:
            pairs[f"{xlabel.split()[0]}, {ylabel.split(' (')[0]}"] = (
                np.array([x[arm] for arm in found]),
                np.array([at.value for at in found.values()]),
            )
near = becomes["KL to the teacher (nats)"]
if len(near) > 1:
    pairs["KL to the teacher, MRR@10"] = (
        np.array([at.value for at in near.values()]),
        np.array([becomes["MRR@10"][arm].value for arm in near]),
    )
correlation_table(pairs, "over the arms")

# %% [markdown]
# Read the last row with care. A student near its teacher is not yet a good
# one: it may copy the teacher's tail, which nobody reads, or stay away from
# the teacher where that is wrong ({doc}`20_contrastive_term`).
#
# ## The relevant passage
#
# An arm has to say what becomes of the relevant passage, too. DiSCo's code
# adds it to every sample. If the teacher ranks it in the window, it has the
# teacher's score. If not, it gets the window's *highest* score, be it from
# rank 5 or rank 5,000. That is a label put into the teacher's mouth, and the
# paper does not mention it. How often does it speak here?

# %%
from disco_lib.sampling import WindowSampler
from disco_lib.tiers import load_tier

place = {pid: i for i, pid in enumerate(teacher.pids)}
judged = {
    row: place[turns[turn_id].positives[0]]
    for row, turn_id in enumerate(teacher.turn_ids)
    if turns[turn_id].positives
}
rank_of = {
    row: teacher_ranks(teacher, row, np.array([number]))[0]
    for row, number in judged.items()
}
ranks = np.array(list(rank_of.values()))
recipe = WindowSampler(**load_tier("paper").distil["sampler"])
rows = []
for name, sampler in (
    ("this tier", lab.student_settings("student-kl").sampler),
    ("the public recipe", recipe),
):
    above = (ranks > 0) & (ranks <= sampler.start)
    inside = (ranks > sampler.start) & (ranks <= sampler.end)
    rows.append(
        {
            "window of": name,
            "ranks": f"{sampler.start + 1} to {sampler.end}",
            "above it": f"{above.mean():.1%}",
            "inside": f"{inside.mean():.1%}",
            "below or not listed": f"{(~above & ~inside).mean():.1%}",
        }
    )
print(len(ranks), "training turns; where the relevant passage stands")
Table.of(rows)

# %% [markdown]
# The recipe's window begins at rank 11. Look at the column *above it*: for
# these turns the relevant passage ties with rank 11, and the teacher's
# distribution over the sample has two equal heads. A window from rank 1 on
# has no such turns. The three treatments of the grid `positive`, for one
# turn whose relevant passage stands lowest in the teacher's ranking:

# %%
ways = lab.tier.grid("positive")
lowest = max(rank_of, key=lambda row: rank_of[row])
turn = turns[teacher.turn_ids[lowest]]
rows = []
for way, name in ways.items():
    sampler = lab.student_settings(name).sampler
    sample = sampler.sample(
        *teacher.ranking(lowest),
        place[turn.positives[0]],
        len(teacher.pids),
        np.random.default_rng(0),
    )
    share = softmax(sample.scores.astype(float))
    there = sample.positive == 0
    rows.append(
        {
            "positive": way,
            "in the sample": "yes" if there else "no",
            "its score": f"{sample.scores[0]:.2f}" if there else "",
            "its probability": f"{share[0]:.3f}" if there else "",
            "best other": f"{sample.scores[int(there):].max():.2f}",
        }
    )
print(textwrap.fill(f"rewrite: {turn.rewrites[rewriter]}", 72))
Table.of(rows)

# %% [markdown]
# And the students:

# %%
treated = {way: lab.record(name) for way, name in ways.items()}
trade_off_table(treated, "positive", METRICS, ["active_terms"])

# %%
own = next(way for way, name in ways.items() if name == "student-kl")
rows = against(treated, own, ["MRR@10", "R@100"])
Table.of([{"positive": row.pop("arm")} | row for row in rows])

# %% [markdown]
# *none* is the purest distillation: a turn's judgement is not used at all.
# If it is not worse, the teacher alone suffices, and turns that nobody has
# judged could be learnt from as well. If it is worse, ask which of two
# things is missed: the label, or the teacher's own best passage. Both are
# often the same passage. How many draws hold the latter?

# %%
for name, drawn in draws(lab, list(ways.values()), STEPS).items():
    way = next(w for w, n in ways.items() if n == name)
    best = np.mean([(d.ranks == 1).any() for d in drawn])
    print(f"{way:8} {best:.0%} of {len(drawn)} draws")

# %% [markdown]
# A sample that is certain to hold the teacher's best passage needs no label
# for that. Nobody has trained such a student here: an arm *top* without the
# relevant passage would be one.
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
verdict_table(verdict)

# %% [markdown]
# And every tier with stored records:

# %%
from disco_lib.tables import verdicts_by_tier

stored = [judge(claim, tier) for tier in tiers_measured()]
judged = any(v.findings for v in stored)
verdicts_by_tier(stored) if judged else Words(
    "No tier has stored records of these students."
)

# %% [markdown]
# With the real conversations of `qrecc` the arms come apart. The teacher's
# best passages alone lose in both metrics: they are so much alike that their
# scores say little about everything else. A uniform draw loses recall and no
# precision: it seldom shows the student a passage that is nearly right.
#
# What is particular about the tier `mini`: its collection is so small that a
# window down to rank 1,000 is nearly all of it, and that even a uniform draw
# meets the turn's topic now and then. In a collection of millions the arms
# lie further apart than here (exercise 1).
#
# ```{admonition} On an A100
# :class: note
# The tier `paper` has the public recipe's window, ranks 11 to 960, with 16
# negatives. The authors of the second paper have published configurations
# with windows of other ends and with uniform draws; the other arms are ours.
# Put `shared: [efficiency]` into the tier's file, which brings the grids of
# these chapters, and run this chapter with `DISCO_TIER=paper`. We have not run it. The
# arms *uniform*, *top*, *stratified*, *mixture* and *batch* ask for exact
# scores of passages that the teacher's run does not list: they need the
# teacher's query vectors, which a run read from JSON does not hold.
# ```
#
# ## Exercises
#
# **1. A larger collection.** How likely does a uniform draw of this tier's
# size hold at least one of the teacher's hundred best passages, here and in
# TopiOCQA's collection? How often would a training see one?

# %% tags=["hide-cell"]
# Answer: draws without replacement, the hypergeometric distribution.
from scipy.stats import hypergeom

from disco_lib.papers import load_paper

n = lab.student_settings("sampling-uniform").sampler.negatives
cell = load_paper("disco").row("1", "TopiOCQA test")["values"]["TopiOCQA"]
for name, N in (
    ("here", len(teacher.pids)),
    ("TopiOCQA", cell["passages"]),
):
    p = 1 - hypergeom.pmf(0, N, 100, n)
    print(f"{name}: {N:,} passages, probability {p:.5f}")
    print(f"    one draw in {1 / p:,.0f}")

# %% [markdown]
# **2. One test for all.** Every pair of arms could be tested. Test in one go
# whether the arms that are alive differ at all: if they did not, a turn's
# values could be exchanged among them. Shuffle them within each turn, and
# see how often the arms' means lie as far apart as they do.

# %% tags=["hide-cell"]
# Answer: a permutation test of the variance of the arms' means.
rng = np.random.default_rng(0)
for metric in ("MRR@10", "R@100"):
    values = np.stack([r.per_turn(metric) for r in alive.values()])
    seen_variance = values.mean(axis=1).var()
    shuffled = [
        rng.permuted(values, axis=0).mean(axis=1).var()
        for _ in range(2000)
    ]
    more = np.sum(np.array(shuffled) >= seen_variance)
    print(f"{metric}: p = {(more + 1) / 2001:.4f}")

# %% [markdown]
# **3. The same again.** The arm *top* shows a turn the same passages in
# every epoch, a window shows others. How many different passages does a turn
# see in three epochs of each? What could be said for showing the same?

# %% tags=["hide-cell"]
# Answer: repetition is practice; novelty is coverage.
steps = 3 * (len(teacher.turn_ids) // size)
names = [arms[arm] for arm in ("top", BASE)]
for name, drawn in draws(lab, names, steps).items():
    by_turn = {}
    for d in drawn:
        by_turn.setdefault(d.row, set()).update(d.sample.documents.tolist())
    count = np.mean([len(documents) for documents in by_turn.values()])
    print(f"{name:14} {count:.0f} passages a turn")

# %% [markdown]
# **4. Weights instead of windows.** A uniform sample could be weighed: count
# each of its passages $|C| / |S|$ times in the sums of both softmaxes. Would
# the KL of such samples be right on average? What goes wrong in practice?
#
# ```{admonition} Answer
# :class: dropdown
# The two sums over the collection would be right on average, their logarithm
# and quotient only nearly. But nearly all of $\sum_i e^{\tau_i}$ comes from a
# few passages. A sample that misses them underestimates it by orders of
# magnitude, one that meets them overestimates it as much: no bias, and a
# variance that swamps everything. A window puts the sample where the sum is
# large, and takes the bias. Chapter 22 measures both.
# ```
