# %% [markdown]
# # Start here: one conversation, five systems
#
# **A small encoder can learn to read a whole conversation from the scores
# that it would give to a careful rewrite of the last question, and then
# needs no rewrite when a user waits for an answer.**
#
# After this chapter you can follow a turn of a conversation through the
# systems that this book compares, read the terms that a sparse encoder
# activates, train a DiSCo student yourself, and say whether a difference
# between two systems is more than chance.

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
# A *sparse encoder* such as SPLADE {cite}`formal2021splade` turns a text
# into weights for words, few of them above zero, and a search engine finds
# the passages whose words fit. It was trained on questions that stand
# alone. The first claim of DiSCo {cite}`lupart2025disco` that we test is
# that such an encoder must be trained anew before it can read
# conversations:

# %%
from disco_lib.tables import claim_words, find_claim

claim = find_claim("disco", "disco-fine-tuning")
claim_words(claim)

# %% [markdown]
# ## A conversation
#
# A `Laboratory` holds what an experiment needs: the data, the encoder, the
# index over all passages, and the systems to compare. Which ones is
# written in the settings file of a *tier*, here the small one that comes
# with the book.

# %%
from disco_lib.experiments import Laboratory

lab = Laboratory()
print(f"tier {lab.tier.name}: {lab.tier.what}")
print(f"{len(lab.collection.passages):,} passages")
for split in lab.collection.splits:
    print(f"{split:5} {len(lab.collection.turns(split)):5} turns")

# %% [markdown]
# One turn will go with us through the chapter. We **picked it to
# illustrate** the problem, from the turns of the test split on which three
# things hold: the careful rewrite finds a relevant passage at once, the
# utterance alone has none among its ten best, and the full conversation,
# read by the untrained encoder, none among its two best. If there are turns
# marked as an ellipsis we prefer them, and then the shortest utterance. How
# BM25 and the student fare on the turn played no part in the choice. A
# single turn proves nothing in any case; the table further down is over all
# of them.

# %%
from disco_lib.closeup import telling_turn, transcript

turn = telling_turn(
    lab,
    solved="splade-rewrite",
    lost="splade-utterance",
    noisy="splade-conversation",
)
print(transcript(turn, width=64))

# %% [markdown]
# You understood the last utterance because you read what came before it. A
# search engine gets a text, and the question is which one:

# %%
SYSTEMS = [
    "splade-utterance",
    "splade-rewrite",
    "splade-conversation",
    "bm25-conversation",
    "student-kl",
]
for name in SYSTEMS:
    print(lab.tier.system(name)["label"])

# %% [markdown]
# The *rewrite* says everything that is needed and nothing else. Here it
# comes with the data; in use a large language model would have to write one
# at every turn, while the user waits. The last system reads the
# conversation like the two before it, but has been taught how.
#
# ## The student learns
#
# Training takes three steps. The *teacher* is the same encoder, reading the
# rewrites of the training conversations; for each training turn it scores
# passages. The *student* starts as a copy of it and reads the conversation
# instead. The *loss* is the Kullback-Leibler divergence between the two
# distributions of scores {cite}`hinton2015distilling`: the student has to
# give passages the scores that the teacher gave them, by whatever words it
# likes {cite}`lupart2025disco`. A small L1 penalty keeps its vectors sparse.
# The passages' own vectors never change, so the index stays as it is.

# %%
seed = lab.tier.seeds[0]
teacher = lab.teacher(lab.tier.system("student-kl")["teachers"])
print(f"{len(teacher)} turns to learn from")
print("loss:", dict(lab.student_settings("student-kl").objective))

# %% [markdown]
# The next cell trains the student, some minutes on two processor cores. It
# is kept, so the second time the cell only loads it.

# %%
student = lab.student("student-kl", seed)
size = sum(p.numel() for p in student.parameters())
print(f"a student of {size / 1e6:.1f} million parameters")

# %% [markdown]
# ## What each system finds
#
# Now the turn goes through the five systems. A tick marks a relevant
# passage.

# %%
from disco_lib.closeup import look, relevant_pids
from disco_lib.closeup import side_by_side, titles
from disco_lib.tables import Table

looks = [look(lab, name, turn, seed) for name in SYSTEMS]
relevant = relevant_pids(lab, turn)
Table.of(side_by_side(looks, titles(lab), relevant))

# %% [markdown]
# ## What each system looks for
#
# A vector of SPLADE has one entry for each word piece of its vocabulary.
# Those above zero are the *active terms*, and they can be read. What the
# teacher activates for the rewrite is the yardstick: whatever else a system
# activates, it has to search for as well. BM25 counts stems, so its stems
# are held against those of the rewrite.

# %%
from disco_lib.bm25 import bm25_terms

