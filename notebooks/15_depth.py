# %% [markdown]
# # Depth: what a long conversation does to a query
#
# **A conversation grows with every turn and the question at its end does
# not; a system that reads everything has to learn what to leave out, and
# depth shows whether it has.**
#
# After this chapter you can follow a conversation turn by turn through four
# systems, draw effectiveness and sparsity by depth with honest intervals,
# tell growth within conversations from a change of conversations, and say
# what a switch of topic does to student and teacher.

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
# The second half of section 5.3 of DiSCo {cite}`lupart2025disco` is about
# depth, on TopiOCQA, whose conversations change topic every few turns:

# %%
from disco_lib.tables import Words, claim_words, find_claim

CLAIMS = [
    "disco-depth-harder",
    "disco-depth-gain",
    "disco-depth-early-turns",
    "disco-depth-teacher-late",
    "disco-depth-sparse",
    "disco-depth-rewrite-even",
    "disco-depth-denser",
    "disco-long-conversations",
]
claims = [find_claim("disco", name) for name in CLAIMS]
Words("\n\n".join(claim_words(claim).text for claim in claims))

# %% [markdown]
# Two of them pull against each other: all systems find less in long
# conversations, and long conversations are held without losing
# effectiveness. We judge both as they stand.
#
# ## What there is to read
#
# A student reads the last utterance first, then answers and utterances from
# the newest to the oldest, and what does not fit is cut off at the old end.
# How long would the input be, and how much of it is read?

# %%
from disco_lib import plots
from disco_lib.conversations import Limits, context_ids
from disco_lib.experiments import Laboratory
from disco_lib.papers import load_paper
from disco_lib.significance import intervals_by

lab = Laboratory()
tokenizer, limits = lab.encoder.tokenizer, lab.base_settings.limits
uncut = Limits(limits.utterance, limits.answer, total=10**6)
turns = lab.turns(lab.tier.test)
depths = [turn.depth for turn in turns]


def tokens(turn, limits):
    ids = context_ids(turn, "conversation", tokenizer, limits)
    return len(ids)


lengths = {
    "the whole conversation": [tokens(t, uncut) for t in turns],
    "what is read": [tokens(t, limits) for t in turns],
}
whole = lengths["the whole conversation"]
longer = sum(n > limits.total for n in whole)
fact = load_paper("disco").fact("context-tokens-most")
print(f"{len(turns)} turns, {limits.total} tokens read at most")
print(f"{longer / len(turns):.0%} of the turns would be longer")
print(f"in the paper conversations reach {fact['value']} tokens")

# %% mystnb={"figure": {"caption": "Tokens of the input by depth of the turn, with 95 % intervals over turns. Where the two lines part, the beginning of the conversation is no longer read, and depth can do no more than replace old text by newer.", "name": "depth-tokens"}, "image": {"alt": "Two lines of mean tokens against depth: the whole conversation goes on growing, what is read levels off at the limit."}}
plots.lines(
    {
        name: [
            plots.Point(mean, low, high, x=depth)
            for depth, mean, low, high in intervals_by(n, depths)
        ]
        for name, n in lengths.items()
    },
    xlabel="depth of the turn (turns from the start)",
    ylabel="tokens of the input",
)

# %% [markdown]
# SPLADE takes, for every word of its vocabulary, the *largest* weight over
# all positions of the input. A further position can raise a maximum and
# never lower it. If reading more text left the old positions as they were,
# the vector of a growing conversation could only grow, word by word.
# Training is what may keep it small: the encoder sees the whole input at
# every position, and can learn that a word of three turns ago is none of
# this question's business.
#
# ## One conversation
#
# Four systems, as in the paper's Figure 6: the teacher, which searches with
# the rewrite; DiSCo's student; convSPLADE, the student that learnt from
# labels alone; and the untrained encoder on the full conversation. Their
# records hold every turn.

# %%
NAMES = {
    "teacher": "splade-rewrite",
    "convSPLADE": "student-infonce",
    "DiSCo": "student-kl",
    "untrained": "splade-conversation",
}
records = {n: lab.record(system) for n, system in NAMES.items()}
for short, record in records.items():
    print(f"{short:11}{record.label}, seeds", *record.seeds)

# %% [markdown]
# The conversation with the most switches of topic, turn by turn: what each
# turn does, and the active terms of its query in each system. *Shift* is a
# turn that moves to another topic, *return* one that goes back.

# %%
from disco_lib.depth import conversation_table, most_switches
from disco_lib.depth import series

terms = {
    short: series(record, "active_terms")
    for short, record in records.items()
}
chosen = most_switches(turns)
given = {t.turn_id: tokens(t, limits) for t in turns}
conversation_table(chosen, terms, given)

# %% [markdown]
# Read a column downwards. A system that forgets has small numbers after a
# switch; one that hoards goes on growing until its input is full.
#
# ## Figure 6

