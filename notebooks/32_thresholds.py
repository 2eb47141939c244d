# %% [markdown]
# # Thresholds: does it pay to learn from less?
#
# **A selection changes what is learnt, how many pairs there are and how
# long the training is, all at once; only an experiment that holds two of
# the three can say what the third one does.**
#
# After this chapter you can compare selections at equal passes, at equal
# steps and at equal pairs, say which of the three a question needs, and
# read the report's Table 2 with all its cells filled.

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
# The report {cite}`jain2025selective` trains on the pairs from the 80th
# percentile of the teacher's scores on ({doc}`30_teacher_scores`), and says
# why. Its Table 2 has numbers in one row only.

# %%
from disco_lib.claim_table import claims_table
from disco_lib.claims import judge
from disco_lib.dense_experiments import DenseLaboratory
from disco_lib.papers import load_paper
from disco_lib.tables import Table, find_claim

lab = DenseLaboratory(progress=False)
print(lab.tier.name, "·", lab.tier.what)
paper = load_paper("selective")
ids = ["sel-moderate-filtering", "sel-high-thresholds", "sel-p80-best"]
claims = [find_claim("selective", name) for name in ids]
Table.of([{"claim": c.statement, "where": c.where} for c in claims])

# %% [markdown]
# What the rules had to decide before a student was trained:

# %%
Table.of([{"claim": c.id, "how it is judged": c.note} for c in claims])

# %% [markdown]
# ## Three fair comparisons
#
# Say that a rule keeps a fifth of the pairs. At equal *passes* (epochs),
# which is how the report trains, its student makes a fifth of the steps. If
# it is worse, was it the choice of pairs or the short training? At equal
# *steps* both work as long, and the student of few pairs sees each one more
# often. At equal *pairs* every rule is cut, by a blind draw, to as many
# pairs as the strictest one keeps; what differs then is the choice alone.

# %%
GRIDS = {
    "equal passes": "selection-epochs",
    "equal steps": "selection",
    "equal pairs": "selection-pairs",
}
found = {
    way: {
        text: lab.record(name)
        for text, name in lab.tier.grid(grid).items()
    }
    for way, grid in GRIDS.items()
}
one = found["equal steps"]["none"]
print(f"{len(one.turn_ids)} held-out turns, seeds", *one.seeds)

# %%
rows = []
for way, records in found.items():
    for text in ("none", "p80", "p90"):
        record = records[text]
        pairs, steps = record.cost("pairs"), record.cost("steps")
        size = lab.student_settings(record.system).batch_size
        tera = record.cost("training_flops") / 1e12
        rows.append(
            {
                "comparison": way,
                "rule": text,
                "pairs": f"{pairs:.0f}",
                "steps": f"{steps:.0f}",
                "each pair is seen": f"{steps * size / pairs:.1f} times",
                "training, TFLOP": f"{tera:.2f}",
            }
        )
Table.of(rows)

# %% [markdown]
# ## Table 2, filled
#
# The report's own comparison, at equal passes. Its cells *0.xx* were never
# measured. Teacher, student and data are others here, so compare down a
# tier's rows, not across. R@10 is the recall of a search over the collection;
# what the report calls so is agreement@10 ({doc}`31_hybrid_student`), which
# the second table has. Tiers with stored records stand in it too.

# %%
from disco_lib.claims import tiers_measured
from disco_lib.dense_views import beside_report, study_table
from disco_lib.records import published_records

stored = {tier: published_records(tier) for tier in tiers_measured()}
by_system = {r.system: r for r in found["equal passes"].values()}
tiers = {**stored, lab.tier.name: by_system}
beside_report(
    paper.tables["2"]["rows"], tiers, ["Pearson", "MAE", "R@10"]
)

# %%
METRICS = ["Pearson", "MAE", "R@10", "MRR@10"]
COSTS = ["pairs", "agreement@10"]
study_table(found["equal passes"], "rule", METRICS, COSTS)

# %% [markdown]
# The same at equal steps, with all rules:

# %%
study_table(found["equal steps"], "rule", METRICS, COSTS)