rewrite = looks[1]
marked = {seen.label: rewrite.terms for seen in looks}
marked[looks[3].label] = bm25_terms(
    lab.collection.passage_texts(), rewrite.reads
)
print(rewrite.reads)

# %% mystnb={"figure": {"caption": "The twelve heaviest terms of each system for the same turn; ## marks a piece that continues a word. Blue terms are those that the careful rewrite activates too. The utterance alone lacks the words that matter; the untrained encoder and BM25 look for all that was said before. The student may use other words than the rewrite, as long as they find what the rewrite finds.", "name": "start-terms"}, "image": {"alt": "Five panels of horizontal bars, one panel a system, each with the twelve terms of largest weight. Terms that the rewrite shares are blue, the others grey."}}
from disco_lib import plots

plots.term_bars(
    {seen.label: seen.terms for seen in looks},
    marked,
    legend=("active for the rewrite too", "active here only"),
    xlabel="weight of the term (no unit)",
)

# %% [markdown]
# How much of what is active agrees with the rewrite, in numbers. The student
# was asked to score passages as the teacher does, not to use the teacher's
# words, so a small share in its row is no fault: what counts is the rank
# above.

# %%
rows = []
for seen in looks:
    both = set(seen.terms) & set(marked[seen.label])
    weight = sum(seen.terms[term] for term in both)
    share = weight / sum(seen.terms.values())
    rows.append(
        {
            "system": seen.label,
            "active terms": len(seen.terms),
            "shared with the rewrite": len(both),
            "share of the weight on them": f"{share:.0%}",
        }
    )
Table.of(rows)

# %% [markdown]
# ## All turns of the test split
#
# Now the measurement. Each system searches all turns of the test split that
# have a history and a relevant passage. `lab.record` looks for a stored
# record of exactly these settings and runs the system if there is none;
# students are trained once for each seed of the tier, and their values are
# means over the seeds. In brackets stands the 95 % interval over turns
# (bootstrap). Active terms and FLOPS say what a query costs;
# {doc}`02_splade_and_flops` explains them.

# %%
from disco_lib.tables import points, results

records = [lab.record(name) for name in SYSTEMS]
turns = len(records[0].turn_ids)
print(f"{turns} turns, seeds {', '.join(records[-1].seeds)}")
results(records)

# %% mystnb={"figure": {"caption": "How high the first relevant passage stands, over all turns of the test split. Compare the third bar with the last: the same encoder on the same input, before and after distillation. The rewrite's bar is what the student was taught with.", "name": "start-mrr"}, "image": {"alt": "Five horizontal bars of MRR at 10 with their intervals, one a system: utterance alone, careful rewrite, full conversation untrained, BM25, and the DiSCo student."}}
plots.interval_bars(
    points(records, "MRR@10"),
    xlabel="MRR@10 (0 to 1, higher is better), with 95 % interval",
)

# %% [markdown]
# ## The verdict
#
# The rule was written down with the claim in `data/papers`, before the
# experiment was run: in each metric of the paper's table, the student must
# be better than the encoder it started from, significantly over the turns
# and on every seed. {doc}`../book/how_numbers` has the details.

# %%
from disco_lib.claims import judge
from disco_lib.tables import verdict_table, verdict_words

verdict = judge(claim, lab.tier.name, lab.measure)
verdict_words(verdict)

# %%
verdict_table(verdict)

# %% [markdown]
# Where a comparison does not hold, look at the two values in the table of
# results. On the small tier a hundred results are a good part of the whole
# collection, so R@100 is near its limit of 1 for every system that has read
# the conversation, and there is little left to gain.
#
# What does the verdict not say? The collection is small, its conversations
# were written for this book, and the rewrites are careful ones. Whether
# students keep up with the rewrites of large language models, and beyond the
# domain they were trained on, is the subject of later chapters.
#
# ## With your own settings
#
# **Another tier.** Everything above comes from one settings file,
# `disco_lib/tiers/mini.yaml`. The environment variable `DISCO_TIER` chooses
# another one; nothing in the chapter changes. Set it before Jupyter starts,
# or in a cell above the set-up cell:
#
# ```
# %env DISCO_TIER=qrecc
# %env DISCO_DATA=/data/conversations
# ```
#
# **Another data set.** `DISCO_DATA` is the folder in which data sets lie,
# one folder each; `disco data list` says which are found. A folder of your
# own needs three kinds of files:
#
# ```
# collection.jsonl       {"pid": "p7", "title": "...", "text": "..."}
# turns_<split>.jsonl    {"conv_id": "c1", "turn_id": "c1_2",
#                         "utterance": "And what did it cost?",
#                         "rewrites": {"human": "What did it ..."},
#                         "positives": ["p7"], ...}
# qrels_<split>.tsv      turn_id TAB 0 TAB pid TAB grade
# ```
#
# `disco data verify --data FOLDER` names the line of anything that is wrong
# in it. Then copy the settings file under a new name, put your folder's
# name behind `data:` and your rewrites' name where `gold` stands, and
# choose it with `DISCO_TIER`.
#
# **Another system.** A system is one entry of the settings file. `settings`
# shows everything that decides its record:

