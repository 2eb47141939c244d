# %% [markdown]
# # Ablations: which part of the recipe does the work?
#
# **An ablation changes one thing and keeps the rest; it answers a question
# only as well as the rest was kept, and as its noise was measured.**
#
# After this chapter you can read five ablations of a hybrid student with
# the tests that belong to them, tell a temperature's two roles apart, say
# what negatives of four kinds bring, and explain why no selection of
# samples can make a query cheaper.

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
# Sections 6.1 and 6.3 to 6.7 of the report {cite}`jain2025selective`, and
# the four effects after its Table 3. Most are words: of Table 1 one row has
# numbers. All rules stood before a student was trained.

# %%
from disco_lib.claim_table import claims_table
from disco_lib.tables import verdict_table
from disco_lib.claims import judge, tiers_measured
from disco_lib.dense_experiments import DenseLaboratory
from disco_lib.dense_views import beside_report, study_table
from disco_lib.papers import load_paper
from disco_lib.records import published_records
from disco_lib.tables import Table, find_claim

lab = DenseLaboratory(progress=False)
print(lab.tier.name, "·", lab.tier.what)
paper = load_paper("selective")


def records(grid):
    return {
        text: lab.record(name)
        for text, name in lab.tier.grid(grid).items()
    }


judged = {}


def verdicts(*ids):
    claims = [find_claim("selective", name) for name in ids]
    found = [judge(c, lab.tier.name, lab.record_if_there) for c in claims]
    judged.update({verdict.claim.id: verdict for verdict in found})
    return found


METRICS = ["Pearson", "MAE", "R@10", "nDCG@10", "F1"]
base = lab.record("dense-hybrid")
print(f"{len(base.turn_ids)} held-out turns, seeds", *base.seeds)
print("how far seeds alone move MRR@10:",
      " ".join(f"{x:.3f}" for x in base.seed_means("MRR@10")))

# %% [markdown]
# ## Losses (section 6.1)
#
# The hybrid loss has a contrastive term and a regression; a third signal is
# the KL divergence between the teacher's and the student's distributions
# over the batch. On a small matrix of similarities the three look at
# different things:

# %%
import torch

from disco_lib.dense_losses import (
    batch_kl,
    diagonal_mse,
    in_batch_contrastive,
)

teacher = torch.tensor([[0.6, 0.1, 0.3], [0.0, 0.7, 0.1], [0.2, 0.0, 0.5]])
tries = {
    "the teacher's own": teacher,
    "all 0.3 higher": teacher + 0.3,
    "diagonal at 1": teacher + torch.diag(1 - teacher.diagonal()),
    "others at 0": torch.diag(teacher.diagonal()),
}
Table.of(
    [
        {
            "student": name,
            "contrastive": f"{in_batch_contrastive(S):.3f}",
            "regression": f"{diagonal_mse(S, teacher.diagonal()):.3f}",
            "batch KL": f"{batch_kl(S, teacher):.3f}",
        }
        for name, S in tries.items()
    ]
)

# %% [markdown]
# The KL does not mind a shift of all similarities, the regression does not
# see the others, and the contrastive term likes what neither of the two
# does: a diagonal above the teacher's. Table 1, with its cells filled. R@10
# and nDCG@10 are of a search over the collection here; the report's are of
# one list of pairs ({doc}`34_evaluation_and_deployment`), so they only stand
# beside ours.

# %%
losses = records("hybrid")
by_system = {r.system: r for r in losses.values()}
stored = {tier: published_records(tier) for tier in tiers_measured()}
tiers = {**stored, lab.tier.name: by_system}
beside_report(paper.tables["1"]["rows"], tiers, ["Pearson", "MAE", "F1"])

# %%
beside_report(paper.tables["1"]["rows"], tiers, ["R@10", "nDCG@10"])

# %% [markdown]
# And all objectives of this tier, with one that the report's table lacks:

# %%
study_table(losses, "objective", [*METRICS, "MRR@10"])

