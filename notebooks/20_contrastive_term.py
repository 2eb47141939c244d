# %% [markdown]
# # A contrastive term: what a label adds to a teacher
#
# **A teacher says how good every passage is, a label says which one is
# right; a sum of the two losses listens to both, and its one number, $w$,
# says to whom more.**
#
# After this chapter you can say for every score of a batch what the KL
# divergence and InfoNCE want of it, show that their sum is one KL divergence
# to a corrected teacher, judge a whole grid of weights without choosing the
# best of it by its own test, and find out which turns a change of objective
# helps and which it hurts.

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
# DiSCo's students learn the teacher's distribution alone
# ({doc}`11_objectives`). A second paper of the same group
# {cite}`bertrand2026improving` asks what could be added:

# %%
from disco_lib.tables import Words, claim_words, find_claim

claim = find_claim("efficiency", "eff-contrastive")
claim_words(claim)

# %% [markdown]
# Only the abstract is to hand, so there is no table to reproduce. The
# experiment below is designed here. The rule that judges the claim stands
# in `data/papers/efficiency.yaml` and was written before a student was
# trained; this is what it had to decide:

# %%
from disco_lib.papers import load_paper

paper = load_paper("efficiency")
weights = ", ".join(map(str, paper.recipe["contrastive_weights"]))
print("weights in the authors' configurations:", weights)
Words(f"> {claim.note}")

# %% [markdown]
# ## What the two losses want
#
# A student gives a turn's passages the scores $s_i$, with $s_0$ that of the
# relevant one; the teacher gives them $\tau_i$. With $r =
# \mathrm{softmax}(s)$ and $p = \mathrm{softmax}(\tau)$,
#
# $$\mathcal{L} = w \cdot \underbrace{(-\log r_0)}_{\text{InfoNCE}}
#   + (1 - w) \cdot \underbrace{\textstyle\sum_i p_i
#   \log \frac{p_i}{r_i}}_{\text{KLD}}.$$
#
# What a loss wants of a score is minus its gradient there: how hard it
# *pulls*, and in which direction. Let autograd say it. One batch of
# training, drawn as the trainer draws it; the student is the encoder that
# all students start from.

# %%
import numpy as np
import torch

from disco_lib.arms import draws
from disco_lib.conversations import context_ids
from disco_lib.experiments import Laboratory

lab = Laboratory()
print(lab.tier.name, "·", lab.tier.what)
teacher = lab.teacher_of("student-kl")
every = draws(lab, ["student-kl"], steps=40)["student-kl"]
size = lab.student_settings("student-kl").batch_size
batch = [draw for draw in every[:size] if draw.sample.positive == 0]
turns = {t.turn_id: t for t in lab.collection.iter_turns(lab.tier.train)}
asked = [turns[teacher.turn_ids[draw.row]] for draw in batch]
print(len(batch), "turns,", len(batch[0].sample.documents), "passages each")

# %%
limits, tokenizer = lab.base_settings.limits, lab.encoder.tokenizer
queries = lab.encoder.encode(
    [context_ids(t, "conversation", tokenizer, limits) for t in asked],
    limits.total,
)
start = torch.tensor(
    np.stack(
        [
            (lab.documents[draw.sample.documents] @ query.T)
            .toarray()
            .ravel()
            for draw, query in zip(batch, queries, strict=True)
        ]
    )
)
scores = torch.tensor(np.stack([draw.sample.scores for draw in batch]))

# %%
from disco_lib.losses import info_nce, kl_divergence


def pull(loss):
    student = start.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(student), student)
    return -slope * len(student)  # each turn's own, not its share


kl = pull(lambda student: kl_divergence(student, scores))
contrast = pull(info_nce)

# %% [markdown]
# Both gradients have a closed form. With $y$ = 1 for the relevant passage
# and 0 for every other, InfoNCE pulls a score by $y_i - r_i$ and KLD by
# $p_i - r_i$. So the sum of the losses pulls by
#
# $$w\,(y_i - r_i) + (1 - w)(p_i - r_i)
#   = \underbrace{w\,y_i + (1 - w)\,p_i}_{m_i} - r_i :$$
#
# **it is one KL divergence, to the teacher's distribution with a share $w$
# of every passage's probability moved to the relevant one.** The label
# corrects the teacher, and does nothing else.