# %%
import json

print(json.dumps(lab.settings("student-kl")["distil"], indent=1))

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# The paper's own setting needs one large GPU: QReCC and TopiOCQA with all
# their passages, a SPLADE of BERT's size, and rewrites by language models
# of 7 and 8 billion parameters. Put the data below `DISCO_DATA`, write the
# published settings, which the next cell prints, into a tier's file, and
# run `disco measure --tier NAME`. The encoder takes bfloat16 on such a card
# by itself; encoding and training go on where they were interrupted. The
# authors had 16-bit floats and negatives of the whole batch; in the book's
# terms the latter is `{info_nce: {weight: 0.01, negatives: batch}}`. We have
# not run this setting, so no times stand here.
# ```

# %%
from disco_lib.papers import load_paper

recipe = load_paper("disco").recipe
Table.of(
    [
        {"setting": name, "published": str(value)}
        for name, value in recipe.items()
        if not isinstance(value, dict)
    ]
)

# %% [markdown]
# ## Exercises
#
# **1. How far has the student come?** Between the untrained encoder on the
# conversation and the rewrite lies a gap. Which share of it does the
# student close, in each metric?

# %% tags=["hide-cell"]
# Answer: 0 % is the untrained encoder, 100 % the rewrite.
by_name = {record.system: record for record in records}
untrained = by_name["splade-conversation"]
target, pupil = by_name["splade-rewrite"], by_name["student-kl"]
rows = []
for metric in ("MRR@10", "R@10", "R@100", "nDCG@3"):
    gap = target.mean(metric) - untrained.mean(metric)
    gained = pupil.mean(metric) - untrained.mean(metric)
    closed = f"{gained / gap:.0%}"
    rows.append({"metric": metric, "gap closed": closed})
Table.of(rows)

# %% [markdown]
# **2. Does the student help everywhere?** A mean can hide turns on which
# things got worse. Count the turns on which the student's MRR@10 (mean over
# seeds) is above, equal to and below that of the encoder it started from.

# %% tags=["hide-cell"]
# Answer: a better mean does not mean better on every turn.
import numpy as np

from disco_lib.claims import paired_values

after, before = paired_values(pupil, untrained, "MRR@10")
difference = after - before
for word, how_many in (
    ("better", np.sum(difference > 0)),
    ("equal", np.sum(difference == 0)),
    ("worse", np.sum(difference < 0)),
):
    print(f"{word:7}{how_many:4} turns")

# %% [markdown]
# **3. Is it the encoder or the text?** BM25 read the conversation. Give it
# the rewrite, compare it with SPLADE on the same text, and test the
# difference.

# %% tags=["hide-cell"]
# Answer: the rewrite helps BM25 too; the test says if SPLADE adds more.
from disco_lib import evaluate
from disco_lib.bm25 import bm25_search
from disco_lib.conversations import context_text
from disco_lib.significance import compare
from disco_lib.tables import p_value

given = lab.tier.system("splade-rewrite")["input"]
asked = lab.turns(lab.tier.test, given)
names = [turn.turn_id for turn in asked]
run = bm25_search(
    lab.collection.passage_texts(),
    lab.collection.pids,
    [context_text(turn, given) for turn in asked],
    names,
    lab.tier.depth,
)
qrels = lab.collection.qrels(lab.tier.test)
lexical = evaluate(qrels, run, turn_ids=names).values["MRR@10"]
learned = target.per_turn("MRR@10")
test = compare(learned, lexical)
print(f"BM25 on the rewrite    MRR@10 {lexical.mean():.3f}")
print(f"SPLADE on the rewrite  MRR@10 {learned.mean():.3f}")
print(
    f"difference {test.difference:+.3f} "
    f"[{test.low:+.3f}, {test.high:+.3f}], p {p_value(test.p_t)}"
)

# %% [markdown]
# **4. Why are the passages left alone?** The student's queries change during
# training, the passages' vectors do not. Name two things that this buys, and
# one that it costs.
#
# ```{admonition} Answer
# :class: dropdown
# The index is built once and serves teacher and student alike, and a
# training step encodes a few conversations instead of hundreds of passages.
# It costs freedom: where a passage's vector lacks a term, no query can find
# the passage by it.
# ```
