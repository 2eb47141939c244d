# %% [markdown]
# # Teacher scores and selection: what is worth learning?
#
# **A teacher's similarity scores are labels that cost nothing but its time;
# selective distillation keeps the highest of them, and what it keeps is not
# a smaller copy of what there was.**
#
# After this chapter you can make pairs of a conversation's turns, have a
# dense teacher score them, choose pairs by five kinds of rule, and say what
# a rule throws away. You will also know the difference between a high score
# and a sure teacher.

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
# ## A third way to be fast
#
# DiSCo distils a *rewrite* into a sparse query encoder. A student report
# {cite}`jain2025selective` takes another road: the query is already
# rewritten, and what is to become cheap is the encoder, a large dense one.
# Its student is smaller and has a projection to fewer dimensions. It learns
# from the large one's similarity scores of question and answer, and not
# from all of them:

# %%
from disco_lib.papers import load_paper
from disco_lib.tables import Words

paper = load_paper("selective")
recipe = paper.recipe
Words(
    f"> Percentile of the report's choice: {recipe['percentile']}. "
    f"Thresholds it tries: the percentiles "
    f"{', '.join(map(str, recipe['thresholds']))}, and the mean plus "
    f"{' or '.join(map(str, recipe['deviations']))} standard deviations."
)

# %% [markdown]
# This part of the book runs the report's pipeline, fills the cells of its
# tables that it left open, and judges its claims. This chapter has the data
# and the selection; no student is trained yet.
#
# ## Pairs
#
# A pair is the best query and the best document that a turn has. The query
# is the rewrite, or else what the user typed; the document is the answer,
# or else a relevant passage, or else the history. Then come trimming,
# repeats, and least lengths. Counted step by step:

# %%
from dataclasses import asdict

from disco_lib.dense_experiments import DenseLaboratory
from disco_lib.pairs import pairs_of_collection
from disco_lib.tables import Table

lab = DenseLaboratory(progress=False)
print(lab.tier.name, "·", lab.tier.what)
found = pairs_of_collection(
    lab.collection(), lab.tier.train, lab.setup["rewriter"]
)
Table.of(
    [
        {"step": step.replace("_", " "), "turns": str(count)}
        for step, count in asdict(found.counts).items()
    ]
)

# %%
import textwrap

for pair in found.pairs[:3]:
    print(textwrap.fill("Q  " + pair.query, 72))
    print(textwrap.fill("D  " + pair.document, 72), end="\n\n")

# %% [markdown]
# ## The teacher's scores
#
# The teacher encodes both sides, and a score is the cosine of the two
# vectors. By hand, for the first pair:

# %%
import numpy as np

teacher = lab.teacher
length = lab.setup["teacher_length"]
q, d = (
    teacher.encode([text], length)[0]
    for text in (found.pairs[0].query, found.pairs[0].document)
)
print(f"{q @ d / (np.linalg.norm(q) * np.linalg.norm(d)):.3f}")

# %% [markdown]
# For all pairs the vectors are made once and kept, since they serve every
# student that will ever learn from this teacher. (A selection therefore
# saves none of the teacher's work: it has to score a pair before anyone can
# say that the pair is not wanted.)

# %%
pairs = lab.train_pairs
scores = pairs.annotation.scores.astype(np.float64)
print(f"{len(scores)} scores, the first {scores[0]:.3f}")

# %% [markdown]
# Beside the report's summary. Teacher and data are others, so the numbers
# need not agree; what to look at is the form.

# %%
from disco_lib.selection import Summary

here = Summary.of(scores)
shown = {
    "mean": ("teacher-mean", here.mean),
    "standard deviation": ("teacher-std", here.std),
    "median": ("teacher-median", here.median),
    "lowest": ("teacher-min", here.low),
    "highest": ("teacher-max", here.high),
    "pairs": ("pairs", here.n),
}
Table.of(
    [
        {
            "": name,
            "report": f"{paper.fact(fact)['value']:g}",
            "here": f"{value:.4g}",
        }
        for name, (fact, value) in shown.items()
    ]
)

# %% mystnb={"figure": {"caption": "The teacher's scores of all training pairs. The dashed line is the report's threshold, the 80th percentile: what lies to its left is not learnt from. There is no gap at which a threshold would offer itself.", "name": "selection-scores"}, "image": {"alt": "Histogram of cosines of question and answer with one hump, and a dashed line on its right flank."}}
from disco_lib import plots