# %%
w = 0.2
share, own = torch.softmax(scores, -1), torch.softmax(start, -1)
label = torch.zeros_like(share)
label[:, 0] = 1
mixed = w * label + (1 - w) * share
print("as computed by hand:",
      torch.allclose(kl, share - own, atol=1e-5),
      torch.allclose(contrast, label - own, atol=1e-5))
both = pull(
    lambda s: w * info_nce(s) + (1 - w) * kl_divergence(s, scores)
)
to_mixed = pull(lambda s: kl_divergence(s, mixed.log()))
print("one KLD to the mixture:", torch.allclose(both, to_mixed, atol=1e-5))

# %% [markdown]
# Where do the two pull apart? On the relevant passage both pull upwards
# wherever $r_0 < p_0$. On another passage InfoNCE always pushes down, KLD
# only as long as the student thinks more of it than the teacher does.

# %%
from disco_lib.tables import Table

same = torch.sign(kl) == torch.sign(contrast)
rows = []
for name, part in (("relevant", slice(0, 1)), ("other", slice(1, None))):
    agree, up = same[:, part], kl[:, part] > 0
    size_of = {
        "KLD": kl[:, part].abs().sum(1).mean(),
        "InfoNCE": contrast[:, part].abs().sum(1).mean(),
    }
    row = {"passages": name, "number": agree.numel()}
    row |= {f"pull of {n}": f"{x:.3f}" for n, x in size_of.items()}
    row["KLD pulls up"] = f"{up.float().mean():.0%}"
    rows.append(row | {"same direction": f"{agree.float().mean():.0%}"})
Table.of(rows)

# %% [markdown]
# One turn of the batch, the one on which the teacher trusts the relevant
# passage least:

# %% mystnb={"figure": {"caption": "What the two losses want of the scores of one turn's passages, in the order of the teacher's scores (left is best); the passage marked in the title is the relevant one. Above the dashed line a score is to rise, below it to fall. Look for passages whose two dots lie on different sides of the line.", "name": "contrastive-pulls"}, "image": {"alt": "Two series of dots over the passages of one turn in the teacher's order: the pull of KLD and the pull of InfoNCE on each passage's score, around a dashed line at zero."}}
from disco_lib import plots
from disco_lib.choice_panels import Panel, choice_panels
from disco_lib.plots import Point

least = int(share[:, 0].argmin())
order = torch.argsort(-scores[least]).tolist()[:12]
order += [0] if 0 not in order else []
names = [
    f"{batch[least].ranks[i]}{'✓' if i == 0 else ''}" for i in order
]
series = {
    name: {
        text: Point(*[float(pulls[least, i])] * 3)
        for text, i in zip(names, order, strict=True)
    }
    for name, pulls in (("KLD", kl), ("InfoNCE", contrast))
}
choice_panels(
    [
        Panel(
            series,
            names,
            "teacher's rank of the passage (✓ relevant)",
            "pull on the score",
        )
    ],
    columns=1,
)

# %%
import textwrap

rewriter = lab.tier.system("student-kl")["teachers"][0]
rewrite = asked[least].rewrites[rewriter]
print(textwrap.fill(f"rewrite: {rewrite}", 72))

# %% [markdown]
# How much there is to correct depends on the teacher. Over some batches of
# the training: the probability $p_0$ that the teacher gives the relevant
# passage among those of the sample, and what the mixture makes of it.

# %%
known = [draw for draw in every if draw.sample.positive == 0]
trust = np.array(
    [
        torch.softmax(torch.tensor(draw.sample.scores), 0)[0].item()
        for draw in known
    ]
)
ranks = np.array([draw.ranks[0] for draw in known])
first = ranks == 1
rows = []
for name, chosen in (("best of its ranking", first), ("not best", ~first)):
    row = {"teacher has the relevant passage": name}
    row["turns"] = int(chosen.sum())
    for w in lab.tier.grid("contrastive"):
        target = float(w) + (1 - float(w)) * trust[chosen]
        row[f"w = {w}"] = f"{target.mean():.2f}" if chosen.any() else ""
    rows.append(row)
Table.of(rows)

# %% mystnb={"figure": {"caption": "The teacher's trust in the relevant passage: each value is one training turn. What lies near 1 needs no label; what lies near 0 is where the label contradicts the teacher.", "name": "contrastive-trust"}, "image": {"alt": "Histogram of the probability that the teacher's softmax gives the relevant passage, over training turns, from 0 to 1."}}
plots.histogram(
    trust,
    xlabel="probability of the relevant passage, by the teacher",
    ylabel="share of turns",
    bins=20,
)