# %% mystnb={"figure": {"caption": "Each objective less the hybrid one ('both'), paired by turn, with 95 % intervals. For the MAE, below the dashed line is better.", "name": "ablations-losses"}, "image": {"alt": "Four panels of paired differences from the hybrid objective over six objectives, around a dashed line at zero."}}
from disco_lib.choice_panels import Panel, choice_panels, differences


FOUR = ("Pearson", "MAE", "R@10", "nDCG@10")


def against(found, one, xlabel, metrics=FOUR):
    return choice_panels(
        [
            Panel(
                {"difference": differences(found, one, metric)},
                list(found),
                xlabel,
                f"{metric}, less that of {one}",
            )
            for metric in metrics
        ]
    )


short = {"contrastive": "C", "regression": "R", "contrastive and KL": "C+KL",
         "both": "C+R", "both and KL": "C+R+KL", "KL": "KL"}
against(
    {short[text]: record for text, record in losses.items()},
    "C+R",
    "objective: contrastive, regression, KL",
)

# %%
claims_table(
    verdicts(
        "sel-contrastive-only",
        "sel-regression-only",
        "sel-kl-ranking",
        "sel-hybrid-best",
    )
)

# %% [markdown]
# On `mini` the KL alone, which the report's table leaves out, finds more than
# any sum that it is a part of: what the teacher thinks of all the
# batch's documents says more than which of them is the right one. And at the
# report's weight of 0.1 the regression hardly moves the hybrid student: most
# of what separates the two signals from their sum separates the regression
# from the rest.
#
# The comparisons behind the last one, which the summary in section 6.7
# calls the study's main result:

# %%
verdict_table(verdicts("sel-hybrid-best")[0])

# %% [markdown]
# ## The weight of the regression (section 6.3)

# %%
weights = records("regression-weight")
study_table(weights, "λ", [*METRICS, "bias"])

# %% mystnb={"figure": {"caption": "Each weight less the report's 0.1, paired by turn, with 95 % intervals.", "name": "ablations-weight"}, "image": {"alt": "Four panels of paired differences over five weights of the regression, around a dashed line at zero."}}
against(weights, "0.1", "λ, weight of the regression")

# %%
claims_table(
    verdicts("sel-lambda-mae", "sel-lambda-ranking", "sel-lambda-best")
)

# %% [markdown]
# ## The temperature (section 6.4)
#
# The temperature decides how far a pair has to lead before the contrastive
# term is content, a few $T$, and how hard it pulls until then, $1/T$
# ({doc}`31_hybrid_student` computes where it stops).

# %%
temperatures = records("temperature")
study_table(temperatures, "T", [*METRICS, "bias"])

# %% mystnb={"figure": {"caption": "Each temperature less the report's 0.1, paired by turn, with 95 % intervals.", "name": "ablations-temperature"}, "image": {"alt": "Four panels of paired differences over four temperatures, around a dashed line at zero."}}
against(temperatures, "0.1", "T, temperature of the contrastive term")

# %% [markdown]
# Has a cold student collapsed? Collapse means that all texts get nearly one
# vector. So look at the similarity of texts that have nothing to do with
# each other, and at how many dimensions the vectors use (the entropy of
# their covariance's eigenvalues, as a number):

# %%
import numpy as np


def used_dimensions(vectors):
    values = np.linalg.eigvalsh(np.cov(vectors.T)).clip(1e-12)
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


texts = [pair.document for pair in lab.held_pairs().pairs]


def spread_row(name):
    vectors = lab.encoder_of(name, 1).encode(texts, 64)
    others = vectors @ vectors.T
    others = others[~np.eye(len(others), dtype=bool)]
    return {
        "encoder": lab.tier.label(name),
        "mean similarity of two documents": f"{others.mean():.2f}",
        "dimensions used": f"{used_dimensions(vectors):.0f}",
    }


cold = lab.tier.grid("temperature")["0.05"]
Table.of([spread_row(n) for n in ("dense-start", cold, "dense-hybrid")])