cut = np.percentile(scores, recipe["percentile"])
plots.adjusted(
    plots.histogram(
        scores,
        xlabel="teacher's similarity of query and document (cosine)",
        ylabel="share of pairs",
        bins=40,
    ),
    line=(cut, f"{recipe['percentile']}th percentile"),
)

# %% [markdown]
# Is a high score a high score because the pair belongs together? Compare
# with pairs that do not: each query with the next turn's document, and with
# the documents of everyone else.

# %%
everything = pairs.annotation.similarities(documents=pairs.pool.first)
own = np.zeros(everything.shape, dtype=bool)
own[np.arange(len(own)), pairs.pool.numbers] = True
neighbour = pairs.annotation.similarities()[
    np.arange(len(scores) - 1), np.arange(1, len(scores))
]
groups = {
    "own document": scores,
    "next turn's document": neighbour,
    "any other document": everything[~own][:: max(1, len(scores) // 20)],
}

# %% mystnb={"figure": {"caption": "Density of the teacher's scores for a query's own document, that of the next turn, and any other. A threshold on the score alone takes some neighbours for relevant and leaves out many own documents.", "name": "selection-densities"}, "image": {"alt": "Three density curves over the cosine: other documents near zero, the next turn's in the middle, own documents furthest right, overlapping widely."}}
from disco_lib.score_plots import cumulative, densities

plots.curves(
    densities(groups), "teacher's similarity (cosine)", "density"
)

# %% mystnb={"figure": {"caption": "The same as distribution functions: the share of pairs with at most that score. Read a threshold on the horizontal axis and what it leaves out on the vertical one.", "name": "selection-cumulative"}, "image": {"alt": "Three rising curves from 0 to 1; that of other documents rises first, that of own documents last."}}
plots.curves(
    cumulative(groups),
    "teacher's similarity (cosine)",
    "share of pairs with at most as much",
)

# %% [markdown]
# ## Rules
#
# A selection takes scores and gives the places of what is kept. The
# report's own is one line:

# %%
kept = np.flatnonzero(scores >= np.percentile(scores, 80))
print(len(kept), "of", len(scores), "pairs")

# %% [markdown]
# The library has it as one of several rules behind one call, `select`. The
# tier's file lists what the next chapters compare: percentiles, the mean
# plus some standard deviations, an even spread over score bands
# (*stratified*), a blind draw (*random*), and the teacher's uncertainty.

# %%
names = lab.tier.grid("selection")
rules = {
    text: lab.student_settings(name).selection
    for text, name in names.items()
}
picked = {text: lab.chosen(name, 1) for text, name in names.items()}
rows = []
for text, chosen in picked.items():
    own_scores = scores[chosen.places]
    limit = chosen.selection.threshold
    rows.append(
        {
            "rule": text,
            "looks at": "uncertainty"
            if rules[text].kind == "uncertainty"
            else "score",
            "threshold": "" if np.isnan(limit) else f"{limit:.3f}",
            "pairs": len(own_scores),
            "share": f"{len(own_scores) / len(scores):.0%}",
            "mean score": f"{own_scores.mean():.3f}",
            "std": f"{own_scores.std():.3f}",
        }
    )
Table.of(rows)

# %% [markdown]
# Look at the last column. A threshold cuts the *spread* of the scores more
# than anything else: what is left to learn about how similar a pair is has
# a fraction of the variance that it had. A student that says the same
# number for every pair is nearly right. The next chapter comes back to
# this.
#
# ## A high score is not a sure teacher
#
# The report calls the score the teacher's *confidence*. A classifier's
# probability is one; a cosine is a statement about two texts, made without
# a look at any third one. Whether the teacher is *sure* that a document is
# the right one is a question about the alternatives. Does it rank the
# pair's own document first among all?

# %%
from disco_lib.selection_profile import quarters

# Compared within one matrix: the same cosine computed twice can differ in
# its last bits, and would then rank behind itself.
rank = 1 + (everything > everything[own][:, None]).sum(axis=1)

quarter = np.array(quarters(scores, digits=2))
Table.of(
    [
        {
            "quarter of the score": name,
            "pairs": int((quarter == name).sum()),
            "own document is first": f"{(rank[quarter == name] == 1).mean():.0%}",
            "among the first ten": f"{(rank[quarter == name] <= 10).mean():.0%}",
        }
        for name in sorted(set(quarter))
    ]
)

# %% [markdown]
# Uncertainty proper, from the softmax over all documents of the pool: 1
# minus the lead of the best over the second best. It needs a temperature,
# since cosines lie so near each other that a softmax of them is flat:

# %%
from disco_lib.selection import uncertainty

own_rule = rules["uncertain"]
rows = []
for temperature in (1.0, 0.1, own_rule.temperature):
    for measure in ("entropy", "margin"):
        values = uncertainty(everything, measure, temperature)
        low, middle, high = np.percentile(values, [5, 50, 95])
        rows.append(
            {
                "measure": measure,
                "temperature": f"{temperature:g}",
                "5 %": f"{low:.3f}",
                "median": f"{middle:.3f}",
                "95 %": f"{high:.3f}",
            }
        )
Table.of(rows)

# %% mystnb={"figure": {"caption": "Score and uncertainty of every training pair. If a high score were confidence, the dots would fall from the upper left to the lower right; look at how wide the band is at any one score.", "name": "selection-uncertainty"}, "image": {"alt": "Scatter of uncertainty between 0 and 1 over the cosine, a broad cloud."}}
unsure = uncertainty(everything, own_rule.measure, own_rule.temperature)
plots.scatter(
    {"a pair": (scores, unsure)},
    "teacher's similarity (cosine)",
    "teacher's uncertainty (1 − lead)",
)

# %%
from disco_lib.alignment import spearman

print(f"rank correlation {spearman(scores, unsure):+.2f}")

# %% [markdown]
# The report contradicts itself here. Its text keeps what the teacher is
# *sure* of, its procedure keeps `uncertainty > threshold`, the samples it
# is *unsure* of. Both are rules of the table above (*certain*,
# *uncertain*), and the ablations of a later chapter train with what the
# procedure says.
#
# ## Selection is not neutral
#
# What do the kept pairs look like? Long and short questions, long and short
# documents, the depth of the turn, where its document came from, its topic:
# if a rule were neutral, it would keep the same share of every group.

# %%
from disco_lib.selection_profile import profile, profile_table

turns = {
    turn.turn_id: turn
    for turn in lab.collection().iter_turns(lab.tier.train)
}
asked = [turns[pair.turn_id] for pair in pairs.pairs]
compared = ["p80", "stratified", "random", "uncertain"]


def profiles(groups):
    return {
        text: profile(groups, picked[text].places) for text in compared
    }


queries = [len(pair.query.split()) for pair in pairs.pairs]
profile_table(profiles(quarters(queries)), "words of the query")

# %%
documents = [len(pair.document.split()) for pair in pairs.pairs]
profile_table(profiles(quarters(documents)), "words of the document")

# %%
depths = [f"{min(turn.depth, 6)}{'+' * (turn.depth > 5)}" for turn in asked]
profile_table(profiles(depths), "depth of the turn")

# %%
sources = [pair.document_field for pair in pairs.pairs]
profile_table(profiles(sources), "the document is")

# %%
topics = [str(turn.extra.get("domain", "not told")) for turn in asked]
profile_table(profiles(topics), "topic")

# %% mystnb={"figure": {"caption": "How strongly each rule depends on each property of a pair: Cramér's V, 0 where the rule keeps the same share of every group. The blind draw shows what chance alone gives.", "name": "selection-bias"}, "image": {"alt": "One line a rule over five properties of a pair; the random draw lies lowest, the percentile rule highest."}}
from disco_lib.choice_panels import Panel, choice_panels
from disco_lib.plots import Point

properties = {
    "query": quarters(queries),
    "document": quarters(documents),
    "depth": depths,
    "source": sources,
    "topic": topics,
}
every = {name: profiles(groups) for name, groups in properties.items()}
choice_panels(
    [
        Panel(
            {
                rule: {
                    name: Point(*[found[rule].v] * 3)
                    for name, found in every.items()
                }
                for rule in compared
            },
            list(properties),
            "property of the pair",
            "dependence (Cramér's V, 0 to 1)",
        )
    ],
    columns=1,
)

# %% [markdown]
# Here are the pairs at both ends. Read the lowest ones: are they noise?

# %%
order = np.argsort(scores)
for place in [*order[:3], *order[-2:]]:
    print(f"{scores[place]:.2f}")
    print(textwrap.fill("Q  " + pairs.pairs[place].query, 72))
    print(
        textwrap.fill(
            "D  " + textwrap.shorten(pairs.pairs[place].document, 200), 72
        ),
        end="\n\n",
    )

# %% [markdown]
# A similarity is high where question and answer use the same words. An
# answer that says something new, which is what answers are for, scores
# lower. Whether a student is better without it is an empirical question;
# the study of thresholds asks it.
#
# ## The verdict
#
# The report gives a reason for its selection: "higher scores typically
# correspond to clearer semantic alignment" (section 3.4). As a rule that
# can fail: the teacher finds the pair's own document more often among the
# selected pairs than among the others. Fisher's exact test, two-sided, at
# 5 %:

# %%
from scipy.stats import fisher_exact

from disco_lib.tables import p_value

inside = np.zeros(len(scores), dtype=bool)
inside[picked["p80"].places] = True
counts = [
    [int(((rank == 1) & part).sum()), int(((rank != 1) & part).sum())]
    for part in (inside, ~inside)
]
test = fisher_exact(counts)
share = [first / (first + other) for first, other in counts]
holds = test.pvalue < 0.05 and share[0] > share[1]
print(f"own document first: {share[0]:.0%} of the selected pairs,")
print(f"                    {share[1]:.0%} of the others, p {p_value(test.pvalue)}")
print("the rule holds" if holds else "the rule does not hold")
print(f"but the threshold leaves out {counts[1][0]} pairs")
print(f"whose document the teacher ranks first, and keeps {counts[0][0]}")

# %% [markdown]
# Both can be true at once: a high score is a better pair *on the average*,
# and a threshold on it still throws away pairs of which the teacher is as
# sure as one can be. The last two lines count them. What a student makes of
# the pairs that are kept is the question of {doc}`31_hybrid_student` and
# {doc}`32_thresholds`.
#
# ```{admonition} On an A100
# :class: note
# The tier `paper` names the report's teacher and student. With the tens of
# thousands of pairs of QReCC the teacher's pass is a matter of minutes; its
# embeddings take 768 numbers a text, 4 bytes each. We have not run it.
# ```
#
# ## Exercises
#
# **1. What a percentile keeps.** How many pairs does a percentile rule keep
# if a tenth of all scores are equal to its threshold? Try it.

# %% tags=["hide-cell"]
# Answer: all that tie with it are kept, so more than asked for.
from disco_lib.selection import select

tied = np.r_[np.linspace(0, 0.5, 75), np.full(10, 0.6), np.full(15, 0.9)]
print(len(select(tied, {"kind": "percentile", "percentile": 80}).kept))

# %% [markdown]
# **2. Normal scores.** If scores were normally distributed, which share
# would mean plus half a deviation keep, and mean plus one? And here?

# %% tags=["hide-cell"]
# Answer: 31 % and 16 %.
from scipy.stats import norm

for text, deviations in (("half a deviation", 0.5), ("one deviation", 1.0)):
    measured = len(picked[text].places) / len(scores)
    print(f"{text}: normal {norm.sf(deviations):.0%}, here {measured:.0%}")

# %% [markdown]
# **3. The spread that is left.** A normal distribution is cut at its 80th
# percentile. By which factor does its standard deviation shrink? Compare
# with the table of rules.

# %% tags=["hide-cell"]
# Answer: var = 1 + a m - m^2, with a the cut and m the mean above it.
a = norm.ppf(0.8)
m = norm.pdf(a) / norm.sf(a)
left = np.sqrt(1 + a * m - m**2)
print(f"normal {left:.2f}, here {scores[inside].std() / scores.std():.2f}")

# %% [markdown]
# **4. A fair threshold.** Give each topic its own 80th percentile. Does the
# selection still depend on the topic? On the words of the query?

# %% tags=["hide-cell"]
# Answer: on the topic no more; on the rest nearly as before.
labels = np.array(topics)
fair = np.concatenate(
    [
        (places := np.flatnonzero(labels == topic))[
            scores[places] >= np.percentile(scores[places], 80)
        ]
        for topic in sorted(set(topics))
    ]
)
for name in ("topic", "query"):
    found = profile(properties[name], fair)
    before = every[name]["p80"]
    print(f"{name}: V {before.v:.2f} before, {found.v:.2f} after")
