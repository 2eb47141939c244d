# %% [markdown]
# # Effectiveness and efficiency: the price of a word
#
# **One number in the loss, $\lambda$, says what an active word has to earn;
# it decides how many words a query keeps, how long a search takes, and, from
# some point on, what is no longer found.**
#
# After this chapter you can say what a regulariser presses out of a query,
# draw the curve of effectiveness against cost for a grid of $\lambda_q$,
# judge how well FLOPS stands for the clock, and show on one batch why
# $\lambda_d$ does nothing in DiSCo's recipe, and what it does once documents
# are trained.

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
# Section 5.3 of DiSCo {cite}`lupart2025disco` draws MRR against FLOPS for
# students trained with several strengths of regularisation (its Figure 5)
# and says:

# %%
from disco_lib.tables import Words, claim_words, find_claim

CLAIMS = [
    "disco-control-sparsity",
    "disco-sparsity-price",
    "disco-sparser-than-teacher",
    "disco-sparser-than-convsplade",
]
claims = [find_claim("disco", name) for name in CLAIMS]
Words("\n\n".join(claim_words(claim).text for claim in claims))

# %% [markdown]
# ## One vector under pressure
#
# A student's loss is $\mathcal{L}_{\text{KLD}} + \lambda_q \lVert q
# \rVert_1$. The second part pulls every active weight down with the same
# force $\lambda_q$. The first part pushes back, but only on words that
# matter to the scores. Take one training turn, with the passages that a
# student sees for it in a step, the teacher's scores for them, and the
# vector that the untrained encoder makes of the whole conversation.

# %%
import numpy as np
import torch
from scipy import sparse

from disco_lib.conversations import context_ids
from disco_lib.experiments import Laboratory

lab = Laboratory()
encoder, tokenizer = lab.encoder, lab.encoder.tokenizer
limits = lab.base_settings.limits
settings = lab.student_settings("student-kl")
teacher = lab.teacher_of("student-kl")
place = {pid: i for i, pid in enumerate(teacher.pids)}
known = {turn_id: i for i, turn_id in enumerate(teacher.turn_ids)}
every = lab.turns(lab.tier.train)
turns = [t for t in every if t.turn_id in known]
turn = max(turns[:50], key=lambda t: t.depth)
row = known[turn.turn_id]
sample = settings.sampler.sample(
    *teacher.ranking(row),
    place[turn.positives[0]],
    len(teacher.pids),
    np.random.default_rng(0),
)
passages = torch.tensor(lab.documents[sample.documents].toarray())
rewrite = torch.tensor(teacher.queries[row].toarray())
scores = rewrite @ passages.T
ids = context_ids(turn, "conversation", tokenizer, limits)
start = torch.tensor(encoder.encode([ids], limits.total).toarray())
print(f"depth {turn.depth}, {len(sample.documents)} passages")
print(f"{int((start > 0).sum())} terms of the whole conversation")
print(f"{int((rewrite > 0).sum())} terms of the teacher's rewrite")

# %% [markdown]
# No encoder now: the weights themselves go downhill, and a weight stops at
# 0. To keep the example clear, words can only be lost.

# %%
from disco_lib.closeup import weighted_terms
from disco_lib.losses import kl_divergence
from disco_lib.tables import Table

held = start[0] > 0
columns = passages[:, held]


def press(strengths, steps=8000, rate=0.03):
    pull = torch.tensor(strengths)[:, None]
    query = start[:, held].repeat(len(pull), 1)
    target = scores.expand(len(pull), -1)
    for _ in range(steps):
        query.requires_grad_()
        # The mean over the queries, times their number: each its own.
        kl = kl_divergence(query @ columns.T, target) * len(pull)
        (slope,) = torch.autograd.grad(kl, query)
        pulled = query.detach() - rate * (slope + pull)
        query = torch.relu(pulled)
    whole = torch.zeros(len(pull), start.shape[1])
    whole[:, held] = query
    return whole


strengths = (0.0, 0.003, 0.01, 0.1)
left, rows = {}, []
for strength, query in zip(strengths, press(strengths).split(1), strict=True):
    own = int(((query > 0) & (rewrite > 0)).sum())
    left[f"λ = {strength:g}"] = sparse.csr_matrix(query.numpy())
    kl = kl_divergence(query[:, held] @ columns.T, scores).item()
    rows.append(
        {
            "λ": f"{strength:g}",
            "active terms": int((query > 0).sum()),
            "of them in the rewrite": own,
            "KLD (nats)": f"{kl:.3f}",
        }
    )