# %%
claims_table(verdicts("sel-cold-collapse", "sel-temperature-range"))

# %% [markdown]
# ## The projection (section 6.5)

# %%
projections = records("projection")
study_table(projections, "dimensions", METRICS, ["query_flops"])

# %% mystnb={"figure": {"caption": "Each projection less the report's 256 dimensions, paired by turn, with 95 % intervals.", "name": "ablations-projection"}, "image": {"alt": "Four panels of paired differences over no projection, 128, 256 and 512 dimensions."}}
against(projections, "256", "dimensions of the projection")

# %% [markdown]
# A linear map of pooled vectors can be folded into the last layer's work; it
# adds no power to a transformer that is trained whole. What it changes is
# where the training starts, and the size of what has to be stored.

# %%
claims_table(
    verdicts(
        "sel-projection-head",
        "sel-projection-256",
        "sel-projection-essential",
    )
)

# %% [markdown]
# ## Negatives (section 6.6)

# %%
negatives = records("negatives")
study_table(
    negatives,
    "negatives",
    [*METRICS, "bias"],
    ["training_flops"],
)

# %% mystnb={"figure": {"caption": "Further negatives less in-batch negatives alone, paired by turn, with 95 % intervals.", "name": "ablations-negatives"}, "image": {"alt": "Four panels of paired differences over in-batch, random, hard negatives and a queue."}}
against(negatives, "in-batch", "where further negatives come from")

# %% [markdown]
# The queue is the one that breaks the student. Its bias says how: every pair
# is similar. Is everything?

# %%
Table.of([spread_row(lab.tier.grid("negatives")["queue"])])

# %% [markdown]
# That is the collapse which a low temperature was blamed for. A queue holds
# what *earlier* students made of a document. To get away from them it is
# enough to move all texts, queries and documents alike, in one direction,
# again and again. Where the student moves slowly the queue is nearly up to
# date; in a short training with a large rate it is not, and the usual remedy
# is a second, slower encoder that fills it.
#
# How hard is hard? The teacher's score of the negatives that it ranks
# highest, beside that of any other document:

# %%
settings = lab.student_settings(lab.tier.grid("negatives")["hard"], 1)
pairs = lab.train_pairs.ranked_for(settings)
places = lab.chosen("dense-hybrid", 1).places
every = pairs.annotation.similarities(places, pairs.pool.first)
ranked = np.take_along_axis(every, pairs.pool.ranking[places], axis=1)
own = pairs.annotation.scores[places]
print(f"own document    {own.mean():.2f}")
print(f"hard negative   {ranked.mean():.2f}")
print(f"any document    {every.mean():.2f}")
above = (ranked > own[:, None]).mean()
print(f"a hard negative above the own document: {above:.1%}")

# %%
claims_table(
    verdicts("sel-hard-negatives", "sel-memory-bank", "sel-hard-ranking")
)

# %% [markdown]
# ## Table 3: alpha, temperature, threshold
#
# The last table of the report belongs to another set-up: a ColBERT teacher,
# the classical sum of cross-entropy and KL, and samples that are chosen by
# the teacher's uncertainty. The procedure:
#
# $$\mathcal{L} = (1 - \alpha)\, \mathrm{CE}(s, y) + \alpha\,
# \mathrm{KL}\big(\mathrm{softmax}(\tau / T) \,\|\,
# \mathrm{softmax}(s / T)\big),$$
#
# on samples with an uncertainty above the threshold $\theta$.
# Here with the cosines of this chapter's teacher, times 32, since a score
# of ColBERT is a sum of 32 cosines; uncertainty is 1 less the lead of the
# best document. Each student makes the same number of passes over the
# samples that it is left with.

# %%
sd = {"KD, all pairs": lab.record("dense-kd"), **records("sd")}
study_table(
    sd,
    "α T θ",
    ["MRR@10", "R@100", "nDCG@10"],
    ["pairs", "steps", "training_flops", "query_flops"],
)