# %% [markdown]
# So the label speaks loudest where the teacher is wrong, or where a question
# has several good passages of which one was judged. In the first case it
# teaches; in the second it takes away what DiSCo wanted to give, the room to
# think well of others too. Which case is the commoner one, no gradient can
# tell.
#
# ## The grid
#
# One student for each weight, all else equal: the start, the batches, the
# samples, the regulariser. $w = 0$ is the student of {doc}`11_objectives`,
# $w = 1$ has no teacher.

# %%
PLACE = next(iter(lab.tier.elsewhere))
grid = lab.tier.grid("contrastive")
BASE, *others = grid
here = {w: lab.record(name) for w, name in grid.items()}
taken = lab.tier.taken_to(PLACE)
there = {
    w: lab.record(f"{name}@{PLACE}")
    for w, name in grid.items()
    if name in taken
}
for name, found in (("in domain", here), ("out of domain", there)):
    one = found[BASE]
    print(f"{name}: {len(one.turn_ids)} turns, seeds", *one.seeds)

# %%
from disco_lib.tradeoff import trade_off_table

METRICS = ["MRR@10", "nDCG@3", "R@10", "R@100"]
trade_off_table(here, "w", METRICS, ["active_terms"])

# %% [markdown]
# Out of domain, on turns about topics that no student was trained on
# ({doc}`12_out_of_domain`):

# %%
trade_off_table(there, "w", METRICS, ["active_terms"])

# %% mystnb={"figure": {"caption": "Four metrics over the weight of InfoNCE, with 95 % intervals over turns; 0 is KLD alone, 1 is InfoNCE alone. The upper panels are about precision, the lower ones about recall. Distances between weights are not to scale. The intervals hold how turns differ, which all students share: the next figure is the one to judge by.", "name": "contrastive-metrics"}, "image": {"alt": "Four panels, MRR at 10, nDCG at 3, recall at 10 and recall at 100, each with a line in domain and a line out of domain over six weights."}}
from disco_lib.choice_panels import means

panels = [
    Panel(
        {
            "in domain": means(here, metric),
            "out of domain": means(there, metric),
        },
        list(grid),
        "w, weight of InfoNCE",
        metric,
    )
    for metric in METRICS
]
choice_panels(panels)

# %% mystnb={"figure": {"caption": "The same students, each less the one of KLD alone, paired by turn. Above the dashed line the label has helped. An interval that touches the line is no finding, and of many intervals some leave it by chance: the tables below correct for that.", "name": "contrastive-differences"}, "image": {"alt": "Four panels of paired differences from the student of KLD alone, for MRR at 10, nDCG at 3, recall at 10 and recall at 100, in domain and out of domain, over six weights, around a dashed line at zero."}}
from disco_lib.choice_panels import differences

choice_panels(
    [
        Panel(
            {
                "in domain": differences(here, BASE, metric),
                "out of domain": differences(there, BASE, metric),
            },
            list(grid),
            "w, weight of InfoNCE",
            f"{metric}, less that of w = {BASE}",
        )
        for metric in METRICS
    ]
)

# %% [markdown]
# The tests, first for precision. $p$ is corrected for all weights and both
# metrics of a table; *seeds* says on how many the difference has this sign.

# %%
from disco_lib.gains import gain_rows, gains


def against(found, base, metrics):
    pairs = [(name, base) for name in found if name != base]
    rows = gain_rows(gains(found, pairs, metrics))
    return [
        {"w": row.pop("system")} | row
        for row in rows
        if row.pop("over") == base
    ]


Table.of(against(here, BASE, METRICS[:2]))

# %%
Table.of(against(there, BASE, METRICS[:2]))  # out of domain

# %% [markdown]
# And recall, in domain and out of it:

# %%
Table.of(against(here, BASE, METRICS[2:]))

# %%
Table.of(against(there, BASE, METRICS[2:]))  # out of domain

# %% [markdown]
# The label has a price that no metric shows. By construction a mixed
# student is not to copy its teacher. How far has it gone? The KL divergence
# of its scores from the teacher's, over the teacher's whole ranking of each
# *test* turn:

# %%
from disco_lib.held_out_kl import kl_rows

Table.of(kl_rows(here, BASE, "w"))