Table.of(rows)

# %% mystnb={"figure": {"caption": "The heaviest terms that are left of one conversation, for four strengths. Blue terms are active in the teacher's rewrite too; the student was never told which these are. Compare the first panel with the last.", "name": "tradeoff-pressed"}, "image": {"alt": "Four panels of horizontal bars, one for each strength of the L1 penalty, with the heaviest remaining terms of a query; terms that the teacher's rewrite has too are blue."}}
from disco_lib import plots

panels = {
    name: weighted_terms(query, tokenizer)
    for name, query in left.items()
}
taught = weighted_terms(teacher.queries[row], tokenizer)
legend = ("in the teacher's rewrite too", "not in the rewrite")
marked = {name: set(taught) for name in panels}
plots.term_bars(panels, marked, legend, columns=2)

# %% [markdown]
# A word whose loss would cost less than $\lambda$ a unit of weight goes.
# First go the words that no passage of the sample holds: their only force
# is the pull. A student with an encoder is in the same position, only that
# its words are tied to each other by shared weights, and that what it
# loses must be dispensable over *all* turns.
#
# ## Figure 5
#
# Now students, one for each strength in the tier's grid `lambda-q`. In
# everything else they are the student of {doc}`11_objectives`.

# %%
from disco_lib.tradeoff import trade_off_table

grid = lab.tier.grid("lambda-q")
pupils = {value: lab.record(name) for value, name in grid.items()}
one = next(iter(pupils.values()))
print(len(one.turn_ids), "turns, seeds", ", ".join(one.seeds))
trade_off_table(pupils, "λ_q", ["MRR@10", "R@100"])

# %% [markdown]
# Beside them stand the teachers, which search with rewrites; the students
# of the other teachers at the tier's own $\lambda_q$; convSPLADE, the
# student without a teacher; and the encoder that all of them start from,
# reading the full conversation.

# %%
systems = lab.tier.systems
rewriters = [
    name
    for name, system in systems.items()
    if str(system.get("input", "")).startswith("rewrite:")
    and system["run"] == "encoder"
]
alike = [
    name
    for name, system in systems.items()
    if name.startswith("student-kl")
    and name not in grid.values()
]
series = {
    "rewrites": rewriters,
    "students of other teachers": alike,
    "convSPLADE": ["student-infonce"],
    "untrained, full conversation": ["splade-conversation"],
}
for name, members in series.items():
    print(f"{name}:")
    for member in members:
        print("   ", lab.tier.label(member))

# %% mystnb={"figure": {"caption": "Figure 5 of the paper, on this tier: MRR@10 with 95 % intervals over turns against FLOPS, on a logarithmic axis. The line joins students of one teacher by the strength of their regularisation; numbers in brackets are mean active terms of a query. Up and to the left is better. Where does the line bend, and on which side of it do the teachers lie?", "name": "tradeoff-figure-5"}, "image": {"alt": "A line of students through points labelled by lambda q and active terms, from many FLOPS to few, with single points for rewrites, students of other teachers, convSPLADE and the untrained encoder; every point has a vertical interval."}}
from disco_lib.sparsity_plots import trade_off
from disco_lib.tradeoff import trade_off_point


def with_terms(text, record):
    terms = f"{record.cost('active_terms'):.0f}"
    return f"{text} ({terms})", trade_off_point(record, "MRR@10")


path = dict(with_terms(*pair) for pair in pupils.items())
others = {
    name: dict(
        with_terms(member.split("-")[-1], lab.record(member))
        for member in members
    )
    for name, members in series.items()
}
trade_off(
    path,
    others,
    xlabel="FLOPS (expected multiply-adds a query and passage)",
    ylabel="MRR@10",
    title="students by λ_q",
)

# %% [markdown]
# Two places deserve a second look. The student of strength 0, on which
# nothing presses: how far is it from the untrained encoder at the right,
# with the same input? That distance is what the KLD makes sparse by
# itself; a word of an old turn may raise the wrong passages, which costs
# KLD. And the teacher: are the students that learnt from it cheaper than it
# is?
#
# The paper draws the same for students of Mistral's and of T5's rewrites,
# on TopiOCQA, with MRR over the first thousand ranks. Its axes are not
# ours: FLOPS depends on the queries and the collection.
#
# Is a difference along the line more than chance? Each student against the
# one without regularisation, paired by turn:

# %%
from disco_lib.tables import paired_rows

free, *pressed = pupils.values()
paired_rows(free, pressed, "MRR@10")

# %% [markdown]
# ## How well does FLOPS predict the clock?
#
# FLOPS counts postings and knows no clock. For each record the search of
# all test turns was timed on one thread, in the processor's own time, the
# fastest of many repetitions counting. Every system of the tier that has
# vectors is one point; the intervals are bootstrapped over systems. A few
# systems with very long queries can make a correlation all by themselves,
# so the students, which are close to each other, are looked at alone too.

# %%
from disco_lib.tradeoff import correlation_table

each = dict.fromkeys([*systems, *grid.values()])  # once
timed = [
    record
    for record in map(lab.record, each)
    if not np.isnan(record.cost("search_ms"))
]
cost, terms, ms = (
    np.array([record.cost(name) for record in timed])
    for name in ("flops", "active_terms", "search_ms")
)
learnt = np.array(["distil" in r.settings for r in timed])
correlation_table(
    {
        "FLOPS, all systems": (cost, ms),
        "active terms, all systems": (terms, ms),
        "FLOPS, students": (cost[learnt], ms[learnt]),
        "active terms, students": (terms[learnt], ms[learnt]),
    },
    "ms a query with",
)

# %% mystnb={"figure": {"caption": "Time of a query against its FLOPS, one dot a system. A line through the origin would say that FLOPS is all there is. What the fitted line leaves at zero FLOPS is the fixed cost of a query, which no regulariser can save.", "name": "tradeoff-clock"}, "image": {"alt": "Scatter plot of milliseconds a query against FLOPS, students and systems without training apart, with a fitted straight line."}}
from disco_lib.sparsity_plots import fitted

fitted(
    {
        "students": (cost[learnt], ms[learnt]),
        "systems without training": (cost[~learnt], ms[~learnt]),
    },
    xlabel="FLOPS",
    ylabel="milliseconds a query, one thread",
)

# %%
slope, fixed = np.polyfit(cost, ms, 1)
N = len(lab.index)
print(f"{N:,} passages")
print(f"fixed cost of a query: {1e3 * fixed:.0f} microseconds")
print(f"a posting: {1e6 * slope / N:.1f} nanoseconds")
share = fixed / ms.mean()
print(f"fixed share of the mean query: {share:.0%}")

# %% [markdown]
# The fixed cost is that of emptying and scanning the accumulators and of
# keeping the best passages ({doc}`03_the_index`). On a small collection it
# is a large part of everything. So look at a record of `make bench`, which
# times the same search over growing collections:

# %%
from disco_lib.bench import MISSING, load_benches
from disco_lib.tradeoff import posting_table, walked_and_took

growth = load_benches()["growth"]
posting_table(growth) if growth else Words(MISSING)

# %% mystnb={"figure": {"caption": "Time of a query against the postings it walks, that is FLOPS times passages, on collections of growing size. Both axes are logarithmic: a straight line of slope one is time in proportion to FLOPS.", "name": "tradeoff-growth"}, "image": {"alt": "Scatter plot on logarithmic axes: milliseconds a query against postings walked, for short and long queries over collections of five sizes."}}
dots = walked_and_took(growth) if growth else {}
plots.scatter(
    dots,
    xlabel="postings walked by a query",
    ylabel="milliseconds a query",
    log=True,
) if dots else Words(MISSING)

# %% [markdown]
# Read the last column downwards, in each kind of query. Where it falls, the
# fixed cost is being spread over more postings; where it levels off, time
# goes as FLOPS does, and the level is what one posting costs.
#
# ## The dead gradient of $\lambda_d$
#
# The paper names two strengths, $(\lambda_q, \lambda_d)$, one for queries
# and one for documents. But DiSCo freezes the document encoder. Here is the
# whole question in one batch: eight conversations, their eight passages,
# and the gradient of the loss for both encoders, with document vectors that
# are frozen and with ones that are not.

# %%
import copy

from disco_lib.losses import flops

queries_encoder = encoder
documents_encoder = copy.deepcopy(encoder)
eight = [t for t in turns if t.positives][:8]
conversation = queries_encoder.pad(
    [
        context_ids(t, "conversation", tokenizer, limits)
        for t in eight
    ]
)
length = lab.base_settings.document_length
passage = documents_encoder.pad(
    documents_encoder.token_ids(
        [lab.texts[t.positives[0]] for t in eight], length
    )
)
places = [known[t.turn_id] for t in eight]
target = torch.tensor(teacher.queries[places].toarray())