# %% [markdown]
# And at equal pairs. Here *none* is a blind draw.

# %%
study_table(found["equal pairs"], "rule", METRICS, COSTS)

# %% mystnb={"figure": {"caption": "Four measures over the percentile from which pairs are kept, in the three comparisons, with 95 % intervals over turns. For the MAE lower is better. If all three lines of a panel fall or rise alike, the choice of pairs does it; where only that of equal passes does, it is the length of the training.", "name": "thresholds-metrics"}, "image": {"alt": "Four panels, Pearson's r, MAE, recall at 10 and MRR at 10, each with three lines over the percentile."}}
from disco_lib.choice_panels import Panel, choice_panels, means

choices = [c for c in found["equal passes"] if c[0] == "p" or c == "none"]


def percentiles(records):
    return {text: records[text] for text in choices}


choice_panels(
    [
        Panel(
            {
                way: means(percentiles(records), metric)
                for way, records in found.items()
            },
            choices,
            "percentile from which pairs are kept",
            metric,
        )
        for metric in ("Pearson", "MAE", "R@10", "MRR@10")
    ]
)

# %% mystnb={"figure": {"caption": "Each selection less no selection, paired by turn, with 95 % intervals. Above the dashed line the selection has helped (for the MAE, below it).", "name": "thresholds-differences"}, "image": {"alt": "Four panels of paired differences from training on all pairs, over the percentile, around a dashed line at zero."}}
from disco_lib.choice_panels import differences

choice_panels(
    [
        Panel(
            {
                way: differences(percentiles(records), "none", metric)
                for way, records in found.items()
            },
            choices,
            "percentile from which pairs are kept",
            f"{metric}, less that of all pairs",
        )
        for metric in ("Pearson", "MAE", "R@10", "MRR@10")
    ]
)

# %% [markdown]
# ## Is it the score?
#
# A rule by score has to beat a blind draw of as many pairs. At equal steps:

# %%
from disco_lib.gains import gain_rows, gains

steps = found["equal steps"]
against = [
    (text, "random")
    for text in ("p80", "stratified", "uncertain", "certain")
]
Table.of(gain_rows(gains(steps, against, ["Pearson", "R@10", "MRR@10"])))

# %% [markdown]
# On `mini` the two questions have two answers. In a search the pairs of high
# scores make the better student, by far. In how closely it follows the
# teacher's scores they do not: there a blind draw is as good, and for the
# MAE over all held-out pairs better.
#
# ## What each student can do where
#
# A student of high scores only has seen high scores only. Its errors on
# held-out pairs like those it learnt from, and on the others:

# %%
import numpy as np

from disco_lib.alignment import align
from disco_lib.dense_views import pair_scores

rows = []
for text in ("none", "p80", "p90", "stratified", "random"):
    row = {"rule": text}
    for name, wanted in (("selected", True), ("the rest", False)):
        each = [
            align(t[(t >= lab.selected_from) == wanted],
                  s[(t >= lab.selected_from) == wanted])
            for t, s in pair_scores(steps[text]).values()
        ]
        row[f"MAE, {name}"] = f"{np.mean([a.mae for a in each]):.3f}"
        row[f"bias, {name}"] = f"{np.mean([a.bias for a in each]):+.3f}"
    rows.append(row)
Table.of(rows)

# %% [markdown]
# So the order of the rules depends on the pairs that are asked. The student
# of all pairs rates those of `mini` too high: it looks best where the
# teacher's scores are high, and is the worst by far where they are not. An
# evaluation on selected pairs alone, as the report's, sees the first half.
#
# ## What it costs
#
# Operations of the training against what it buys. The teacher's pass over
# all pairs, which every rule needs, is not in it; it would move all points
# to the right alike.

# %% mystnb={"figure": {"caption": "MRR@10 of a search over the collection against the operations of the training, with 95 % intervals over turns. A selection pays if its point lies above those of the students that were trained as long on other pairs.", "name": "thresholds-cost"}, "image": {"alt": "Points with intervals over training operations: a labelled point for each rule at equal passes, and points for the rules at equal steps."}}
from disco_lib.plots import Point
from disco_lib.sparsity_plots import trade_off