# %% [markdown]
# ## The temperature of the contrast
#
# The authors divide InfoNCE's scores by a small temperature $T$. That
# changes two things at once: how sharp the softmax is, and how hard the term
# pulls, since the gradient gets a factor $1/T$. Temperatures of a few
# hundredths come from encoders whose scores are cosines, between -1 and 1.
# A sparse student's scores are sums of products:

# %%
temperatures = paper.recipe["info_nce_temperatures"]
print("in the authors' configurations:", *temperatures)
spread = start.max(dim=1).values - start.min(dim=1).values
print(f"scores of one turn here lie {spread.mean():.1f} apart")
rows = []
for text in lab.tier.grid("contrastive-temperature"):
    T = float(text)
    pulls = pull(lambda s, T=T: info_nce(s, temperature=T))
    each = pulls.abs().sum(1)
    rows.append(
        {
            "T": text,
            "pull of InfoNCE": f"{each.mean():.2f}",
            "pull of KLD": f"{kl.abs().sum(1).mean():.2f}",
            "turns without a pull": f"{(each < 1e-3).float().mean():.0%}",
        }
    )
Table.of(rows)

# %% [markdown]
# A cold softmax has made up its mind. A turn whose relevant passage leads by
# a few $T$ gets no pull at all, any other a hard one: InfoNCE becomes a
# penalty on the one passage that stands above the relevant one. (What the
# table cannot show: the trainer cuts long gradients to a fixed length, so a
# pull ten times as hard does not make a step ten times as long.)

# %%
warm = {
    text: lab.record(name)
    for text, name in lab.tier.grid("contrastive-temperature").items()
}
trade_off_table(warm, "T", METRICS, ["active_terms"])

# %%
alone = {f"T = {text}": record for text, record in warm.items()}
rows = against({"KLD alone": here[BASE], **alone}, "KLD alone", METRICS[:2])
Table.of([{"student": row.pop("w")} | row for row in rows])

# %% [markdown]
# ## Whose negatives?
#
# InfoNCE can contrast the relevant passage with the turn's own sample, or
# with the documents of the whole batch. The second is the usual choice where
# every passage has to be encoded anew, since the others' come for free. Most
# of them are about something else; the identity above holds no longer, since
# KLD still runs over the own sample.

# %%
wide = {
    text: lab.record(name)
    for text, name in lab.tier.grid("contrastive-negatives").items()
}
trade_off_table(wide, "negatives, w", METRICS, ["active_terms"])

# %%
pairs = [
    (text, text.replace("batch", "own"))
    for text in wide
    if text.startswith("batch")
]
Table.of(gain_rows(gains(wide, pairs, METRICS)))

# %% [markdown]
# ## Which turns gain, which lose?
#
# A mean hides most of what happens. Take the weights of the claim one by
# one, and count turns; a turn's value is its mean over the seeds.

# %%
from disco_lib.depth import difference
from disco_lib.turn_changes import tally_table

named = [
    w for w, name in grid.items()
    if any(name == c.a for c in claim.comparisons)
]
changes = {
    f"w = {w}": difference(here[w], here[BASE], "MRR@10") for w in named
}
tally_table(changes, "student")

# %% mystnb={"figure": {"caption": "The difference of every turn, sorted: each curve says for which share of turns the difference in MRR@10 is at most x. The jump at 0 is the turns where nothing changes. If the part left of 0 and the part right of it mirror each other, the weight moves turns about and helps none.", "name": "contrastive-turns"}, "image": {"alt": "Rising curves, one a weight: share of turns against the difference in MRR at 10 from the student of KLD alone, with a jump at zero."}}
plots.adjusted(
    plots.curves(
        {
            name: (
                np.sort(found.values),
                np.arange(1, len(found.values) + 1) / len(found.values),
            )
            for name, found in changes.items()
        },
        xlabel="difference in MRR@10 from KLD alone",
        ylabel="share of turns with at most as much",
    ),
    line=(0, ""),
)

# %% [markdown]
# Is it a matter of depth? A label knows nothing of the conversation; if the
# teacher's rewrites got worse as conversations grow, this is where it would
# show.

# %% mystnb={"figure": {"caption": "Difference in MRR@10 from the student of KLD alone by depth of the turn, mean over seeds, with 95 % intervals; a depth of fewer than ten turns is left out. The bars count turns.", "name": "contrastive-depth"}, "image": {"alt": "Lines with bands over the depth of the turn, one a weight, around a dashed line at zero, with a bar chart of the number of turns below."}}
from disco_lib.sparsity_plots import depth_panels