def gradients(lambda_d, trained):
    queries = queries_encoder(*conversation)
    with torch.set_grad_enabled(trained):
        documents = documents_encoder(*passage)
    taught = (target @ documents.T).detach()
    loss = kl_divergence(queries @ documents.T, taught)
    loss = loss + lambda_d * flops(documents)
    return [
        torch.autograd.grad(
            loss,
            [p for p in side.parameters() if p.requires_grad],
            retain_graph=True,
            allow_unused=True,
        )
        for side in (queries_encoder, documents_encoder)
    ]


def size(slopes):
    squares = [s.square().sum() for s in slopes if s is not None]
    return f"{sum(squares).sqrt():,.2f}" if squares else "None"


rows = []
for trained in (False, True):
    for lambda_d in (0, 0.1, 100):
        ours, theirs = gradients(lambda_d, trained)
        rows.append(
            {
                "documents": "trained" if trained else "frozen",
                "λ_d": f"{lambda_d:g}",
                "gradient, query encoder": size(ours),
                "gradient, document encoder": size(theirs),
            }
        )
Table.of(rows)

# %% [markdown]
# `None` is autograd's word for "does not depend on it". With frozen
# documents FLOPS of the documents is a constant: it makes the printed loss
# larger and changes nothing. So what the paper calls FLOPS regularisation
# reaches its students through $\lambda_q$ alone, and that, in the public
# code, is an L1 norm.
#
# The table shows one thing more. Even where documents are trained,
# $\lambda_d$ adds nothing to the query encoder's gradient in the same step.
# It can reach queries only through the documents that it has changed.
#
# ## With documents trained
#
# So we train both encoders, the queries' and the documents' own, with
# $\lambda_d$ growing. Every step then has to encode its passages and keep
# what the backward pass needs, which is why the grid `lambda-d` is small:

# %%
dual = lab.tier.grid("lambda-d")
for value, name in dual.items():
    own = lab.student_settings(name)
    print(
        f"{value:11}{own.steps} steps of {own.batch_size} turns,",
        f"{own.sampler.negatives} negatives,",
        f"documents {own.documents}",
    )

# %% [markdown]
# Its strengths were chosen by the FLOPS that training logged, without a
# look at the test turns. First the check that the dead gradient is dead
# over a whole training: two students with frozen documents, one with
# $\lambda_d$ and one without, turn by turn.

# %%
both = {value: lab.record(name) for value, name in dual.items()}
frozen = [
    value
    for value, name in dual.items()
    if lab.student_settings(name).documents == "frozen"
]
first, second = (both[value] for value in frozen[:2])
far = first.per_turn("MRR@10") - second.per_turn("MRR@10")
name = "active_terms"
wide = first.per_turn_cost(name) - second.per_turn_cost(name)
print("λ_d", " and ".join(frozen[:2]))
print(f"MRR@10 differs by {np.abs(far).max():g} on any turn,")
print(f"active terms differ by {np.abs(wide).max():g}")

# %%
from disco_lib.costs import collection_costs
from disco_lib.tradeoff import with_documents

shared = collection_costs(lab.documents, lab.index)
shown = both | {v: with_documents(both[v], shared) for v in frozen}
columns = ["document_terms", "postings", "index_mb"]
columns += ["active_terms", "flops"]
trade_off_table(shown, "λ_d", ["MRR@10"], columns)

# %% mystnb={"figure": {"caption": "Students whose document encoder was trained as well, by the strength of the penalty on documents; numbers in brackets are mean active terms of a passage. The square is the student of as many steps whose documents stayed as they were. The axis of FLOPS is logarithmic.", "name": "tradeoff-lambda-d"}, "image": {"alt": "A line through points labelled by lambda d and active terms of a passage, MRR at 10 against FLOPS, with one point for frozen documents."}}
def by_documents(text, record):
    terms = f"{record.cost('document_terms'):.0f}"
    return f"{text} ({terms})", trade_off_point(record, "MRR@10")


free = shown[frozen[0]]
trained = {v: r for v, r in shown.items() if v not in frozen}
trade_off(
    dict(by_documents(*pair) for pair in trained.items()),
    {"frozen documents": dict([by_documents("0", free)])},
    xlabel="FLOPS (expected multiply-adds a query and passage)",
    ylabel="MRR@10",
    title="students by λ_d",
)