def at_cost(records):
    return {
        text: Point(
            r.mean("MRR@10"),
            *r.intervals["MRR@10"],
            x=r.cost("training_flops") / 1e12,
        )
        for text, r in records.items()
    }


trade_off(
    at_cost(percentiles(found["equal passes"])),
    {
        "equal steps": at_cost(percentiles(found["equal steps"])),
        "blind draws": at_cost(
            {
                "random": steps["random"],
                "a tenth": found["equal pairs"]["none"],
            }
        ),
    },
    xlabel="operations of the training (TFLOP)",
    ylabel="MRR@10",
    title="equal passes",
)

# %% [markdown]
# ## The verdict

# %%
verdicts = [judge(c, lab.tier.name, lab.record_if_there) for c in claims]
claims_table(verdicts)

# %%
from disco_lib.tables import verdict_table

verdict_table(verdicts[0])

# %%
verdict_table(verdicts[1])

# %%
verdict_table(verdicts[2])

# %% [markdown]
# And on every tier with stored records:

# %%
from disco_lib.claim_table import claims_by_tier
from disco_lib.claims import judge_elsewhere

elsewhere = judge_elsewhere(claims, lab.tier.name)
claims_by_tier([*verdicts, *elsewhere])

# %% [markdown]
# On `qrecc`, the report's own data, the search says the same as on `mini`:
# filtering finds more, though no filtering trains several times as long, and
# a draw over all bands of scores finds less. At the 90th percentile too much
# is thrown away there; between the 80th and its neighbours, the 75th and the
# 85th, no test finds a difference on either tier. The student of all pairs,
# on the other hand, has the lowest MAE there: it is the one that has seen
# what low scores look like.
#
# Is a difference that was not found one that could have been found? The
# smallest ones that these tests find four times out of five:

# %%
from disco_lib.claims import paired_values
from disco_lib.power import detectable_difference

rows = []
passes = found["equal passes"]
for metric in ("Pearson", "MAE", "R@10"):
    x, y = paired_values(passes["p80"], passes["none"], metric)
    least = detectable_difference(x, y, len(claims[0].comparisons))
    rows.append({"in": metric, "found from": f"{least:.3f}"})
Table.of(rows)

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# On the tier `paper` the same grids run by `disco measure --tier paper
# --dense`. Shares of pairs and passes are what the grids are written in, so
# nothing in them has to change. We have not run it.
# ```
#
# ## Exercises
#
# **1. Which comparison?** (a) You have a budget of one GPU hour. (b) You
# pay a person for each pair. (c) You want to know whether noisy pairs hurt.
# Which of the three comparisons answers each?
#
# ```{admonition} Answer
# :class: dropdown
# (a) equal steps: the hour is spent either way. (b) equal pairs. (c) equal
# pairs and steps together: the number of pairs and the training are the
# same, and only which pairs they are differs.
# ```
#
# **2. The same pairs more often.** At equal steps, how many times does the
# student of the 90th percentile see each of its pairs, and that of all
# pairs? What would you expect of the training loss of each?

# %% tags=["hide-cell"]
# Answer: ten times as often; its training loss is lower, on pairs that it
# knows by heart.
for text in ("none", "p90"):
    record = steps[text]
    size = lab.student_settings(record.system).batch_size
    seen = record.cost("steps") * size / record.cost("pairs")
    print(f"{text}: each pair {seen:.1f} times")

# %% [markdown]
# **3. An evaluation that flatters.** Rank all rules by the MAE on selected
# held-out pairs, and by that on all of them. Where do the two orders
# differ?

# %% tags=["hide-cell"]
# Answer: compare the two lists.
by_all = sorted(steps, key=lambda text: steps[text].mean("MAE"))
by_part = sorted(steps, key=lambda t: steps[t].cost("MAE, selected"))
print("all pairs:     ", ", ".join(by_all[:5]))
print("selected pairs:", ", ".join(by_part[:5]))