# %% [markdown]
# Beside the report. Its last column is called FLOPs/query:

# %%
kd = sd["KD, all pairs"]


def times(record, cost):
    return f"{record.cost(cost) / kd.cost(cost):.2f}x"


rows = []
for row in paper.tables["3"]["rows"]:
    record = lab.record(row["measured"][0])
    ((_, values),) = row["values"].items()
    rows.append(
        {
            "configuration": row["method"],
            "MRR@10, report": f"{values['MRR@10']:.3f}",
            "here": f"{record.mean('MRR@10'):.3f}",
            "FLOPs/query, report": f"{values['FLOPs/query']:.2f}x",
            "a query, here": times(record, "query_flops"),
            "training, here": times(record, "training_flops"),
        }
    )
Table.of(rows)

# %% mystnb={"figure": {"caption": "Two costs of the same students, relative to distillation of all pairs: that of the training falls with the threshold, that of a query cannot. The report's column, divided by its own baseline, is between the two.", "name": "ablations-costs"}, "image": {"alt": "Lines over the threshold: training cost falls, query cost is flat at one, the report's column falls less."}}
from disco_lib.plots import Point

COST = "FLOPs/query"
kd_row = paper.row("3", "KD (baseline)")["values"]["unnamed"]
thresholds = {}
for row in paper.tables["3"]["rows"]:
    usual = row["alpha"] == 0.5 and row["temperature"] == 2
    if usual and "threshold" in row:
        thresholds[f"{row['threshold']:g}"] = row
thresholds = dict(sorted(thresholds.items()))
costs = {}
keys = {"training": "training_flops", "a query": "query_flops"}
for name, key in keys.items():
    costs[name] = {
        text: Point(
            *[lab.record(row["measured"][0]).cost(key)
              / sd["KD, all pairs"].cost(key)] * 3
        )
        for text, row in thresholds.items()
    }
costs["the report's FLOPs/query"] = {
    text: Point(
        *[row["values"]["unnamed"][COST] / kd_row[COST]] * 3
    )
    for text, row in thresholds.items()
}
choice_panels(
    [
        Panel(
            costs,
            list(thresholds),
            "threshold of the uncertainty",
            "cost, relative to all pairs",
        )
    ],
    columns=1,
)

# %% [markdown]
# What a query costs is decided by the architecture and the length of the
# query. All students of the table share both. Had the report measured its
# queries, the column would be one number. Training is another matter, and
# there the saving is real: as large as the share of samples that is left
# out, less what the teacher's pass over all of them costs.

# %%
from disco_lib.dense_costs import encoding_flops

teacher_cost = sum(
    encoding_flops(
        lab.teacher,
        map(len, lab.teacher.token_ids(side, lab.setup["teacher_length"])),
    ).sum()
    for side in (
        [p.query for p in lab.train_pairs.pairs],
        [p.document for p in lab.train_pairs.pairs],
    )
)
saved = sd["KD, all pairs"].cost("training_flops") - sd["0.5 2 0.7"].cost(
    "training_flops"
)
print(f"the teacher's pass over all pairs {teacher_cost / 1e12:.2f} TFLOP")
print(f"saved in one training             {saved / 1e12:.2f} TFLOP")

# %%
claims_table(
    verdicts(
        "sel-alpha",
        "sel-distillation-temperature",
        "sel-low-threshold",
        "sel-high-threshold",
        "sel-threshold",
        "sel-flops",
        "sel-query-flops",
        "sel-sd-best",
        "sel-kd-cost",
    )
)

# %% [markdown]
# Eight configurations, one is the best, and it is called optimal. How far
# above the mean would the best of them lie if all were equally good, by the
# luck of the turns alone?

# %%
from disco_lib.gains import luck_of_best