# %% mystnb={"figure": {"caption": "Figure 6 of the paper, on this tier: effectiveness on the left and active terms of the query on the right, by depth, with 95 % intervals over turns; below, how many turns a depth has. Depths of fewer than ten turns are left out. On the left ask whether the lines fall; on the right, whose axis is logarithmic, which of them stay level.", "name": "depth-figure-6"}, "image": {"alt": "Two panels over depth with four lines each, MRR at 10 and active terms, with shaded intervals, and bars with the number of turns at each depth below."}}
from disco_lib.sparsity_plots import depth_panels

quality = {
    short: series(record, "MRR@10")
    for short, record in records.items()
}
counts = quality["DiSCo"].counts()
depth_panels(
    {
        "MRR@10": {n: s.by_depth() for n, s in quality.items()},
        "active terms of the query": {
            n: s.by_depth() for n, s in terms.items()
        },
    },
    counts,
    log=["active terms of the query"],
)

# %% [markdown]
# Two cautions before reading it. The intervals are wide, since a depth has
# only as many turns as there are conversations. And the right end is made
# of other conversations than the left: only long ones get there. Long
# conversations may be about easier or harder things from their first turn
# on, which is no effect of depth.
#
# ## Growth within a conversation
#
# So each conversation is compared with itself. We cut its turns in the
# middle and subtract the mean of the earlier ones from that of the later
# ones: one number a conversation, and a paired test over conversations.

# %%
from disco_lib.depth import growth_table

growth_table(quality, "MRR@10 of")

# %%
growth_table(terms, "active terms of", digits=1)

# %% [markdown]
# The untrained encoder's row says what the input alone does. What a
# student's row lacks of it, the student has learnt to leave out; what the
# teacher's row has, the questions themselves have grown by.
#
# ## Who gains where?
#
# The claims compare systems: DiSCo with convSPLADE, and with its teacher.
# A difference on the same turns leaves out what makes a turn hard for
# everybody.

# %% mystnb={"figure": {"caption": "DiSCo's student minus convSPLADE and minus its teacher, on the same turns, by depth, with 95 % intervals. Above the dashed line the student is better (left) or denser (right).", "name": "depth-differences"}, "image": {"alt": "Two panels over depth with two lines each and a dashed line at zero: the student minus convSPLADE and minus the teacher, in MRR at 10 and in active terms; bars with the number of turns below."}}
from disco_lib.depth import difference

others = {
    f"DiSCo minus {short}": records[short]
    for short in ("convSPLADE", "teacher")
}
gains = {
    metric: {
        name: difference(records["DiSCo"], other, metric)
        for name, other in others.items()
    }
    for metric in ("MRR@10", "active_terms")
}
depth_panels(
    {
        "difference of MRR@10": {
            n: s.by_depth()
            for n, s in gains["MRR@10"].items()
        },
        "difference of active terms": {
            n: s.by_depth()
            for n, s in gains["active_terms"].items()
        },
    },
    counts,
)

# %%
growth_table(gains["MRR@10"], "MRR@10 of")

# %%
growth_table(gains["active_terms"], "active terms of", digits=1)

# %% [markdown]
# "Later minus earlier" is now a difference of differences: above 0 where
# the student's lead, in MRR or in terms, grows with the conversation.
#
# ## Switches of topic
#
# Depth is a mixture. A turn may be deep and still be about the first topic,
# or it may have just left it: then nearly everything that the student reads
# is about something else, while the rewrite has been told. The turns of
# this tier say what they do:

# %%
from collections import Counter

from disco_lib.depth import STAYS, switches

groups = switches(turns)
counted = Counter(groups.values())
for group, n in counted.most_common():
    print(f"{n:4} turns: {group}")
if not groups:
    print("this data set does not mark switches of topic")

# %% mystnb={"figure": {"caption": "DiSCo's student minus its teacher in MRR@10, apart for turns that stay with the topic, move to another, or go back to an earlier one; 95 % intervals over turns. Compare the place of the dots with each other, and with the dashed line.", "name": "depth-switches"}, "image": {"alt": "Three dots with horizontal intervals and a dashed line at zero: the difference of student and teacher for turns that stay with the topic, switch it, or return to an earlier topic."}}
from disco_lib.depth import by_switch
from disco_lib.sparsity_plots import difference_bars

gap = gains["MRR@10"]["DiSCo minus teacher"]
difference_bars(
    by_switch(gap, groups), "MRR@10, student minus teacher"
) if groups else Words("No switches are marked.")

# %% [markdown]
# Again within conversations, since those with switches may differ from
# those without: the mean over a conversation's moves to another topic, minus
# the mean over its other turns.

# %%
from disco_lib.depth import switch_table

switch_table(
    {**quality, "DiSCo minus teacher": gap}, groups, "MRR@10 of"
) if groups else Words("No switches are marked.")

# %%
switch_table(
    terms, groups, "active terms of", digits=1
) if groups else Words("No switches are marked.")