depth_panels(
    {
        "difference in MRR@10": {
            name: found.by_depth() for name, found in changes.items()
        }
    },
    next(iter(changes.values())).counts(),
)

# %%
from disco_lib.depth import growth_table

growth_table(changes, "student")

# %% [markdown]
# And a matter of rank? The algebra above says where the label should act:
# where the teacher ranks the relevant passage low. The teacher of a *test*
# turn is its careful rewrite, which the students never see.

# %%
from disco_lib.turn_changes import by_rank_elsewhere, rank_table

middle = named[len(named) // 2]
judge_of_rank = lab.record("splade-rewrite")
by_teacher = by_rank_elsewhere(
    here[middle], here[BASE], judge_of_rank, "MRR@10"
)
print(f"w = {middle} less KLD alone, in MRR@10")
rank_table(by_teacher, "teacher's rank")

# %% [markdown]
# The same by the rank that the student of KLD alone gave. Here is a trap.
# A training that happened to rank a passage low will do better the next
# time, with any objective: *regression to the mean*. So one seed says the
# rank, and the other seeds say the difference.

# %%
from disco_lib.turn_changes import by_own_rank

by_pupil = []
if len(here[BASE].seeds) > 1:
    by_pupil = by_own_rank(here[middle], here[BASE], "MRR@10")
rank_table(by_pupil, "rank with KLD alone") if by_pupil else Words(
    "One seed alone cannot tell this from regression to the mean."
)

# %% mystnb={"figure": {"caption": "Difference in MRR@10 by the rank that the relevant passage had: with the teacher, and with one seed of the student of KLD alone. Where the passage stood first there is little to win, far down there is little to lose; look at the groups between, and at how few turns the right ones hold.", "name": "contrastive-ranks"}, "image": {"alt": "Dots with intervals over groups of ranks, 1, 2 to 3, 4 to 10, 11 to 100 and 101 or more, for the teacher's rank and for the rank with KLD alone, around a dashed line at zero."}}
groups = {"by the teacher's rank": by_teacher}
if by_pupil:
    groups["by the rank with KLD alone"] = by_pupil
choices = list(
    dict.fromkeys(
        sorted(
            (g.name for found in groups.values() for g in found),
            key=lambda name: int(name.split()[0]),
        )
    )
)
choice_panels(
    [
        Panel(
            {
                name: {g.name: g.at(0) for g in found}
                for name, found in groups.items()
            },
            choices,
            "rank of the relevant passage",
            "difference in MRR@10",
        )
    ],
    columns=1,
)

# %% [markdown]
# Last, single turns: that which gains most with this weight and that which
# loses most, with the end of the conversation, the passage that was judged
# relevant, and its rank with every student and seed. Two turns prove
# nothing. They are here to be read.

# %%
from dataclasses import replace

from disco_lib.closeup import relevant_pids, titles, transcript
from disco_lib.turn_changes import most_changed, rank_rows

short = titles(lab)
tested = {t.turn_id: t for t in lab.turns(lab.tier.test)}
up, down = most_changed(changes[f"w = {middle}"], 1)


def told(turn_id):
    turn = tested[turn_id]
    print(transcript(replace(turn, history=turn.history[-2:])))
    for pid in sorted(relevant_pids(lab, turn)):
        print("relevant:", short[pid])


shown = {f"w = {w}": here[w] for w in grid}
told(up[0]) if up else print("no turn gains")

# %%
Table.of(rank_rows(shown, up[0], "student")) if up else Words("")

# %%
told(down[0]) if down else print("no turn loses")

# %%
Table.of(rank_rows(shown, down[0], "student")) if down else Words("")

# %% [markdown]
# Compare the differences *along* a row with those *between* rows: how much
# of what a weight does to one turn would another seed have done too?
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
# A gain that was not found may be one that could not have been found. By
# the spread of the turns' differences: from which size on would these tests
# find a gain, four times out of five?

# %%
from disco_lib.claims import paired_values
from disco_lib.power import detectable_difference

rows = []
for item in claim.comparisons:
    a, b = (lab.record_if_there(name) for name in item.systems)
    if a is not None and b is not None:
        x, y = paired_values(a, b, item.metric)
        least_gain = detectable_difference(x, y, len(claim.comparisons))
        row = {"comparison": item.words(), "in": item.metric}
        row["measured"] = f"{(x - y).mean():+.3f}"
        rows.append(row | {"found from": f"{least_gain:+.3f}"})
Table.of(rows)

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
# On `qrecc`, which has far more turns to test on, the intervals are narrower,
# and the gain is not there either: what a small tier could have missed, the
# larger one has not found.
#
# Two things limit what a verdict says here. The collection of the tier
# `mini` was written so that nearly every question has one right passage,
# and its rewrites are a careful person's: look once more at the histogram of
# the teacher's trust. A teacher that is seldom wrong leaves a label little
# to correct. A language model's rewrites on TopiOCQA, the paper's data, are
# another matter.
#
# ```{admonition} On an A100
# :class: note
# The tier `paper` trains with 0.99 KLD and 0.01 InfoNCE over the batch, as
# the public code of DiSCo does. The authors of the second paper have
# published configurations beside theirs: $w$ in 0, 0.05, 0.1, 0.2 and 1,
# and a temperature of InfoNCE of 0.05 to 0.08. `shared: [efficiency]` in the
# tier's file brings the grids of this chapter and the next three, and a grid
# `contrastive` of its own goes before. Then run this chapter with
# `DISCO_TIER=paper`. We have not run it. A temperature belongs to a scale of
# scores: look at the table of pulls before you take one over.
# ```
#
# ## Exercises
#
# **1. The smallest loss.** A student that can give any scores it likes
# minimises $w \cdot \text{InfoNCE} + (1 - w) \cdot \text{KLD}$. Which
# distribution does it end with, what is the loss there, and why is it not 0
# for $0 < w$? Check by gradient descent on the scores of one turn.

# %% tags=["hide-cell"]
# Answer: r = m, the mixture. InfoNCE is 0 only where r_0 = 1, KLD only
# where r = p; no r does both unless p_0 = 1.
w, teacher_scores = 0.2, scores[least : least + 1]
free = torch.zeros_like(teacher_scores, requires_grad=True)
optimiser = torch.optim.Adam([free], lr=0.1)
for _ in range(2000):
    loss = w * info_nce(free)
    loss = loss + (1 - w) * kl_divergence(free, teacher_scores)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
reached = torch.softmax(free.detach(), -1)
far = (reached - mixed[least]).abs().max()
print(f"loss {loss.item():.3f}, largest distance from m {far:.1e}")

# %% [markdown]
# **2. An honest weight.** With a temperature $T$ the sum pulls by
# $\frac{w}{T}(y - r^{(T)}) + (1 - w)(p - r)$. Which share of the weights
# before the two brackets is InfoNCE's, for $w = 0.2$ and the temperatures of
# the grid? Which $w$ would give InfoNCE the share 0.2 at the smallest one?

# %% tags=["hide-cell"]
# Answer: the share is (w / T) / (w / T + 1 - w).
w = 0.2
for text in warm:
    T = float(text)
    share_of = (w / T) / (w / T + 1 - w)
    print(f"T = {text:5} share of InfoNCE {share_of:.2f}")
T = min(map(float, warm))
print(f"w = {w * T / (w * T + 1 - w):.3f} has the share {w} at T = {T}")

# %% [markdown]
# **3. The best of several.** Suppose that no weight made any difference.
# How far above their mean would the best of the grid's students lie by
# chance alone? Compare with how far it does lie.

# %% tags=["hide-cell"]
# Answer: all brought to one mean, turns resampled, the best taken.
from disco_lib.gains import luck_of_best

each = np.stack([record.per_turn("MRR@10") for record in here.values()])
lucky, most = luck_of_best(each)
lead = each.mean(axis=1).max() - each.mean()
print(f"best over mean {lead:.3f}")
print(f"by chance {lucky:.3f}, in one of twenty over {most:.3f}")

# %% [markdown]
# **4. False negatives.** A question has two good passages, of which one was
# judged. The teacher gives both the probability ½. What does each loss do to
# the second one, and what becomes of it for $w = 0.2$?
#
# ```{admonition} Answer
# :class: dropdown
# KLD holds it at ½. InfoNCE pushes it towards 0, as hard as it pulls the
# judged one up. The mixture gives the judged passage $0.2 + 0.8 \cdot
# \frac12 = 0.6$ and the other one $0.4$: the order is decided, the
# second passage survives. With $w = 1$ it would be gone. Small weights are
# an insurance against incomplete judgements.
# ```