each = np.stack([record.per_turn("MRR@10") for record in sd.values()])
lucky, most = luck_of_best(each)
print(f"best over mean here {each.mean(1).max() - each.mean():.3f}")
print(f"by chance {lucky:.3f}, in one of twenty over {most:.3f}")
table = paper.tables["3"]["rows"]
report = [row["values"]["unnamed"]["MRR@10"] for row in table]
print(f"in the report {max(report) - sum(report) / len(report):.3f}")

# %% [markdown]
# ## Fewer samples (effect 4)
#
# A quarter or half of the pairs, drawn at random, before any selection:

# %%
from disco_lib.gains import point, with_interval

sizes = {"KD": records("kd-size"), "SD": records("sd-size")}
rows = []
for way, found in sizes.items():
    for text, record in found.items():
        rows.append(
            {
                "way": way,
                "share of the pairs": text,
                "pairs": f"{record.cost('pairs'):.0f}",
                "MRR@10": with_interval(point(record, "MRR@10")),
            }
        )
Table.of(rows)

# %%
claims_table(verdicts("sel-small-data"))

# %% [markdown]
# ## The verdict
#
# What is left of section 6.7:

# %%
claims_table(verdicts("sel-calibration-knobs", "sel-overall"))

# %%
verdict_table(verdicts("sel-calibration-knobs")[0])

# %%
verdict_table(verdicts("sel-overall")[0])

# %% [markdown]
# All claims of this chapter, on every tier with stored records:

# %%
from disco_lib.claim_table import claims_by_tier
from disco_lib.claims import judge_elsewhere

claims = [verdict.claim for verdict in judged.values()]
elsewhere = judge_elsewhere(claims, lab.tier.name)
claims_by_tier([*judged.values(), *elsewhere])

# %% [markdown]
# On `qrecc` most of it reads the same. No projection is better than one, in
# the search, in $r$ and in the MAE. The queue breaks the student altogether.
# A cold temperature collapses nothing, and warm ones lose. What differs: the
# KL alone has the highest $r$ there too, and the lowest MAE of all objectives,
# but finds no more than the sums that it is a part of; the regression's
# weight, up to the largest, moves nothing; and hard negatives, which cost
# something on `mini`, cost nothing there and gain nothing that a test can
# see. A claim whose students were not trained on a tier says *not run*.

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# `disco measure --tier paper --dense` runs every grid of this chapter with
# the report's teacher and student. We have not run it. Table 3's teacher,
# ColBERT, scores by sums over tokens; the settings' `scale` stands in for
# it.
# ```
#
# ## Exercises
#
# **1. Two temperatures.** In the hybrid loss, dividing $T$ by two and
# multiplying $\lambda$ by two leaves the balance of forces where it is if
# the softmax did not change. Why does it change? Use the balance of
# {doc}`31_hybrid_student`.
#
# ```{admonition} Answer
# :class: dropdown
# The force of the contrastive term is $p/T$, and $p$ itself depends on
# $(u - s)/T$: at half the temperature the others vanish from the softmax at
# half the lead. Only the factor before $p$ is undone by $\lambda$.
# ```
#
# **2. An honest column.** From the record: how many multiply-adds does a
# query cost with the teacher, with the student, and how many would it cost
# with half of the student's layers?

# %% tags=["hide-cell"]
# Answer: the layers decide nearly all of it.
for name in ("dense-teacher", "dense-hybrid"):
    flops = lab.record(name).cost("query_flops")
    print(f"{name}: {flops / 2e6:.0f} million")
layers = lab.student_settings("dense-hybrid").layers or lab.base.layers
half = lab.record("dense-hybrid").cost("query_flops") / layers / 2e6
print(f"one layer of the student: about {half:.0f} million")

# %% [markdown]
# **3. How many tests?** This chapter makes so many comparisons. If nothing
# made any difference and none was corrected, how many would be significant
# at 5 %?

# %% tags=["hide-cell"]
# Answer: one in twenty, which is why each claim's tests are corrected.
count = sum(len(c.comparisons) for c in paper.claims if "6." in c.where
            or "Table 3" in c.where)
print(f"{count} comparisons, about {count / 20:.0f} by chance")