# %% [markdown]
# A vector that takes in a new topic without letting go of the old one would
# be denser on shifts than elsewhere in its conversation. One that lets go
# would not.
#
# ### Depth, or more switches?
#
# If deep turns switch topics more often than early ones, a fall with depth
# could be made of switches alone. So the growth once more, over turns that
# stay with their topic:

# %%
from disco_lib.depth import staying

growth_table(
    {n: staying(s, groups) for n, s in quality.items()},
    "MRR@10 of",
) if groups else Words("No switches are marked.")

# %% [markdown]
# What is left of the first table is depth without switches: a longer
# history of the same topics, and questions that lean on more of it.
#
# ## Other tiers
#
# What the records of other tiers hold by depth.

# %%
from disco_lib.claims import tiers_measured
from disco_lib.depth import stored_series, without_depth
from disco_lib.records import published_records

elsewhere = {
    tier: published_records(tier)
    for tier in tiers_measured()
    if tier != lab.tier.name
}
for line in without_depth(elsewhere, NAMES.values()):
    print(line)
found = stored_series(elsewhere, NAMES, "MRR@10")
growth_table(found, "MRR@10 of") if found else None

# %%
found = stored_series(elsewhere, NAMES, "active_terms")
growth_table(
    found, "active terms of", digits=1
) if found else None

# %% [markdown]
# ## The verdicts
#
# The rules stand with the claims in `data/papers`; {doc}`../book/how_numbers`
# explains them. Where a claim speaks of long conversations, the rule takes
# the growth within conversations, as above, or the turns from a depth on.

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
# Every comparison, on every tier with stored records:

# %%
from disco_lib.claims import judge_elsewhere
from disco_lib.tables import verdicts_by_tier

again = judge_elsewhere(claims, lab.tier.name)
verdicts_by_tier([*verdicts, *again])

# %% [markdown]
# The bound of 55 terms belongs to the paper's encoder and to its
# $\lambda_q$. How many terms stay active depends on both
# ({doc}`14_effectiveness_efficiency`); how they *grow* with depth is the
# question that carries over.
#
# ```{admonition} On an A100
# :class: note
# On the tier `paper` the chapter reads up to 256 tokens of TopiOCQA's
# conversations, the first turn of each included. We have not run it. If
# the turns of that data set, as it lies below `DISCO_DATA`, carry no
# `kind`, the section on switches says that none are marked.
# ```
#
# ## Exercises
#
# **1. The survivors.** Draw the left panel again with only those
# conversations that reach a depth which twenty conversations reach. Which
# part of the fall or rise, if there was one, goes away?

# %% tags=["hide-cell"] mystnb={"figure": {"caption": "MRR@10 by depth over conversations that all reach the same depth, so that every point has the same conversations.", "name": "depth-survivors"}, "image": {"alt": "Four lines of MRR at 10 against depth with shaded intervals."}}
# Answer: the same conversations at every depth.
from disco_lib.depth import reaching

deep = max(d for d, n in counts.items() if n >= 20)
same = {n: reaching(s, deep) for n, s in quality.items()}
plots.lines(
    {name: found.by_depth() for name, found in same.items()},
    xlabel="depth of the turn (turns from the start)",
    ylabel="MRR@10",
)

# %% [markdown]
# **2. The turn after.** On a shift the user often says the new topic's name.
# The turn after it may say "and how old is it?", with the old topic still
# in the input. Compare these turns with all others that stay with the topic.

# %% tags=["hide-cell"]
# Answer: means of student and teacher on both kinds of turn.
from disco_lib.depth import after_a_shift
from disco_lib.tables import Table

following = after_a_shift(turns)
rows = []
for short, found in quality.items():
    pairs = zip(found.turn_ids, found.values, strict=True)
    held = [
        (value, turn in following)
        for turn, value in pairs
        if groups.get(turn, STAYS) == STAYS
    ]
    row = {"system": short}
    for head in ("after a shift", "other"):
        wanted = head != "other"
        part = [value for value, after in held if after == wanted]
        row[f"{head} ({len(part)} turns)"] = (
            f"{sum(part) / len(part):.3f}" if part else ""
        )
    rows.append(row)
Table.of(rows)

# %% [markdown]
# **3. Newest first.** Why does the input begin with the last utterance and
# cut the oldest text? What would cutting at the other end do to a shift, and
# to a return?
#
# ```{admonition} Answer
# :class: dropdown
# The last utterance is the question and must never be lost. On a shift the
# oldest text is the least useful, so little is lost. A return is where this
# order hurts: what it goes back to may be just what has been cut.
# ```
#
# **4. Two kinds of sparse.** "Representations stay sparse" can mean that
# few terms are active, or that few are active *for their length*. Which of
# the two does the index pay for?
#
# ```{admonition} Answer
# :class: dropdown
# The first, weighted by the length of each term's posting list: that is
# what FLOPS counts. The index does not know how long the conversation was.
# ```