# %% [markdown]
# Three things to look for in the table. Terms of a passage, postings and
# index size: do they fall as $\lambda_d$ grows, and do they change at
# $\lambda_d = 0$ already, where only the KLD speaks? Terms of a query: does
# the query make up for words that its passages have lost? And FLOPS, which
# counts the words that both sides share: which side saved it? The index's
# megabytes hold tables with a place for every term of the vocabulary
# ({doc}`03_the_index`), which no $\lambda_d$ makes smaller.
#
# There is a price that the table does not hold. With a frozen encoder one
# index serves every student, the teacher and the untrained encoder alike.
# Each of these students needs all passages encoded and indexed anew, and a
# student's vectors mean nothing in another's index.
#
# ## The verdicts
#
# The rules stand with the claims in `data/papers`; {doc}`../book/how_numbers`
# explains them. First this tier:

# %%
from disco_lib.claims import judge
from disco_lib.tables import verdict_words

verdicts = [
    judge(claim, lab.tier.name, lab.record_if_there)
    for claim in claims
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
from disco_lib.tables import verdicts_by_tier

elsewhere = judge_elsewhere(claims, lab.tier.name)
verdicts_by_tier([*verdicts, *elsewhere])

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# The tier `paper` has the published recipe: $\lambda_q$ as printed in
# section 4.3, on queries through L1, documents frozen. We have not run it,
# and it has no grid of strengths yet; add one to its file, as
# `disco_lib/tiers/mini.yaml` has it, and run this chapter with
# `DISCO_TIER=paper`. A strength belongs to an encoder: look for the values
# that reach the same range of FLOPS, do not carry ours over. Training the
# documents' encoder too needs memory for seventeen passages a turn and one
# index a student.
# ```
#
# ## Exercises
#
# **1. Cut instead of train.** The simplest way to a sparser query needs no
# training: keep its $k$ heaviest terms. Do this to the vectors of the
# untrained encoder on full conversations. How close do its points come to
# the students' line?

# %% tags=["hide-cell"]
# Answer: compare MRR@10 with a student's of about the same FLOPS.
from disco_lib.closeup import evaluate_queries
from disco_lib.sparsity import active_terms
from disco_lib.sparsity import flops as flops_of
from disco_lib.tradeoff import heaviest

asked, whole = lab.queries("splade-conversation")
rows = []
for k in (128, 64, 32, 16, 8):
    cut = heaviest(whole, k)
    found = evaluate_queries(lab, cut, asked).mean()["MRR@10"]
    rows.append(
        {
            "k": k,
            "terms a query": f"{active_terms(cut).mean():.1f}",
            "FLOPS": f"{flops_of(cut, lab.documents):.2f}",
            "MRR@10": f"{found:.3f}",
        }
    )
Table.of(rows)

# %% [markdown]
# **2. To the end of the scale.** What happens to a student as $\lambda_q$
# goes on growing, and what value does a turn without any active term get?
#
# ```{admonition} Answer
# :class: dropdown
# At some strength the pull wins on every word of some turn. The vector is
# empty, the search returns nothing, and the turn counts 0; leaving it out
# would reward the student for giving up. Nothing brings the vector back,
# since the gradient through a relu below zero is 0. The public recipe adds
# `losses.anti_zero`, which grows without bound as vectors die.
# ```
#
# **3. A budget.** A search of a million passages may take ten milliseconds
# on one thread. Which FLOPS can a student afford, if a posting costs what
# the record of the growing collections says?

# %% tags=["hide-cell"]
# Answer: the budget divided by the time of a posting and the passages.
for kind, (walked, took) in dots.items():
    a_posting = took[-1] / walked[-1]  # ms, largest collection
    print(f"{kind}: FLOPS of {10 / (a_posting * 1e6):.1f}")

# %% [markdown]
# **4. Whose $\lambda_d$?** Could one train the document encoder *once* with
# a strong $\lambda_d$, freeze it, and then distil students against it? What
# would $\lambda_d$ do then?
#
# ```{admonition} Answer
# :class: dropdown
# Yes. That is what the published checkpoints of SPLADE are: their documents
# were regularised when the encoder was trained for single questions.
# Everything that $\lambda_d$ can do was done there, once, for every student
# that comes after; in the distillation itself it is dead.
# ```
